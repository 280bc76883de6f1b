// Puts the page together: finds the elements, makes the parts, connects them.

import { listenToActions } from "./actions.js";
import { Announcer } from "./announce.js";
import { showStories } from "./answered.js";
import { Attachments } from "./attachments.js";
import { listenToArrows } from "./branches.js";
import { showEarlierOnScroll } from "./earlier.js";
import { fetchElements } from "./catchup.js";
import { copyText } from "./clipboard.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { ConversationList } from "./conversation_list.js";
import { ConversationMenus, nameMenus } from "./conversation_menu.js";
import { continueOnScroll } from "./endless.js";
import { gettext } from "./i18n.js";
import { listenForCode } from "./markdown/code.js";
import { Outbox } from "./outbox.js";
import { Replies } from "./replies.js";
import { Follower } from "./scroll.js";
import { searchAsTyped } from "./search.js";
import { Settings } from "./settings.js";
import { listenToShortcuts } from "./shortcuts.js";
import { prepareSidebar } from "./sidebar.js";
import { Status } from "./status.js";
import { belongTo } from "./storage.js";
import { Thread } from "./thread.js";
import { Unsent } from "./unsent.js";
import { Toasts } from "./toast.js";
import { VisionNote } from "./vision.js";

const find = (name) => document.querySelector(`[data-${name}]`);
const template = (name) => document.querySelector(`[data-template="${name}"]`);

const root = find("chat");
const { session, url } = root.dataset;
const isNew = "new" in root.dataset;
belongTo(root.dataset.person);

const outbox = new Outbox(session);
const replies = new Replies();
const announcer = new Announcer(find("announce"), find("announce-whole"));
const status = new Status(find("status"), announcer);
const list = new ConversationList(find("conversations"), session);
const follower = new Follower(find("jump"), find("composer"), find("marked"));
const thread = new Thread(
  find("messages"),
  {
    user: template("user"),
    assistant: template("assistant"),
    notice: template("notice"),
    image: template("message-image"),
    file: template("message-file"),
  },
  () => {
    const empty = find("empty");
    if (empty) empty.hidden = find("messages").matches(":has([data-message])");
    follower.contentChanged();
  },
);
const vision = new VisionNote(find("composer-form"), (sentence) => announcer.say(sentence));
const files = new Attachments(find("composer-form"), {
  template: template("file"),
  draft: isNew ? "new" : session,
  on: {
    change: () => {
      vision.show(files.hasImages);
      composer.filesChanged();
    },
    trouble: (sentence) => status.show(sentence),
    say: (sentence) => announcer.say(sentence),
    empty: () => composer.focus(),
  },
});
const composer = new Composer(find("composer-form"), {
  session,
  isNew,
  limit: Number(root.dataset.messageLength),
  files,
  on: {
    send: (message, choice, attached) => {
      // A reload of an empty page would lead to another conversation.
      if (!conversation.isStored) history.replaceState(history.state, "", `?c=${session}`);
      conversation.asking.say(message, { ...choice, ...settings.ofFirst }, attached);
      unsent.show();
    },
    stop: () => conversation.asking.stop(),
    change: (self) => {
      self.keepDraft(outbox);
      follower.contentChanged();
    },
  },
});
files.restore();
const connection = new Connection(session, {
  greeting: () => conversation.greeting(),
  ready: () => {
    unsent.connected();
    conversation.ready();
  },
  frame: (frame) => conversation.receive(frame),
  lost: (final) => {
    conversation.lost(final);
    unsent.lost();
  },
  state: (diagnosis) => status.diagnosed(diagnosis),
});
const unsent = new Unsent({
  outbox,
  thread,
  messages: find("messages"),
  template: template("unsent"),
  removed: () => {
    announcer.say(gettext("Removed."));
    composer.focus();
  },
});
const page = { announcer, composer, connection, follower, list, offerSignIn, outbox, replies, rename, refreshModels, showStored, showSums, status, thread };
const conversation = new Conversation(page, { session, url, isNew });

function offerSignIn() {
  find("sign-in").hidden = false;
}

function rename(title) {
  find("title").textContent = title;
  document.title = `${title} · Sasha Studio`;
  list.rename(session, title);
  nameMenus(root.dataset.id, title);
}

// The conversation has been stored, and can be renamed and all that.
function showStored() {
  find("bar-menu").hidden = false;
  find("new-link").removeAttribute("aria-current");
}

async function showSums() {
  const [sums] = await fetchElements(root.dataset.sumsUrl, "[data-sums]");
  if (!sums) return;
  const budget = sums.querySelector("[data-budget]")?.textContent ?? "";
  if (budget && budget !== find("budget")?.textContent) announcer.say(budget);
  find("sums").replaceWith(sums);
}

// Pauses begin with an answer that failed, and end while nobody looks.
async function refreshModels() {
  const [form] = await fetchElements(find("new-link").href, "[data-composer-form]");
  if (!form) return;
  composer.offer(form);
  vision.show(files.hasImages);
}
document.addEventListener("visibilitychange", () => document.hidden || refreshModels());

const settings = new Settings(find("settings-link"), template("settings"), { conversation, dialog: find("sheet"), status, announcer });
const { asking } = conversation;
const catchUp = () => conversation.catchUp();
const limit = Number(root.dataset.messageLength);
listenToActions(find("messages"), { ...page, asking, catchUp, limit, dialog: find("sheet"), editor: template("editor") });
showEarlierOnScroll(find("messages"), { thread, follower });
listenToArrows(find("messages"), { announcer, follower, status, url, catchUp });
showStories(find("messages"));
listenToShortcuts();
listenForCode(find("messages"), copyText);

new ConversationMenus(list, new Toasts(find("toasts"), announcer), {
  renamed: (id, title) => id === root.dataset.id && rename(title),
  deleted: (id) => {
    if (id !== root.dataset.id) return false;
    // Back would lead to what is no longer there.
    location.replace(`${find("new-link").href}?deleted=${id}`);
    return true;
  },
});
// A reload would offer to undo it again.
if (location.search.includes("deleted=")) history.replaceState(history.state, "", location.pathname);
continueOnScroll(list, find("conversations"));
searchAsTyped(find("search-form"), find("conversations"), (sentence) => announcer.say(sentence));
prepareSidebar(find("sidebar"), list, find("conversations"));

for (const example of document.querySelectorAll("[data-example]")) {
  example.addEventListener("click", () => composer.suggest(example.textContent));
}

// On a touch screen the keyboard would jump up.
if (matchMedia("(hover: hover)").matches) composer.focus();
connection.connect();
