// What stands under an answer that has just ended, in the words of chat/turns.py.

import { nameModel } from "./names.js";

export function listFacts({ provider, model, duration, firstTokenMs, usage = {}, costUsd, costSource, attempts }) {
  const facts = [];
  if (model) facts.push(nameModel(provider, model));
  if (duration !== undefined) facts.push(formatDuration(duration));
  if (firstTokenMs !== undefined) facts.push(`first token ${formatDuration(firstTokenMs)}`);
  if (usage.inputTokens !== undefined) {
    const count = usage.inputTokens + (usage.cacheReadTokens ?? 0) + (usage.cacheWriteTokens ?? 0);
    facts.push(`${count} tokens in`);
  }
  if (usage.outputTokens !== undefined) facts.push(`${usage.outputTokens} tokens out`);
  const cost = describeCost(costUsd, costSource, attempts);
  if (cost) facts.push(cost);
  return facts;
}

export function formatDuration(milliseconds) {
  if (milliseconds < 1000) return `${milliseconds} ms`;
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 10) return `${seconds}.${Math.floor((milliseconds % 1000) / 100)} s`;
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

// As in chat/money.py. `usd` is a decimal number in a string, or undefined where it is not known.
export function describeCost(usd, source, attempts) {
  if (usd === undefined) return attempts ? "cost unknown" : "";
  if (source === "not billed") return "nothing billed";
  const trillionths = countTrillionths(usd);
  if (!trillionths) return "free";
  return source === "estimated" ? `about ${formatUsd(trillionths)}` : formatUsd(trillionths);
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
