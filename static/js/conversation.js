// What each frame of the server does to this page: one table. The rules of numbering are in replies.js.

import { Asking } from "./asking.js";
import { fetchMessages, Renewal } from "./catchup.js";
import { findWords } from "./editor.js";
import { describeEnding } from "./endings.js";
import { gettext } from "./i18n.js";
import { begin, waitForAnother, waitInLine } from "./waiting.js";

// The close code for whoever is not signed in, or not any more.
const SIGNED_OUT = 4401;

export class Conversation {
  // Reply → the sentence of its `error`, which comes before its `complete`.
  #errors = new Map();
  #renewal = new Renewal(() => fetchMessages(this.url), (messages) => this.#show(messages));
  #handlers = {
    posted: (frame) => this.#posted(frame),
    started: (frame) => this.#started(frame),
    queued: (frame) => waitInLine(this.page, frame),
    chunk: (frame) => this.#take(frame, frame.from, frame.to, () => this.#text(frame)),
    reasoning: (frame) =>
      this.#take(frame, frame.from, frame.to, () => this.page.thread.addReasoning(frame.replyId, frame.content)),
    notice: (frame) => this.#take(frame, frame.seq, frame.seq, () => this.#notice(frame)),
    complete: (frame) => this.#complete(frame),
    error: (frame) => this.#error(frame),
    hello: (frame) => this.#hello(frame),
    pong: () => {},
    title: (frame) => this.page.rename(frame.title),
    changed: (frame) => this.#changedElsewhere(frame),
    closing: (frame) => this.#closing(frame),
  };

  // `page`: what main.js has put together; `session`, `url`, `isNew`: which conversation this is.
  constructor(page, { session, url, isNew }) {
    this.page = page;
    this.asking = new Asking(page);
    this.session = session;
    this.url = url;
    this.isStored = !isNew;
    this.wasLost = false;
    this.#trackAll();
  }

  receive = (frame) => this.#handlers[frame.type]?.(frame);

  #closing({ code, reason }) {
    this.page.status.explain(reason);
    if (code === SIGNED_OUT) this.page.offerSignIn();
  }

  greeting = () => ({ type: "hello", after: this.page.replies.positions() });

  ready() {
    this.page.status.connected();
    this.asking.resend();
  }

  lost(final) {
    this.wasLost = true;
    this.page.status.disconnected(final);
  }

  #posted(frame) {
    const { thread, outbox } = this.page;
    if (thread.has(frame.messageId) || outbox.has(frame.clientId)) return;
    // Anywhere else than at the end, only the server knows what is to be shown.
    if (thread.isPartial || thread.lastId !== frame.parentId) return;
    this.#renewal.outdate();
    thread.addQuestion({ ...frame, id: frame.messageId, files: frame.attachments });
  }

  #started(frame) {
    const { outbox, thread } = this.page;
    if (!frame.clientId && this.page.replies.knows(frame.replyId)) return void waitForAnother(this.page, frame);
    this.#renewal.outdate();
    const asked = outbox.frame(frame.clientId);
    outbox.remove(frame.clientId);
    if (asked?.type === "start") thread.confirmQuestion(frame.clientId, frame.userMessageId);
    if (asked && !thread.isPartial) this.#makeRoom(asked, frame);
    const isKnown = asked || thread.has(frame.replyId) || thread.has(frame.userMessageId);
    if (thread.isPartial || !isKnown) this.catchUp();
    else begin(this.page, frame);
    this.#changed();
    if (!this.isStored) this.#stored();
    this.page.list.touch(this.session);
  }

  // What takes the place of another message: the arrows between the two come with the page.
  #makeRoom({ type, messageId, message }, { userMessageId, clientId }) {
    const { thread } = this.page;
    if (type === "edit") thread.cutFrom(messageId, "user");
    if (type === "regenerate") thread.cutFrom(messageId, "assistant");
    if (type === "edit") thread.addQuestion({ id: userMessageId, clientId, text: message });
    if (type !== "start") this.catchUp();
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
    const badge = describeEnding(metadata.ending, this.#errors.get(replyId));
    this.#errors.delete(replyId);
    this.asking.ended(replyId);
    thread.end(replyId, metadata, badge, (text) => {
      announcer.end(text, badge);
      if (replies.current) announcer.begin(gettext("Waiting for the next answer."));
    });
    this.#changed();
    this.page.showSums();
    if (metadata.ending !== "complete" || metadata.attempts > 1) this.page.refreshModels();
  }

  #changedElsewhere({ reason }) {
    if (reason === "gone") return void this.page.status.show(gettext("This conversation has been deleted."));
    if (reason === "restored") this.page.status.clear();
    this.catchUp();
  }

  #error({ replyId, clientId, error, code }) {
    if (replyId) return void this.#errors.set(replyId, error);
    // The connection ends next, and the message goes out again with the next one.
    if (code === "restarting") return;
    this.page.status.show(error);
    if (this.page.outbox.has(clientId)) this.asking.refused(clientId);
  }

  #hello({ unfinished, last }) {
    const { thread, replies } = this.page;
    if (last && !this.isStored) this.#stored();
    if (thread.isPartial) return; // Whoever reads far above is left there.
    const isBehind = (last && last !== thread.lastId) || !unfinished.every((id) => replies.knows(id));
    if (this.wasLost || isBehind) this.catchUp();
    this.wasLost = false;
  }

  // Shows what the server shows; resolves when that is so.
  async catchUp() {
    if (this.isStored) await this.#renewal.renew();
  }

  // `messages`: the element of a page that the server has just rendered.
  #show(messages) {
    const { thread, replies, announcer, composer } = this.page;
    // Whoever is just editing one of those that are gone keeps the words.
    for (const turn of thread.show(messages)) composer.giveBack({ message: findWords(turn) });
    replies.keepOnly((id) => thread.has(id));
    // What came of them before they were here was dropped, maybe their end.
    for (const [id] of this.#trackAll()) this.#attach(id);
    if (!replies.current) announcer.rest();
    this.asking.settle();
    if (!thread.isPartial) history.replaceState(history.state, "", this.url);
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
    this.page.composer.setRunning(Boolean(current), this.asking.isStopping(current));
    this.page.composer.keepDraft(this.page.outbox);
  }
}
