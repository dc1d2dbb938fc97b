// What is done to many at once: a selection that outlives every refresh, one request for each of them, a few at a time, with
// progress, a way to stop, and a report of what failed and why.

import { api, problem, stop, t } from "./page.js";

/** So many requests at once: the hub has others to serve. */
const AT_ONCE = 4;
/** So many failures are listed. */
const MOST = 100;

/** Makes checkboxes, the bar for a selection, and "all of this page" work. */
export function bulk({ root, live, refresh, ask }) {
  const bar = document.getElementById("bulk");
  const count = document.getElementById("picked");
  const matching = document.getElementById("pick-matching");
  /** What is picked: by key, with all that is needed to act on it when it is not on this page. */
  const picked = new Map();
  let last = null;

  const rows = () => [...live.querySelectorAll("tr[data-key]")];
  const about = (row) => ({
    key: row.dataset.key,
    user: row.dataset.user,
    server: row.dataset.server,
    api: row.dataset.api,
    active: "active" in row.dataset,
  });

  function draw() {
    for (const row of rows()) {
      const box = row.querySelector("[data-pick]");
      if (box) box.checked = picked.has(row.dataset.key);
      // It is as it is now, not as it was when it was picked.
      if (picked.has(row.dataset.key)) picked.set(row.dataset.key, about(row));
    }
    const page = document.getElementById("pick-page");
    if (page) {
      const on = rows().filter((row) => picked.has(row.dataset.key)).length;
      page.checked = on > 0 && on === rows().length;
      page.indeterminate = on > 0 && on < rows().length;
    }
    bar.hidden = picked.size === 0;
    count.textContent = t("Selected: {count}", { count: picked.size });
  }

  function pick(row, on) {
    if (on) picked.set(row.dataset.key, about(row));
    else picked.delete(row.dataset.key);
  }

  live.addEventListener("click", (event) => {
    const box = event.target.closest("[data-pick]");
    if (!box) return;
    const row = box.closest("tr");
    const all = rows();
    // With the shift key all in between, as everywhere.
    if (event.shiftKey && last && all.includes(last)) {
      const [from, to] = [all.indexOf(last), all.indexOf(row)].sort((a, b) => a - b);
      for (const it of all.slice(from, to + 1)) pick(it, box.checked);
    } else {
      pick(row, box.checked);
    }
    last = row;
    draw();
  });
  live.addEventListener("change", (event) => {
    if (event.target.id !== "pick-page") return;
    for (const row of rows()) pick(row, event.target.checked);
    draw();
  });
  document.addEventListener("shown", draw);
  document.getElementById("pick-none").addEventListener("click", () => {
    picked.clear();
    draw();
    document.getElementById("pick-page")?.focus();
  });
  matching.addEventListener("click", async () => {
    matching.disabled = true;
    try {
      const answer = await fetch(`${root.dataset.matching}${location.search}`, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
      const { rows, users, total } = await answer.json();
      for (const row of rows) picked.set(row.key, row);
      draw();
      if (users < total) {
        problem(new Error(t("Only the first {users} of {total} users are selected: that is the most at once.", { users, total })));
      }
    } catch (error) {
      problem(error);
    } finally {
      matching.disabled = false;
    }
  });

  const users = (all) => [...new Set(all.map((it) => it.user))];
  const servers = (all, active) => all.filter((it) => it.api && it.active === active);
  const at = (user) => `/users/${encodeURIComponent(user)}`;

  const deeds = {
    start: {
      title: t("Start servers"),
      things: (all) => servers(all, false),
      name: (it) => it.key,
      text: (things) => t("Servers that are started: {count}.", { count: things.length }),
      act: (it) => api(it.api, { method: "POST" }),
      // Those that are not on this page are not looked at again.
      done: (it) => (it.active = true),
    },
    stop: {
      title: t("Stop servers"),
      danger: true,
      things: (all) => servers(all, true),
      name: (it) => it.key,
      text: (things) => t("Servers that are stopped: {count}. What is not saved there is lost.", { count: things.length }),
      act: (it) => stop(it.api),
      done: (it) => (it.active = false),
    },
    remove: {
      title: t("Delete users"),
      danger: true,
      things: users,
      name: (it) => it,
      text: (things) =>
        t("Users that are deleted: {count}. Their servers are stopped and removed; their tokens, memberships in groups and shares go along. Files in home directories stay.", { count: things.length }),
      act: (it) => api(at(it), { method: "DELETE" }),
      done: (it) => [...picked.values()].filter((row) => row.user === it).forEach((row) => picked.delete(row.key)),
    },
    join: {
      title: t("Add to group"),
      group: true,
      things: users,
      name: (it) => it,
      text: (things) => t("Users: {count}.", { count: things.length }),
      act: (it, group) => api(`/groups/${encodeURIComponent(group)}/users`, { method: "POST", body: { users: [it] } }),
    },
    leave: {
      title: t("Remove from group"),
      group: true,
      things: users,
      name: (it) => it,
      text: (things) => t("Users: {count}.", { count: things.length }),
      act: (it, group) => api(`/groups/${encodeURIComponent(group)}/users`, { method: "DELETE", body: { users: [it] } }),
    },
  };

  async function begin(deed, all) {
    const things = deed.things(all);
    if (!things.length) {
      problem(new Error(t("There is nothing to do for these.")));
      return;
    }
    const group = await ask({
      title: deed.title, text: deed.text(things), yes: deed.title, danger: deed.danger, group: deed.group,
    });
    if (!group) return;
    await run(deed, things, group);
    await refresh().catch(problem);
    draw();
  }

  for (const button of bar.querySelectorAll("[data-bulk]")) {
    button.addEventListener("click", () => begin(deeds[button.dataset.bulk], [...picked.values()]));
  }
  // As in JupyterHub: default servers of this page, and all servers of its users.
  document.getElementById("start-all").addEventListener("click", () =>
    begin(deeds.start, rows().filter((row) => row.dataset.server === "" && "start" in row.dataset).map(about)));
  document.getElementById("stop-all").addEventListener("click", () =>
    begin(deeds.stop, rows().filter((row) => "stop" in row.dataset).map(about)));
  draw();
}

/** Does it to each of them, and shows how far it is. Ends when the window is closed. */
async function run(deed, things, group) {
  const dialog = document.getElementById("work");
  const bar = document.getElementById("work-bar");
  const text = document.getElementById("work-text");
  const failed = document.getElementById("work-failed");
  const cancel = document.getElementById("work-stop");
  const close = document.getElementById("work-close");
  document.getElementById("work-title").textContent = deed.title;
  failed.replaceChildren();
  bar.max = things.length;
  cancel.hidden = false;
  close.hidden = true;
  let [next, done, wrong, ended] = [0, 0, 0, false];
  const draw = () => {
    bar.value = done;
    text.textContent = t("Done: {done} of {count}. Failed: {wrong}.", { done, count: things.length, wrong });
  };
  const end = () => (ended = true);
  const held = (event) => {
    if (!close.hidden) return;
    event.preventDefault();
    end();
  };
  cancel.addEventListener("click", end);
  dialog.addEventListener("cancel", held);
  draw();
  dialog.showModal();
  const worker = async () => {
    while (next < things.length && !ended) {
      const thing = things[next];
      next += 1;
      try {
        await deed.act(thing, group);
        deed.done?.(thing);
      } catch (error) {
        wrong += 1;
        if (wrong <= MOST) {
          const line = document.createElement("li");
          line.textContent = t("{name}: {error}", { name: deed.name(thing), error: error.message });
          failed.append(line);
        }
      }
      done += 1;
      draw();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  if (ended && done < things.length) text.textContent += ` ${t("Cancelled.")}`;
  cancel.removeEventListener("click", end);
  cancel.hidden = true;
  close.hidden = false;
  close.focus();
  await new Promise((closed) => {
    close.onclick = () => dialog.close();
    // Nothing to read: it closes by itself.
    if (!wrong && !ended) setTimeout(() => dialog.open && dialog.close(), 800);
    dialog.addEventListener("close", closed, { once: true });
  });
  dialog.removeEventListener("cancel", held);
}
