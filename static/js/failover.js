// What happens in this conversation when a provider fails in mid-answer: stored with the change, or not shown as chosen.

export class FailoverChoice {
  #form;
  #select;
  #label;
  #stored;
  #failed;

  // `failed` is called where the server has not taken a choice.
  constructor(form, failed) {
    this.#form = form;
    this.#select = form.querySelector("[data-failover]");
    this.#label = form.querySelector("[data-failover-label]");
    this.#stored = this.#select.value;
    this.#failed = failed;
    this.#select.addEventListener("change", () => this.#store());
  }

  // The conversation is stored from here on, and can keep a choice.
  enable() {
    this.#select.disabled = false;
    this.#label.removeAttribute("title");
  }

  async #store() {
    const choice = this.#select.value;
    if (await post(this.#form)) {
      this.#stored = choice;
    } else {
      this.#select.value = this.#stored;
      this.#failed();
    }
  }
}

async function post(form) {
  try {
    const response = await fetch(form.action, { method: "POST", body: new FormData(form) });
    return response.ok;
  } catch {
    return false;
  }
}
