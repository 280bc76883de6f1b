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

// Returns whether it will be remembered.
export function keep(key, value) {
  try {
    localStorage.setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

export function forget(key) {
  remember(key, "");
}

const PERSON = "person";
// What people write and choose; all but the theme.
const PERSONAL = /^(draft|files|outbox|model|only):/;

// Says whose browser this is now; "": a guest's. What another account has left goes, before anybody reads it. What a guest
// has left stays: they have signed in.
export function belongTo(person) {
  const before = recall(PERSON);
  if (before && before !== person) forgetPersonal();
  remember(PERSON, person);
}

function forgetPersonal() {
  try {
    for (const key of Object.keys(localStorage).filter((name) => PERSONAL.test(name))) forget(key);
  } catch {
    // Nothing is remembered anyhow.
  }
}

// Returns everything under keys that begin so.
export function recallAll(prefix) {
  try {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(prefix));
    return keys.map((key) => localStorage.getItem(key));
  } catch {
    return [];
  }
}
