// Tokens on the page: builds their nodes, and changes as little as it can when newer tokens take the place of older ones.

import { childrenOf, fill, isSameShell, make } from "./nodes.js";

// Makes the children of `parent` those of `fresh`; they are those of `old` now. Returns the tokens that own them after it.
// What comes out is the same as if `fresh` had been built at once: the shown answer and the stored one cannot differ.
export function patch(parent, old, fresh) {
  let same = 0;
  while (same < old.length && same < fresh.length && isSame(old[same], fresh[same])) same += 1;
  const kept = old.slice(0, same);
  if (same < old.length && same < fresh.length && grow(old[same], fresh[same])) {
    kept.push(fresh[same]);
    same += 1;
  }
  for (const token of old.slice(same)) token.node?.remove();
  for (const token of fresh.slice(same)) {
    const node = build(token);
    if (node) parent.append(node);
    kept.push(token);
  }
  return kept;
}

function isSame(a, b) {
  return a.type === b.type && a.raw === b.raw && a.loose === b.loose && Boolean(a.open) === Boolean(b.open);
}

// Lets the node of `old` become the one of `fresh`; false where a new one is needed.
function grow(old, fresh) {
  if (!old.node || old.type !== fresh.type || !isSameShell(old, fresh)) return false;
  Object.assign(fresh, { node: old.node, slot: old.slot });
  const children = childrenOf(fresh);
  if (children) fresh.shown = patch(fresh.slot, old.shown, children);
  else fill(fresh, old);
  return true;
}

function build(token) {
  Object.assign(token, make(token));
  const children = token.node && childrenOf(token);
  if (children) token.shown = patch(token.slot, [], children);
  else if (token.node) fill(token, null);
  return token.node;
}
