import { api, busy, stop } from "./page.js";

const start = document.getElementById("start");
const halt = document.getElementById("stop");
const state = document.getElementById("state");

halt.addEventListener("click", (event) => {
  event.preventDefault();
  if (halt.getAttribute("aria-disabled") === "true") return;
  busy([halt, start], async () => {
    state.textContent = "It is stopping.";
    try {
      await stop(halt.dataset.api);
    } catch (error) {
      state.textContent = "";
      throw error;
    }
    state.textContent = "It is not running.";
    halt.hidden = true;
    start.focus();
    start.textContent = "Start My Server";
    start.href = start.dataset.spawn;
  });
});

start.addEventListener("click", (event) => {
  if (start.getAttribute("aria-disabled") === "true") event.preventDefault();
});

document.getElementById("new-server")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const name = document.getElementById("new-server-name").value.trim();
  if (name) location.href = `${event.target.dataset.spawn}/${encodeURIComponent(name)}`;
});

for (const row of document.querySelectorAll("tr[data-api]")) {
  const on = (name, work) => {
    const button = row.querySelector(name);
    button?.addEventListener("click", () => busy([button], work));
  };
  on(".stop-server", async () => {
    await stop(row.dataset.api);
    location.reload();
  });
  on(".delete-server", async () => {
    if (!window.confirm("Delete this server? Its files stay.")) return;
    await api(row.dataset.api, { method: "DELETE", body: { remove: true } });
    row.remove();
  });
}
