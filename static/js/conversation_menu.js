// What can be done with a conversation, from its menu: the forms of the server, sent without leaving the page.

import { parseElements } from "./catchup.js";
import { gettext } from "./i18n.js";
import { askForTitle } from "./rename.js";

const FAILED = gettext("That could not be done. Try again.");

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
  }

  #submitted(event) {
    const menu = event.target.closest("[data-menu]");
    if (!menu) return;
    event.preventDefault();
    menu.hidePopover();
    const { formAction, dataset } = event.submitter;
    if (dataset.act === "delete") this.#delete(menu, formAction, dataset.undo);
    else this.#change(menu, formAction, dataset.act);
  }

  async #change(menu, url, act) {
    const row = await this.#send(menu, url);
    if (!row) return;
    const inList = Boolean(menu.closest("[data-item]"));
    this.#show(row);
    if (act === "archive" || act === "unarchive") {
      const words = act === "archive" ? gettext("The conversation is in the archive.") : gettext("The conversation is back in the list.");
      const back = row.querySelector(`[data-act="${act === "archive" ? "unarchive" : "archive"}"]`);
      const undo = () => this.#change(row.querySelector("[data-menu]"), back.formAction, "undo");
      this.#toasts.show(words, { label: gettext("Undo"), run: undo });
    }
    // The row with the button may be another one now, elsewhere or gone.
    if (inList) this.#list.find(row.dataset.item)?.querySelector("[data-menu-button]").focus();
  }

  async #delete(menu, url, undo) {
    const id = menu.dataset.of;
    const row = this.#list.find(id);
    const next = row?.nextElementSibling ?? row?.previousElementSibling;
    if ((await post(menu, url)) === null) {
      this.#toasts.show(FAILED);
      return;
    }
    if (this.#on.deleted(id)) return;
    this.#list.remove(id);
    next?.querySelector("[data-conversation]").focus();
    const run = async () => {
      const restored = await this.#send(menu, undo);
      if (restored) this.#show(restored);
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
