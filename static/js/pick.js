// The ways in which files come to the page: chosen with the button, dropped anywhere, pasted into the message.

export function listenForFiles(form, take) {
  const input = form.querySelector("[data-file-input]");
  form.querySelector("[data-attach]").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = "";
  });
  form.addEventListener("paste", (event) => {
    const { files, types } = event.clipboardData;
    // Copied out of a document, the text comes with a picture of itself.
    if (!files.length || types.includes("text/plain")) return;
    event.preventDefault();
    take([...files]);
  });
  listenForDrops(form, take);
}

function listenForDrops(form, take) {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (dropping) => form.toggleAttribute("data-dropping", dropping);
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    // Without this the browser would open the file in place of the page.
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget || mark(false));
  addEventListener("drop", (event) => {
    mark(false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
}
