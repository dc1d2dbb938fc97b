// The sharing page: copies a new link.

import { t } from "./page.js";

const link = document.getElementById("share-link");
const copy = document.getElementById("share-copy");
if (link && navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(link.textContent);
      copy.textContent = t("Copied");
    } catch {
      getSelection().selectAllChildren(link);
    }
  });
}

// "Enter" in the name shares with that name, though the link has a button too.
document.getElementById("share-with")?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  event.target.form.requestSubmit(event.target.form.querySelector("button[value=grant]"));
});
