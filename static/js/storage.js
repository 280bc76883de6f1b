// What this browser remembers: drafts and chosen models. Storage may be switched off or full; then nothing is remembered.

export function recall(key) {
  try {
    return localStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

export function remember(key, value) {
  try {
    if (value) localStorage.setItem(key, value);
    else localStorage.removeItem(key);
  } catch {
    // Nothing else to do: the page works without.
  }
}
