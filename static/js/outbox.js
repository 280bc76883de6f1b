// Messages on their way: kept until the server has confirmed them, sent again after a lost connection.
// The server stores a clientId once, so sending twice is safe. What is kept are whole frames.

export class Outbox {
  // clientId → frame, oldest first
  #waiting = new Map();

  add(frame) {
    const clientId = makeId();
    this.#waiting.set(clientId, { ...frame, clientId });
    return clientId;
  }

  remove(clientId) {
    this.#waiting.delete(clientId);
  }

  has(clientId) {
    return this.#waiting.has(clientId);
  }

  get texts() {
    return this.frames().flatMap((frame) => frame.message ?? []);
  }

  get files() {
    return this.frames().flatMap((frame) => frame.attachments ?? []);
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
