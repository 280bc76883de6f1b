// The earlier messages of a long conversation, fetched as the reader comes near to where they would be.

import { fetchMessages } from "./catchup.js";
import { focusMessage } from "./focus.js";

// Pixels above the window within which the next ones are fetched.
const NEAR = 600;

// `page`: {thread, follower}.
export function showEarlierOnScroll(root, { thread, follower }) {
  let isLoading = false;

  async function load(link) {
    if (isLoading) return;
    isLoading = true;
    const messages = await fetchMessages(link.href);
    // Another branch may be shown by now.
    if (messages && link.isConnected) stay(root, follower, () => thread.showEarlier(messages));
    isLoading = false;
  }

  addEventListener("scroll", () => {
    const link = root.querySelector("[data-earlier-link]");
    if (link && link.getBoundingClientRect().bottom > -NEAR) load(link);
  }, { passive: true });
  root.addEventListener("click", (event) => {
    const link = event.target.closest("[data-earlier-link]");
    if (!link) return;
    event.preventDefault();
    load(link);
  });
}

// What is on the screen stays where it is, whatever comes above it; the keyboard goes on with the first that came.
function stay(root, follower, show) {
  const seen = root.querySelector("[data-message]");
  const hadFocus = document.activeElement?.matches("[data-earlier-link]");
  const { top } = seen.getBoundingClientRect();
  follower.hold();
  show();
  scrollBy({ top: seen.getBoundingClientRect().top - top, behavior: "instant" });
  if (!hadFocus) return;
  focusMessage(seen, { preventScroll: true });
}
