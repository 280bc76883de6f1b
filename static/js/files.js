// The files of a message on the page: a picture that opens by itself, or a chip with the file's name.

// `files`: {kind, name, url, width, height} each; `templates`: {image, file}.
export function showFiles(list, files, templates) {
  list.hidden = !files.length;
  list.replaceChildren(...files.map((file) => (file.kind === "image" ? makeImage(file, templates.image) : makeChip(file, templates.file))));
}

function makeImage({ name, url, width, height }, template) {
  const item = template.content.cloneNode(true).querySelector("li");
  item.querySelector("a").href = url;
  Object.assign(item.querySelector("img"), { alt: name, width, height, src: url });
  return item;
}

function makeChip({ name, url }, template) {
  const item = template.content.cloneNode(true).querySelector("li");
  item.querySelector("a").href = url;
  item.querySelector("[data-file-name]").textContent = name;
  return item;
}
