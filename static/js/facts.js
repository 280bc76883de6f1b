// What stands under an answer that has just ended, in the words of chat/turns.py.

export function listFacts({ provider, model, duration, firstTokenMs, usage = {}, costUsd }) {
  const facts = [];
  if (model) facts.push(`${provider}:${model}`);
  if (duration !== undefined) facts.push(formatDuration(duration));
  if (firstTokenMs !== undefined) facts.push(`first token ${formatDuration(firstTokenMs)}`);
  if (usage.inputTokens !== undefined) {
    const count = usage.inputTokens + (usage.cacheReadTokens ?? 0) + (usage.cacheWriteTokens ?? 0);
    facts.push(`${count} tokens in`);
  }
  if (usage.outputTokens !== undefined) facts.push(`${usage.outputTokens} tokens out`);
  if (costUsd !== undefined) facts.push(formatCost(Number(costUsd)));
  return facts;
}

export function formatDuration(milliseconds) {
  if (milliseconds < 1000) return `${milliseconds} ms`;
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 10) return `${seconds}.${Math.floor((milliseconds % 1000) / 100)} s`;
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

function formatCost(usd) {
  if (usd === 0) return "free";
  return usd >= 0.0001 ? `$${usd.toFixed(4)}` : "less than $0.0001";
}
