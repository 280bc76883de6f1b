// Short messages at the edge of the page, announced as they appear, each with at most one button. They go by themselves,
// but not while the pointer or the focus is on them.

const SHOWN_MS = 10_000;

export class Toasts {
  #root;
  #announcer;

  // `announcer`: where the page has one; elsewhere the root itself is a live region.
  constructor(root, announcer) {
    this.#root = root;
    this.#announcer = announcer;
    // What the server has put there stays as long as the others.
    for (const toast of root.children) this.#keep(toast);
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
    this.#announcer?.say(action ? `${sentence} ${action.label}` : sentence);
    this.#keep(toast);
  }

  #makeButton(toast, { label, run }) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "toast-action";
    button.textContent = label;
    button.addEventListener("click", () => {
      toast.remove();
      run();
    });
    return button;
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
