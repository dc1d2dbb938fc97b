// The pages for administrators, live: what the forms do without scripts is done here by the API, without leaving the page,
// and only the part that changes is fetched anew (`?fragment=1`). The address always says what is shown.

import { api, busy, data, problem, stop, t, times } from "./page.js";
import { bulk } from "./admin_bulk.js";

const root = document.getElementById("admin");
const live = document.getElementById("live");
const search = document.getElementById("search");
const told = document.getElementById("told");

// What stood behind "#" in JupyterHub's page has addresses of its own here; bookmarks go on.
const old = /^#\/([a-z-]*)\??(.*)$/.exec(location.hash);
if (old && root.dataset.view === "users") {
  const [, route, query] = old;
  const places = { "add-users": "/add-users", groups: "/groups", "create-group": "/groups", "group-edit": "/groups" };
  const target = `${data.baseUrl}admin${places[route] ?? ""}${query ? `?${query}` : ""}`;
  location.replace(target);
}

/** Where the table is, as an address of its own part. */
function part(url) {
  const target = new URL(url, location.href);
  target.searchParams.set("fragment", "1");
  return target;
}

// --- The part that changes. Rows that are as they were stay the same elements: what is picked, open or in focus stays so.

const same = (element) => element.dataset.key ?? "";
let shown = new Map();

function sources(within) {
  return new Map([...within.querySelectorAll("[data-key]")].map((it) => [same(it), it.outerHTML]));
}

/** Where the focus is, so that it can be found again in a new row. */
function focused() {
  const element = document.activeElement;
  const row = live.contains(element) ? element.closest("[data-key]") : null;
  if (!row) return null;
  const all = [...row.querySelectorAll("a, button, input")];
  return { key: same(row), name: element.name, nth: all.indexOf(element), of: element.className };
}

function refocus(was) {
  if (!was || live.contains(document.activeElement)) return;
  const row = [...live.querySelectorAll("[data-key]")].find((it) => same(it) === was.key);
  if (!row) return;
  const all = [...row.querySelectorAll("a, button:not(:disabled), input")].filter((it) => it.offsetParent);
  const like = all.find((it) => it.className === was.of && it.name === was.name);
  (like ?? all[Math.min(was.nth, all.length - 1)])?.focus({ preventScroll: true });
}

function replace(html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const next = sources(fresh.content);
  const kept = new Map();
  for (const row of live.querySelectorAll("[data-key]")) kept.set(same(row), row);
  const was = focused();
  const scroll = live.querySelector(".scroll")?.scrollLeft ?? 0;
  for (const row of fresh.content.querySelectorAll("[data-key]")) {
    const key = same(row);
    const before = kept.get(key);
    if (before && shown.get(key) === next.get(key)) {
      // It takes its details along, if they are open.
      const open = before.nextElementSibling;
      row.replaceWith(before);
      if (open?.matches(".opened")) before.after(open);
    } else if (before) {
      const open = before.nextElementSibling;
      if (open?.matches(".opened")) {
        row.after(open);
        row.querySelector("[data-details]")?.setAttribute("aria-expanded", "true");
      }
    }
  }
  live.replaceChildren(fresh.content);
  shown = next;
  times(live);
  const area = live.querySelector(".scroll");
  if (area) area.scrollLeft = scroll;
  refocus(was);
  document.dispatchEvent(new Event("shown"));
}

let asking = null;
// Whoever is about to click must find what was there under the finger.
let pressed = false;
let late = false;
window.addEventListener("pointerdown", () => (pressed = true));
for (const end of ["pointerup", "pointercancel"]) {
  window.addEventListener(end, () => {
    pressed = false;
    if (late) setTimeout(quietly, 100);
    late = false;
  });
}

/** Fetches anew because something happened elsewhere; if that fails the next time will do. */
function quietly() {
  if (pressed) late = true;
  else refresh().catch(() => {});
}

/** Fetches the part that changes. The last one asked for wins. */
export async function refresh(url = location.href) {
  asking?.abort();
  const mine = (asking = new AbortController());
  try {
    const answer = await fetch(part(url), { credentials: "same-origin", signal: mine.signal });
    if (answer.redirected || answer.status === 403) {
      // Signed out, or not allowed here any more: the page itself says so.
      location.reload();
      return;
    }
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    const html = await answer.text();
    if (mine === asking) replace(html);
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
}

/** Goes to another view of the table, without leaving the page. */
async function show(url, { push = true, words = true } = {}) {
  if (push) history.pushState(null, "", url);
  try {
    await refresh(url);
  } catch (error) {
    problem(error);
    return;
  }
  if (words) told.textContent = document.getElementById("displaying")?.textContent ?? document.getElementById("none")?.textContent ?? "";
}

// --- Searching, sorting, paging.

function wanted() {
  const url = new URL(search.action, location.href);
  for (const [name, value] of new FormData(search)) if (value) url.searchParams.set(name, value);
  const sort = new URL(location.href).searchParams.get("sort");
  if (sort) url.searchParams.set("sort", sort);
  return url;
}

let pause = 0;
function soon(wait) {
  clearTimeout(pause);
  pause = setTimeout(() => {
    const url = wanted();
    if (url.search === location.search) return;
    // While one types there is one step back, not one for each letter.
    history.replaceState(null, "", url);
    show(url, { push: false });
  }, wait);
}

if (search) {
  // A group's name counts as a whole.
  search.addEventListener("input", (event) => event.target.id !== "group" && soon(event.target.matches("select") ? 0 : 300));
  search.addEventListener("change", (event) => event.target.id === "group" && soon(0));
  search.addEventListener("submit", (event) => {
    event.preventDefault();
    soon(0);
  });
}

live.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const link = event.target.closest("a.sort, .pager a");
  if (link) {
    event.preventDefault();
    const paged = link.matches(".pager a");
    show(link.href).then(() => {
      if (paged) live.scrollIntoView({ block: "start" });
      else [...live.querySelectorAll("a.sort")].find((it) => it.textContent === link.textContent)?.focus({ preventScroll: true });
    });
    return;
  }
  const caret = event.target.closest("[data-details]");
  if (caret) {
    event.preventDefault();
    details(caret);
  }
});

window.addEventListener("popstate", () => {
  const query = new URL(location.href).searchParams;
  for (const field of search?.elements ?? []) if (field.name && field.name !== "sort") field.value = query.get(field.name) ?? "";
  show(location.href, { push: false });
});

// --- Details of one row.

async function details(caret) {
  const row = caret.closest("tr");
  const open = row.nextElementSibling;
  if (open?.matches(".opened")) {
    open.remove();
    caret.setAttribute("aria-expanded", "false");
    return;
  }
  try {
    const answer = await fetch(part(caret.href), { credentials: "same-origin" });
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    const line = document.createElement("tr");
    line.className = "opened";
    const cell = document.createElement("td");
    cell.colSpan = row.cells.length;
    cell.innerHTML = await answer.text();
    line.append(cell);
    row.after(line);
    times(line);
    caret.setAttribute("aria-expanded", "true");
  } catch (error) {
    problem(error);
  }
}

// --- Buttons of rows.

live.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (event.target.id !== "rows" || !button) return;
  event.preventDefault();
  const row = button.closest("tr");
  const { api: path } = row.dataset;
  const name = row.dataset.key;
  busy([button], async () => {
    try {
      if (button.name === "start") {
        told.textContent = t("Starting {name}.", { name });
        await api(path, { method: "POST" });
      } else if (button.name === "stop") {
        told.textContent = t("Stopping {name}.", { name });
        await stop(path);
      } else {
        const text = t("The server {name} is removed for good. Files stay.", { name });
        if (!(await ask({ title: t("Delete Server"), text, yes: t("Delete Server"), danger: true }))) return;
        await api(path, { method: "DELETE", body: { remove: true } });
      }
    } finally {
      await refresh();
    }
  });
});

/** Asks before something is done; the name typed, or true, or false. */
export function ask({ title, text, yes, danger = false, group = false }) {
  const dialog = document.getElementById("ask");
  const field = document.getElementById("ask-name");
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-text").textContent = text;
  document.getElementById("ask-group").hidden = !group;
  field.required = group;
  field.value = "";
  const button = document.getElementById("ask-yes");
  button.textContent = yes;
  button.classList.toggle("danger", danger);
  dialog.returnValue = "no";
  document.getElementById("ask-no").formNoValidate = true;
  dialog.showModal();
  (group ? field : document.getElementById("ask-no")).focus();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes" && (group ? field.value.trim() : true)), { once: true });
  });
}

// --- What happens elsewhere is seen here. A page nobody looks at asks nothing.

const kinds = {
  users: ["users", "servers", "groups"],
  groups: ["groups"],
  group: ["groups", "users"],
}[root.dataset.view];
let stream = null;

function listen() {
  stream?.close();
  stream = null;
  if (document.hidden || !kinds) return;
  stream = new EventSource(root.dataset.events);
  let first = true;
  stream.addEventListener("open", () => {
    // What happened while nobody listened.
    if (!first) quietly();
    first = false;
  });
  stream.addEventListener("message", (event) => {
    const { changed } = JSON.parse(event.data);
    if (changed.includes("notices")) {
      // The banner stands outside of what is fetched here.
      notices().catch(() => {});
    }
    if (changed.some((kind) => kinds.includes(kind))) quietly();
  });
}

/** The banners as they are now. */
async function notices() {
  const answer = await fetch(location.href, { credentials: "same-origin" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const [now, next] = [document, page].map((it) => it.getElementById("notices"));
  if (now && next) now.replaceWith(document.adoptNode(next));
  times();
}

document.addEventListener("visibilitychange", () => {
  listen();
  if (!document.hidden) quietly();
});

// What servers take is no change that anybody tells of.
setInterval(() => {
  if (!document.hidden && live.querySelector("[data-active]")) quietly();
}, 15_000);

root.classList.add("live");
shown = sources(live);
listen();
if (root.dataset.view === "users") bulk({ root, live, refresh, ask });
