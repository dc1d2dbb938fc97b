// What all pages share: calls to the API with the form token, words in the reader's language, times in the reader's zone,
// problems in a dialog.

export const data = document.body.dataset;
const language = document.documentElement.lang || "en";

let words = {};
if (language !== "en") {
  try {
    words = (await import(`./words.${language}.js`)).default;
  } catch {
    // It stays English.
  }
}

/** This text in the reader's language, with values for its {names}. English is the key. */
export function t(english, values = {}) {
  return (words[english] ?? english).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Calls the API; throws an Error with the API's own words, and its status. */
export async function api(path, { method = "GET", body, signal } = {}) {
  let answer;
  try {
    answer = await fetch(`${data.baseUrl}api${path}`, {
      method,
      headers: {
        Accept: "application/json",
        "X-XSRFToken": data.xsrf,
        ...(method === "POST" || body !== undefined ? { "Content-Type": "application/json" } : {}),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(t("The hub cannot be reached. Is the network there?"));
  }
  const text = await answer.text();
  if (!answer.ok) {
    let message = `${answer.status} ${answer.statusText}`;
    try {
      message = JSON.parse(text).message || message;
    } catch {
      // Not JSON: the status says enough.
    }
    if (answer.status === 403 && /_xsrf|signed in|login/i.test(message)) {
      message += ` ${t("Perhaps you are signed out: load this page again.")}`;
    }
    throw Object.assign(new Error(message), { status: answer.status });
  }
  return { status: answer.status, value: text ? JSON.parse(text) : null };
}

/** Shows a problem. */
export function problem(error) {
  document.getElementById("problem-text").textContent = error.message;
  const dialog = document.getElementById("problem");
  if (!dialog.open) dialog.showModal();
}

/** Does something with these controls disabled meanwhile. */
export async function busy(controls, work) {
  const set = (off) =>
    controls.forEach((it) => {
      it.disabled = off;
      if (off) it.setAttribute("aria-disabled", "true");
      else it.removeAttribute("aria-disabled");
    });
  set(true);
  try {
    await work();
  } catch (error) {
    problem(error);
  } finally {
    set(false);
  }
}

/** Waits until a server has stopped. */
export async function stopped(path) {
  for (;;) {
    const { value } = await api(path);
    if (value.stopped) return;
    await new Promise((done) => setTimeout(done, 1000));
  }
}

/** Stops a server and waits for it. */
export async function stop(path, body) {
  const { status } = await api(path, { method: "DELETE", body });
  if (status === 202) await stopped(path);
}

const UNITS = [
  ["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60],
];
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });

/** "3 hours ago", in the reader's language. */
export function ago(when, now = Date.now()) {
  const seconds = (when - now) / 1000;
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return relative.format(0, "second");
}

/** Shows the times below `root` in the reader's own zone; with `data-relative` as "3 hours ago". */
export function times(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const when = new Date(time.dateTime);
    if (Number.isNaN(when.valueOf())) continue;
    const exact = when.toLocaleString(language);
    time.title = exact;
    time.textContent = "relative" in time.dataset ? ago(when) : exact;
  }
}

times();
setInterval(times, 30_000);

// The theme: what the system says, until somebody chooses here.
const toggle = document.getElementById("dark-theme-toggle");
if (toggle) {
  const root = document.documentElement;
  const dark = () =>
    (root.dataset.bsTheme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const tell = () => toggle.setAttribute("aria-pressed", String(dark()));
  toggle.hidden = false;
  tell();
  toggle.addEventListener("click", () => {
    root.dataset.bsTheme = dark() ? "light" : "dark";
    try {
      localStorage.setItem("jupyterhub-bs-theme", root.dataset.bsTheme);
    } catch {
      // It lasts as long as this page.
    }
    tell();
  });
}

// A menu closes when one goes elsewhere.
for (const menu of document.querySelectorAll("details.menu")) {
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

// Forms with `data-confirm` ask first.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

// A page reached after some redirects should not count them when it is loaded again.
const here = new URL(location.href);
if (here.searchParams.has("redirects")) {
  here.searchParams.delete("redirects");
  history.replaceState(null, "", here);
}
