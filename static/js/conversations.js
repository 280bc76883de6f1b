// The list on a page of its own: puts it together.

import { ConversationList } from "./conversation_list.js";
import { ConversationMenus } from "./conversation_menu.js";
import { continueOnScroll } from "./endless.js";
import { Toasts } from "./toast.js";

const list = new ConversationList(document.querySelector("[data-conversations]"));
continueOnScroll(list, document);
new ConversationMenus(list, new Toasts(document.querySelector("[data-toasts]")), {
  renamed: () => {},
  deleted: () => false,
});
