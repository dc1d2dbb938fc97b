"""The first documents' long example: a new user signs in by GitHub over https, an account is made for them on the machine,
their server is served from ~/assignments, and what they see first is Welcome.ipynb.

usage: classroom.py URL NAME PICTURES

The site is examples/github-classroom.ron with other addresses: https by a certificate nobody vouches for, GitHub played by
tests/providers/github.py (--cert, --key: a browser does not leave https for http unasked). NAME is in `allowed_users` and
has no account here yet; what a new home is made from (/etc/skel or `home_skeleton`) has assignments/Welcome.ipynb, with a
heading that says "Welcome" and one cell of code.

Pictures: classroom-login, classroom-form, classroom-welcome, classroom-computed.
"""
import re
import sys

from person import START, browser, expect, window

url, name, pictures = sys.argv[1:]
BUTTON = "Sign in with GitHub"

with browser() as chromium, window(chromium, url, pictures, ignore_https_errors=True) as someone:
    page = someone.page
    assert url.startswith("https://"), url
    page.goto(url)
    expect(page.get_by_text(BUTTON)).to_be_visible()
    someone.picture("classroom-login")
    page.get_by_text(BUTTON).click()
    page.wait_for_url("**/login/oauth/authorize?**")
    page.get_by_label("User name").fill(name)
    someone.picture("classroom-form")
    page.get_by_role("button", name="Authorize").click()
    page.wait_for_url(lambda where: f"/user/{name}/" in where or "/hub/spawn" in where or "/hub/home" in where)
    if "/hub/home" in page.url:
        page.click("#start")
    someone.say("signed in")
    page.wait_for_url(f"**/user/{name}/lab/tree/Welcome.ipynb**", timeout=START)
    expect(page.locator(".jp-NotebookPanel").first).to_be_visible(timeout=START)
    expect(page.get_by_role("tab", name=re.compile("Welcome.ipynb"))).to_be_visible()
    expect(page.locator(".jp-Notebook h1").first).to_contain_text("Welcome")
    # the folder of the server is ~/assignments: the notebook lies at its top
    expect(page.locator(".jp-DirListing-content").get_by_text("Welcome.ipynb")).to_be_visible()
    someone.picture("classroom-welcome")
    someone.say("Welcome.ipynb is open")
    cookies = {it["name"]: it for it in page.context.cookies(url + "hub/")}
    login = next(it for key, it in cookies.items() if key.endswith("jupyterhub-hub-login"))
    assert login["secure"] and login["httpOnly"], login
    code = page.locator(".jp-CodeCell").first
    code.click()
    page.keyboard.press("Shift+Enter")
    expect(code.locator(".jp-OutputArea-output").first).to_be_visible(timeout=START)
    someone.picture("classroom-computed")
    someone.say("and computes")
    # the address of the site leads there from now on
    page.goto(url)
    page.wait_for_url(f"**/user/{name}/lab/tree/Welcome.ipynb**", timeout=START)
    someone.go("home")
    page.click("#logout")
    expect(page.get_by_text(BUTTON)).to_be_visible()
    someone.say("signed out")
print("done", flush=True)
