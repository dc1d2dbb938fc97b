"""People who sign in at an OpenID provider that is none of our making (tests/providers/certified), and sign out there.

usage: certified.py URL ISSUER PICTURES

The site has one authenticator, `Oidc(..)`, called Campus. Whoever is in the group `everybody` may come in, `staff` are
administrators; people are asked after at every page. Servers start at once.

Pictures: certified-login, certified-home.
"""
import re
import sys
import time

from person import browser, expect, window

url, issuer, pictures = sys.argv[1:]
BUTTON = "Sign in with Campus"


def there(page, who):
    """At the provider: who one is, and that one agrees."""
    page.wait_for_url(f"{issuer}/interaction/**")
    page.locator("input[name=login]").fill(who)
    page.locator("input[name=password]").fill("anything")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def comes(someone, who):
    page = someone.page
    someone.go("home", status=200)
    expect(page).to_have_url(re.compile("/hub/login"))
    page.get_by_text(BUTTON).click()
    there(page, who)
    page.wait_for_url("**/hub/home")
    expect(page.locator("body")).to_have_attribute("data-user", who)
    assert "code=" not in page.url and "state=" not in page.url, page.url
    someone.say(f"{who} came back, to the page that was asked for")


def leaves_there(someone):
    """Ends the session at the provider, in another tab; the hub hears of it when it asks."""
    page = someone.page.context.new_page()
    page.goto(f"{issuer}/session/end")
    page.get_by_role("button", name=re.compile("^Yes")).click()
    expect(page.get_by_text("Sign-out Success")).to_be_visible()
    page.close()


def person(chromium):
    with window(chromium, url, pictures, ignore_https_errors=True) as someone:
        page = someone.page
        someone.go("login")
        someone.picture("certified-login")
        comes(someone, "ada")
        someone.picture("certified-home")
        answer = someone.go("admin")
        assert answer.status == 403, f"ada is no administrator: {answer.status}"
        someone.go("spawn")
        page.wait_for_url("**/user/ada/**")
        someone.say("and the server runs")
        # Out here is not out there: a click brings them back.
        someone.go("home")
        page.click("#logout")
        expect(page.get_by_text(BUTTON)).to_be_visible()
        someone.go("home")
        page.get_by_text(BUTTON).click()
        page.wait_for_url("**/hub/home")
        someone.say("signed out, and in again by a click")
        # The age after which the provider is asked is over, and it still vouches for them.
        page.wait_for_timeout(1_200)
        someone.go("home", status=200)
        expect(page.locator("body")).to_have_attribute("data-user", "ada")
        someone.say("asked after, and still who they were")
        leaves_there(someone)
        deadline = time.monotonic() + 30
        while "/hub/login" not in page.url:
            assert time.monotonic() < deadline, "the hub does not ask"
            someone.go("home")
        someone.say("signed out there is signed out here")
        page.get_by_text(BUTTON).click()
        there(page, "ada")
        page.wait_for_url("**/hub/**")
        expect(page.locator("body")).to_have_attribute("data-user", "ada")
        someone.say("and in again, by the provider's form")


def administrator(chromium):
    with window(chromium, url, pictures, ignore_https_errors=True) as someone:
        comes(someone, "staff-grace")
        someone.go("admin", status=200)
        expect(someone.page.get_by_text("ada").first).to_be_visible()
        someone.say("who is in the group of administrators is one")


with browser() as chromium:
    person(chromium)
    administrator(chromium)
print("done", flush=True)
