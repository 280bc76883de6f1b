// One WebSocket, as a transport: see connection.js.

export class Socket {
  // Milliseconds after which a silent one is asked whether it lives.
  static pingEvery = 20_000;
  #socket;

  constructor(session, on) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const query = new URLSearchParams({ session, from: "page" });
    const socket = new WebSocket(`${scheme}//${location.host}/ws?${query}`);
    this.#socket = socket;
    socket.onopen = () => {
      on.opened();
      socket.send(JSON.stringify(on.greeting()));
    };
    socket.onmessage = (event) => on.frame(JSON.parse(event.data));
    socket.onclose = (event) => on.closed(event.code);
  }

  send(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  ping() {
    this.send({ type: "ping", t: Date.now() });
  }

  close() {
    this.#socket.close();
  }
}
