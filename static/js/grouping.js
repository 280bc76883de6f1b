// Under which heading a conversation is listed, by the reader's calendar and the server's clock; the rules are those of
// chat/listing.py. The reader's own clock may be wrong by years: only how fast it goes is used.

const ZONE_COOKIE_SECONDS = 365 * 24 * 3600;

// Milliseconds that the server's clock is ahead.
let ahead = 0;

// `time`: the server's, as in data-now, a moment ago.
export function setClock(time) {
  ahead = Date.parse(time) - Date.now();
}

export function now() {
  return new Date(Date.now() + ahead);
}

// Lets the server group by the reader's calendar, too.
export function tellZone() {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  document.cookie = `timezone=${timeZone}; path=/; max-age=${ZONE_COOKIE_SECONDS}; samesite=lax`;
}

export function groupOf(pinned, updated) {
  if (pinned) return "pinned";
  const days = dayOf(now()) - dayOf(updated);
  if (days < 1) return "today";
  if (days === 1) return "yesterday";
  return days <= 7 ? "week" : "earlier";
}

// The number of the calendar day here; days are not always 24 hours long.
function dayOf(date) {
  return Math.round(Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / 86_400_000);
}
