// The connection: opens it, notices when it is dead, opens it again. It knows frames only as objects.

const FIRST_DELAY_MS = 250;
// With the jitter below, never more than 5 seconds between two tries.
const LONGEST_DELAY_MS = 4000;
const PING_EVERY_MS = 20_000;
const ANSWER_WITHIN_MS = 10_000;
// Close codes after which another try would only be refused again: bad session, sign in, forbidden, replaced.
const FINAL_CODES = new Set([4400, 4401, 4403, 4409]);

export class Connection {
  #url;
  #on;
  #socket = null;
  #tries = 0;
  #retry = 0;
  #pinger = 0;
  #deadline = 0;
  #final = false;

  // `on`: open(), frame(object), lost(final).
  constructor(session, on) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.#url = `${scheme}//${location.host}/ws?session=${encodeURIComponent(session)}`;
    this.#on = on;
    addEventListener("online", () => this.#hurry());
    addEventListener("pageshow", (event) => event.persisted && this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  connect() {
    clearTimeout(this.#retry);
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#tries = 0;
      this.#pinger = setInterval(() => this.#ping(), PING_EVERY_MS);
      this.#on.open();
    };
    socket.onmessage = (event) => {
      clearTimeout(this.#deadline);
      this.#on.frame(JSON.parse(event.data));
    };
    socket.onclose = (event) => this.#closed(socket, event.code);
  }

  // Returns whether the frame was handed over; what gets lost on the way, the caller sends again.
  send(frame) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  #ping() {
    this.send({ type: "ping", t: Date.now() });
    clearTimeout(this.#deadline);
    // A dead network closes nothing by itself, and a closing handshake would wait for it.
    const socket = this.#socket;
    this.#deadline = setTimeout(() => {
      socket.close();
      this.#closed(socket, 0);
    }, ANSWER_WITHIN_MS);
  }

  #closed(socket, code) {
    if (socket !== this.#socket) return;
    this.#socket = null;
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

  #hurry() {
    if (!this.#socket && !this.#final && this.#tries) this.connect();
  }
}
