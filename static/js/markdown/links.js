// What an answer may lead to: three schemes, on a press of the reader only, and the reader sees where to.

import { gettext } from "../i18n.js";
import { element } from "./element.js";

const SCHEMES = ["http:", "https:", "mailto:"];

// Returns the URL of a whole address with an allowed scheme, or null.
export function findAddress(href) {
  try {
    const url = new URL(href);
    return SCHEMES.includes(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

// Without an address that is allowed, a link is shown as it was written.
export function makeLink({ href, text, title }) {
  const url = findAddress(href);
  if (!url) return document.createTextNode("");
  const slot = element("span");
  const node = makeAnchor(url, slot);
  if (title) node.title = title;
  if (!tells(text, url)) node.append(makeHost(url));
  return { node, slot };
}

// An image from elsewhere would tell its server who reads this, and could carry words of the conversation away.
export function makeImage({ href, text, title }) {
  const url = findAddress(href);
  const chip = element("span", { class: "image-chip" }, gettext("Image not loaded"));
  const words = [text, title].filter(Boolean).join(" – ");
  if (!url) return element("span", { class: "image" }, chip, ` ${words} `, element("span", { class: "host" }, href));
  return element("span", { class: "image" }, chip, " ", makeAnchor(url, element("span", {}, words), makeHost(url)));
}

function makeAnchor(url, ...children) {
  return element("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

function makeHost(url) {
  return element("span", { class: "host" }, ` (${hostOf(url)})`);
}

function hostOf(url) {
  return url.host || url.pathname;
}

// Whether the words of a link already say where it leads.
function tells(text, url) {
  return text === hostOf(url) || hostOf(findAddress(text) ?? {}) === hostOf(url);
}
