// How far each reply has been shown. Events are numbered from 1 without gaps; whatever does not fit is fetched again.

export class Replies {
  // replyId → {last: number of the last event shown, asked: a gap was reported and is not filled yet}
  #unfinished = new Map();
  #ended = new Set();

  track(id, last = 0) {
    if (!this.knows(id)) this.#unfinished.set(id, { last, asked: false });
  }

  knows(id) {
    return this.#unfinished.has(id) || this.#ended.has(id);
  }

  // Forgets what the page no longer shows: it may come back, and begin anew.
  keepOnly(isShown) {
    for (const id of this.#unfinished.keys()) if (!isShown(id)) this.#unfinished.delete(id);
  }

  // The reply that a stop is meant for: replies of a conversation run one after the other.
  get current() {
    return this.#unfinished.keys().next().value ?? null;
  }

  // For `hello`: after a lost connection, questions about gaps are lost as well.
  positions() {
    const after = {};
    for (const [id, reply] of this.#unfinished) {
      reply.asked = false;
      after[id] = reply.last;
    }
    return after;
  }

  lastOf(id) {
    return this.#unfinished.get(id)?.last ?? 0;
  }

  // What to do with events `from` to `to`: "restart" (drop what was shown, then show), "append", "drop" or "gap".
  take(id, from, to) {
    const reply = this.#unfinished.get(id);
    if (!reply) return "drop";
    if (from !== 1 && to <= reply.last) return "drop";
    if (from !== 1 && from !== reply.last + 1) return this.#gap(reply);
    const verdict = from === 1 ? "restart" : "append";
    reply.last = to;
    reply.asked = false;
    return verdict;
  }

  // What to do with the end of a reply whose last event is `seq`: "end", "drop" or "gap".
  finish(id, seq) {
    const reply = this.#unfinished.get(id);
    if (!reply) return "drop";
    // Asked once; a server that still sends less has no more.
    if (seq > reply.last && !reply.asked) return this.#gap(reply);
    this.#unfinished.delete(id);
    this.#ended.add(id);
    return "end";
  }

  #gap(reply) {
    if (reply.asked) return "drop";
    reply.asked = true;
    return "gap";
  }
}
