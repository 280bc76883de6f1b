// What this browser remembers: drafts and chosen models. Storage may be switched off or full; then nothing is remembered.

// `place`: "sessionStorage" for what only this tab should remember.
export function recall(key, place = "localStorage") {
  try {
    return globalThis[place].getItem(key) ?? "";
  } catch {
    return "";
  }
}

export function remember(key, value, place = "localStorage") {
  try {
    if (value) globalThis[place].setItem(key, value);
    else globalThis[place].removeItem(key);
  } catch {
    // Nothing else to do: the page works without.
  }
}
