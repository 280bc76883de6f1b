// Code blocks: the language, a button that copies, one that wraps; colours once the block is closed.

import { gettext } from "../i18n.js";
import { element } from "./element.js";
import { highlight } from "./highlight.js";

export function makeCode(token) {
  const slot = element("code");
  const head = element(
    "div",
    { class: "code-head", "data-code-head": "" },
    element("span", { class: "code-language" }, token.lang || gettext("Code")),
    element("button", { type: "button", class: "code-button", "data-wrap-code": "", "aria-pressed": "false" }, gettext("Wrap lines")),
    element("button", { type: "button", class: "code-button", "data-copy-code": "" }, gettext("Copy code")),
  );
  const node = element("div", { class: "code" }, head, element("pre", { tabindex: "0" }, slot));
  return { node, slot };
}

export function fillCode(token, old) {
  if (old?.text) token.slot.firstChild.appendData(token.text.slice(old.text.length));
  else token.slot.textContent = token.text;
  if (!token.open) highlight(token.slot, languageOf(token));
}

// `copy`: takes a text, and returns whether it could be copied.
export function listenForCode(root, copy) {
  root.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-copy-code], [data-wrap-code]");
    if (!button) return;
    const code = button.closest("[data-code-head]").nextElementSibling;
    if ("wrapCode" in button.dataset) toggleWrap(button, code);
    else if (await copy(code.textContent)) confirm(button);
  });
}

function languageOf({ lang }) {
  return lang?.match(/^[^\s{:,]+/)?.[0].toLowerCase();
}

function toggleWrap(button, code) {
  const wraps = code.classList.toggle("wraps");
  button.setAttribute("aria-pressed", wraps);
}

function confirm(button) {
  button.textContent = gettext("Copied");
  setTimeout(() => (button.textContent = gettext("Copy code")), 2000);
}
