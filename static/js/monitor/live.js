// Refreshes the part of a page that changes, from the page's own address, without losing anybody's place in it.

import { patch } from "./patch.js";

const EVERY_MS = 5000;
const LONGEST_MS = 60_000;
const WITHIN_MS = 10_000;

const bar = document.querySelector("[data-live-bar]");
const at = bar.querySelector("[data-live-at]");
const trouble = bar.querySelector("[data-live-trouble]");
const pause = bar.querySelector("[data-live-pause]");

let isPaused = false;
let failures = 0;
let timer = null;
let isAsking = false;

// The server has answered, and not with what was asked for.
class Refused extends Error {}

async function fetchPart() {
  const address = new URL(location.href);
  address.searchParams.set("live", "");
  const response = await fetch(address, { signal: AbortSignal.timeout(WITHIN_MS), cache: "no-store" });
  if (response.redirected || response.status === 403) throw new Refused("you are signed out, or may not see it");
  if (!response.ok) throw new Refused(`the server answers with error ${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const part = page.querySelector("[data-live]");
  if (!part) throw new Refused("the server answers with another page");
  return part;
}

async function refresh() {
  isAsking = true;
  const shown = document.querySelector("[data-live]");
  try {
    const part = await fetchPart();
    if (isPaused) return;
    patch(shown, part);
    failures = 0;
    at.textContent = shown.dataset.asOf;
    say("");
  } catch (error) {
    failures += 1;
    const why = error instanceof Refused ? error.message : "the server does not answer";
    say(`Not refreshed since ${at.textContent}: ${why}.`);
    shown.dataset.old = "";
  } finally {
    isAsking = false;
    plan(Math.min(EVERY_MS * 2 ** failures, LONGEST_MS));
  }
}

// Said once, however often it fails: a screen reader would repeat it.
function say(words) {
  if (trouble.textContent !== words) trouble.textContent = words;
}

function plan(delay) {
  clearTimeout(timer);
  if (!isPaused && !document.hidden && !isAsking) timer = setTimeout(refresh, delay);
}

pause.hidden = false;
bar.querySelector("[data-live-on]").hidden = false;
pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.textContent = isPaused ? "Go on" : "Pause";
  bar.querySelector("[data-live-on]").hidden = isPaused;
  plan(0);
});
document.addEventListener("visibilitychange", () => plan(0));
addEventListener("online", () => plan(0));
plan(EVERY_MS);
