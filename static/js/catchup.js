// What the server knows better: it renders, and the page takes over what it has not got.

// The one text that becomes HTML: pages of ours, as this site has sent them. Only this module can make any.
const ownPages = window.trustedTypes?.createPolicy("own-pages", { createHTML: (text) => text });

// Returns undefined where the page cannot be had.
export async function fetchMessages(url) {
  const [messages] = await fetchElements(url, "[data-messages]");
  return messages;
}

// Fetches something and shows it; once more where it has become old on the way.
export class Renewal {
  #fetch;
  #show;
  #isOld = false;
  #running = null;

  // `fetch` resolves to what `show` takes, or to undefined.
  constructor(fetch, show) {
    this.#fetch = fetch;
    this.#show = show;
  }

  // What has been asked for until now is not to be shown any more.
  outdate() {
    this.#isOld = true;
  }

  // Resolves when what is shown is not older than this call.
  renew() {
    this.#isOld = true;
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run() {
    while (this.#isOld) {
      this.#isOld = false;
      const fresh = await this.#fetch();
      if (fresh && !this.#isOld) this.#show(fresh);
    }
    this.#running = null;
  }
}

// Returns those elements of another page that fit; none where it cannot be had.
export async function fetchElements(url, selector) {
  const text = await fetchText(url);
  return text === null ? [] : parseElements(text, selector);
}

// Sends a form as its `button` would; returns whether the server took it, and what fits of the page that says why not.
export async function postForm(form, selector, button) {
  try {
    // What it took, it answers by sending the browser elsewhere: this page stays.
    const response = await fetch(form.action, { method: "POST", body: new FormData(form, button), redirect: "manual" });
    const ok = response.type === "opaqueredirect";
    return { ok, found: ok ? [] : parseElements(await response.text(), selector) };
  } catch {
    return { ok: false, found: [] };
  }
}

// The same of a page, or a part of one, that is here already.
export function parseElements(text, selector) {
  const page = new DOMParser().parseFromString(ownPages?.createHTML(text) ?? text, "text/html");
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
