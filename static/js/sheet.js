// The sheet over the page for whatever needs one: one element, filled anew each time.

// What can be done without harm comes first in each.
const FIRST = "a, button, input:not([type=hidden]), select, textarea";

export function openSheet(dialog, title, content) {
  dialog.querySelector("[data-sheet-title]").textContent = title;
  const place = dialog.querySelector("[data-sheet-content]");
  place.replaceChildren(content);
  dialog.showModal();
  // A browser would begin with the button that closes it.
  place.querySelector(FIRST)?.focus();
}
