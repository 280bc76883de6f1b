// What screen readers hear: a short status while an answer comes, and the whole answer once when it is there.
// Announcing each piece is cut off or skipped by real readers (LibreChat's findings, PRs #3625 and #3851).
// Each sentence is a node of its own, so that none is lost to the next, and the same one is heard twice.

import { gettext, interpolate } from "./i18n.js";

const REMIND_EVERY_MS = 7000;
// Long enough for readers to take a sentence up, short enough that nobody comes upon an old one.
const KEEP_SENTENCE_MS = 5000;
// The copy of the answer is taken away again: it would be read twice by whoever walks through the page.
const KEEP_WHOLE_MS = 15_000;

export class Announcer {
  #status;
  #whole;
  #reminder = 0;
  #cleaner = 0;
  #writing = false;

  constructor(status, whole) {
    this.#status = status;
    this.#whole = whole;
  }

  say(sentence) {
    if (!sentence) return;
    const element = document.createElement("span");
    element.textContent = `${sentence} `;
    this.#status.append(element);
    setTimeout(() => element.remove(), KEEP_SENTENCE_MS);
  }

  // A reply has begun; `sentence` says what it waits for.
  begin(sentence) {
    this.#writing = false;
    this.#announce(sentence, gettext("Still waiting."));
  }

  // There is text of it.
  write() {
    if (this.#writing) return;
    this.#writing = true;
    this.#announce(gettext("The answer is being written."), gettext("Still writing."));
  }

  #announce(sentence, reminder) {
    clearInterval(this.#reminder);
    this.say(sentence);
    this.#reminder = setInterval(() => this.say(reminder), REMIND_EVERY_MS);
  }

  // Nothing is being written that the page shows.
  rest() {
    clearInterval(this.#reminder);
  }

  end(text, sentence) {
    clearInterval(this.#reminder);
    clearTimeout(this.#cleaner);
    const cut = () => interpolate(gettext("The answer has ended. %(sentence)s"), { sentence });
    this.say(sentence ? cut() : gettext("The answer is complete."));
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    this.#whole.replaceChildren(paragraph);
    this.#cleaner = setTimeout(() => this.#whole.replaceChildren(), KEEP_WHOLE_MS);
  }
}
