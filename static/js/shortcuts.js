// Every keyboard shortcut: one table, which the help sheet shows too. None is a single letter, which would get in the
// way of speech input (WCAG 2.1.4), and none takes a key that browsers need.

import { focusMessage } from "./focus.js";
import { gettext } from "./i18n.js";

const MAC = /Mac|iP(hone|ad|od)/.test(navigator.platform);

// `ctrl` is the command key on a Mac. `code` is the key's place on the keyboard, `key` what it writes.
const SHORTCUTS = [
  { ctrl: true, key: "/", words: gettext("Show this list"), run: showHelp },
  { ctrl: true, key: "k", words: gettext("Search your conversations"), run: search },
  { ctrl: true, shift: true, key: "o", words: gettext("New conversation"), run: () => click("[data-new-link]") },
  { shift: true, key: "Escape", words: gettext("Go to the message field"), run: () => focus("[data-composer]") },
  { ctrl: true, key: ".", words: gettext("Stop the answer"), run: () => click("[data-stop]:not([hidden])") },
  { ctrl: true, shift: true, key: "y", words: gettext("Copy the latest answer"), run: copyLatest },
  { key: "F8", words: gettext("Go to the button that undoes what was just done"), run: () => focus("[data-toasts] button") },
  { alt: true, key: "ArrowUp", words: gettext("Go to the message before"), run: () => step(-1) },
  { alt: true, key: "ArrowDown", words: gettext("Go to the message after"), run: () => step(1) },
  {
    key: "ArrowUp",
    inEmptyComposer: true,
    words: gettext("In an empty message field: edit your last message"),
    run: editLast,
  },
];
// Said in the sheet only: composer.js and the browser see to them.
const OTHERS = [
  ["Enter", gettext("Send the message")],
  ["Shift + Enter", gettext("Start a new line")],
  ["Escape", gettext("Close a menu or a sheet")],
];
const NAMES = { ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };

export function listenToShortcuts() {
  addEventListener("keydown", (event) => {
    const shortcut = SHORTCUTS.find((candidate) => fits(candidate, event));
    if (!shortcut || event.isComposing || shortcut.run() === false) return;
    event.preventDefault();
  });
  for (const button of document.querySelectorAll("[data-help-button]")) button.addEventListener("click", showHelp);
  fillHelp();
}

function fits({ ctrl = false, shift = false, alt = false, key, inEmptyComposer }, event) {
  if (inEmptyComposer && !(event.target.matches("[data-composer]") && !event.target.value)) return false;
  // Elsewhere a sheet has the keyboard.
  if (key !== "/" && document.querySelector("dialog:modal")) return false;
  const control = MAC ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey;
  const plain = !event.metaKey && !event.ctrlKey;
  return event.key.toLowerCase() === key.toLowerCase() && (ctrl ? control : plain) && event.altKey === alt &&
    // Some keyboards need Shift for a slash.
    (event.shiftKey === shift || key === "/");
}

function fillHelp() {
  const list = document.querySelector("[data-help-list]");
  const own = SHORTCUTS.map((shortcut) => [nameKeys(shortcut), shortcut.words]);
  for (const [keys, words] of [...own, ...OTHERS]) {
    const row = document.createElement("div");
    const name = document.createElement("dt");
    const meaning = document.createElement("dd");
    const kbd = document.createElement("kbd");
    kbd.textContent = keys;
    name.append(kbd);
    meaning.textContent = words;
    row.append(meaning, name);
    list.append(row);
  }
}

function nameKeys({ ctrl, shift, alt, key }) {
  const parts = [ctrl && (MAC ? "⌘" : "Ctrl"), alt && (MAC ? "⌥" : "Alt"), shift && "Shift", NAMES[key] ?? key.toUpperCase()];
  return parts.filter(Boolean).join(" + ");
}

function showHelp() {
  const sheet = document.querySelector("[data-help]");
  if (sheet.open) sheet.close();
  else sheet.showModal();
}

function search() {
  const field = document.querySelector("[data-search]");
  if (!field) return false;
  // On a narrow page it is in the drawer.
  const drawer = field.closest("[popover]");
  if (drawer && !field.checkVisibility()) drawer.showPopover();
  field.focus();
  field.select();
}

function click(selector) {
  const element = document.querySelector(selector);
  if (!element) return false;
  element.click();
}

function focus(selector) {
  const element = document.querySelector(selector);
  if (!element) return false;
  element.focus();
}

function copyLatest() {
  const button = [...document.querySelectorAll("[data-role=assistant] [data-copy]")].at(-1);
  if (!button) return false;
  button.click();
}

function editLast() {
  const button = [...document.querySelectorAll("[data-role=user] [data-edit]")].at(-1);
  if (!button) return false;
  button.click();
}

// Puts the focus on the message before or after the one that has it; from elsewhere, on the last one.
function step(by) {
  const messages = [...document.querySelectorAll("[data-messages] [data-message]")];
  const at = messages.indexOf(document.activeElement.closest("[data-message]"));
  const next = messages[at < 0 ? messages.length - 1 : at + by];
  if (!next) return false;
  focusMessage(next);
}
