// What the page missed while it was not connected: the server renders it, the page takes over what it has not got.

export async function fetchMessages(url) {
  const response = await fetch(url, { headers: { Accept: "text/html" } });
  if (!response.ok) return [];
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return [...page.querySelectorAll("[data-message]")].map((message) => document.importNode(message, true));
}
