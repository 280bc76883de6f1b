// The elements that tokens become. Nothing here takes HTML, a style or an address from the model but a link's, which links.js checks.

import { gettext } from "../i18n.js";
import { fillCode, makeCode } from "./code.js";
import { element } from "./element.js";
import { findAddress, makeImage, makeLink } from "./links.js";
import { makeMath } from "./math.js";

// Under the heading of the message, which is an h2.
const HEADINGS = ["h3", "h4", "h5", "h6", "h6", "h6"];
const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&nbsp;": "\u00a0" };
const ENTITY = /&(?:amp|lt|gt|quot|#39|nbsp);/g;
// Elements that are the same whatever their token says: only their children differ.
const ALIKE = new Set(["paragraph", "blockquote", "strong", "em", "del", "table", "table_head", "table_body", "table_row", "list_item", "plain"]);

const makers = {
  paragraph: () => element("p"),
  plain: () => element("p", { class: "verbatim" }),
  heading: (token) => element(HEADINGS[token.depth - 1]),
  blockquote: () => element("blockquote"),
  hr: () => element("hr"),
  br: () => element("br"),
  list: (token) => element(token.ordered ? "ol" : "ul"),
  list_item: makeItem,
  checkbox: makeCheckbox,
  code: makeCode,
  table: makeTable,
  table_head: () => element("thead"),
  table_body: () => element("tbody"),
  table_row: () => element("tr"),
  // One without words heads nothing.
  table_cell: ({ header, text, align }) => element(header && text ? "th" : "td", { class: align ? `align-${align}` : undefined }),
  strong: () => element("strong"),
  em: () => element("em"),
  del: () => element("del"),
  codespan: () => element("code"),
  link: makeLink,
  image: makeImage,
  math: makeMath,
  math_block: makeMath,
  // With tokens it is a line of a list without empty lines.
  text: (token) => (token.tokens ? element("span") : document.createTextNode("")),
  space: () => null,
};

// Returns {node, slot}: what stands on the page for a token, and where its children go.
export function make(token) {
  const made = makers[token.type]?.(token);
  if (made === undefined) return make({ type: "text" });
  return made?.slot && made.node ? made : { node: made, slot: made };
}

// Returns the tokens inside, or null for one that `fill` completes.
export function childrenOf(token) {
  switch (token.type) {
    case "list":
      return token.items;
    case "table":
      return partsOf(token);
    case "link":
      return findAddress(token.href) ? token.tokens : null;
    case "image":
      return null;
    default:
      return token.tokens ?? null;
  }
}

// Whether the element of `old` fits `fresh` too, its children aside.
export function isSameShell(old, fresh) {
  switch (fresh.type) {
    case "heading":
      return old.depth === fresh.depth;
    case "list":
      return old.ordered === fresh.ordered;
    case "list_item":
      return old.task === fresh.task && numberOf(old) === numberOf(fresh);
    case "code":
      return Boolean(old.open) && old.lang === fresh.lang && fresh.text.startsWith(old.text);
    case "table_cell":
      return old.align === fresh.align;
    case "text":
      return Boolean(old.tokens) === Boolean(fresh.tokens);
    default:
      return ALIKE.has(fresh.type);
  }
}

// Gives a token without children its text; `old`: the token whose node it has taken over, or null.
export function fill(token, old) {
  if (token.type === "code") fillCode(token, old);
  else if (token.type === "codespan" || token.type === "plain") token.node.textContent = token.text;
  else if (token.node.nodeType === Node.TEXT_NODE) setText(token.node, readText(token));
}

// Returns the text of a token without children, as a reader sees it.
export function readText(token) {
  if (token.type === "text") return token.text.replace(ENTITY, (entity) => ENTITIES[entity]);
  return token.type === "escape" ? token.text : token.raw;
}

// A selection in text that grows survives.
function setText(node, text) {
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}

// A model's own numbers are kept: its text may refer to them.
function makeItem(token) {
  return element("li", { value: numberOf(token), class: token.task ? "task" : undefined });
}

function numberOf({ raw }) {
  return raw.match(/^\s*(\d{1,9})[.)]/)?.[1];
}

function makeCheckbox({ checked }) {
  const label = checked ? gettext("Done") : gettext("Not done");
  return element("span", { class: "checkbox", role: "img", "aria-label": label }, checked ? "☑" : "☐");
}

// It may be wider than the page, and is scrolled by itself.
function makeTable() {
  const slot = element("table");
  const node = element("div", { class: "table", role: "region", tabindex: "0", "aria-label": gettext("Table") }, slot);
  return { node, slot };
}

function partsOf({ header, rows }) {
  const head = makePart("table_head", [makeRow(header)]);
  return rows.length ? [head, makePart("table_body", rows.map(makeRow))] : [head];
}

function makeRow(cells) {
  return makePart("table_row", cells.map((cell) => ({ ...cell, type: "table_cell", raw: `${cell.align}|${cell.text}` })));
}

function makePart(type, tokens) {
  return { type, tokens, raw: tokens.map((token) => token.raw).join("\n") };
}
