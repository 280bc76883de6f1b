// What stands under an answer that has just ended, in the words of chat/turns.py.

import { gettext, interpolate, ngettext } from "./i18n.js";
import { nameModel } from "./names.js";

// Returns what is known about an answer, as items of a list.
export function makeFacts(metadata) {
  return listFacts(metadata).map((fact) => {
    const item = document.createElement("li");
    item.textContent = fact;
    return item;
  });
}

function listFacts({ provider, model, duration, firstTokenMs, usage = {}, costUsd, costSource, attempts }) {
  const facts = [];
  if (model) facts.push(nameModel(provider, model));
  if (duration !== undefined) facts.push(formatDuration(duration));
  if (firstTokenMs !== undefined) {
    facts.push(interpolate(gettext("first token %(time)s"), { time: formatDuration(firstTokenMs) }));
  }
  if (usage.inputTokens !== undefined) {
    const count = usage.inputTokens + (usage.cacheReadTokens ?? 0) + (usage.cacheWriteTokens ?? 0);
    facts.push(describeCount(ngettext("%(count)s token in", "%(count)s tokens in", count), count));
  }
  if (usage.outputTokens !== undefined) {
    const count = usage.outputTokens;
    facts.push(describeCount(ngettext("%(count)s token out", "%(count)s tokens out", count), count));
  }
  const cost = describeCost(costUsd, costSource, attempts);
  if (cost) facts.push(cost);
  if (attempts > 1) facts.push(describeCount(ngettext("%(count)s attempt", "%(count)s attempts", attempts), attempts));
  return facts;
}

function describeCount(words, count) {
  return interpolate(words, { count: count.toLocaleString(document.documentElement.lang) });
}

export function formatDuration(milliseconds) {
  if (milliseconds < 1000) return interpolate(gettext("%(count)s ms"), { count: milliseconds });
  const seconds = Math.floor(milliseconds / 1000);
  const count = seconds < 10 ? formatTenths(Math.floor(milliseconds / 100)) : seconds;
  if (seconds < 60) return interpolate(gettext("%(count)s s"), { count });
  return interpolate(gettext("%(minutes)s min %(seconds)s s"), { minutes: Math.floor(seconds / 60), seconds: seconds % 60 });
}

function formatTenths(tenths) {
  return (tenths / 10).toLocaleString(document.documentElement.lang, { minimumFractionDigits: 1 });
}

// As in chat/money.py. `usd` is a decimal number in a string, or undefined where it is not known.
export function describeCost(usd, source, attempts) {
  if (usd === undefined) return attempts ? gettext("cost unknown") : "";
  if (source === "not billed") return gettext("nothing billed");
  const trillionths = countTrillionths(usd);
  if (!trillionths) return gettext("free");
  const cost = formatUsd(trillionths);
  return source === "estimated" ? interpolate(gettext("about %(cost)s"), { cost }) : cost;
}

const PLACES = 12;
const DOLLAR = 10n ** 12n;
// A cost of less is written with three digits that count.
const SMALL = DOLLAR / 1000n;

// Whole trillionths, the ledger's smallest part: rounded as numbers with a point are, halves would go either way.
function countTrillionths(usd) {
  return BigInt(Number(usd).toFixed(PLACES).replace(".", ""));
}

function formatUsd(trillionths) {
  let places = trillionths >= DOLLAR ? 2 : 4;
  if (trillionths < SMALL) places = Math.min(PLACES - String(trillionths).length + 3, PLACES);
  const unit = 10n ** BigInt(PLACES - places);
  const digits = String((trillionths + unit / 2n) / unit).padStart(places + 1, "0");
  const whole = BigInt(digits.slice(0, -places)).toLocaleString("en");
  return `$${whole}.${digits.slice(-places)}`;
}
