// How an answer ended that is not whole: a sentence, and the one sensible thing to do about it. The words are the
// server's (chat/next_steps.py).

const endings = JSON.parse(document.getElementById("endings").textContent);

// `error`: what the server said of this one answer, if it did. Returns "" for an answer that is whole.
export function describeEnding(ending, error) {
  return ending === "complete" ? "" : error || endings[ending].sentence;
}

// Shows it in the answer's element; `sentence` as of describeEnding.
export function showEnding(turn, { ending, totalChars }, sentence) {
  const next = endings[ending][totalChars ? "withText" : "withoutText"];
  const button = turn.querySelector("[data-step]");
  turn.querySelector("[data-end]").hidden = !sentence;
  turn.querySelector("[data-badge]").textContent = sentence;
  button.hidden = !next;
  button.dataset.step = next?.step ?? "";
  button.textContent = next?.label ?? "";
}
