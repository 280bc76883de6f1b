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
  const keyed = new Map([...shown.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let place = shown.firstChild;
  for (const node of [...wanted.childNodes]) {
    const key = keyOf(node);
    const found = key ? keyed.get(key) : place;
    if (!found || !isAlike(found, node)) {
      shown.insertBefore(document.adoptNode(node), place);
      continue;
    }
    // Moved only where it stands elsewhere: what is moved loses the focus.
    if (found !== place) shown.insertBefore(found, place);
    else place = place.nextSibling;
    if (node.nodeType === Node.ELEMENT_NODE) patch(found, node);
    else if (found.data !== node.data) found.data = node.data;
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function isAlike(one, other) {
  return one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

function keyOf(node) {
  return node.dataset?.key ?? "";
}
