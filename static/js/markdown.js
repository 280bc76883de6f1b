// Answers as they are read: what models write is Markdown, and becomes nodes while it streams. HTML in it stays text.
// Not streaming-markdown: that drops signs of plain text (snake_case, a[0], $HOME) and what stands between the steps
// of a list. Here marked reads the last block again with each paint, and only what has changed is made anew.

import { Part } from "./markdown/part.js";

// How long the page may be held up by answers that were there before it.
const SLICE_MS = 8;
// A paint may take this share of the time until the next: text in one huge block is painted less often then.
const SHARE = 0.25;
const UNREAD = "[data-role=assistant] [data-text]:not(.markdown)";

const parts = new WeakMap();

// Returns what the model wrote, for an element `[data-text]`.
export function sourceOf(element) {
  return parts.get(element)?.source ?? element.textContent;
}

// Returns an empty element for a stretch of an answer.
export function makePart() {
  const part = document.createElement("div");
  part.className = "text";
  part.dir = "auto";
  part.dataset.text = "";
  return part;
}

export class Markdown {
  #painted;
  #waiting = new Set();
  #timer = 0;

  // `painted` is called after each change of what is shown.
  constructor(painted) {
    this.#painted = painted;
  }

  // Takes text for the end of `element`; the next `flush` shows it.
  append(element, text) {
    partOf(element).append(text);
    this.#waiting.add(element);
  }

  end(element) {
    partOf(element).end();
    this.#waiting.delete(element);
  }

  // Returns what an element says, without the signs of Markdown.
  words(element) {
    return parts.get(element)?.words ?? element.textContent;
  }

  // Shows what has come, where it is time for it, and calls `painted`.
  flush() {
    clearTimeout(this.#timer);
    const begun = performance.now();
    const due = [...this.#waiting].filter((element) => parts.get(element).paintableAt <= begun);
    for (const element of due) {
      parts.get(element).paint();
      this.#waiting.delete(element);
    }
    this.#painted();
    this.#plan(due, begun);
  }

  // `painted` has had the page laid out, which in one huge paragraph takes longer than to make its nodes.
  #plan(due, begun) {
    const ended = performance.now();
    for (const element of due) parts.get(element).paintableAt = ended + (ended - begun) / SHARE;
    if (!this.#waiting.size) return;
    const next = Math.min(...[...this.#waiting].map((element) => parts.get(element).paintableAt));
    this.#timer = setTimeout(() => this.flush(), next - ended);
  }

  // Renders the answers in `root` that the server has put there as text: the latest at once, the others bit by bit.
  adopt(root) {
    render([...root.querySelectorAll(UNREAD)]);
  }
}

function partOf(element) {
  if (!parts.has(element)) parts.set(element, new Part(element));
  return parts.get(element);
}

function render(elements) {
  const until = performance.now() + SLICE_MS;
  while (elements.length && performance.now() < until) renderOne(elements.pop());
  if (elements.length) setTimeout(() => render(elements), SLICE_MS);
}

function renderOne(element) {
  // It may have gone, or been read, since.
  if (!element.isConnected || parts.has(element)) return;
  const text = element.textContent;
  element.textContent = "";
  const part = partOf(element);
  part.append(text);
  if (element.closest("[data-message]").dataset.state === "ended") part.end();
  else part.paint();
}
