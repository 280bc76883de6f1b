// The sheet over the page for whatever needs one: one element, filled anew each time.

export function openSheet(dialog, title, content) {
  dialog.querySelector("[data-sheet-title]").textContent = title;
  dialog.querySelector("[data-sheet-content]").replaceChildren(content);
  dialog.showModal();
}
