import { busy, stop } from "./page.js";

const pending = document.getElementById("pending");
const bar = document.getElementById("progress-bar");
const message = document.getElementById("progress-message");
const log = document.getElementById("progress-log");
const details = document.getElementById("progress-details");

const url = new URL(pending.dataset.progressUrl, location.href);
url.searchParams.set("_xsrf", document.body.dataset.xsrf);
const events = new EventSource(url);
// A stream that breaks off is opened again by the browser, and tells all steps again.
events.addEventListener("open", () => log.replaceChildren());

events.addEventListener("message", (event) => {
  const step = JSON.parse(event.data);
  if (step.progress !== undefined) bar.value = step.progress;
  if (step.message) {
    message.textContent = step.message;
    const line = document.createElement("li");
    line.textContent = step.message;
    log.append(line);
  }
  if (step.ready) {
    events.close();
    // This page knows where to go: it redirects to what was asked for.
    location.reload();
  }
  if (step.failed) {
    events.close();
    bar.classList.add("failed");
    details.open = true;
    // Loaded again, this page tells the cause and the server's last words.
    location.reload();
  }
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

const cancel = document.getElementById("cancel");
cancel.addEventListener("click", () =>
  busy([cancel], async () => {
    events.close();
    await stop(pending.dataset.api);
    location.href = `${document.body.dataset.baseUrl}home`;
  }),
);
