// The files that go with the next message: uploaded at once, shown as chips, kept as a draft.

import { gettext, interpolate, ngettext } from "./i18n.js";
import { listenForFiles } from "./pick.js";
import { recall, remember } from "./storage.js";
import { Refusal, forget, isThere, upload } from "./upload.js";

export class Attachments {
  #form;
  #list;
  #template;
  #most;
  #bytes;
  #key;
  #on;
  // {node, file, meta, abort}: `meta` is what the server keeps, once it does.
  #items = [];
  // Everything that this page has seen uploaded, by id: a message that was refused brings its files back.
  #known = new Map();
  #whenReady = null;
  #restored = false;

  // `on`: change(), trouble(sentence), say(sentence), empty() when the last chip, which had the focus, is gone.
  constructor(form, { template, draft, on }) {
    this.#form = form;
    this.#list = form.querySelector("[data-files]");
    this.#template = template;
    this.#most = Number(form.dataset.filesPerMessage);
    this.#bytes = Number(form.dataset.fileBytes);
    this.#key = `files:${draft}`;
    this.#on = on;
    listenForFiles(form, (files) => this.#take(files));
  }

  get isEmpty() {
    return !this.#items.length;
  }

  get hasImages() {
    return this.#items.some(({ file, meta }) => (meta ? meta.kind === "image" : file.type.startsWith("image/")));
  }

  // Calls `send` as soon as nothing is on its way any more; never, where a file has failed.
  whenReady(send) {
    const failed = this.#items.find(({ node }) => ["failed", "refused"].includes(node.dataset.state));
    if (failed) this.#on.say(failed.node.querySelector("[data-file-error]").textContent);
    else this.#whenReady = send;
    this.#checkReady();
  }

  // Returns what the server has of the files, and begins anew.
  take() {
    const taken = this.#items.map((item) => item.meta).filter(Boolean);
    for (const { node } of this.#items.splice(0)) node.remove();
    this.#changed();
    return taken;
  }

  giveBack(ids) {
    for (const id of ids.filter((id) => this.#known.has(id))) this.#add({ meta: this.#known.get(id) });
  }

  // Files outlive the page, those of messages that the server has not confirmed (`unconfirmed`, by id) too.
  keepDraft(unconfirmed) {
    if (!this.#restored) return;
    const kept = [...unconfirmed.map((id) => this.#known.get(id)), ...this.#items.map((item) => item.meta)].filter(Boolean);
    remember(this.#key, kept.length ? JSON.stringify(kept) : "");
  }

  useDraftOf(session) {
    remember(this.#key, "");
    this.#key = `files:${session}`;
  }

  // Brings back the files of a draft, once somebody listens.
  restore() {
    let drafts = [];
    this.#restored = true;
    try {
      drafts = JSON.parse(recall(this.#key) || "[]");
    } catch {
      // Nothing that was written here.
    }
    for (const meta of drafts) {
      const item = this.#add({ meta });
      isThere(meta.url).then((there) => there || this.#remove(item));
    }
  }

  #take(files) {
    const room = this.#most - this.#items.length;
    const words = ngettext("A message has at most %(count)s file.", "A message has at most %(count)s files.", this.#most);
    if (files.length > room) this.#on.trouble(interpolate(words, { count: this.#most }));
    for (const file of files.slice(0, Math.max(0, room))) this.#upload(this.#add({ file }));
  }

  #add({ file, meta }) {
    const node = this.#template.content.cloneNode(true).querySelector("[data-file]");
    const item = { node, file, meta };
    const { name } = meta ?? file;
    node.querySelector("[data-file-name]").textContent = name;
    const remove = node.querySelector("[data-file-remove]");
    remove.ariaLabel = remove.title = interpolate(gettext("Remove %(name)s"), { name });
    remove.addEventListener("click", () => this.#remove(item));
    node.querySelector("[data-file-again]").addEventListener("click", () => this.#upload(item));
    this.#items.push(item);
    this.#list.append(node);
    if (meta) this.#show(item, meta);
    this.#changed();
    return item;
  }

  async #upload(item) {
    const { node, file } = item;
    node.dataset.state = "uploading";
    const bar = node.querySelector("[data-file-progress]");
    try {
      if (file.size > this.#bytes) throw this.#tooLarge(file);
      const { done, abort } = upload(this.#form, file, (share) => (bar.value = share));
      item.abort = abort;
      this.#show(item, await done);
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      this.#fail(item, refusal);
    }
    this.#changed();
  }

  #tooLarge({ name }) {
    const most = Math.round(this.#bytes / 100_000) / 10;
    return new Refusal(interpolate(gettext("%(name)s is too large: a file may have %(most)s MB."), { name, most }), true);
  }

  #show(item, meta) {
    item.meta = meta;
    this.#known.set(meta.id, meta);
    item.node.dataset.state = "there";
    const thumb = item.node.querySelector("[data-file-thumb]");
    thumb.hidden = meta.kind !== "image";
    if (meta.kind === "image") thumb.src = meta.url;
  }

  #fail({ node }, { message, final }) {
    node.dataset.state = final ? "refused" : "failed";
    node.querySelector("[data-file-error]").textContent = message;
    node.scrollIntoView({ block: "nearest" });
    this.#whenReady = null;
    this.#on.say(message);
  }

  #remove(item) {
    const at = this.#items.indexOf(item);
    if (at < 0) return;
    const hadFocus = item.node.contains(document.activeElement);
    item.abort?.();
    if (item.meta) forget(this.#form, item.meta.url);
    this.#items.splice(at, 1);
    item.node.remove();
    this.#changed();
    if (!hadFocus) return;
    const next = this.#items[at] ?? this.#items.at(-1);
    if (next) next.node.querySelector("[data-file-remove]").focus();
    else this.#on.empty();
  }

  #changed() {
    this.#list.hidden = this.isEmpty;
    this.#on.change();
    this.#checkReady();
  }

  #checkReady() {
    const ready = this.#items.every(({ node }) => node.dataset.state === "there");
    if (!ready || !this.#whenReady) return;
    const send = this.#whenReady;
    this.#whenReady = null;
    send();
  }
}
