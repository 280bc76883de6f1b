// The arrows between the versions of a message: the server switches, the page stays where it is.

import { postForm } from "./catchup.js";
import { gettext, interpolate } from "./i18n.js";

// `page`: {announcer, follower, status, url, catchUp}.
export function listenToArrows(root, page) {
  root.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-branch-form]")) return;
    event.preventDefault();
    if (event.submitter.ariaDisabled !== "true") turn(page, event.target, event.submitter);
  });
}

async function turn({ announcer, follower, status, url, catchUp }, form, arrow) {
  const { top } = arrow.getBoundingClientRect();
  const { ok } = await postForm(form, "form", arrow);
  if (!ok) return void status.show(gettext("The other version could not be fetched. Try again."));
  follower.hold();
  await catchUp();
  const message = document.getElementById(`m-${arrow.value}`);
  // It stands far above what the page shows.
  if (!message) return void location.assign(`${url}?at=${arrow.value}`);
  announcer.say(interpolate(gettext("Version %(version)s"), { version: message.querySelector("[data-version]").textContent }));
  const now = message.querySelector(`[data-arrow="${arrow.dataset.arrow}"]`);
  now?.focus({ preventScroll: true });
  if (now) scrollBy({ top: now.getBoundingClientRect().top - top, behavior: "instant" });
}
