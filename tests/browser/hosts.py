"""A site where each user has a host, by TLS and below a prefix: signing in, a real JupyterLab with a cell, what each host's pages can reach,
signing out.

usage: hosts.py URL NAME SCREENSHOTS     (the password is in JOVIS_TEST_PASSWORD)
"""
import os
import sys
from urllib.parse import urlsplit

from notebook import Story, compute, sign_in, start
from person import CHROMIUM, FLAGS, PAGE
from playwright.sync_api import sync_playwright

FETCH = """async address => {
    try { return (await fetch(address, { credentials: "include" })).status } catch (error) { return "refused" }
}"""

url, name, folder = sys.argv[1:]
place = urlsplit(url)
own = f"https://{name}.{place.netloc}{place.path}"      # with a slash at its end, as url


def cookies(context):
    """Those of this story's hosts: name -> (domain, path, secure)."""
    return {it["name"]: (it["domain"], it["path"], it["secure"]) for it in context.cookies()}


with sync_playwright() as play:
    browser = play.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, "--ignore-certificate-errors"])
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1400, "height": 900}, locale="en-GB")
    page = context.new_page()
    try:
        story = Story(page, folder)
        sign_in(story, page, url, name, os.environ["JOVIS_TEST_PASSWORD"])
        start(story, page, name)
        assert page.url.startswith(f"{own}user/{name}/"), page.url
        compute(story, page)
        story.step("a cell on the user's own host")

        kept = cookies(context)
        assert kept["__Host-jupyterhub-hub-login"] == (place.hostname, "/", True), kept
        assert kept["jupyterhub-session-id"] == (f".{place.hostname}", place.path, True), kept
        assert kept[f"__Host-jupyterhub-user-{name}"] == (f"{name}.{place.hostname}", "/", True), kept
        assert "jupyterhub-hub-login" not in kept, kept

        # a user's page reads nothing of the hub's, nor of another user's, by the visitor's cookies
        for address in (f"{url}hub/api/user", f"{url}hub/home", f"{own.replace(name, 'other')}user/other/"):
            assert page.evaluate(FETCH, address) == "refused", address
        # the hub's pages are not to be had on the user's host
        seen = page.evaluate(FETCH, f"{own}hub/login")
        assert seen == "refused", seen
        page.goto(f"{own}hub/home")
        assert page.url == f"{url}hub/home", page.url
        story.step("the hub is on its own host")
        page.click("#start")
        page.wait_for_url(f"{own}user/{name}/**", timeout=PAGE)

        page.goto(f"{url}hub/home")
        page.click("#logout")
        page.wait_for_selector("#username_input")
        page.goto(f"{own}user/{name}/lab")
        page.wait_for_selector("#username_input")
        assert page.url.startswith(f"{url}hub/login"), page.url
        story.step("signed out everywhere")
        kept = cookies(context)
        assert "__Host-jupyterhub-hub-login" not in kept, kept
    except BaseException:
        page.screenshot(path=f"{folder}/failed.png")
        print(f"failed at {page.url}\n{page.locator('body').inner_text()[:2000]}", flush=True)
        raise
    finally:
        browser.close()
