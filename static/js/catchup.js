// What the server knows better: it renders, and the page takes over what it has not got.

export async function fetchMessages(url) {
  return fetchElements(url, "[data-message]");
}

// Returns those elements of another page that fit; none where it cannot be had.
export async function fetchElements(url, selector) {
  const text = await fetchText(url);
  return text === null ? [] : parseElements(text, selector);
}

// The same of a page, or a part of one, that is here already.
export function parseElements(text, selector) {
  const page = new DOMParser().parseFromString(text, "text/html");
  return [...page.querySelectorAll(selector)].map((element) => document.importNode(element, true));
}

// Returns null where there is no answer.
export async function fetchText(url) {
  try {
    const response = await fetch(url);
    return response.ok ? await response.text() : null;
  } catch {
    return null;
  }
}
