// What each frame of the server does to this page: one table. The rules of numbering are in replies.js.

import { fetchMessages } from "./catchup.js";
import { gettext } from "./i18n.js";
import { waitingFor } from "./names.js";

// The close code for whoever is not signed in, or not any more.
const SIGNED_OUT = 4401;

export class Conversation {
  // Reply → the sentence of its `error`, which comes before its `complete`.
  #errors = new Map();
  // The reply that the reader has stopped, until it has ended.
  #stopping = null;
  #handlers = {
    posted: (frame) => this.#posted(frame),
    started: (frame) => this.#started(frame),
    queued: (frame) => this.page.thread.wait(frame.replyId, frame.position),
    chunk: (frame) => this.#take(frame, frame.from, frame.to, () => this.#text(frame)),
    reasoning: (frame) =>
      this.#take(frame, frame.from, frame.to, () => this.page.thread.addReasoning(frame.replyId, frame.content)),
    notice: (frame) => this.#take(frame, frame.seq, frame.seq, () => this.#notice(frame)),
    complete: (frame) => this.#complete(frame),
    error: (frame) => this.#error(frame),
    hello: (frame) => this.#hello(frame),
    pong: () => {},
    title: (frame) => this.page.rename(frame.title),
    closing: (frame) => this.#closing(frame),
  };

  // `page`: what main.js has put together; `session`, `url`, `isNew`: which conversation this is.
  constructor(page, { session, url, isNew }, endings) {
    this.page = page;
    this.session = session;
    this.url = url;
    this.isStored = !isNew;
    this.endings = endings;
    this.wasLost = false;
    this.#trackAll();
  }

  receive(frame) {
    this.#handlers[frame.type]?.(frame);
  }

  #closing({ code, reason }) {
    this.page.status.explain(reason);
    if (code === SIGNED_OUT) this.page.offerSignIn();
  }

  greeting() {
    return { type: "hello", after: this.page.replies.positions() };
  }

  ready() {
    const { connection, outbox, status } = this.page;
    status.connected();
    this.#sendStop();
    for (const frame of outbox.frames()) connection.send(frame);
  }

  lost(final) {
    this.wasLost = true;
    this.page.status.disconnected(final);
  }

  // `choice`: {model, onlyModel, attachments}, each of which may be missing; `files`: the attachments as they are shown.
  say(message, choice, files) {
    const { outbox, thread, follower } = this.page;
    const clientId = outbox.add({ type: "start", message, ...choice });
    thread.addQuestion({ clientId, text: message, files, state: "sending" });
    this.#post(clientId);
    follower.toBottom();
  }

  // Asks `model` to go on where a reply stopped.
  goOn(messageId, model) {
    const { outbox } = this.page;
    if (!outbox.continues(messageId)) this.#post(outbox.add({ type: "continue", messageId, model }));
  }

  #post(clientId) {
    const { outbox, connection, status } = this.page;
    connection.send(outbox.frame(clientId));
    status.clear();
  }

  stop() {
    this.#stopping = this.page.replies.current;
    this.#sendStop();
  }

  #sendStop() {
    if (this.#stopping) this.page.connection.send({ type: "stop", replyId: this.#stopping });
  }

  #posted(frame) {
    if (this.page.thread.has(frame.messageId) || this.page.outbox.has(frame.clientId)) return;
    this.page.thread.addQuestion({ ...frame, id: frame.messageId, files: frame.attachments });
  }

  #started(frame) {
    const { outbox, thread, replies, announcer } = this.page;
    const isOurs = outbox.has(frame.clientId);
    if (!frame.userMessageId && !isOurs && !thread.has(frame.replyId)) {
      // Another tab had an answer continued or given again: only the server knows where that stands.
      return void this.#catchUp();
    }
    const continues = outbox.frame(frame.clientId)?.type === "continue";
    if (frame.userMessageId) thread.confirmQuestion(frame.clientId, frame.userMessageId);
    outbox.remove(frame.clientId);
    const waiting = waitingFor(frame.provider);
    thread.addReply(frame.replyId, { questionId: frame.userMessageId, continues, waiting });
    if (!replies.knows(frame.replyId) && !replies.current) announcer.begin(`${waiting}.`);
    replies.track(frame.replyId);
    this.#changed();
    if (!this.isStored) this.#stored();
    this.page.list.touch(this.session);
  }

  // The first message of a new conversation has made it.
  #stored() {
    this.isStored = true;
    history.replaceState(history.state, "", this.url);
    this.page.composer.useDraftOf(this.session);
    this.page.showStored();
  }

  #take(frame, from, to, show) {
    const { replies, thread } = this.page;
    const verdict = replies.take(frame.replyId, from, to);
    if (verdict === "gap") this.#attach(frame.replyId);
    if (verdict === "restart") thread.restart(frame.replyId);
    if (verdict === "restart" || verdict === "append") show();
  }

  #text({ replyId, content }) {
    this.page.thread.addText(replyId, content);
    if (replyId === this.page.replies.current) this.page.announcer.write();
  }

  #attach(replyId) {
    this.page.connection.send({ type: "attach", replyId, after: this.page.replies.lastOf(replyId) });
  }

  #notice(frame) {
    this.page.thread.addNotice(frame.replyId, frame);
    this.page.announcer.say(frame.reason);
  }

  #complete({ replyId, seq, metadata }) {
    const { replies, thread, announcer } = this.page;
    const verdict = replies.finish(replyId, seq);
    if (verdict === "gap") this.#attach(replyId);
    if (verdict !== "end") return;
    const badge = metadata.ending === "complete" ? "" : this.#errors.get(replyId) || this.endings[metadata.ending];
    this.#errors.delete(replyId);
    if (this.#stopping === replyId) this.#stopping = null;
    thread.end(replyId, metadata, badge, (text) => {
      announcer.end(text, badge);
      if (replies.current) announcer.begin(gettext("Waiting for the next answer."));
    });
    this.#changed();
    this.page.showSums();
    if (metadata.ending !== "complete" || metadata.attempts > 1) this.page.refreshModels();
  }

  #error({ replyId, clientId, error, code }) {
    const { outbox, thread, composer, status } = this.page;
    if (replyId) {
      this.#errors.set(replyId, error);
      return;
    }
    // The connection ends next, and the message goes out again with the next one.
    if (code === "restarting") return;
    status.show(error);
    if (!outbox.has(clientId)) return;
    thread.removeQuestion(clientId);
    composer.giveBack(outbox.take(clientId));
  }

  #hello({ unfinished, last }) {
    const isBehind = (last && !this.page.thread.has(last)) || !unfinished.every((id) => this.page.replies.knows(id));
    if (this.wasLost || isBehind) this.#catchUp();
    this.wasLost = false;
  }

  async #catchUp() {
    if (!this.isStored) return;
    this.page.thread.adopt(await fetchMessages(this.url));
    // What came of them before they were here was dropped, maybe their end.
    for (const [id] of this.#trackAll()) this.#attach(id);
  }

  // Replies that the server rendered before their end: the stream goes on behind what is shown. Returns the new ones.
  #trackAll() {
    const { thread, replies } = this.page;
    const added = thread.unfinished.filter(([id]) => !replies.knows(id));
    for (const [id, last] of added) replies.track(id, last);
    this.#changed();
    return added;
  }

  #changed() {
    const { current } = this.page.replies;
    this.page.composer.setRunning(Boolean(current), current === this.#stopping);
    this.page.composer.keepDraft(this.page.outbox);
  }
}
