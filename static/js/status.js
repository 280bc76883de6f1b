// The one line above the composer: why a message was refused, and what is wrong with the connection.

import { gettext } from "./i18n.js";

// A connection that is back at once is not worth a word.
const PATIENCE_MS = 700;

export class Status {
  #element;
  #announcer;
  #help;
  #trouble = "";
  #connection = "";
  #reason = "";
  #diagnosis = null;
  #isLost = false;
  #isFinal = false;
  #timer = 0;

  // The element says in `data-help-url` where the reader finds help with connections.
  constructor(element, announcer) {
    this.#element = element;
    this.#announcer = announcer;
    this.#help = element.dataset.helpUrl;
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
    this.#isLost = false;
    this.#reason = "";
    if (!this.#diagnosis?.isPlain) this.#diagnosis = null;
    this.#tell();
  }

  // The server is about to close the connection, and says why.
  explain(reason) {
    this.#reason = reason;
  }

  // What is known about the connection, as diagnosis.js says it; null: nothing is wrong.
  diagnosed(diagnosis) {
    this.#diagnosis = diagnosis;
    if (this.#connection || diagnosis?.isPlain || this.#isFinal) this.#tell();
  }

  // `final`: no more tries, the reader has to act.
  disconnected(final) {
    this.#isLost = true;
    this.#isFinal = final;
    if (this.#connection || final) this.#tell();
    else this.#timer ||= setTimeout(() => this.#tell(), PATIENCE_MS);
  }

  #tell() {
    const words = this.#words();
    if (words && words !== this.#connection) this.#announcer.say(words);
    this.#connection = words;
    this.#render();
  }

  #words() {
    const known = this.#diagnosis?.sentence ?? "";
    if (!this.#isLost) return known;
    // Why it was closed, unless that is known better than the server could say it.
    const isKnown = this.#diagnosis?.state === "signed-out";
    const sentence = (!isKnown && this.#reason) || known || gettext("The server cannot be reached.");
    // The way to sign in stands beside it.
    if (isKnown) return sentence;
    const todo = this.#isFinal
      ? gettext("Reload the page to try again.")
      : gettext("Reconnecting… What you send meanwhile is kept.");
    return `${sentence} ${todo}`;
  }

  #render() {
    const text = [this.#connection, this.#trouble].filter(Boolean).join(" ");
    this.#element.hidden = !text;
    this.#element.dataset.state = this.#connection ? (this.#diagnosis?.state ?? "lost") : "";
    this.#element.replaceChildren(text);
    if (this.#connection && this.#diagnosis) this.#element.append(" ", this.#makeLink());
  }

  #makeLink() {
    const link = document.createElement("a");
    link.href = `${this.#help}#${this.#diagnosis.state}`;
    link.textContent = gettext("What can I do?");
    return link;
  }
}
