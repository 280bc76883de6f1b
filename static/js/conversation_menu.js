// What can be done with a conversation, from its menu: the forms of the server, sent without leaving the page.

import { parseElements } from "./catchup.js";
import { gettext, interpolate } from "./i18n.js";
import { askForTitle } from "./rename.js";

const FAILED = gettext("That could not be done. Try again.");
const DONE = {
  pin: gettext("The conversation is pinned."),
  unpin: gettext("The conversation is no longer pinned."),
  archive: gettext("The conversation is in the archive."),
  unarchive: gettext("The conversation is back in the list."),
};
// Those that take a conversation out of the reader's sight.
const UNDO = { archive: "unarchive", unarchive: "archive" };

export class ConversationMenus {
  #list;
  #toasts;
  #on;

  // `on`: renamed(id, title), deleted(id), which returns whether the page goes elsewhere now.
  constructor(list, toasts, on) {
    this.#list = list;
    this.#toasts = toasts;
    this.#on = on;
    document.addEventListener("submit", (event) => this.#submitted(event));
    document.addEventListener("click", (event) => this.#clicked(event));
    document.addEventListener("keydown", (event) => walk(event));
  }

  #submitted(event) {
    const menu = event.target.closest("[data-menu]");
    if (!menu) return;
    event.preventDefault();
    menu.hidePopover();
    const { formAction, dataset } = event.submitter;
    if (dataset.act === "delete") this.#delete(menu, formAction, dataset.undo);
    else this.#change(menu, formAction, dataset.act, UNDO[dataset.act]);
  }

  async #change(menu, url, act, undo) {
    const next = this.#list.neighbour(menu.dataset.of);
    const row = await this.#send(menu, url);
    if (!row) return;
    const inList = Boolean(menu.closest("[data-item]"));
    this.#show(row);
    const run = () => this.#change(row.querySelector("[data-menu]"), row.querySelector(`[data-act="${undo}"]`).formAction, undo);
    this.#toasts.show(DONE[act], undo && { label: gettext("Undo"), run });
    // The row with the button may be another one now, elsewhere or gone.
    if (inList) focusRow(this.#list.find(row.dataset.item) ?? next);
  }

  async #delete(menu, url, undo) {
    const id = menu.dataset.of;
    const next = this.#list.neighbour(id);
    if ((await post(menu, url)) === null) {
      this.#toasts.show(FAILED);
      return;
    }
    if (this.#on.deleted(id)) return;
    this.#list.remove(id);
    focusRow(next);
    const run = async () => {
      const restored = await this.#send(menu, undo);
      if (!restored) return;
      this.#show(restored);
      this.#toasts.show(DONE.unarchive);
      focusRow(this.#list.find(id));
    };
    this.#toasts.show(gettext("The conversation is deleted."), { label: gettext("Undo"), run });
  }

  async #clicked(event) {
    const link = event.target.closest("[data-rename]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const menu = link.closest("[data-menu]");
    menu.hidePopover();
    const shown = menu.closest("[data-item]")?.querySelector("[data-conversation]") ?? document.querySelector("[data-title]");
    const title = await askForTitle(shown);
    if (title !== null) await this.#rename(menu, link.href, title);
    // The row may have been replaced meanwhile.
    if (document.activeElement === document.body) buttonOf(menu)?.focus();
  }

  async #rename(menu, url, title) {
    const row = await this.#send(menu, url, { title });
    if (!row) return;
    this.#show(row);
    this.#on.renamed(row.dataset.item, row.querySelector("[data-conversation]").textContent);
  }

  // Returns the row of the list as it is now; null, and says so, where the server has not taken it.
  async #send(menu, url, values = {}) {
    const text = await post(menu, url, values);
    const [row] = text === null ? [] : parseElements(text, "[data-item]");
    if (!row) this.#toasts.show(FAILED);
    return row ?? null;
  }

  #show(row) {
    // The same menu stands elsewhere on the page, too.
    const actions = row.querySelector("[data-menu]");
    const { ariaLabel } = row.querySelector("[data-menu-button]");
    for (const menu of document.querySelectorAll(`[data-menu][data-of="${CSS.escape(row.dataset.item)}"]`)) {
      menu.replaceChildren(...actions.cloneNode(true).childNodes);
      buttonOf(menu).ariaLabel = ariaLabel;
    }
    this.#list.put(row.cloneNode(true));
  }
}

// Tells the buttons of a conversation's menus how it is called by now.
export function nameMenus(id, title) {
  for (const menu of document.querySelectorAll(`[data-menu][data-of="${CSS.escape(id)}"]`)) {
    buttonOf(menu).ariaLabel = interpolate(gettext("More: %(title)s"), { title });
  }
}

// Up and down go round in an open menu, and from its button into it.
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const menu = step && document.querySelector("[data-menu]:popover-open");
  if (!menu) return;
  const actions = [...menu.querySelectorAll("a, button")];
  const at = actions.indexOf(document.activeElement);
  event.preventDefault();
  actions.at(at < 0 && step < 0 ? -1 : (at + step) % actions.length).focus();
}

function focusRow(row) {
  (row?.querySelector("[data-menu-button]") ?? document.querySelector("[data-new-link]")).focus();
}

function buttonOf(menu) {
  return document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`);
}

async function post(form, url, values = {}) {
  const body = new FormData(form);
  for (const [name, value] of Object.entries(values)) body.set(name, value);
  try {
    const response = await fetch(url, { method: "POST", body, headers: { "X-Requested-With": "fetch" } });
    return response.ok ? await response.text() : null;
  } catch {
    return null;
  }
}
