// What a model thought before it answered: text as it is, folded away, in one node that grows. Says how long it took, in
// the words of chat/turns.py.

import { formatDuration } from "./facts.js";
import { gettext, interpolate } from "./i18n.js";

// What is caught up with comes at once: a time this short is not the model's.
const SHORTEST_MS = 1000;

// Turn → when the reasoning began, in the time of performance.now(); as long as only reasoning comes.
const begun = new WeakMap();

export function showReasoning(turn, text) {
  const element = turn.querySelector("[data-reasoning-text]");
  if (!element.lastChild) begin(turn);
  if (element.lastChild) element.lastChild.appendData(text);
  else element.append(text);
}

// `milliseconds`: the server's figure, which comes with the end of the answer.
export function endReasoning(turn, milliseconds) {
  const watched = begun.has(turn) ? performance.now() - begun.get(turn) : 0;
  if (begun.delete(turn)) label(turn, gettext("Reasoning"));
  const time = milliseconds ?? (watched < SHORTEST_MS ? undefined : Math.floor(watched));
  if (time !== undefined) label(turn, interpolate(gettext("Thought for %(time)s"), { time: formatDuration(time) }));
}

export function clearReasoning(turn) {
  begun.delete(turn);
  turn.querySelector("[data-reasoning]").hidden = true;
  turn.querySelector("[data-reasoning-text]").textContent = "";
}

function begin(turn) {
  begun.set(turn, performance.now());
  turn.querySelector("[data-reasoning]").hidden = false;
  label(turn, gettext("Thinking"));
}

function label(turn, words) {
  turn.querySelector("[data-reasoning-label]").textContent = words;
}
