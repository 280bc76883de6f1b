// Short messages at the edge of the page, announced as they appear, each with at most one button. They go by themselves,
// but not while the pointer or the focus is on them.

const SHOWN_MS = 10_000;
// What is said while a page loads is not heard.
const LOADING_MS = 1000;

export class Toasts {
  #root;
  #announcer;

  // `announcer`: where the page has one; elsewhere the root itself is a live region.
  constructor(root, announcer) {
    this.#root = root;
    this.#announcer = announcer;
    // Above the drawer, which everything else is below. A live region must not come and go itself.
    if (announcer) root.popover = "manual";
    if (root.firstElementChild) this.#raise();
    // What the server has put there stays as long as the others.
    for (const toast of root.children) {
      this.#keep(toast);
      setTimeout(() => announcer?.say(toast.innerText), LOADING_MS);
    }
  }

  // `action`: {label, run}, which may be missing.
  show(sentence, action) {
    const toast = document.createElement("div");
    toast.className = "toast";
    const words = document.createElement("p");
    words.textContent = sentence;
    toast.append(words);
    if (action) toast.append(this.#makeButton(toast, action));
    this.#root.replaceChildren(toast);
    this.#raise();
    this.#announcer?.say(action ? `${sentence} ${action.label}` : sentence);
    this.#keep(toast);
  }

  #makeButton(toast, { label, run }) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "toast-action";
    button.textContent = label;
    // Where the keyboard came from, and goes back to unless something better is done with it.
    let before = null;
    button.addEventListener("focus", (event) => (before = event.relatedTarget));
    button.addEventListener("click", async () => {
      const hadFocus = button === document.activeElement;
      toast.remove();
      await run();
      if (hadFocus && document.activeElement === document.body) before?.focus();
    });
    return button;
  }

  // Over whatever has opened since the last one.
  #raise() {
    if (!this.#root.popover) return;
    this.#root.hidePopover();
    this.#root.showPopover();
  }

  #keep(toast) {
    let timer = 0;
    const start = () => {
      clearTimeout(timer);
      timer = setTimeout(() => toast.remove(), SHOWN_MS);
    };
    for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, () => clearTimeout(timer));
    for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, start);
    start();
  }
}
