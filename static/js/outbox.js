// Messages on their way: kept until the server has confirmed them, sent again after a lost connection.
// The server stores a clientId once, so sending twice is safe.

export class Outbox {
  // clientId → {message, model}, oldest first
  #waiting = new Map();

  add(message, model) {
    const clientId = makeId();
    this.#waiting.set(clientId, { message, model });
    return clientId;
  }

  remove(clientId) {
    this.#waiting.delete(clientId);
  }

  take(clientId) {
    const { message } = this.#waiting.get(clientId);
    this.remove(clientId);
    return message;
  }

  has(clientId) {
    return this.#waiting.has(clientId);
  }

  get texts() {
    return [...this.#waiting.values()].map((start) => start.message);
  }

  frames() {
    return [...this.#waiting.keys()].map((clientId) => this.frame(clientId));
  }

  frame(clientId) {
    const { message, model } = this.#waiting.get(clientId);
    return { type: "start", message, clientId, ...(model && { model }) };
  }
}

function makeId() {
  // Only offered on HTTPS and on this machine.
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
