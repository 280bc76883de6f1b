// Plain HTTP as a transport (see connection.js): an event stream for what comes, a request for each frame that goes.

import { gettext } from "./i18n.js";
import { Watch } from "./watch.js";

// The server answers at once, and says something every 15 seconds.
const HELLO_WITHIN_MS = 2500;
const SILENT_MS = 35_000;
// Where something on the way collects a stream before it passes it on: streams of a second, one after the other.
const SHORT_SECONDS = 1;
// What the server calls a refusal, for one that is not the server's.
const REFUSAL = "error";

export class PlainHttp {
  #base;
  #on;
  #token;
  #stream = null;
  #short = false;
  #posting = Promise.resolve();
  #isClosed = false;

  constructor(session, on) {
    this.#base = `/api/conversations/${encodeURIComponent(session)}`;
    this.#on = on;
    this.#token = document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";
    this.#listen();
  }

  // One after the other: what is sent first is stored first.
  send(frame) {
    if (frame.type === "attach") this.ping();
    else this.#posting = this.#posting.then(() => this.#post(frame));
  }

  // A new stream, from where the page is.
  ping() {
    this.#stream.abort();
    this.#listen();
  }

  close() {
    this.#isClosed = true;
    this.#stream.abort();
  }

  #end(code) {
    if (this.#isClosed) return;
    this.close();
    this.#on.closed(code);
  }

  async #post(frame) {
    try {
      const headers = { "Content-Type": "application/json", "X-CSRFToken": this.#token };
      const response = await fetch(`${this.#base}/messages`, { method: "POST", body: JSON.stringify(frame), headers });
      if (this.#isClosed) return;
      if (response.status === 401) return void this.#end(4401);
      if (response.status !== 204) this.#on.frame(await readAnswer(response, frame));
    } catch {
      this.#end(0);
    }
  }

  async #listen() {
    const stream = new AbortController();
    this.#stream = stream;
    const watch = new Watch(() => stream.abort());
    watch.expect(HELLO_WITHIN_MS);
    let closing = 0;
    let frames = 0;
    try {
      const response = await fetch(`${this.#base}/events?${this.#query()}`, { signal: stream.signal });
      if (!response.ok) throw new Error(response.status);
      this.#on.opened();
      for await (const frame of readEvents(response.body, () => frames && watch.expect(SILENT_MS))) {
        frames += 1;
        watch.expect(SILENT_MS);
        if (frame.type === "closing") closing = frame.code;
        this.#on.frame(frame);
      }
    } catch (error) {
      closing ||= error.message === "401" ? 4401 : 0;
    }
    watch.end();
    // Another stream has taken its place.
    if (stream !== this.#stream || this.#isClosed) return;
    if (!frames && watch.wasLate && !this.#short) this.#short = true;
    else if (!this.#short || !frames || closing) return void this.#end(closing);
    this.#listen();
  }

  #query() {
    const after = Object.entries(this.#on.greeting().after).map(([id, seq]) => `${id}:${seq}`);
    return new URLSearchParams({ after: after.join(","), ...(this.#short && { seconds: SHORT_SECONDS }) });
  }
}

// The frame that answers `frame`: also where a proxy answers in its own words.
async function readAnswer(response, { clientId }) {
  try {
    return { clientId, ...(await response.json()) };
  } catch {
    const error = gettext("Something between this page and the server refuses what you send.");
    if (response.status >= 500) throw new Error(error);
    return { type: REFUSAL, code: "refused", error, clientId };
  }
}

// Yields the frames of an event stream; `heard` is called with every piece of it, comments included.
async function* readEvents(body, heard) {
  let text = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice("data: ".length));
    }
  }
}
