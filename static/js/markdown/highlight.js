// Colours for code, from vendored grammars that are fetched when a block first needs them.

import { element } from "./element.js";

// Colouring takes about a millisecond for a thousand characters, and must not hold up a frame for long.
const MOST_CHARACTERS = 30_000;

const GRAMMARS = {
  bash: () => import("../../vendor/highlight/languages/bash.min.js"),
  c: () => import("../../vendor/highlight/languages/c.min.js"),
  cpp: () => import("../../vendor/highlight/languages/cpp.min.js"),
  csharp: () => import("../../vendor/highlight/languages/csharp.min.js"),
  css: () => import("../../vendor/highlight/languages/css.min.js"),
  diff: () => import("../../vendor/highlight/languages/diff.min.js"),
  dockerfile: () => import("../../vendor/highlight/languages/dockerfile.min.js"),
  go: () => import("../../vendor/highlight/languages/go.min.js"),
  ini: () => import("../../vendor/highlight/languages/ini.min.js"),
  java: () => import("../../vendor/highlight/languages/java.min.js"),
  javascript: () => import("../../vendor/highlight/languages/javascript.min.js"),
  json: () => import("../../vendor/highlight/languages/json.min.js"),
  kotlin: () => import("../../vendor/highlight/languages/kotlin.min.js"),
  lua: () => import("../../vendor/highlight/languages/lua.min.js"),
  makefile: () => import("../../vendor/highlight/languages/makefile.min.js"),
  markdown: () => import("../../vendor/highlight/languages/markdown.min.js"),
  php: () => import("../../vendor/highlight/languages/php.min.js"),
  powershell: () => import("../../vendor/highlight/languages/powershell.min.js"),
  python: () => import("../../vendor/highlight/languages/python.min.js"),
  r: () => import("../../vendor/highlight/languages/r.min.js"),
  ruby: () => import("../../vendor/highlight/languages/ruby.min.js"),
  rust: () => import("../../vendor/highlight/languages/rust.min.js"),
  sql: () => import("../../vendor/highlight/languages/sql.min.js"),
  swift: () => import("../../vendor/highlight/languages/swift.min.js"),
  typescript: () => import("../../vendor/highlight/languages/typescript.min.js"),
  xml: () => import("../../vendor/highlight/languages/xml.min.js"),
  yaml: () => import("../../vendor/highlight/languages/yaml.min.js"),
};
const ALIASES = {
  "c#": "csharp", "c++": "cpp", cc: "cpp", console: "bash", cs: "csharp", docker: "dockerfile", golang: "go", h: "c", hpp: "cpp",
  html: "xml", js: "javascript", jsonc: "json", jsx: "javascript", kt: "kotlin", make: "makefile", md: "markdown", mjs: "javascript",
  patch: "diff", ps1: "powershell", py: "python", python3: "python", rb: "ruby", rs: "rust", sh: "bash", shell: "bash", svg: "xml",
  toml: "ini", ts: "typescript", tsx: "typescript", yml: "yaml", zsh: "bash",
};
// Languages that occur inside others.
const WITHIN = { markdown: ["xml"], php: ["xml"], xml: ["css", "javascript"] };

let library = null;
const ready = new Map();

// Colours the text of `code`, at once where the grammar is there already.
export async function highlight(code, name) {
  const language = Object.hasOwn(ALIASES, name) ? ALIASES[name] : name;
  if (!Object.hasOwn(GRAMMARS, language) || code.textContent.length > MOST_CHARACTERS) return;
  if (!ready.has(language)) await fetchLanguage(language);
  if (ready.get(language)) code.replaceChildren(...colour(code.textContent, language));
}

async function fetchLanguage(language) {
  try {
    library ??= (await import("../../vendor/highlight/core.min.js")).default;
    for (const one of [...(WITHIN[language] ?? []), language]) {
      library.registerLanguage(one, (await GRAMMARS[one]()).default);
    }
    ready.set(language, true);
  } catch {
    // Without its colours code can be read as well; the next block tries again.
  }
}

function colour(text, language) {
  return makeNodes(library.highlight(text, { language, ignoreIllegals: true })._emitter.rootNode);
}

// The library's tree of {scope, children}, in which the texts are: its HTML is not used.
function makeNodes({ children }) {
  return children.map((child) => (typeof child === "string" ? child : element("span", { class: classOf(child) }, ...makeNodes(child))));
}

function classOf({ scope }) {
  return scope ? `hl-${scope.split(".")[0].replace(/\W/g, "-")}` : undefined;
}
