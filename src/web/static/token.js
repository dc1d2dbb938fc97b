import { api, busy } from "./page.js";

const form = document.getElementById("request-token-form");
const value = (id) => document.getElementById(id).value.trim();

form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy([form.querySelector("button")], async () => {
    const body = { note: value("token-note") || "Requested via token page" };
    const seconds = value("token-expiration-seconds");
    if (seconds) body.expires_in = Number(seconds);
    const scopes = value("token-scopes").split(/[\s,]+/).filter(Boolean);
    if (scopes.length) body.scopes = scopes;
    const made = await api(form.dataset.api, { method: "POST", body });
    document.getElementById("token-result").textContent = made.value.token;
    document.getElementById("token-area").hidden = false;
  });
});

for (const row of document.querySelectorAll(".token-row")) {
  const button = row.querySelector(".revoke-token-btn");
  button.addEventListener("click", () => {
    if (!window.confirm("Revoke this? Whatever uses it stops working.")) return;
    busy([button], async () => {
      await api(`${form.dataset.api}/${row.dataset.tokenId}`, { method: "DELETE" });
      row.remove();
    });
  });
}
