// Sends one file to the server. Not fetch, which cannot tell how far it is.

import { gettext } from "./i18n.js";

// Why a file is not taken; `final`: trying again would change nothing.
export class Refusal extends Error {
  constructor(sentence, final) {
    super(sentence);
    this.final = final;
  }
}

// Returns {done, abort}; `done` resolves to what the server keeps ({id, kind, name, url, width, height}) or rejects with
// a Refusal. `progress` is called with how much of it has gone, from 0 to 1.
export function upload(form, file, progress) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.upload.addEventListener("progress", (event) => event.lengthComputable && progress(event.loaded / event.total));
    request.addEventListener("load", () => {
      if (request.status === 201 && request.response?.id) resolve(request.response);
      else reject(refusalOf(request));
    });
    request.addEventListener("error", () => reject(new Refusal(gettext("The server cannot be reached."), false)));
  });
  const body = new FormData();
  body.append("file", file);
  request.open("POST", form.dataset.uploadUrl);
  request.responseType = "json";
  request.setRequestHeader("X-CSRFToken", tokenOf(form));
  request.send(body);
  return { done, abort: () => request.abort() };
}

function refusalOf({ response, status }) {
  const sentence = response?.error;
  return new Refusal(sentence ?? gettext("The server did not take the file."), Boolean(sentence) && status < 500);
}

// Nobody waits for the answer: what stays behind is swept after a day.
export function forget(form, url) {
  fetch(`${url}/delete`, { method: "POST", headers: { "X-CSRFToken": tokenOf(form) } }).catch(() => {});
}

// Whether a file of an earlier draft is still there; where nobody can say, it is.
export async function isThere(url) {
  try {
    return (await fetch(url, { method: "HEAD" })).status !== 404;
  } catch {
    return true;
  }
}

function tokenOf(form) {
  return form.querySelector("[name=csrfmiddlewaretoken]").value;
}
