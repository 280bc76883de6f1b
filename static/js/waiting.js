// A reply begins, and waits for its first word: what the page and screen readers say until then.

import { gettext, interpolate } from "./i18n.js";
import { waitingFor } from "./names.js";

export function begin({ thread, replies, announcer }, { replyId, userMessageId, provider, continues = false }) {
  const waiting = waitingFor(provider);
  thread.addReply(replyId, { questionId: userMessageId, continues, waiting });
  if (!replies.knows(replyId) && !replies.current) announcer.begin(`${waiting}.`);
  replies.track(replyId);
}

// Another provider is asked than was said before, or the first one of a reply whose turn has come.
export function waitForAnother({ thread, replies, announcer }, { replyId, provider }) {
  const waiting = waitingFor(provider);
  thread.wait(replyId, waiting);
  if (replyId === replies.current) announcer.begin(`${waiting}.`);
}

export function waitInLine({ thread, announcer }, { replyId, position }) {
  const line = interpolate(gettext("Waiting for its turn, number %(position)s in line"), { position });
  const words = position > 1 ? line : gettext("Waiting for its turn");
  thread.wait(replyId, words, "queued");
  announcer.say(`${words}.`);
}
