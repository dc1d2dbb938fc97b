"""A person with a browser: what all stories beside this file share.

    with person(url, pictures) as someone:
        someone.sign_in(name, password)
        someone.look("home")        # pictures at three widths, light and dark; accessibility; nothing too wide

The password is in JOVIS_TEST_PASSWORD. A story that fails leaves `failed.png` and its page's text behind, and says which
scripts of the hub's pages failed, if any did.
"""
import os
import time
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, expect, sync_playwright  # noqa: F401  (stories take `expect` from here)

CHROMIUM = "/usr/bin/chromium"
# headless and quiet: no sandbox because it runs as root in a container, nothing that talks to anybody but the hub
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]
SECOND = 1000
PAGE = 30 * SECOND      # a page of the hub
START = 180 * SECOND    # a first JupyterLab start on two busy cores
WIDTHS = [(360, 740), (800, 900), (1400, 900)]
WIDE_OK = "the page is as wide as its window"


class Person:
    """One browser window, with what was seen in it."""

    def __init__(self, page, url, folder):
        self.page, self.url, self.folder = page, url, Path(folder)
        self.began, self.complaints = time.monotonic(), []
        self.folder.mkdir(parents=True, exist_ok=True)
        page.set_default_timeout(PAGE)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("console", self._heard)

    def _heard(self, message):
        # a refused request is told by the page itself; what breaks the page's policy is a defect
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(f"{self.page.url}: {message.text}")

    def say(self, what):
        print(f"{what}  ({time.monotonic() - self.began:.1f} s)", flush=True)

    def go(self, path, status=None):
        """To a page of the hub (`home`) or, with a slash before it, of the whole site."""
        answer = self.page.goto(self.url + (path[1:] if path.startswith("/") else f"hub/{path}"))
        if status is not None:
            assert answer.status == status, f"{path}: {answer.status}, not {status}"
        return answer

    def sign_in(self, name, password=None, to="home"):
        """By the form; leads to `to` (none: wherever signing in leads by itself)."""
        self.page.goto(self.url + "hub/login" + (f"?next=/hub/{to}" if to is not None else ""))
        self.page.fill("#username_input", name)
        self.page.fill("#password_input", password or os.environ["JOVIS_TEST_PASSWORD"])
        self.page.click("#login_submit")
        if to is not None:
            self.page.wait_for_url(f"**/hub/{to}")

    def sign_out(self):
        self.page.click("#logout")
        self.page.wait_for_selector("#username_input")

    def picture(self, name):
        self.page.screenshot(path=self.folder / f"{name}.png", full_page=True)

    def look(self, name):
        """The page as it is now: pictures at each width, light and dark; nothing wider than the window; no violation of
        accessibility rules (axe)."""
        before = self.page.viewport_size
        for width, height in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                self.picture(f"{name}-{width}-{scheme}")
                if width != WIDTHS[1][0]:
                    self.accessible(f"{name} at {width}, {scheme}")
            wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{name}: {wide} pixels too wide at {width}"
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(before)
        self.say(f"looked at {name}")

    def accessible(self, name):
        found = Axe().run(self.page, options={"resultTypes": ["violations"]}).response["violations"]
        told = [
            f"{it['id']}: {it['help']}\n" + "\n".join(f"      {node['html'][:200]}\n      {node['failureSummary']}" for node in it["nodes"][:4])
            for it in found
        ]
        assert not told, f"{name}:\n  " + "\n  ".join(told)


@contextmanager
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def window(chromium, url, folder, **how):
    """A window of its own, as of another person. `how`: `java_script_enabled=False`, `locale="de-DE"`…"""
    how.setdefault("viewport", {"width": 1400, "height": 900})
    how.setdefault("locale", "en-GB")
    context = chromium.new_context(**how)
    someone = Person(context.new_page(), url, folder)
    try:
        yield someone
    except (Error, AssertionError):
        page = someone.page
        try:
            page.screenshot(path=someone.folder / "failed.png", timeout=5 * SECOND)
            text = page.locator("body").inner_text(timeout=5 * SECOND)
        except Error as another:
            text = f"(the page cannot be looked at: {another.message})"
        (someone.folder / "failed.txt").write_text(f"{page.url}\n\n{text}\n")
        print(f"failed at {page.url}\n{text[:2000]}", flush=True)
        raise
    finally:
        for complaint in someone.complaints:
            print("page error:", complaint, flush=True)
        context.close()
    ours = [it for it in someone.complaints if "/user/" not in it.split(": ")[0]]
    assert not ours, f"scripts of the hub's pages failed: {ours}"


@contextmanager
def person(url, folder, **how):
    """A browser with one window."""
    with browser() as chromium, window(chromium, url, folder, **how) as someone:
        yield someone
