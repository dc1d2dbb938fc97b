import "./page.js";

// Shows a start as it goes. Without this script the page loads itself every few seconds.
const page = document.getElementById("pending");
const find = (id) => document.getElementById(id);
const [bar, place, message, steps, log, details] =
  ["progress-bar", "place", "progress-message", "progress-log", "server-log", "log-details"].map(find);
const stages = [...document.querySelectorAll("#stages li")];

function show(now) {
  bar.value = now.progress;
  place.hidden = !now.place;
  if (now.place && place.textContent !== now.place) place.textContent = now.place;
  const at = stages.findIndex((it) => it.dataset.stage === now.stage);
  stages.forEach((it, nth) => {
    it.dataset.state = nth < at ? "done" : nth === at ? "now" : "later";
    if (nth === at) it.setAttribute("aria-current", "step");
    else it.removeAttribute("aria-current");
  });
  if (at >= 0 && message.textContent !== stages[at].textContent) message.textContent = stages[at].textContent;
  steps.replaceChildren(
    ...now.steps.map((text) => Object.assign(document.createElement("li"), { textContent: text })),
  );
  if (now.log !== undefined) {
    // Who reads further up is not torn away.
    const end = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.textContent = now.log;
    details.hidden = !now.log;
    if (end) log.scrollTop = log.scrollHeight;
  }
}

details.addEventListener("toggle", () => (log.scrollTop = log.scrollHeight));

const events = new EventSource(page.dataset.follow);
events.addEventListener("message", (event) => {
  const now = JSON.parse(event.data);
  if (now.stage) {
    errors = 0;
    return show(now);
  }
  events.close();
  // Loaded again this page knows where to go: to what was asked for, or to why that failed.
  location.reload();
});

// Where the stream cannot be had (an old proxy, a session that ended), the page finds out by itself.
let errors = 0;
events.addEventListener("error", () => {
  errors += 1;
  if (events.readyState === EventSource.CLOSED || errors >= 3) {
    events.close();
    setTimeout(() => location.reload(), 3000);
  }
});

const cancel = find("cancel");
cancel.form.addEventListener("submit", () => {
  events.close();
  setTimeout(() => (cancel.disabled = true));
});
addEventListener("pageshow", (event) => {
  // Gone back to: what it shows is old.
  if (event.persisted) location.reload();
});
