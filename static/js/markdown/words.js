// What an answer says, without the signs of Markdown: for a screen reader, which gets it in one piece.

import { childrenOf, readText } from "./nodes.js";

const BLOCKS = new Set(["paragraph", "plain", "heading", "blockquote", "list", "list_item", "code", "table", "table_head", "table_body", "table_row", "math_block"]);

export function wordsOf(tokens) {
  return tokens.map(read).join("").trim();
}

function read(token) {
  const children = childrenOf(token);
  const text = children ? children.map(read).join("") : readLeaf(token);
  if (token.type === "table_cell") return `${text}, `;
  return BLOCKS.has(token.type) ? `${text.trim()}\n` : text;
}

function readLeaf(token) {
  switch (token.type) {
    case "code":
    case "codespan":
    case "plain":
    case "image":
      return token.text;
    case "math":
    case "math_block":
      return token.tex;
    case "br":
      return "\n";
    case "space":
    case "hr":
    case "checkbox":
      return "";
    default:
      return readText(token);
  }
}
