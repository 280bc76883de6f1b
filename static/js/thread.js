// The messages on the page. Everything a model says becomes nodes, never HTML. Changes are painted once a frame.

import { showEnding } from "./endings.js";
import { makeFacts } from "./facts.js";
import { showFiles } from "./files.js";
import { keepFocus } from "./focus.js";
import { gettext } from "./i18n.js";
import { Markdown, makePart } from "./markdown.js";
import { clearReasoning, endReasoning, showReasoning } from "./reasoning.js";
import { reconcile } from "./reconcile.js";
import { identify, makeNotice, makeTurn, setWait } from "./turn.js";

// A hidden page gets no frames, not even one it asked for before, and must not fall behind.
const LATEST_PAINT_MS = 250;

export class Thread {
  #root;
  #templates;
  #painted;
  #markdown;
  #changes = [];
  #frame = 0;
  #timer = 0;

  // `templates`: {user, assistant, notice}; `painted` is called after each change of what is shown.
  constructor(root, templates, painted) {
    this.#root = root;
    this.#templates = templates;
    this.#painted = painted;
    this.#markdown = new Markdown(painted);
    this.#markdown.adopt(root);
  }

  // Pairs of id and last event in the text, as the server rendered it.
  get unfinished() {
    const turns = [...this.#root.querySelectorAll("[data-reply-id]:not([data-state=ended])")];
    return turns.map(({ dataset }) => [dataset.id, Number(dataset.lastSeq)]);
  }

  // Not the end of the branch that goes on.
  get isPartial() {
    return this.#root.matches("[data-partial]");
  }

  // The last message that the server has.
  get lastId() {
    return [...this.#root.querySelectorAll("[data-message]:not([data-id=''])")].at(-1)?.dataset.id;
  }

  has(id) {
    return Boolean(this.#find(id));
  }

  isQueued(id) {
    return this.#find(id)?.dataset.state === "queued";
  }

  // `files`: {kind, name, url, width, height} each.
  addQuestion({ id = "", clientId = "", text, files = [], state = "ended" }) {
    const turn = makeTurn(this.#templates.user, { id, clientId, state });
    turn.querySelector("[data-text]").textContent = text;
    showFiles(turn.querySelector("[data-message-files]"), files, this.#templates);
    // What the server has comes before what it has not.
    this.#root.insertBefore(turn, id ? this.#root.querySelector("[data-message][data-id='']") : null);
    this.#painted();
  }

  // The server has stored a question that was shown before it had an id.
  confirmQuestion(clientId, id) {
    const sent = this.#findByClient(clientId);
    if (!sent || sent.dataset.id) return;
    if (this.has(id)) sent.remove();
    else identify(sent, { id, state: "ended" });
  }

  removeQuestion(clientId) {
    this.#findByClient(clientId)?.remove();
    this.#painted();
  }

  // `continues`: it goes on where the reply before it stopped; `waiting`: what to say before its first word.
  addReply(id, { questionId, continues, waiting }) {
    if (this.has(id)) return;
    const turn = makeTurn(this.#templates.assistant, { id, replyId: id, state: "running" });
    turn.classList.toggle("turn-continues", continues);
    setWait(turn, waiting);
    const question = questionId && this.#find(questionId);
    if (question) question.after(turn);
    else this.#root.append(turn);
    this.#painted();
  }

  // Shows what another rendering of this page shows; returns the messages that are gone.
  show(messages) {
    const gone = keepFocus(this.#root, () => reconcile(this.#root, messages));
    this.#markdown.adopt(this.#root);
    this.#painted();
    return gone;
  }

  // Puts the part of the branch that ends where this page begins in place of the link to it.
  showEarlier(messages) {
    const earlier = [...messages.children].filter((child) => !child.matches("[data-latest]"));
    this.#root.querySelector("[data-earlier]").replaceWith(...earlier);
    this.#markdown.adopt(this.#root);
    this.#painted();
  }

  // Takes away a message of that role and what follows it.
  cutFrom(id, role) {
    const turn = this.#find(id);
    if (turn?.dataset.role !== role) return;
    keepFocus(this.#root, () => {
      while (turn.nextElementSibling) turn.nextElementSibling.remove();
      turn.remove();
    });
  }

  // What a reply waits for that has no text yet; `state` where that is another now.
  wait(id, words, state) {
    this.#change(id, (turn) => {
      if (state) turn.dataset.state = state;
      setWait(turn, words);
    });
  }

  restart(id) {
    this.#change(id, (turn) => {
      clearReasoning(turn);
      turn.querySelector("[data-parts]").replaceChildren(makePart());
    });
  }

  addText(id, text) {
    this.#change(id, (turn) => {
      setWait(turn, gettext("Writing"));
      endReasoning(turn);
      this.#markdown.append(lastPart(turn), text);
    });
  }

  addReasoning(id, text) {
    this.#change(id, (turn) => showReasoning(turn, text));
  }

  // `notice`: {kind, reason, newModel}. What stands before it is a document of its own: an open list or code block ends.
  addNotice(id, notice) {
    this.#change(id, (turn) => {
      this.#markdown.end(lastPart(turn));
      turn.querySelector("[data-parts]").append(makeNotice(this.#templates.notice, notice), makePart());
    });
  }

  // `badge` is empty for an answer that is whole; `ended` gets the text as it is shown, with its notices.
  end(id, metadata, badge, ended) {
    this.#change(id, (turn) => {
      Object.assign(turn.dataset, { state: "ended", ending: metadata.ending });
      setWait(turn, "");
      endReasoning(turn, metadata.reasoningMs);
      showEnding(turn, metadata, badge);
      turn.querySelector("[data-facts]").replaceChildren(...makeFacts(metadata));
      this.#markdown.end(lastPart(turn));
      ended([...turn.querySelectorAll("[data-text], [data-notice-text]")].map((part) => this.#markdown.words(part)).join(" "));
    });
  }

  #find(id) {
    return id ? this.#root.querySelector(`[data-id="${CSS.escape(id)}"]`) : null;
  }

  #findByClient(clientId) {
    return clientId ? this.#root.querySelector(`[data-client-id="${CSS.escape(clientId)}"]`) : null;
  }

  #change(id, change) {
    this.#changes.push([id, change]);
    if (this.#changes.length > 1) return;
    this.#frame = requestAnimationFrame(() => this.#paint());
    this.#timer = setTimeout(() => this.#paint(), LATEST_PAINT_MS);
  }

  #paint() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    for (const [id, change] of this.#changes.splice(0)) {
      const turn = this.#find(id);
      if (!turn) continue;
      if (turn.dataset.state === "queued") {
        turn.dataset.state = "running";
        setWait(turn, gettext("Waiting for an answer"));
      }
      change(turn);
    }
    this.#markdown.flush();
  }
}

function lastPart(turn) {
  return [...turn.querySelectorAll("[data-text]")].at(-1);
}
