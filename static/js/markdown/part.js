// One stretch of an answer, which is a Markdown document of its own: its text, its tokens and its nodes.

import { lex, outline } from "./lexer.js";
import { patch } from "./patch.js";
import { wordsOf } from "./words.js";

const BLOCKS = new Set("blockquote,code,div,h3,h4,h5,h6,li,ol,p,pre,table,tbody,td,th,thead,tr,ul".split(","));

export class Part {
  // As the model wrote it.
  source = "";
  // When the next paint may be, in the time of performance.now().
  paintableAt = 0;
  #element;
  #text = "";
  #held = "";
  #isOpen = true;
  // Tokens that nothing can change any more but the end, where the text of the others starts, and these others.
  #settled = [];
  #start = 0;
  #tail = [];
  #cursor = null;

  constructor(element) {
    this.#element = element;
    element.classList.add("markdown");
  }

  get words() {
    return wordsOf([...this.#settled, ...this.#tail]);
  }

  // Takes text that `paint` or `end` shows later.
  append(text) {
    this.source += text;
    // The other half of a line's end, or of a character, may be in the next piece.
    const [, whole, held] = (this.#held + text).match(/^([^]*?)([\r\ud800-\udbff]?)$/);
    this.#held = held;
    this.#text += whole.replace(/\r\n?/g, "\n");
  }

  // Costs what the last block costs: everything before it stays as it is.
  paint() {
    this.#tail = patch(this.#element, this.#tail, lex(this.#text.slice(this.#start), true));
    this.#settle();
    this.#moveCursor(true);
  }

  // There is no more text. The outline of all of it says whether each block was settled rightly: an answer looks alike
  // however it came.
  end() {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#text += this.#held.replace("\r", "\n");
    const blocks = outline(this.#text);
    if (!this.#settled.every((token, at) => token.type === blocks[at]?.type && token.raw === blocks[at].raw)) this.#unsettle();
    this.#tail = patch(this.#element, this.#tail, lex(this.#text.slice(this.#start)));
    this.#moveCursor(false);
  }

  #unsettle() {
    this.#tail = [...this.#settled, ...this.#tail];
    this.#settled = [];
    this.#start = 0;
  }

  // Blocks are settled once a whole line of another one after them is there.
  #settle() {
    const lineEnd = this.#text.lastIndexOf("\n");
    let [end, count, start] = [this.#start, 0, this.#start];
    for (const [at, { type, raw }] of this.#tail.entries()) {
      if (end >= lineEnd) break;
      if (type !== "space") [count, start] = [at, end];
      end += raw.length;
    }
    this.#settled.push(...this.#tail.splice(0, count));
    this.#start = start;
  }

  #moveCursor(isShown) {
    this.#cursor?.removeAttribute("data-cursor");
    this.#cursor = isShown ? findEnd(this.#element) : null;
    this.#cursor?.setAttribute("data-cursor", "");
  }
}

// Returns the element at the very end of the text.
function findEnd(element) {
  const last = element.lastElementChild;
  const isBlock = last && BLOCKS.has(last.localName) && (last.localName !== "code" || element.localName === "pre");
  return isBlock ? findEnd(last) : element;
}
