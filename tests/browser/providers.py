"""A person who signs in with GitHub: out by the button, back by the provider's form, into a server, and out again.

usage: providers.py URL NAME STRANGER PICTURES

The site has one authenticator, `GitHub(..)`, whose GitHub is tests/providers/github.py and listens already. NAME is an
account here, may sign in, and its server is a fake one that starts at once; STRANGER may not sign in (not in
`allowed_users`, in no allowed organisation). Nobody has ever signed in.

Pictures: provider-login, provider-form, provider-home, provider-403, provider-cancelled.
"""
import re
import sys

from person import browser, expect, window

url, name, stranger, pictures = sys.argv[1:]
BUTTON = "Sign in with GitHub"
SECRETS = re.compile(r"[?&#](code|state|access_token|code_verifier)=")


def watched(page, addresses):
    """Every address the window was at."""
    page.on("framenavigated", lambda frame: addresses.append(frame.url) if frame == page.main_frame else None)


def to_the_provider(page):
    page.get_by_role("button", name=BUTTON).or_(page.get_by_role("link", name=BUTTON)).click()
    page.wait_for_url("**/login/oauth/authorize?**")


def agree(page, who):
    expect(page.get_by_role("heading", name=re.compile("^Authorize"))).to_be_visible()
    page.get_by_label("User name").fill(who)
    page.get_by_role("button", name="Authorize").click()


def no_secrets(addresses):
    at_hub = [it for it in addresses if it.startswith(url)]
    shown = [it for it in at_hub if SECRETS.search(it) and "/hub/oauth_callback" not in it]
    assert not shown, f"secrets of the sign-in stayed in addresses: {shown}"


def comes_and_goes(someone):
    page, addresses = someone.page, []
    watched(page, addresses)
    someone.go("home", status=200)
    expect(page).to_have_url(re.compile("/hub/login"))
    assert page.locator("#password_input").count() == 0, "there is no password to ask for"
    someone.look("provider-login")
    to_the_provider(page)
    someone.picture("provider-form")
    agree(page, name)
    page.wait_for_url("**/hub/home")
    expect(page.locator("body")).to_have_attribute("data-user", name)
    someone.picture("provider-home")
    someone.say("came back, to the page that was asked for")
    someone.go("spawn")
    page.wait_for_url(f"**/user/{name}/**")
    someone.say("and the server runs")
    someone.go("home")
    page.click("#logout")
    expect(page.get_by_text(BUTTON)).to_be_visible()
    someone.go("home")
    expect(page).to_have_url(re.compile("/hub/login"))
    # who signed out here has not signed out there: it asks no more
    page.get_by_text(BUTTON).click()
    page.wait_for_url("**/hub/home")
    someone.say("signed out, and in again by a click")
    page.click("#logout")
    expect(page.get_by_text(BUTTON)).to_be_visible()
    no_secrets(addresses)


def two_tabs(chromium):
    with window(chromium, url, pictures) as someone:
        first, second = someone.page, someone.page.context.new_page()
        for page in (first, second):
            page.goto(url + "hub/login?next=/hub/home")
            to_the_provider(page)
        for page in (second, first):
            agree(page, name)
            page.wait_for_url("**/hub/home")
            expect(page.locator("body")).to_have_attribute("data-user", name)
        someone.say("two tabs at once, both came back")


def wrong_person(chromium):
    with window(chromium, url, pictures) as someone:
        page, seen = someone.page, []
        page.on("response", lambda answer: seen.append((answer.url.split("?")[0], answer.status)))
        someone.go("login")
        to_the_provider(page)
        agree(page, stranger)
        page.wait_for_url("**/hub/oauth_callback?**")
        expect(page.get_by_role("alert")).to_be_visible()
        assert (url + "hub/oauth_callback", 403) in seen, seen
        expect(page.locator("body")).to_have_attribute("data-user", "")
        text = page.locator("main").inner_text()
        assert len(text.split()) > 6, f"that says nothing: {text!r}"
        someone.look("provider-403")
        someone.go("home")
        expect(page).to_have_url(re.compile("/hub/login"))
        someone.say("a stranger is told no, in words")


def cancels(chromium):
    with window(chromium, url, pictures) as someone:
        page = someone.page
        someone.go("login")
        to_the_provider(page)
        page.get_by_label("User name").fill(name)
        page.get_by_role("button", name="Cancel").click()
        page.wait_for_url("**/hub/oauth_callback?**")
        expect(page.get_by_role("alert")).to_be_visible()
        someone.picture("provider-cancelled")
        someone.go("login")
        expect(page.get_by_text(BUTTON)).to_be_visible()
        someone.say("who cancels can begin again")


def without_scripts(chromium):
    with window(chromium, url, pictures, java_script_enabled=False) as someone:
        page = someone.page
        page.goto(url + "hub/login?next=/hub/home")
        page.get_by_text(BUTTON).click()
        page.wait_for_url("**/login/oauth/authorize?**")
        agree(page, name)
        page.wait_for_url("**/hub/home")
        someone.say("without scripts too")


with browser() as chromium:
    with window(chromium, url, pictures) as someone:
        comes_and_goes(someone)
    two_tabs(chromium)
    wrong_person(chromium)
    cancels(chromium)
    without_scripts(chromium)
print("done", flush=True)
