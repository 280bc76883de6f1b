// "How was this answered?" under each answer: the server tells it, once somebody asks.

import { fetchElements } from "./catchup.js";

export function showStories(root) {
  // This event does not bubble.
  root.addEventListener("toggle", (event) => fill(event.target), { capture: true });
}

async function fill(details) {
  const link = details.matches("[data-answered]") && details.open && details.querySelector("[data-attempts-link]");
  if (!link) return;
  const [story] = await fetchElements(link.href, "[data-story]");
  // Without one, the link stays where it is. It may have been replaced meanwhile.
  if (story && link.isConnected) link.replaceWith(story);
}
