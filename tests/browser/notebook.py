"""A person with a browser: signs in, watches the server start, computes 6*7 in JupyterLab, comes to the hub and signs out
by its menu, signs in again, stops the server, signs out.

usage: notebook.py URL NAME SCREENSHOTS     (the password is in JOVIS_TEST_PASSWORD)

Prints what it did, one line a step; a step that fails leaves `failed.png` and its page's text behind.
"""
import os
import sys
import time
from pathlib import Path

from person import CHROMIUM, FLAGS, PAGE, SECOND, START
from playwright.sync_api import Error, expect, sync_playwright


class Story:
    """Steps, told and photographed."""

    def __init__(self, page, folder):
        self.page, self.folder, self.count, self.began = page, Path(folder), 0, time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)

    def step(self, what):
        self.count += 1
        self.page.screenshot(path=self.folder / f"{self.count:02}-{what.replace(' ', '-')}.png")
        print(f"{time.monotonic() - self.began:6.1f} s  {what}", flush=True)


def sign_in(story, page, url, name, password):
    page.goto(url)
    page.wait_for_selector("#username_input", timeout=PAGE)
    page.fill("#username_input", name)
    page.fill("#password_input", password)
    story.step("login page filled")
    page.click("#login_submit")


def start(story, page, name):
    """From wherever signing in led to a ready server."""
    server = f"/user/{name}/"
    page.wait_for_url(lambda where: server in where or "/hub/spawn" in where or "/hub/home" in where, timeout=PAGE)
    if "/hub/home" in page.url:
        page.click("#start")
    page.wait_for_url(lambda where: server in where or "/hub/spawn-pending/" in where, timeout=PAGE)
    if "/hub/spawn-pending/" in page.url:
        try:
            expect(page.locator("#progress-bar")).to_be_attached(timeout=PAGE)
            expect(page.locator("#progress-message")).not_to_be_empty(timeout=PAGE)
            story.step("progress page")
        except (Error, AssertionError):
            if "/hub/spawn-pending/" in page.url:  # else the server was quicker than we looked
                raise
    page.wait_for_url(f"**{server}**", timeout=START)
    page.wait_for_selector("#jp-main-dock-panel", timeout=START)
    story.step("JupyterLab")


def run_cell(cell, code, result):
    """Types and presses Shift+Enter; again if the notebook, still being loaded, threw away what was typed."""
    editor, output = cell.locator(".cm-content"), cell.locator(".jp-OutputArea-output")
    for attempt in range(5):
        editor.click()
        editor.press("Control+a")
        editor.press_sequentially(code)
        editor.press("Shift+Enter")
        try:
            return expect(output).to_have_text(result, timeout=8 * SECOND)
        except AssertionError:
            print(f"attempt {attempt + 1}: the cell holds {editor.inner_text()!r}", flush=True)
    expect(output).to_have_text(result, timeout=PAGE)


def compute(story, page):
    """Opens a notebook from the launcher, runs one cell, reads its output."""
    card = page.locator('.jp-LauncherCard[data-category="Notebook"]').first
    card.wait_for(state="visible", timeout=START)
    card.click()
    panel = page.locator(".jp-NotebookPanel:visible")
    cell = panel.locator(".jp-CodeCell").first
    cell.wait_for(state="visible", timeout=PAGE * 2)
    # the kernel is there when its indicator says so; typing before that works too, but the picture is nicer
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]:visible').first.wait_for(timeout=START)
    run_cell(cell, "6*7", "42")
    story.step("cell gave 42")


def choose(page, command):
    """A command of JupyterLab's file menu."""
    page.locator(".lm-MenuBar-item", has_text="File").first.click(timeout=PAGE)
    page.locator(f'.lm-Menu-item[data-command="{command}"]').click(timeout=PAGE)


def use_hub_menu(story, page, name):
    """What JupyterLab has in its menu because there is a hub: its control panel, in a page of its own, and signing out."""
    with page.context.expect_page(timeout=PAGE) as opened:
        choose(page, "hub:control-panel")
    panel = opened.value
    expect(panel.locator("#stop")).to_be_visible(timeout=PAGE)
    assert panel.url.endswith("/hub/home"), panel.url
    panel.close()
    choose(page, "hub:logout")
    page.wait_for_selector("#username_input", timeout=PAGE)
    page.goto(page.url.split("/hub/")[0] + f"/user/{name}/lab")
    page.wait_for_selector("#username_input", timeout=PAGE)
    story.step("signed out by the menu")


def stop(story, page, url):
    page.goto(url + "hub/home")
    page.locator("#stop").click(timeout=PAGE)
    expect(page.locator("#stop")).to_be_hidden(timeout=120 * SECOND)
    expect(page.locator("#start")).to_be_visible(timeout=PAGE)
    story.step("server stopped")


def sign_out(story, page, url):
    page.click("#logout")
    page.wait_for_selector("#username_input", timeout=PAGE)
    page.goto(url + "hub/home")
    page.wait_for_selector("#username_input", timeout=PAGE)
    story.step("signed out")


def main():
    url, name, folder = sys.argv[1:]
    password = os.environ["JOVIS_TEST_PASSWORD"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        complaints = []
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        # a notebook that is not saved yet would ask whether one really wants to leave, and wait for an answer
        page.add_init_script("window.addEventListener('beforeunload', e => e.stopImmediatePropagation(), true)")
        story = Story(page, folder)
        try:
            sign_in(story, page, url, name, password)
            start(story, page, name)
            compute(story, page)
            use_hub_menu(story, page, name)
            sign_in(story, page, url, name, password)
            start(story, page, name)
            stop(story, page, url)
            sign_out(story, page, url)
        except (Error, AssertionError):
            page.screenshot(path=story.folder / "failed.png")
            (story.folder / "failed.txt").write_text(f"{page.url}\n\n{page.inner_text('body')}\n")
            print(f"failed at {page.url}\n{page.inner_text('body')[:2000]}", flush=True)
            raise
        finally:
            for complaint in complaints:
                print("page error:", complaint, flush=True)
            browser.close()
    hub = [complaint for complaint in complaints if "/hub/" in complaint.split(": ")[0]]
    if hub:
        sys.exit(f"scripts of the hub's pages failed: {hub}")
    print("done", flush=True)


if __name__ == "__main__":
    main()
