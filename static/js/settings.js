// Instructions and parameters of this conversation, in a sheet. A new conversation gets them with its first message.

import { fetchElements, postForm } from "./catchup.js";
import { gettext } from "./i18n.js";
import { openSheet } from "./sheet.js";

const FORM = "[data-settings-form]";

export class Settings {
  #link;
  #page;
  // The form of a conversation that is not stored yet, as it was filled in.
  #first;

  // `page`: {conversation, dialog, status, announcer}; `first`: the template of the form where nothing is stored yet.
  constructor(link, first, page) {
    this.#link = link;
    this.#page = page;
    this.#first = first?.content.cloneNode(true).querySelector(FORM);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      this.#open();
    });
  }

  // What goes along with a message that may be the first.
  get ofFirst() {
    if (this.#page.conversation.isStored || !this.#first) return {};
    const { systemPrompt, failover, ...given } = read(this.#first);
    const numbers = Object.fromEntries(Object.entries(given).filter(([, value]) => value).map(([name, value]) => [name, Number(value)]));
    const settings = { ...numbers, ...(systemPrompt && { systemPrompt }), ...(failover && { failover }) };
    return Object.keys(settings).length ? { settings } : {};
  }

  async #open() {
    const isStored = this.#page.conversation.isStored;
    const form = isStored ? (await fetchElements(this.#link.href, FORM))[0] : this.#first;
    // The same form is a page of its own.
    if (!form) return void location.assign(this.#link.href);
    this.#listen(form);
    openSheet(this.#page.dialog, gettext("Instructions and parameters"), form);
  }

  #listen(form) {
    form.onsubmit = (event) => {
      event.preventDefault();
      if (this.#page.conversation.isStored) this.#store(form);
      else this.#done();
    };
  }

  async #store(form) {
    const { ok, found } = await postForm(form, FORM);
    if (ok) return void this.#done();
    if (!found[0]) return void this.#page.status.show(gettext("The settings could not be stored. Try again."));
    this.#listen(found[0]);
    form.replaceWith(found[0]);
  }

  #done() {
    this.#page.dialog.close();
    this.#page.announcer.say(gettext("Saved. It holds from the next message on."));
  }
}

function read(form) {
  const { system_prompt, temperature, max_tokens, failover } = form.elements;
  return { systemPrompt: system_prompt.value.trim(), temperature: temperature.value, maxTokens: max_tokens.value, failover: failover.value };
}
