// Makes an element like another one, with as few changes as that takes: what stays keeps focus, selection and scroll.

// What its reader has opened stays open.
const KEPT = new Set(["open"]);

export function patch(shown, wanted) {
  patchAttributes(shown, wanted);
  patchChildren(shown, wanted);
}

function patchAttributes(shown, wanted) {
  for (const { name } of [...shown.attributes]) {
    if (!KEPT.has(name) && !wanted.hasAttribute(name)) shown.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (!KEPT.has(name) && shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
}

function patchChildren(shown, wanted) {
  const wantedKeys = new Set([...wanted.children].map(keyOf));
  for (const child of [...shown.children]) if (keyOf(child) && !wantedKeys.has(keyOf(child))) child.remove();
  const keyed = new Map([...shown.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let place = shown.firstChild;
  for (const node of [...wanted.childNodes]) {
    const key = keyOf(node);
    const found = key ? keyed.get(key) : place;
    if (!found || !isAlike(found, node)) {
      shown.insertBefore(document.adoptNode(node), place);
      continue;
    }
    if (found !== place) bring(shown, place, found);
    place = found.nextSibling;
    if (node.nodeType === Node.ELEMENT_NODE) patch(found, node);
    else if (found.data !== node.data) found.data = node.data;
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

// Brings `found` to `place`. What is moved loses the focus: nodes without a key that stand between go instead.
function bring(shown, place, found) {
  const between = [];
  for (let node = place; node && node !== found && !keyOf(node); node = node.nextSibling) between.push(node);
  if ((between.at(-1) ?? place)?.nextSibling === found) for (const node of between) node.remove();
  else shown.insertBefore(found, place);
}

function isAlike(one, other) {
  return one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

function keyOf(node) {
  return node.dataset?.key ?? "";
}
