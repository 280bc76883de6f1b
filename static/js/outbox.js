// Messages on their way: kept until the server has confirmed them, sent again after a lost connection.
// The server stores a clientId once, so sending twice is safe. What is kept are whole frames; what the reader wrote
// outlives the page, each frame under a key of its own, so that two tabs do not overwrite each other.

import { forget, keep, recallAll } from "./storage.js";

export class Outbox {
  // clientId → frame, oldest first
  #waiting = new Map();
  // Those that storage has taken.
  #kept = new Set();
  #prefix;

  constructor(session) {
    this.#prefix = `outbox:${session}:`;
    const frames = recallAll(this.#prefix).map((text) => JSON.parse(text));
    for (const { order, ...frame } of frames.sort((one, other) => one.order - other.order)) {
      this.#waiting.set(frame.clientId, frame);
      this.#kept.add(frame.clientId);
    }
  }

  add(frame) {
    const clientId = makeId();
    this.#waiting.set(clientId, { ...frame, clientId });
    // Not by the clock, which may be set back.
    const order = this.#waiting.size;
    const isKept = frame.type === "start" && keep(this.#prefix + clientId, JSON.stringify({ ...frame, clientId, order }));
    if (isKept) this.#kept.add(clientId);
    return clientId;
  }

  remove(clientId) {
    this.#waiting.delete(clientId);
    if (this.#kept.delete(clientId)) forget(this.#prefix + clientId);
  }

  // Lets go of what another tab has sent or taken back meanwhile, and returns which those were.
  dropSettled() {
    const there = new Set(recallAll(this.#prefix).map((text) => JSON.parse(text).clientId));
    const settled = [...this.#kept].filter((clientId) => !there.has(clientId));
    for (const clientId of settled) this.remove(clientId);
    return settled;
  }

  has(clientId) {
    return this.#waiting.has(clientId);
  }

  // What only this page remembers.
  get texts() {
    return this.#unkept().flatMap((frame) => frame.message ?? []);
  }

  get files() {
    return this.#unkept().flatMap((frame) => frame.attachments ?? []);
  }

  #unkept() {
    return this.frames().filter(({ clientId }) => !this.#kept.has(clientId));
  }

  // Whether something is asked about that message already.
  asksAbout(messageId) {
    return this.frames().some((frame) => frame.messageId === messageId);
  }

  frames() {
    return [...this.#waiting.values()];
  }

  frame(clientId) {
    return this.#waiting.get(clientId);
  }
}

function makeId() {
  // Only offered on HTTPS and on this machine.
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
