// Text to tokens. Everything a model says stays: what Markdown would drop (HTML, link definitions, surplus cells) is text here.

import { Lexer, Marked } from "../../vendor/marked/marked.esm.js";

// A line that ends with "\" or two spaces is not the only one that breaks: models write verses and addresses.
const marked = new Marked({ gfm: true, breaks: true });

const BREAK = /^<br\s*\/?>/i;
const CELL_END = /(?<!\\)\|/;
// Up to an empty line; else one forgotten sign would swallow the rest of the answer.
const BLOCK_MATH = /^ {0,3}(?:\$\$((?:(?!\n[ \t]*\n)[^$])+)\$\$|\\\[((?:(?!\n[ \t]*\n)[\s\S])+?)\\\])[ \t]*(?:\n+|$)/;
const BLOCK_MATH_BEGINS = /\n {0,3}(?:\$\$|\\\[)/;
const BRACKET_MATH = /^(?:\\\(((?:(?!\n[ \t]*\n)[\s\S])+?)\\\)|\\\[((?:(?!\n[ \t]*\n)[\s\S])+?)\\\]|\$\$([^$\n]+)\$\$)/;
// As in Pandoc, so that "$5 or $10" and "$HOME:$PATH" are no formulas.
const DOLLAR_MATH = /^\$(?![\s$])((?:\\.|[^$\\\n])*?[^\s$\\]|\\.)\$(?![\p{L}\p{N}$])/u;
const MATH_BEGINS = /\\[([]|\$/;

marked.use({
  tokenizer: {
    html: () => undefined,
    // With link definitions the end of an answer would change its beginning.
    def: () => undefined,
    tag: (src) => find(src, BREAK, ([raw]) => ({ type: "br", raw })),
    del(src) {
      return src.startsWith("~~") ? false : undefined;
    },
    table(src) {
      const token = this.constructor.prototype.table.call(this, src);
      const width = token && countCells(token);
      return token && width > token.header.length ? widen.call(this, token, width) : token;
    },
  },
  extensions: [
    {
      name: "math_block",
      level: "block",
      start: (src) => src.match(BLOCK_MATH_BEGINS)?.index,
      tokenizer: (src) => find(src, BLOCK_MATH, ([raw, dollars, brackets]) => formula("math_block", raw, dollars ?? brackets, true)),
    },
    {
      name: "math",
      level: "inline",
      start: (src) => src.match(MATH_BEGINS)?.index,
      tokenizer(src, tokens) {
        const found = find(src, BRACKET_MATH, ([raw, round, square, dollars]) =>
          formula("math", raw, round ?? square ?? dollars, round === undefined),
        );
        if (found || /[\p{L}\p{N}$]$/u.test(tokens.at(-1)?.raw ?? "")) return found;
        return find(src, DOLLAR_MATH, ([raw, tex]) => formula("math", raw, tex, false));
      },
    },
  ],
});

// Returns the top-level tokens of a text. `open`: there may come more, so that its last code block is not closed yet.
export function lex(text, open = false) {
  const tokens = tokenize(text);
  if (open) leaveOpen(tokens);
  return tokens;
}

// Returns {type, raw} of those tokens, without reading what stands in them: a small part of the work.
export function outline(text) {
  try {
    return new Lexer(marked.defaults).blockTokens(text).map(({ type, raw }) => ({ type, raw }));
  } catch {
    return [];
  }
}

function tokenize(text) {
  try {
    return marked.lexer(text);
  } catch {
    // Nested so deep that nobody means it.
    return [{ type: "plain", raw: text, text }];
  }
}

// Marks the code block at the very end, and what it stands in.
function leaveOpen(tokens) {
  const last = tokens?.at(-1);
  if (!last) return false;
  const isOpen = last.type === "code" ? !isClosed(last.raw) : leaveOpen(last.items ?? last.tokens);
  if (isOpen) last.open = true;
  return isOpen;
}

function isClosed(raw) {
  const [, fence] = raw.match(/^ {0,3}(`{3,}|~{3,})/) ?? [];
  return Boolean(fence) && new RegExp(`\\n {0,3}${fence}+[ \\t]*\\n*$`).test(raw);
}

function find(src, pattern, make) {
  const match = pattern.exec(src);
  return match ? make(match) : undefined;
}

function formula(type, raw, tex, display) {
  return { type, raw, tex: tex.trim(), display };
}

function countCells({ raw }) {
  return Math.max(...raw.split("\n").map((line) => line.trim().replace(/^\||(?<!\\)\|$/g, "").split(CELL_END).length));
}

// Gives a table as many columns as its longest row has.
function widen(token, width) {
  const [header, delimiter, ...rows] = token.raw.split("\n");
  const pad = (line, cell) => line.replace(/\|\s*$/, "") + cell.repeat(width - token.header.length) + "|";
  const source = [pad(header, "|  "), pad(delimiter, "|---"), ...rows].join("\n");
  const wide = this.constructor.prototype.table.call(this, source);
  return wide ? { ...wide, raw: token.raw } : token;
}
