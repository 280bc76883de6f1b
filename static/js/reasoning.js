// What a model thought before it answered: text as it is, folded away, in one node that grows.

export function showReasoning(turn, text) {
  const element = turn.querySelector("[data-reasoning-text]");
  turn.querySelector("[data-reasoning]").hidden = false;
  if (element.lastChild) element.lastChild.appendData(text);
  else element.append(text);
}

export function clearReasoning(turn) {
  turn.querySelector("[data-reasoning]").hidden = true;
  turn.querySelector("[data-reasoning-text]").textContent = "";
}
