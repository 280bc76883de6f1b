// A shared conversation: its answers as their Markdown means them. No socket, nothing to send.

import { Markdown } from "./markdown.js";

new Markdown(() => {}).adopt(document.querySelector("[data-shared]"));
