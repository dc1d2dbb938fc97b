// Keeps the cards of one's servers as they are now: asks for them from time to time while the page can be seen, and puts
// in those that have changed. What one does with them are plain forms and links.

import { data, t, times } from "./page.js";

const QUIET = 10_000;
const BUSY = 2_000;
const TROUBLE = 60_000;

const news = document.getElementById("news");
const shell = () => document.getElementById("servers");
const cards = (root) => new Map([...root.querySelectorAll(".server")].map((it) => [it.dataset.server, it]));
// As the hub sent them: what scripts do to times since is no change.
let sent = new Map();
let timer;
let failures = 0;
let leaving = false;

const read = (root) => new Map([...cards(root)].map(([name, card]) => [name, card.outerHTML]));

/** Puts `fresh` in place of `old`, with what was open still open and the focus where it was. */
function replace(old, fresh) {
  const at = document.activeElement;
  const inside = old.contains(at);
  const which = inside && (at.id ? `#${CSS.escape(at.id)}` : at.name ? `[name="${at.name}"][value="${at.value}"]` : at.localName);
  const open = old.querySelector("details")?.open;
  old.replaceWith(fresh);
  times(fresh);
  if (open && fresh.querySelector("details")) fresh.querySelector("details").open = true;
  if (inside) (fresh.querySelector(which) ?? fresh.querySelector("a, button"))?.focus({ preventScroll: true });
}

function take(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  const next = page.getElementById("servers");
  if (!next) return;
  const before = cards(shell());
  const after = cards(next);
  const now = read(next);
  const told = [];
  for (const [name, card] of after) {
    const old = before.get(name);
    if (old && old.dataset.state !== card.dataset.state) {
      const what = card.querySelector("h1, h2, h3").textContent.trim();
      told.push(t("{server}: {state}", { server: what, state: card.querySelector(".badge").textContent.trim() }));
    }
  }
  if (before.size === after.size && [...after.keys()].every((name) => before.has(name))) {
    for (const [name, card] of after) {
      if (sent.get(name) !== now.get(name)) replace(before.get(name), document.importNode(card, true));
    }
  } else {
    replace(shell(), document.importNode(next, true));
  }
  sent = now;
  if (told.length) news.textContent = told.join(" ");
}

async function look() {
  try {
    const answer = await fetch(`${data.baseUrl}home?live`, {
      headers: { "X-XSRFToken": data.xsrf },
      signal: AbortSignal.timeout(10_000),
    });
    // Signed out meanwhile: the next click leads to the form.
    if (answer.redirected || !answer.ok) throw new Error(String(answer.status));
    const html = await answer.text();
    if (!leaving) take(html);
    failures = 0;
  } catch {
    failures += 1;
  }
  plan();
}

function plan() {
  clearTimeout(timer);
  if (document.hidden || leaving) return;
  const busy = [...cards(shell()).values()].some((it) => ["starting", "stopping"].includes(it.dataset.state));
  timer = setTimeout(look, failures > 2 ? TROUBLE : busy ? BUSY : QUIET);
}

sent = read(document);
times(shell());
plan();
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));

// A form on its way: its button must not be pressed twice, and nothing is replaced under it.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  leaving = true;
  clearTimeout(timer);
  const button = event.submitter;
  setTimeout(() => {
    if (button) button.disabled = true;
  });
});
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  leaving = false;
  look();
});
