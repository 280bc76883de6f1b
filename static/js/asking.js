// What the reader asks of the server: say, edit, answer again, go on, stop, cancel. All of it survives a lost connection.

import { reopenEditor } from "./editor.js";
import { gettext } from "./i18n.js";

export class Asking {
  #page;
  // The reply that the reader has stopped, until it has ended.
  #stopping = null;
  // Replies that the reader has taken out of the queue → {id, text} of the question, and whether the server was told:
  // `isSent`, and `isSure` if that was over this connection.
  #cancelled = new Map();

  constructor(page) {
    this.#page = page;
  }

  // `choice`: {model, onlyModel, attachments}, each of which may be missing; `files`: the attachments as they are shown.
  say(message, choice, files) {
    const { outbox, thread, follower } = this.#page;
    const clientId = outbox.add({ type: "start", message, ...choice });
    if (!thread.isPartial) thread.addQuestion({ clientId, text: message, files, state: "sending" });
    this.#post(clientId);
    follower.toBottom();
  }

  // The same place of the conversation, in other words.
  edit(messageId, message, choice) {
    this.#post(this.#page.outbox.add({ type: "edit", messageId, message, ...choice }));
  }

  // Has what the answer `messageId` answers answered again; `model` where that is to be another one.
  regenerate(messageId, model) {
    this.#postOnce({ type: "regenerate", messageId, ...(model && { model }) });
  }

  // Asks for more where a reply stopped, from `model` or from whoever wrote it.
  goOn(messageId, model) {
    this.#postOnce({ type: "continue", messageId, ...(model && { model }) });
  }

  #postOnce(frame) {
    const { outbox } = this.#page;
    if (!outbox.asksAbout(frame.messageId)) this.#post(outbox.add(frame));
  }

  #post(clientId) {
    const { outbox, connection, status } = this.#page;
    connection.send(outbox.frame(clientId));
    status.clear();
  }

  // The server has refused a frame of ours: nothing that was written gets lost.
  refused(clientId) {
    const { outbox, thread, composer } = this.#page;
    const frame = outbox.frame(clientId);
    outbox.remove(clientId);
    if (frame.type === "edit" && reopenEditor(frame.messageId)) return;
    thread.removeQuestion(clientId);
    composer.giveBack(frame);
  }

  stop() {
    this.#stopping = this.#page.replies.current;
    this.#sendStop();
  }

  isStopping(replyId) {
    return this.#stopping === replyId;
  }

  ended(replyId) {
    if (this.#stopping === replyId) this.#stopping = null;
  }

  #sendStop() {
    if (this.#stopping) this.#page.connection.send({ type: "stop", replyId: this.#stopping });
  }

  // Takes a reply out of the queue. `question`: {id, text} of what it would answer.
  cancel(replyId, question) {
    this.#cancelled.set(replyId, { ...question, isSent: false, isSure: false });
    this.#sendCancelled();
  }

  #sendCancelled() {
    for (const [replyId, cancelled] of this.#cancelled)
      if (!cancelled.isSent) cancelled.isSent = cancelled.isSure = this.#page.connection.send({ type: "cancel", replyId });
  }

  // The page shows what the server has by now: what was cancelled is back in the reader's hands.
  settle() {
    const { announcer, thread, composer } = this.#page;
    for (const [replyId, cancelled] of this.#cancelled) {
      const { id, text } = cancelled;
      if (thread.isQueued(replyId)) {
        // Lost with the connection before.
        cancelled.isSent &&= cancelled.isSure;
        continue;
      }
      this.#cancelled.delete(replyId);
      // Too late: it is being answered.
      if (thread.has(replyId) || thread.has(id)) continue;
      composer.giveBack({ message: text });
      announcer.say(gettext("Cancelled. The message is back in the message field."));
    }
    this.#sendCancelled();
  }

  // After a lost connection.
  resend() {
    const { connection, outbox } = this.#page;
    this.#sendStop();
    for (const cancelled of this.#cancelled.values()) cancelled.isSure = false;
    this.#sendCancelled();
    for (const frame of outbox.frames()) connection.send(frame);
  }
}
