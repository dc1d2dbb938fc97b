const start = document.getElementById("start");
// What stands behind "#" never reaches the hub: it goes along here.
if (location.hash) {
  const target = new URL(start.href);
  const next = target.searchParams.get("next");
  if (next) {
    target.searchParams.set("next", next + location.hash);
    start.href = target;
  }
}
const after = Number(start.dataset.after);
if (after > 0) setTimeout(() => location.assign(start.href), after * 1000);
