// The sidebar: on a narrow page a drawer; and the place in its list, which outlives the page.

import { recall, remember } from "./storage.js";

const WIDE = matchMedia("(min-width: 56rem)");
const PLACE = "list-place";
// Pages of the list that are fetched again to find the place.
const MOST_PAGES = 10;

export function prepareSidebar(root, list, scroller) {
  const close = () => root.matches(":popover-open") && root.hidePopover();
  WIDE.addEventListener("change", close);
  addEventListener("pagehide", () => {
    remember(PLACE, String(scroller.scrollTop || ""), "sessionStorage");
    // The page may come back as it was left.
    close();
  });
  return findPlace(list, scroller, Number(recall(PLACE, "sessionStorage")));
}

async function findPlace(list, scroller, place) {
  if (!place) return;
  let last = place;
  for (let page = 0; page <= MOST_PAGES; page += 1) {
    // Who scrolls meanwhile goes elsewhere.
    if (page && scroller.scrollTop !== last) return;
    scroller.scrollTop = place;
    last = scroller.scrollTop;
    if (last >= place - 1 || !(await list.loadMore())) return;
  }
}
