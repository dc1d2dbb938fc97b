// What all pages share: calls to the API with the form token, times in the reader's own zone, problems in a dialog.

const data = document.body.dataset;

/** Calls the API; throws an Error with the API's own words. */
export async function api(path, { method = "GET", body } = {}) {
  const answer = await fetch(`${data.baseUrl}api${path}`, {
    method,
    headers: {
      Accept: "application/json",
      "X-XSRFToken": data.xsrf,
      ...(method === "POST" || body !== undefined ? { "Content-Type": "application/json" } : {}),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin",
  });
  const text = await answer.text();
  if (!answer.ok) {
    let message = `${answer.status} ${answer.statusText}`;
    try {
      message = JSON.parse(text).message || message;
    } catch {
      // Not JSON: the status says enough.
    }
    throw new Error(message);
  }
  return { status: answer.status, value: text ? JSON.parse(text) : null };
}

/** Shows a problem. */
export function problem(error) {
  document.getElementById("problem-text").textContent = error.message;
  document.getElementById("problem").showModal();
}

/** Does something with these controls disabled meanwhile. */
export async function busy(controls, work) {
  const set = (off) =>
    controls.forEach((it) => {
      it.disabled = off;
      it.toggleAttribute("aria-disabled", off);
      if (off) it.setAttribute("aria-disabled", "true");
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

for (const time of document.querySelectorAll("time[datetime]")) {
  const when = new Date(time.dateTime);
  if (!Number.isNaN(when.valueOf())) {
    time.title = time.dateTime;
    time.textContent = when.toLocaleString();
  }
}

// A page reached after some redirects should not count them when it is loaded again.
const here = new URL(location.href);
if (here.searchParams.has("redirects")) {
  here.searchParams.delete("redirects");
  history.replaceState(null, "", here);
}
