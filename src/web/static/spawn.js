import "./page.js";

// Only the chosen profile's options are shown, and sent. Without this script all are: the hub takes the chosen one's.
const form = document.getElementById("spawn_form");
const parts = form ? [...form.querySelectorAll("fieldset[data-profile]")] : [];

function show() {
  const chosen = form.querySelector("input[name=profile]:checked")?.value;
  for (const part of parts) {
    const own = part.dataset.profile === chosen;
    part.hidden = !own;
    part.disabled = !own;
  }
}

if (parts.length) {
  form.addEventListener("change", (event) => {
    if (event.target.name === "profile") show();
  });
  // Going back brings the choice of before.
  addEventListener("pageshow", show);
  show();
}

if (form) {
  const start = document.getElementById("start");
  // Not in the same moment: a button that is off is not sent.
  form.addEventListener("submit", () => setTimeout(() => (start.disabled = true)));
  addEventListener("pageshow", () => (start.disabled = false));
  form.querySelector("[aria-invalid=true]")?.focus();
  // What stands behind "#" never reaches the hub: it goes along here.
  const target = new URL(form.action);
  const next = target.searchParams.get("next");
  if (location.hash && next && !next.includes("#")) {
    target.searchParams.set("next", next + location.hash);
    form.action = target;
  }
}
