// Formulas become MathML, which browsers draw themselves. Until the library is there, and where it fails, they stay text.

import { element } from "./element.js";

// Nothing in a formula may lead anywhere, name anything on the page, grow beyond its place or expand without end.
const OPTIONS = { trust: false, throwOnError: true, strict: false, maxSize: [10, 40], maxExpand: 200 };
const MOST_CHARACTERS = 5_000;
const MATHML = "http://www.w3.org/1998/Math/MathML";
const ATTRIBUTES = new Set([
  "accent", "accentunder", "class", "columnalign", "columnlines", "columnspacing", "columnspan", "depth", "dir", "display", "displaystyle",
  "fence", "form", "height", "largeop", "linebreak", "linethickness", "lspace", "mathcolor", "mathsize", "mathvariant", "maxsize", "minsize",
  "movablelimits", "notation", "rowlines", "rowspacing", "rowspan", "rspace", "scriptlevel", "separator", "side", "stretchy", "style",
  "symmetric", "voffset", "width",
]);

let library = null;

// A formula is made once it is closed; the lexer knows no others.
export function makeMath(token) {
  const node = element(token.type === "math_block" ? "div" : "span", { class: token.display ? "math math-display" : "math" }, token.raw.trim());
  if (token.display) node.tabIndex = 0;
  typeset(node, token);
  return node;
}

async function typeset(node, token) {
  if (token.tex.length > MOST_CHARACTERS) return;
  try {
    library ??= (await import("../../vendor/temml/temml.mjs")).default;
    const drawn = element("span");
    library.render(token.tex, drawn, { ...OPTIONS, displayMode: token.display, macros: {} });
    if (strip(drawn)) node.replaceChildren(...drawn.childNodes);
  } catch {
    // As it was written.
  }
}

// Takes away the attributes that no formula needs; false if there is more in it than formulas have.
function strip(drawn) {
  const elements = [...drawn.querySelectorAll("*")];
  for (const one of elements) {
    for (const { name, value } of [...one.attributes]) if (!ATTRIBUTES.has(name) || /url\(/i.test(value)) one.removeAttribute(name);
  }
  return elements.every((one) => one.namespaceURI === MATHML || one.localName === "span");
}
