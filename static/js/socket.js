// The connection: opens it, notices when it is dead, opens it again. It knows frames only as objects.

const FIRST_DELAY_MS = 250;
// With the jitter below, never more than 5 seconds between two tries.
const LONGEST_DELAY_MS = 4000;
const PING_EVERY_MS = 20_000;
const ANSWER_WITHIN_MS = 10_000;
// For a connection that may have died unnoticed: with the first delay, less than 5 seconds until it is replaced.
const SOON_MS = 3000;
// Close codes after which another try would only be refused again: bad session, sign in, forbidden, replaced.
const FINAL_CODES = new Set([4400, 4401, 4403, 4409]);

export class Connection {
  #url;
  #on;
  #socket = null;
  #ready = false;
  #tries = 0;
  #retry = 0;
  #pinger = 0;
  #deadline = 0;
  #final = false;

  // `on`: greeting() gives the first frame; ready() when the server has answered it; frame(object); lost(final).
  constructor(session, on) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.#url = `${scheme}//${location.host}/ws?session=${encodeURIComponent(session)}`;
    this.#on = on;
    addEventListener("online", () => this.#hurry());
    addEventListener("pageshow", (event) => event.persisted && this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
  }

  // Opens the connection, in place of one that is still being opened.
  connect() {
    clearTimeout(this.#retry);
    this.#socket?.close();
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#expectAnswer(ANSWER_WITHIN_MS);
    socket.onopen = () => socket.send(JSON.stringify(this.#on.greeting()));
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = (event) => this.#closed(socket, event.code);
  }

  // Returns whether the frame was handed over; what gets lost on the way, the caller sends again.
  send(frame) {
    if (!this.#ready) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  #receive(frame) {
    clearTimeout(this.#deadline);
    // A refusal, too, comes after an open handshake.
    if (!this.#ready && frame.type !== "closing") this.#welcomed();
    // Only a connection that has lasted counts: one that fails right after its greeting must not be tried ever faster.
    if (frame.type === "pong") this.#tries = 0;
    this.#on.frame(frame);
  }

  #welcomed() {
    this.#ready = true;
    this.#pinger = setInterval(() => this.#ping(ANSWER_WITHIN_MS), PING_EVERY_MS);
    this.#on.ready();
  }

  #ping(within) {
    this.send({ type: "ping", t: Date.now() });
    this.#expectAnswer(within);
  }

  #expectAnswer(within) {
    clearTimeout(this.#deadline);
    // A dead network closes nothing by itself, and a closing handshake would wait for it.
    const socket = this.#socket;
    this.#deadline = setTimeout(() => {
      socket.close();
      this.#closed(socket, 0);
    }, within);
  }

  #closed(socket, code) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    this.#ready = false;
    clearInterval(this.#pinger);
    clearTimeout(this.#deadline);
    this.#final = FINAL_CODES.has(code);
    if (!this.#final) {
      const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#tries);
      this.#tries += 1;
      // Spread, so that a restarted server is not met by everybody at once.
      this.#retry = setTimeout(() => this.connect(), delay * (0.5 + Math.random() * 0.75));
    }
    this.#on.lost(this.#final);
  }

  // The network or the reader is back: what was open or being opened may be long dead.
  #hurry() {
    if (this.#ready) this.#ping(SOON_MS);
    else if (!this.#final) this.connect();
  }
}
