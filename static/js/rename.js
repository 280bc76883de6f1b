// A title that is changed where it stands: Enter and leaving the field keep it, Escape does not.

import { gettext } from "./i18n.js";

const LONGEST = 200;

// Shows a field in place of `element`; resolves to the new title, or to null where it stays as it was.
export function askForTitle(element) {
  const field = document.createElement("input");
  const before = element.textContent.trim();
  Object.assign(field, { className: "rename", value: before, maxLength: LONGEST, ariaLabel: gettext("Title") });
  field.dataset.renaming = "";
  element.hidden = true;
  element.after(field);
  field.focus();
  field.select();
  return new Promise((resolve) => {
    let ended = false;
    const end = (keep) => {
      // Taking the field away also blurs it.
      if (ended) return;
      ended = true;
      const title = field.value.trim();
      element.hidden = false;
      field.remove();
      resolve(keep && title && title !== before ? title : null);
    };
    field.addEventListener("blur", () => end(true));
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      // Escape would close the drawer as well.
      event.preventDefault();
      event.stopPropagation();
      end(event.key === "Enter");
    });
  });
}
