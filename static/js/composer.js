// The message field, its buttons, the model picker and the draft. It decides nothing about what is sent.

import { interpolate, ngettext } from "./i18n.js";
import { recall, remember } from "./storage.js";

export class Composer {
  #form;
  #text;
  #send;
  #stop;
  #model;
  #only;
  #unavailable;
  #counter;
  #limit;
  #files;
  #draftKey;
  #on;
  #running = false;

  // `files`: the Attachments; `on`: send(message, {model, onlyModel, attachments}, files), stop(), change(composer).
  constructor(form, { session, isNew, limit, files, on }) {
    this.#form = form;
    this.#text = form.querySelector("[data-composer]");
    this.#send = form.querySelector("[data-send]");
    this.#stop = form.querySelector("[data-stop]");
    this.#model = form.querySelector("[data-model]");
    this.#only = form.querySelector("[data-only]");
    this.#unavailable = form.querySelector("[data-unavailable]");
    this.#counter = form.querySelector("[data-counter]");
    this.#limit = limit;
    this.#files = files;
    this.#draftKey = isNew ? "draft:new" : `draft:${session}`;
    this.#on = on;
    const keys = { model: `model:${session}`, only: `only:${session}` };
    this.#listen(keys);
    this.#restore(keys);
  }

  // Which model is asked, and whether nobody else may be; what is not said is left out.
  get choice() {
    const model = this.#model.value;
    return { ...(model && { model }), ...(model && this.#only.checked && { onlyModel: true }) };
  }

  #listen(keys) {
    this.#text.addEventListener("input", () => this.#changed());
    this.#text.addEventListener("keydown", (event) => {
      // Enter also ends the composition of a character; that one is not ours.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#stop.addEventListener("click", () => {
      // Not `disabled`, which would take the focus away.
      this.#stop.ariaDisabled = "true";
      this.#on.stop();
    });
    this.#model.addEventListener("change", () => this.#keepChoice(keys));
    this.#only.addEventListener("change", () => this.#keepChoice(keys));
    this.#form.addEventListener("click", (event) => event.target === this.#form && this.focus());
  }

  // Takes over who can be asked by now from a fresh page's form. The choice stays, even that of one who is paused.
  offer(form) {
    const chosen = this.#model.value;
    this.#model.replaceChildren(...form.querySelector("[data-model]").childNodes);
    this.#unavailable.textContent = form.querySelector("[data-unavailable]").textContent;
    this.#choose(chosen);
    this.#offerOnly();
  }

  #choose(model) {
    const known = [...this.#model.options].some((option) => option.value === model);
    this.#model.value = known ? model : "";
  }

  #keepChoice(keys) {
    this.#offerOnly();
    remember(keys.model, this.#model.value);
    remember(keys.only, this.#only.checked ? "yes" : "");
  }

  // "Auto" and "only" contradict each other.
  #offerOnly() {
    this.#only.disabled = !this.#model.value;
    if (this.#only.disabled) this.#only.checked = false;
  }

  #restore(keys) {
    const model = recall(keys.model);
    if (model) this.#choose(model);
    this.#only.checked = recall(keys.only) === "yes";
    this.#offerOnly();
    // Firefox fills the field again after a reload, by itself.
    this.#text.value ||= recall(this.#draftKey);
    this.#changed();
  }

  focus() {
    this.#text.focus({ preventScroll: true });
  }

  // Shows what comes with a reply that is being written: the stop button, in place of send until something is typed.
  // `stopping`: it has been pressed.
  setRunning(running, stopping) {
    const hadFocus = this.#stop.contains(document.activeElement);
    this.#running = running;
    this.#stop.hidden = !running;
    this.#stop.ariaDisabled = String(stopping);
    this.#showSend();
    if (!running && hadFocus) this.focus();
  }

  suggest(message) {
    this.#text.value = message;
    this.#changed();
    this.focus();
  }

  // What was not taken: {message, attachments}, either of which may be missing.
  giveBack({ message, attachments = [] }) {
    this.#text.value = [message, this.#text.value].filter(Boolean).join("\n\n");
    this.#files.giveBack(attachments);
    this.#changed();
  }

  // Files have come or gone.
  filesChanged() {
    this.#changed();
  }

  // Drafts outlive the page, and so do messages that the server has not confirmed: those in the outbox.
  keepDraft({ texts, files }) {
    remember(this.#draftKey, [...texts, this.#text.value].filter(Boolean).join("\n\n"));
    this.#files.keepDraft(files);
  }

  useDraftOf(session) {
    remember(this.#draftKey, "");
    this.#draftKey = `draft:${session}`;
    this.#files.useDraftOf(session);
  }

  get #isEmpty() {
    return !this.#text.value.trim() && this.#files.isEmpty;
  }

  #submit() {
    if (this.#isEmpty || this.#excess() > 0) return;
    this.#files.whenReady(() => {
      const message = this.#text.value;
      this.#text.value = "";
      const files = this.#files.take();
      const attachments = files.length ? { attachments: files.map((file) => file.id) } : {};
      this.#on.send(message, { ...this.choice, ...attachments }, files);
      this.#changed();
    });
  }

  #changed() {
    const excess = this.#excess();
    this.#counter.hidden = excess <= 0;
    this.#counter.textContent = excess > 0 ? describeExcess(excess) : "";
    this.#showSend();
    this.#grow();
    this.#on.change(this);
  }

  #excess() {
    const { value } = this.#text;
    // The server counts characters; a string's length counts some of them twice.
    return value.length <= this.#limit ? 0 : [...value].length - this.#limit;
  }

  #showSend() {
    const empty = this.#isEmpty;
    this.#send.disabled = empty || this.#excess() > 0;
    this.#send.hidden = this.#running && empty;
  }

  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}

function describeExcess(excess) {
  const words = ngettext("%(count)s character too long", "%(count)s characters too long", excess);
  return interpolate(words, { count: excess.toLocaleString(document.documentElement.lang) });
}
