// A person's message becomes a field in its place, until the new wording is sent or given up.

export function openEditor(turn, template, text, { limit, send }) {
  const form = template.content.cloneNode(true).querySelector("form");
  const field = form.querySelector("[data-editor-text]");
  field.value = text;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!field.value.trim() || [...field.value].length > limit) return;
    // Until the server has it: then the message makes room for its new version.
    field.readOnly = true;
    send(field.value);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close(turn, form);
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.querySelector("[data-editor-cancel]").addEventListener("click", () => close(turn, form));
  turn.querySelector("[data-parts]").after(form);
  field.focus();
}

// Lets the reader go on editing what the server has refused; returns whether there still is an editor.
export function reopenEditor(messageId) {
  const field = document.querySelector(`[data-id="${CSS.escape(messageId)}"] [data-editor-text]`);
  if (!field) return false;
  field.readOnly = false;
  field.focus();
  return true;
}

// Returns what somebody is just writing in place of a message, and has not sent.
export function findWords(turn) {
  return turn.querySelector("[data-editor-text]:not(:read-only)")?.value ?? "";
}

function close(turn, form) {
  form.remove();
  turn.querySelector("[data-edit]").focus();
}
