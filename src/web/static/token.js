// The token page: makes tokens without leaving it, so that none is in the browser's history; searches among permissions.

import { api, busy, data, t, times } from "./page.js";

const form = document.getElementById("request-token-form");
const by = (id) => document.getElementById(id);
const value = (id) => by(id).value.trim();

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  by("token-problem").hidden = true;
  busy([form.querySelector("button[type=submit]")], async () => {
    const body = { note: value("token-note") || "Requested via token page" };
    const seconds = value("token-expiration-seconds");
    if (seconds) body.expires_in = Number(seconds);
    const chosen = [...form.querySelectorAll("input[name=scope]:checked")].map((it) => it.value);
    const scopes = [...new Set([...chosen, ...value("token-scopes").split(/[\s,]+/).filter(Boolean)])];
    if (scopes.length) body.scopes = scopes;
    let made;
    try {
      made = await api(form.dataset.api, { method: "POST", body });
    } catch (error) {
      if (error.status !== 400) throw error;
      by("token-problem").textContent = error.message;
      by("token-problem").hidden = false;
      by("token-problem").scrollIntoView({ block: "nearest" });
      return;
    }
    show(made.value.token);
    form.reset();
    search();
    await lists();
  });
});

function show(token) {
  by("token-result").textContent = token;
  by("token-area").hidden = false;
  by("token-copy").hidden = !navigator.clipboard;
  by("token-copy").textContent = t("Copy");
  by("token-area").scrollIntoView({ block: "nearest" });
  (navigator.clipboard ? by("token-copy") : by("token-result")).focus();
}

/** What is below the form, as it is now. */
async function lists() {
  const answer = await fetch(`${data.baseUrl}token`, { headers: { "X-XSRFToken": data.xsrf } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const next = page.getElementById("token-lists");
  if (!next) return;
  const fresh = document.importNode(next, true);
  by("token-lists").replaceWith(fresh);
  times(fresh);
}

by("token-copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(by("token-result").textContent);
    by("token-copy").textContent = t("Copied");
  } catch {
    getSelection().selectAllChildren(by("token-result"));
  }
});
if (by("token-result").textContent.trim() && navigator.clipboard) by("token-copy").hidden = false;

const filter = by("token-filter");
function search() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  for (const choice of document.querySelectorAll(".choices li")) {
    const text = choice.textContent.toLowerCase();
    choice.hidden = !words.every((word) => text.includes(word)) && !choice.querySelector("input").checked;
    if (!choice.hidden) left += 1;
  }
  by("token-none").hidden = left > 0;
}
if (filter) {
  filter.hidden = false;
  document.querySelector("label[for=token-filter]").hidden = false;
  filter.addEventListener("input", search);
  // Enter here searches; it does not make a token.
  filter.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
}
