// A list that goes on as it is scrolled: the next page is fetched before its end is in sight. Its link "Show more" does
// the same by hand, where that failed.

// Pixels below what can be seen.
const EARLY = 600;

export function continueOnScroll(list, scroller) {
  const observer = new IntersectionObserver(
    (entries) => {
      if (entries.some((entry) => entry.isIntersecting)) load();
    },
    { root: scroller, rootMargin: `${EARLY}px` },
  );

  async function load() {
    // Watched anew: the link of the next page may be in sight already, which would be no change.
    observer.disconnect();
    if (await list.loadMore()) watch();
  }

  function watch() {
    if (list.more) observer.observe(list.more);
  }

  scroller.addEventListener("click", (event) => {
    if (!event.target.closest("[data-more]")) return;
    event.preventDefault();
    load();
  });
  watch();
}
