// The one line above the composer: why a message was refused, and whether the page is connected.

// A connection that is back at once is not worth a word.
const PATIENCE_MS = 700;

export class Status {
  #element;
  #announcer;
  #trouble = "";
  #connection = "";
  #reason = "";
  #todo = "";
  #timer = 0;

  constructor(element, announcer) {
    this.#element = element;
    this.#announcer = announcer;
  }

  show(sentence) {
    this.#trouble = sentence;
    this.#announcer.say(sentence);
    this.#render();
  }

  clear() {
    this.show("");
  }

  connected() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#reason = this.#connection = "";
    this.#render();
  }

  // The server is about to close the connection, and says why.
  explain(reason) {
    this.#reason = reason;
  }

  // `final`: no more tries, the reader has to act.
  disconnected(final) {
    this.#todo = final ? "Reload the page to try again." : "Reconnecting… What you send meanwhile is kept.";
    if (this.#connection || final) this.#tell();
    else this.#timer ||= setTimeout(() => this.#tell(), PATIENCE_MS);
  }

  #tell() {
    const sentence = `${this.#reason || "The server cannot be reached."} ${this.#todo}`;
    if (this.#connection !== sentence) this.#announcer.say(sentence);
    this.#connection = sentence;
    this.#render();
  }

  #render() {
    const text = [this.#connection, this.#trouble].filter(Boolean).join(" ");
    this.#element.hidden = !text;
    this.#element.textContent = text;
  }
}
