// The row of actions under each message.

import { fetchElements, fetchText, postForm } from "./catchup.js";
import { copyText } from "./clipboard.js";
import { openEditor } from "./editor.js";
import { gettext } from "./i18n.js";
import { openSheet } from "./sheet.js";

const ACTIONS = {
  "[data-copy]": copy,
  "[data-edit]": edit,
  "[data-regenerate]": (page, turn) => leave(page, () => page.asking.regenerate(turn.dataset.id)),
  "[data-regenerate-with]": chooseModel,
  "[data-step]": (page, turn, button) => STEPS[button.dataset.step](page, turn),
  "[data-continue]": (page, turn, button) =>
    leave(page, () => page.asking.goOn(turn.dataset.id, button.dataset.continue)),
  "[data-cancel]": cancel,
  "[data-delete]": askToDelete,
};

// What to do about an answer that is not whole: chat/next_steps.py.
const STEPS = {
  "go-on": (page, turn) => leave(page, () => page.asking.goOn(turn.dataset.id)),
  again: (page, turn) => leave(page, () => page.asking.regenerate(turn.dataset.id)),
  edit: (page, turn) => edit(page, questionOf(turn)),
};

// `page`: {asking, announcer, composer, status, catchUp, limit, dialog, editor}: parts of the page, a number, two elements.
export function listenToActions(root, page) {
  root.addEventListener("click", (event) => {
    for (const [selector, act] of Object.entries(ACTIONS)) {
      const button = event.target.closest(selector);
      if (!button) continue;
      event.preventDefault();
      act(page, button.closest("[data-message]"), button);
      return;
    }
  });
}

// The button goes away, and the keyboard goes on in the message field.
function leave({ composer }, act) {
  act();
  composer.focus();
}

// An answer may continue another one.
function questionOf(turn) {
  let above = turn;
  do above = above.previousElementSibling;
  while (above && above.dataset.role !== "user");
  return above;
}

function sourceOf(turn) {
  return fetchText(`/messages/${turn.dataset.id}/text`);
}

async function copy({ announcer, status }, turn, button) {
  const text = await sourceOf(turn);
  if (text !== null && (await copyText(text))) {
    announcer.say(gettext("Copied"));
    button.dataset.done = "";
    setTimeout(() => delete button.dataset.done, 2000);
  } else {
    status.show(gettext("The text could not be copied."));
  }
}

async function edit(page, turn) {
  if (turn.querySelector("[data-editor]")) return;
  const text = await sourceOf(turn);
  if (text === null) return void page.status.show(gettext("The message could not be fetched. Try again."));
  // The field grows where the reader looks, be that near the bottom.
  page.follower.hold();
  openEditor(turn, page.editor, text, {
    limit: page.limit,
    send: (message) => leave(page, () => page.asking.edit(turn.dataset.id, message, page.composer.choice)),
  });
}

function cancel({ asking, composer }, turn) {
  const question = turn.previousElementSibling;
  const text = question?.querySelector("[data-text]")?.textContent ?? "";
  asking.cancel(turn.dataset.id, { id: question?.dataset.id, text });
  composer.focus();
}

// --- In a sheet over the page -----------------------------------------------------------------------------------------

function chooseModel(page, turn) {
  const { asking, dialog } = page;
  const list = document.createElement("ul");
  list.className = "models";
  list.setAttribute("role", "list");
  for (const option of document.querySelectorAll("[data-model] option[data-name]:not(:disabled)")) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    Object.assign(button, { className: "models-button", textContent: option.dataset.name });
    button.addEventListener("click", () => {
      dialog.close();
      leave(page, () => asking.regenerate(turn.dataset.id, option.value));
    });
    item.append(button);
    list.append(item);
  }
  // Who cannot be asked, and why: a phone shows no more of it than fits beside a name.
  const others = document.createElement("p");
  others.className = "models-others";
  others.textContent = document.querySelector("[data-unavailable]").textContent;
  const content = document.createDocumentFragment();
  content.append(list, others);
  openSheet(dialog, gettext("Answer again with another model"), content);
}

// The question and what it would take along come from the server.
async function askToDelete(page, turn, link) {
  const { announcer, dialog, status, composer, catchUp } = page;
  const [form] = await fetchElements(link.href, "[data-confirm]");
  // The same question is a page of its own.
  if (!form) return void location.assign(link.href);
  form.querySelector("[data-confirm-title]").remove();
  form.querySelector("[data-confirm-cancel]").addEventListener("click", (event) => {
    event.preventDefault();
    dialog.close();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { ok } = await postForm(form, "form");
    dialog.close();
    if (!ok) return void status.show(gettext("The message could not be deleted. Try again."));
    announcer.say(gettext("The message is deleted."));
    await catchUp();
    composer.focus();
  });
  openSheet(dialog, gettext("Delete this message?"), form);
}
