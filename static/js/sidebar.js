// The list of conversations: new ones on top, titles as they come. On a narrow page it is a drawer.

const WIDE = matchMedia("(min-width: 56rem)");

export class Sidebar {
  #root;
  #list;
  #template;

  constructor(root, template) {
    this.#root = root;
    this.#list = root.querySelector("[data-conversations]");
    this.#template = template;
    WIDE.addEventListener("change", () => root.matches(":popover-open") && root.hidePopover());
  }

  // Puts a conversation on top, and into the list if it is not there yet.
  touch(session, url, title) {
    const item = this.#find(session)?.closest("li") ?? this.#make(session, url, title);
    this.#list.prepend(item);
  }

  rename(session, title) {
    const link = this.#find(session);
    if (link) link.textContent = title;
  }

  #find(session) {
    return this.#list.querySelector(`[data-conversation="${CSS.escape(session)}"]`);
  }

  #make(session, url, title) {
    const item = this.#template.content.cloneNode(true).querySelector("li");
    const link = item.querySelector("a");
    link.dataset.conversation = session;
    link.href = url;
    link.textContent = title;
    link.setAttribute("aria-current", "page");
    this.#root.querySelector("[data-new-link]").removeAttribute("aria-current");
    this.#root.querySelector("[data-no-conversations]").hidden = true;
    return item;
  }
}
