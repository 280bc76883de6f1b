// Where the keyboard goes on when what it stood on is taken away.

// Returns what `change` returns. A message that goes with the focus in it hands it to the last one that stays.
export function keepFocus(messages, change) {
  const hadFocus = messages.contains(document.activeElement);
  const result = change();
  if (hadFocus && document.activeElement === document.body) focusMessage([...messages.querySelectorAll("[data-message]")].at(-1));
  return result;
}

export function focusMessage(turn, options) {
  if (!turn) return;
  turn.tabIndex = -1;
  turn.focus(options);
}
