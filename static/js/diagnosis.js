// Why there is no connection, in one sentence with what to do: found out from how it ended, and by asking over HTTP.

import { gettext, interpolate } from "./i18n.js";

const ANSWER_WITHIN_MS = 3000;
const BY_CODE = { 1012: "restarting", 4429: "too-many" };

const SENTENCES = {
  offline: gettext("This device is offline."),
  down: gettext("The server cannot be reached."),
  restarting: gettext("The server is restarting."),
  "signed-out": gettext("You are no longer signed in."),
  "too-many": gettext("You have too many connections open: close other tabs of this site."),
  origin: gettext("The server does not accept pages from %(origin)s: it is missing in the setting ALLOWED_ORIGINS."),
  stripped: gettext("Something on the way removes the header Origin, without which the server accepts no live connection."),
  refused: gettext("Live connection is blocked here; using plain HTTP instead."),
  buffered: gettext("Something on the way holds back the live connection; using plain HTTP instead."),
};

// `code`: of a close frame, or 0; `isSilent`: it was open, and nothing came. Returns {state, sentence, httpWorks, took}: milliseconds.
export async function diagnose(code, isSilent) {
  if (BY_CODE[code]) return describe(BY_CODE[code]);
  if (!navigator.onLine) return describe("offline");
  const began = performance.now();
  const seen = await ask();
  if (!seen) return describe("down");
  return { ...describe(name(seen, isSilent)), httpWorks: seen.signedIn, took: performance.now() - began };
}

function name({ signedIn, origin, allowed }, isSilent) {
  if (!signedIn) return "signed-out";
  if (isSilent) return "buffered";
  if (!origin) return "stripped";
  return allowed ? "refused" : "origin";
}

function describe(state) {
  return { state, sentence: interpolate(SENTENCES[state], { origin: location.origin }), httpWorks: false };
}

// A POST, since that is where browsers name their page's origin. Returns null where nobody of ours answers.
async function ask() {
  try {
    const response = await fetch("/api/connection", { method: "POST", signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}
