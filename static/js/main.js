// Puts the page together: finds the elements, makes the parts, connects them.

import { Announcer } from "./announce.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { Outbox } from "./outbox.js";
import { Replies } from "./replies.js";
import { Follower } from "./scroll.js";
import { Sidebar } from "./sidebar.js";
import { Connection } from "./socket.js";
import { Status } from "./status.js";
import { Thread } from "./thread.js";

const find = (name) => document.querySelector(`[data-${name}]`);
const template = (name) => document.querySelector(`[data-template="${name}"]`);

const root = find("chat");
const { session, url } = root.dataset;
const isNew = "new" in root.dataset;

const outbox = new Outbox();
const replies = new Replies();
const announcer = new Announcer(find("announce"), find("announce-whole"));
const status = new Status(find("status"), announcer);
const sidebar = new Sidebar(find("sidebar"), template("conversation"));
const follower = new Follower(find("jump"));
const thread = new Thread(
  find("messages"),
  { user: template("user"), assistant: template("assistant") },
  () => {
    const empty = find("empty");
    if (empty) empty.hidden = find("messages").matches(":has([data-message])");
    follower.contentChanged();
  },
);
const composer = new Composer(find("composer-form"), {
  session,
  isNew,
  limit: Number(root.dataset.messageLength),
  on: {
    send: (message, model) => conversation.say(message, model),
    stop: () => conversation.stop(),
    change: (self) => {
      self.keepDraft(outbox.texts);
      follower.contentChanged();
    },
  },
});
const connection = new Connection(session, {
  greeting: () => conversation.greeting(),
  ready: () => conversation.ready(),
  frame: (frame) => conversation.receive(frame),
  lost: (final) => conversation.lost(final),
});
const page = { announcer, composer, connection, follower, outbox, replies, rename, sidebar, status, thread };
const conversation = new Conversation(page, { session, url, isNew }, JSON.parse(document.getElementById("endings").textContent));

function rename(title) {
  find("title").textContent = title;
  document.title = `${title} · Sasha Studio`;
  sidebar.rename(session, title);
}

for (const example of document.querySelectorAll("[data-example]")) {
  example.addEventListener("click", () => composer.suggest(example.textContent));
}

// On a touch screen the keyboard would jump up.
if (matchMedia("(hover: hover)").matches) composer.focus();
connection.connect();
