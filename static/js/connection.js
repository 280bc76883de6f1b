// The connection: opens it, notices when it is dead, opens it again, by a WebSocket or whatever else gets through.
// It knows frames only as objects. A transport is a class, `new Transport(session, on)`, that opens at once and has
// send(frame), ping() and close(); it calls on.greeting() for its first frame, on.opened() when something is there,
// on.frame(object), and on.closed(code) once. After close() it calls nothing.

import { diagnose } from "./diagnosis.js";
import { PlainHttp } from "./http.js";
import { Socket } from "./socket.js";
import { Watch } from "./watch.js";

const FIRST_DELAY_MS = 250;
// With the jitter below, never more than 5 seconds between two tries.
const LONGEST_DELAY_MS = 4000;
const ANSWER_WITHIN_MS = 10_000;
// The server answers its greeting at once: from an open socket, more means that something holds its frames back.
const GREETED_WITHIN_MS = 4000;
const SLOW_GREETING_MS = 1500;
// For a connection that may have died unnoticed: with the first delay, less than 5 seconds until it is replaced.
const SOON_MS = 3000;
// Only a connection that has lasted counts: one that fails right after its greeting must not be tried ever faster.
const LASTING_MS = 20_000;
// Sockets in a row that did not get through, before plain HTTP is used; and how often they are tried again.
const REFUSALS = 2;
const SOCKET_AGAIN_MS = 180_000;
// Close codes after which another try would only be refused again: bad session, sign in, forbidden, replaced.
const FINAL_CODES = new Set([4400, 4401, 4403, 4409]);

export class Connection {
  #session;
  #on;
  #transport = null;
  #kind = Socket;
  #candidate = null;
  #ready = false;
  #opened = 0;
  #tries = 0;
  #refusals = 0;
  #retry = 0;
  #pinger = 0;
  #lasting = 0;
  // A dead network closes nothing by itself, and a closing handshake would wait for it.
  #answer = new Watch(() => {
    this.#transport.close();
    this.#closed(0);
  });
  #upgrade = 0;
  #detour = null;
  #final = false;

  // `on`: greeting() gives the first frame; ready() when the server has answered it; frame(object); lost(final);
  // state(diagnosis) when something about the connection is worth telling, null when nothing is.
  constructor(session, on) {
    this.#session = session;
    this.#on = on;
    addEventListener("online", () => this.#hurry());
    addEventListener("offline", () => (this.#ready ? this.#ping(SOON_MS) : this.#tell(0, 0, true)));
    addEventListener("pageshow", (event) => event.persisted && this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
  }

  // Opens the connection, in place of one that is still being opened.
  connect() {
    clearTimeout(this.#retry);
    this.#transport?.close();
    this.#opened = 0;
    this.#transport = this.#open(this.#kind);
    this.#answer.expect(ANSWER_WITHIN_MS);
  }

  // Returns whether the frame was handed over; what gets lost on the way, the caller sends again.
  send(frame) {
    if (!this.#ready) return false;
    this.#transport.send(frame);
    return true;
  }

  #open(Kind) {
    let closed = false;
    const isCurrent = () => !closed && transport === this.#transport;
    const transport = new Kind(this.#session, {
      greeting: () => this.#on.greeting(),
      opened: () => isCurrent() && this.#hasOpened(),
      frame: (frame) => (isCurrent() ? this.#receive(frame) : !closed && this.#greeted(transport, frame)),
      closed: (code) => {
        if (isCurrent()) this.#closed(code);
        else if (transport === this.#candidate) this.#candidate = null;
        closed = true;
      },
    });
    return transport;
  }

  #hasOpened() {
    if (this.#ready) return;
    this.#opened = performance.now();
    this.#answer.expect(GREETED_WITHIN_MS);
  }

  #receive(frame) {
    this.#answer.end();
    // A refusal, too, comes after an open handshake.
    if (!this.#ready && frame.type !== "closing") this.#welcomed();
    this.#on.frame(frame);
  }

  #welcomed() {
    const isSocket = this.#kind === Socket;
    this.#ready = true;
    if (isSocket) this.#pinger = setInterval(() => this.#ping(ANSWER_WITHIN_MS), Socket.pingEvery);
    this.#lasting = setTimeout(() => (this.#tries = 0), LASTING_MS);
    this.#refusals = 0;
    this.#on.state(isSocket ? null : this.#detour);
    if (!isSocket) this.#upgrade ||= setInterval(() => this.#trySocket(), SOCKET_AGAIN_MS);
    const greetedIn = performance.now() - this.#opened;
    if (isSocket && greetedIn > SLOW_GREETING_MS) this.#suspect(greetedIn);
    this.#on.ready();
  }

  // The greeting took long: the server is slow, or something collects frames before it passes them on.
  async #suspect(greetedIn) {
    const transport = this.#transport;
    const diagnosis = await diagnose(0, true);
    if (transport === this.#transport && diagnosis.took * 2 < greetedIn) this.#usePlainHttp(diagnosis);
  }

  #usePlainHttp(diagnosis) {
    this.#kind = PlainHttp;
    this.#ready = this.#final = false;
    this.#detour = { ...diagnosis, isPlain: true };
    this.connect();
  }

  // Without letting go of what works.
  #trySocket() {
    if (this.#kind === Socket || this.#candidate) return;
    this.#candidate = this.#open(Socket);
    const candidate = this.#candidate;
    setTimeout(() => {
      if (candidate !== this.#candidate) return;
      this.#candidate = null;
      candidate.close();
    }, SLOW_GREETING_MS);
  }

  #greeted(candidate, frame) {
    if (candidate !== this.#candidate || frame.type === "closing") return;
    this.#candidate = null;
    this.#transport?.close();
    this.#transport = candidate;
    this.#kind = Socket;
    clearTimeout(this.#retry);
    this.#upgrade = clearInterval(this.#upgrade);
    this.#opened = performance.now();
    this.#ready = false;
    this.#receive(frame);
  }

  #ping(within) {
    this.#transport.ping();
    this.#answer.expect(within);
  }

  #closed(code) {
    const wasReady = this.#ready;
    this.#transport = null;
    this.#ready = false;
    clearInterval(this.#pinger);
    this.#answer.end();
    clearTimeout(this.#lasting);
    this.#final = FINAL_CODES.has(code);
    if (!this.#final) {
      const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#tries);
      this.#tries += 1;
      // Spread, so that a restarted server is not met by everybody at once.
      this.#retry = setTimeout(() => this.connect(), delay * (0.5 + Math.random() * 0.75));
    }
    this.#on.lost(this.#final);
    this.#tell(code, this.#opened, wasReady);
  }

  async #tell(code, opened, wasReady) {
    // An open socket without a word is enough; the others may have met a server that was just restarting.
    const isRefused = !wasReady && code < 4000;
    if (this.#kind === Socket && isRefused) this.#refusals += opened ? REFUSALS : 1;
    const diagnosis = await diagnose(code, Boolean(opened) && isRefused);
    if (this.#ready) return;
    // They count only while the server itself is there.
    if (!diagnosis.httpWorks) this.#refusals = 0;
    const isBlocked = this.#refusals >= REFUSALS || diagnosis.state === "stripped";
    if (diagnosis.httpWorks && this.#kind === Socket && isBlocked) this.#usePlainHttp(diagnosis);
    else if (!wasReady || !diagnosis.httpWorks) this.#on.state(diagnosis);
  }

  // The network or the reader is back: what was open or being opened may be long dead.
  #hurry() {
    if (this.#ready) this.#ping(SOON_MS);
    else if (!this.#final) this.connect();
    if (this.#ready) this.#trySocket();
  }
}
