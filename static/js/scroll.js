// Follows the text while the reader is at the bottom, and leaves the page alone otherwise.
// Whether it does is kept with the page's entry in the history, so that a reload goes on alike.

// Pixels from the bottom that still count as being there.
const NEAR = 60;

export class Follower {
  #button;
  #following;

  // `next`: what follows the button; `marked`: the message that the address asks for, if it does.
  constructor(button, next, marked) {
    this.#button = button;
    addEventListener("scroll", () => this.#look(), { passive: true });
    addEventListener("resize", () => this.contentChanged());
    // Colours, formulas and turns that come near are laid out later than they are put there.
    new ResizeObserver(() => this.contentChanged()).observe(document.body);
    button.addEventListener("click", () => {
      // The button goes away, and the keyboard goes on where it stood. A finger would only bring up its keyboard.
      if (button.matches(":focus-visible")) next.focus();
      this.toBottom();
    });
    if (marked) this.#showAt(marked);
    else if (history.state?.following ?? true) this.toBottom();
    else this.#look();
  }

  contentChanged() {
    if (this.#following && hasMessages()) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
    else this.#look();
  }

  toBottom() {
    this.#keep(true);
    this.contentChanged();
    this.#look();
  }

  #showAt(marked) {
    this.hold();
    marked.scrollIntoView({ block: "center", behavior: "instant" });
    this.#button.hidden = this.#isAtBottom();
  }

  // What the reader looks at is about to change: stay there, even near the bottom.
  hold() {
    this.#keep(false);
  }

  #look() {
    const following = this.#isAtBottom();
    if (following !== this.#following) this.#keep(following);
    this.#button.hidden = following || !hasMessages();
  }

  #keep(following) {
    this.#following = following;
    history.replaceState({ following }, "");
    history.scrollRestoration = following ? "manual" : "auto";
  }

  #isAtBottom() {
    const page = document.documentElement;
    return page.scrollHeight - innerHeight - scrollY < NEAR;
  }
}

// Before the first one, a page begins at its top.
function hasMessages() {
  return Boolean(document.querySelector("[data-messages] [data-message]"));
}
