// New messages and notices from the page's templates.

import { gettext, interpolate } from "./i18n.js";
import { nameExact } from "./names.js";

// As in chat/turns.py: where the template has the id of a message in an address.
const NO_ID = "00000000-0000-0000-0000-000000000000";

export function makeTurn(template, data) {
  const turn = template.content.cloneNode(true).querySelector("[data-message]");
  identify(turn, data);
  return turn;
}

// `data` as of the element's data set; with an `id`, its links lead somewhere.
export function identify(turn, data) {
  Object.assign(turn.dataset, data);
  if (!data.id) return;
  turn.id = `m-${data.id}`;
  for (const link of turn.querySelectorAll(`a[href*="${NO_ID}"]`)) {
    link.href = link.getAttribute("href").replace(NO_ID, data.id);
  }
}

export function makeNotice(template, { kind, reason, newModel }) {
  const notice = template.content.cloneNode(true).querySelector("[data-notice]");
  notice.dataset.kind = kind;
  notice.querySelector("[data-notice-text]").textContent = reason;
  const button = notice.querySelector("[data-continue]");
  if (kind !== "ask") button.remove();
  button.dataset.continue = newModel;
  button.textContent = interpolate(gettext("Continue with %(model)s"), { model: nameExact(newModel) });
  return notice;
}

// What a reply waits for that has no text yet.
export function setWait(turn, words) {
  const wait = turn.querySelector("[data-wait]");
  if (wait.textContent !== words) wait.textContent = words;
}
