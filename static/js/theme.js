// Light or dark, as the reader wants it. Loaded before the first paint, and therefore no module.
(() => {
  const KEY = "theme";

  function stored() {
    try {
      return localStorage.getItem(KEY) ?? "";
    } catch {
      return "";
    }
  }

  function apply(theme) {
    document.documentElement.dataset.theme = theme;
    // What the browser paints round the page.
    for (const meta of document.querySelectorAll("meta[name=theme-color]")) {
      const { scheme } = meta.dataset;
      const chosen = theme === scheme ? "all" : "not all";
      meta.media = theme ? chosen : `(prefers-color-scheme: ${scheme})`;
    }
  }

  apply(stored());
  addEventListener("DOMContentLoaded", () => {
    const picker = document.querySelector("[data-theme-picker]");
    if (!picker) return;
    picker.value = stored();
    picker.addEventListener("change", () => {
      apply(picker.value);
      try {
        localStorage.setItem(KEY, picker.value);
      } catch {
        // Storage is switched off: the choice holds for this page.
      }
    });
  });
})();
