// The search in the list: what the server finds is shown in place of the list while there is something in the field.

import { parseElements } from "./catchup.js";
import { gettext } from "./i18n.js";

// After the last key, so that not every letter of a word is looked for.
const PAUSE_MS = 150;
// After what was found: whoever still types does not want to hear of it.
const TYPING_MS = 1000;

// `list`: the element that gives way. `say`: announces how many were found.
export function searchAsTyped(form, list, say) {
  const field = form.querySelector("[data-search]");
  let results = null;
  let timer = 0;
  let telling = 0;
  let request = new AbortController();

  function show(element) {
    results?.remove();
    results = element;
    if (element) list.before(element);
    list.hidden = Boolean(element);
  }

  async function find() {
    // An answer that comes late must not replace a later one.
    request.abort();
    const mine = (request = new AbortController());
    const url = `${form.action}?${new URLSearchParams(new FormData(form))}`;
    const text = await fetchPage(url, mine.signal);
    if (mine.signal.aborted) return;
    const [found] = text === null ? [] : parseElements(text, "[data-results]");
    const shown = found ?? makeNote(gettext("The search does not answer. Try again in a moment."));
    show(shown);
    telling = setTimeout(() => say(shown.querySelector("p").textContent), TYPING_MS);
  }

  function changed() {
    clearTimeout(timer);
    clearTimeout(telling);
    if (field.value.trim()) {
      timer = setTimeout(find, PAUSE_MS);
    } else {
      request.abort();
      show(null);
    }
  }

  field.addEventListener("input", changed);
  field.addEventListener("keydown", (event) => {
    // The first Escape empties the field; the next one closes the drawer.
    if (event.key !== "Escape" || !field.value) return;
    event.preventDefault();
    field.value = "";
    changed();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    if (field.value.trim()) find();
  });
  // A browser fills the field again after going back.
  changed();
}

async function fetchPage(url, signal) {
  try {
    const response = await fetch(url, { signal });
    return response.ok ? await response.text() : null;
  } catch {
    return null;
  }
}

function makeNote(sentence) {
  const note = document.createElement("div");
  note.className = "results";
  const words = document.createElement("p");
  words.className = "list-note";
  words.textContent = sentence;
  note.append(words);
  return note;
}
