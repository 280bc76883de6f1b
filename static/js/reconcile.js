// Brings the messages on the page in line with a fresh rendering by the server. What is on both stays the same element:
// an answer goes on growing in it, and it keeps the focus.

const TURN = "[data-message]";

// `fresh` is the server's element. Returns the messages that are gone.
export function reconcile(root, fresh) {
  const before = [...root.querySelectorAll(TURN)];
  const first = findOwn(root, fresh.querySelector(TURN));
  // What stands above the first message of both is the same: it is the only way there.
  const above = first ? [...root.children].filter((child) => precedes(child, first) && !child.matches("[data-left-out]")) : [];
  const wanted = [...above];
  for (const child of [...fresh.children]) {
    if (first && child.matches("[data-earlier]")) continue;
    const own = child.matches(TURN) ? findOwn(root, child) : null;
    if (own) refresh(own, child);
    wanted.push(own ?? child);
  }
  // Sent from here, and not stored yet.
  wanted.push(...before.filter((turn) => !turn.dataset.id && !wanted.includes(turn)));
  arrange(root, wanted);
  root.toggleAttribute("data-partial", fresh.matches("[data-partial]"));
  return before.filter((turn) => !turn.isConnected);
}

function findOwn(root, turn) {
  const { id, clientId } = turn?.dataset ?? {};
  return (id && root.querySelector(`${TURN}[data-id="${CSS.escape(id)}"]`)) ||
    (clientId && root.querySelector(`${TURN}[data-client-id="${CSS.escape(clientId)}"]`)) || null;
}

function precedes(element, other) {
  return Boolean(element.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING);
}

// What another message can change of this one: how many versions of it there are.
function refresh(own, fresh) {
  own.id = fresh.id;
  const old = own.querySelector("[data-branches]");
  const now = fresh.querySelector("[data-branches]");
  if (old.textContent !== now.textContent) old.replaceWith(now);
}

// Moves nothing that is in its place already: whatever is moved loses the focus.
function arrange(root, wanted) {
  for (const child of [...root.children]) if (!wanted.includes(child)) child.remove();
  let at = root.firstElementChild;
  for (const child of wanted) {
    if (child === at) at = at.nextElementSibling;
    else root.insertBefore(child, at);
  }
}
