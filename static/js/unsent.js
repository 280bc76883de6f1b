// Messages that could not be sent yet: shown as such, also after a reload, and taken back if the reader wants.

export class Unsent {
  #outbox;
  #thread;
  #messages;
  #template;
  #removed;
  #isConnected = false;

  // `template` is put under each of them; `removed` is called when the reader has taken one back.
  constructor({ outbox, thread, messages, template, removed }) {
    this.#outbox = outbox;
    this.#thread = thread;
    this.#messages = messages;
    this.#template = template;
    this.#removed = removed;
    messages.addEventListener("click", (event) => {
      const turn = event.target.closest("[data-unsent-remove]")?.closest("[data-message]");
      if (turn) this.#takeBack(turn.dataset.clientId);
    });
    this.#restore();
  }

  // What an earlier life of this page has left.
  #restore() {
    for (const { clientId, message } of this.#outbox.frames()) {
      if (this.#find(clientId)) this.#outbox.remove(clientId);
      else this.#thread.addQuestion({ clientId, text: message, state: "sending" });
    }
    this.show();
  }

  // Before they go out again: another tab may have seen to them, and the server's page has what became of it.
  connected() {
    this.#isConnected = true;
    for (const clientId of this.#outbox.dropSettled()) this.#thread.removeQuestion(clientId);
    for (const note of this.#messages.querySelectorAll("[data-unsent]")) note.remove();
  }

  lost() {
    this.#isConnected = false;
    this.show();
  }

  show() {
    if (this.#isConnected) return;
    for (const { clientId } of this.#outbox.frames()) {
      const turn = this.#find(clientId);
      if (turn && !turn.querySelector("[data-unsent]")) turn.append(this.#template.content.cloneNode(true));
    }
  }

  #takeBack(clientId) {
    this.#outbox.remove(clientId);
    this.#thread.removeQuestion(clientId);
    this.#removed();
  }

  #find(clientId) {
    return this.#messages.querySelector(`[data-client-id="${CSS.escape(clientId)}"]`);
  }
}
