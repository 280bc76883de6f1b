// The list of conversations: rows come from the server as HTML, here they find their place. It is always the truth of
// the server that counts: what another tab or device did is fetched when the reader comes back.

import { fetchElements } from "./catchup.js";
import { groupOf, now, setClock, tellZone } from "./grouping.js";

export class ConversationList {
  #root;
  #current;
  #loading = null;

  // `current`: the session of the page's own conversation, if it shows one.
  constructor(root, current = "") {
    this.#root = root;
    this.#current = current;
    setClock(root.dataset.now);
    tellZone();
    // The server may not have known the reader's time zone.
    for (const row of this.#rows()) this.#place(row);
    this.#tidy();
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    addEventListener("pageshow", (event) => event.persisted && this.refresh());
  }

  get more() {
    return this.#root.querySelector("[data-more]");
  }

  find(id) {
    return this.#root.querySelector(`[data-item="${CSS.escape(id)}"]`);
  }

  // Returns the row behind that one, or else the one before it; undefined where it is alone.
  neighbour(id) {
    const rows = this.#rows();
    const at = rows.findIndex((row) => row.dataset.item === id);
    return rows[at + 1] ?? rows[at - 1];
  }

  // Puts a conversation on top, for something was said in it.
  touch(session) {
    const row = this.#root.querySelector(`[data-conversation="${CSS.escape(session)}"]`)?.closest("[data-item]");
    if (!row) return this.refresh();
    row.dataset.updated = now().toISOString();
    this.#place(row);
    this.#tidy();
  }

  rename(session, title) {
    const link = this.#root.querySelector(`[data-conversation="${CSS.escape(session)}"]`);
    if (link) link.textContent = title;
  }

  // Takes a row as the server has it now, in place of the one that is here, or out where it belongs elsewhere.
  put(row) {
    this.#put(row);
    this.#tidy();
  }

  remove(id) {
    this.find(id)?.remove();
    this.#tidy();
  }

  // Fetches the beginning of the list again.
  async refresh() {
    const [fetched] = await fetchElements(this.#root.dataset.url, "[data-conversations]");
    if (fetched) this.#takeFirst(fetched);
  }

  // Fetches the next page; returns whether there was one.
  loadMore() {
    this.#loading ??= this.#loadMore().finally(() => (this.#loading = null));
    return this.#loading;
  }

  async #loadMore() {
    const link = this.more;
    if (!link) return false;
    link.ariaBusy = "true";
    const [fetched] = await fetchElements(link.href, "[data-conversations]");
    link.ariaBusy = null;
    if (!fetched) return false;
    for (const row of rowsOf(fetched)) this.#put(row);
    this.#setMore(fetched);
    this.#tidy();
    return true;
  }

  #takeFirst(fetched) {
    setClock(fetched.dataset.now);
    const rows = rowsOf(fetched);
    const ids = new Set(rows.map((row) => row.dataset.item));
    const continues = rows.some((row) => this.find(row.dataset.item));
    // Behind the last one, nothing was fetched, and nothing is known.
    const last = fetched.querySelector("[data-more]") ? rows.at(-1) : null;
    for (const row of this.#rows()) {
      const isGone = !ids.has(row.dataset.item) && (!last || comesBefore(row, last));
      if (isGone && !isBusy(row)) row.remove();
    }
    for (const row of rows) this.#put(row);
    // Between what was fetched and what is here, others may have come.
    if (!continues) this.#setMore(fetched);
    for (const row of this.#rows()) this.#place(row);
    this.#tidy();
  }

  #setMore(fetched) {
    const place = this.#root.querySelector("[data-more-place]");
    place.replaceChildren(...fetched.querySelector("[data-more-place]").childNodes);
  }

  #put(row) {
    const old = this.find(row.dataset.item);
    if (old && isBusy(old)) return;
    if ("archived" in row.dataset !== "archived" in this.#root.dataset) {
      old?.remove();
      return;
    }
    if (old && isSame(old, row)) {
      // It may have the focus.
      old.dataset.updated = row.dataset.updated;
      this.#place(old);
      return;
    }
    const link = row.querySelector("[data-conversation]");
    if (link.dataset.conversation === this.#current) link.setAttribute("aria-current", "page");
    old?.remove();
    this.#place(row);
  }

  #place(row) {
    const group = groupOf("pinned" in row.dataset, new Date(row.dataset.updated));
    const list = this.#root.querySelector(`[data-group="${group}"] ol`);
    const next = [...list.children].find((other) => other !== row && comesBefore(row, other)) ?? null;
    const isThere = row.parentElement === list && (next ? row.nextElementSibling === next : row === list.lastElementChild);
    if (!isThere) list.insertBefore(row, next);
  }

  #rows() {
    return rowsOf(this.#root);
  }

  #tidy() {
    for (const group of this.#root.querySelectorAll("[data-group]")) group.hidden = !group.querySelector("[data-item]");
    this.#root.querySelector("[data-no-conversations]").hidden = this.#rows().length > 0;
  }
}

function rowsOf(root) {
  return [...root.querySelectorAll("[data-item]")];
}

// Pinned ones first, then the last used.
function comesBefore(row, other) {
  const pinned = "pinned" in row.dataset;
  if (pinned !== "pinned" in other.dataset) return pinned;
  return Date.parse(row.dataset.updated) > Date.parse(other.dataset.updated);
}

function isSame(row, other) {
  const title = (of) => of.querySelector("[data-conversation]").textContent;
  return "pinned" in row.dataset === "pinned" in other.dataset && title(row) === title(other);
}

// Its menu is open, or it is being renamed.
function isBusy(row) {
  return row.matches(":has(:popover-open, [data-renaming])");
}
