"""The way in and out, errors, theme and language, as a person sees them.

usage: look.py URL NAME PICTURES [FOLDER]

With a FOLDER it says `the hub may go`, waits for the file FOLDER/gone, looks at the page the proxy shows, says so, and
waits until the page has come back by itself.
"""
import os
import re
import sys
import time
from pathlib import Path

from person import browser, expect, window

url, name, pictures, *pause = sys.argv[1:]
password = os.environ["JOVIS_TEST_PASSWORD"]


def comes_in(someone):
    page = someone.page
    someone.go("home")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.url.endswith("login?next=/hub/home"), page.url
    someone.look("login")
    page.fill("#username_input", name)
    page.fill("#password_input", "wrong")
    page.check("#password_show")
    assert page.get_attribute("#password_input", "type") == "text"
    page.click("#login_submit")
    expect(page.locator("#login-error")).to_have_text("Invalid username or password.")
    assert page.input_value("#username_input") == name, "what was typed is kept"
    assert page.input_value("#password_input") == ""
    assert page.evaluate("document.activeElement.id") == "password_input"
    someone.look("login-refused")
    # by keyboard alone
    page.keyboard.type(password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/hub/home")
    expect(page.locator(".who")).to_have_text(name)
    someone.say("signed in")


def sees_errors(someone):
    page = someone.page
    for path, status, words in [
        ("nowhere", 404, "There is nothing at this address"),
        ("admin", 403, "You may not do this."),
        ("user/nobody-of-that-name/", 404, "There is nothing at this address"),
        ("accept-share", 400, "did not understand"),
        ("error/503", 200, "Your server does not answer"),
    ]:
        answer = someone.go(path)
        if path == "admin" and answer.status == 404:
            continue
        assert answer.status == status, f"{path}: {answer.status}"
        expect(page.locator("#error")).to_contain_text(words)
        expect(page.locator("#error code")).to_have_text(answer.headers["x-request-id"])
        expect(page.get_by_role("button", name="Home")).to_be_visible()
        someone.look(f"error-{path.split('/')[0]}-{status}")


def keeps_the_place_in_the_page(someone):
    """What stands behind `#` never reaches the hub, and comes along all the same."""
    page = someone.page
    answer = page.goto(f"{url}user/{name}/lab/tree/a%20b?reset=1#cell-7")
    assert answer.status == 424, answer.status
    expect(page.get_by_role("heading", name="Server not running")).to_be_visible()
    expect(page.locator("#start")).to_have_attribute("href", re.compile(r"next=.*reset.*%23cell-7$"))
    someone.look("not-running")


def chooses_a_theme(someone):
    page = someone.page
    page.emulate_media(color_scheme="light")
    someone.go("home")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#dark-theme-toggle")
    dark = page.evaluate(ground)
    assert light != dark
    expect(page.locator("#dark-theme-toggle")).to_have_attribute("aria-pressed", "true")
    someone.go("token")
    assert page.evaluate(ground) == dark, "the choice lasts"
    page.click("#dark-theme-toggle")
    assert page.evaluate(ground) == light
    assert page.evaluate("window.jhdata.base_url") == "/hub/"


def finds_services(someone):
    page = someone.page
    someone.go("home")
    page.click("#services summary")
    expect(page.locator("#services a")).to_have_attribute("href", "/services/board/")
    someone.look("services-menu")
    page.keyboard.press("Escape")
    expect(page.locator("#services a")).to_be_hidden()


def walks_by_keyboard(someone):
    page = someone.page
    someone.go("home")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")


def waits_for_the_hub(someone, folder):
    page = someone.page
    someone.say("the hub may go")
    while not (Path(folder) / "gone").exists():
        time.sleep(0.05)
    answer = page.goto(url + "hub/token")
    assert answer.status == 503, answer.status
    expect(page.locator("main")).to_contain_text("The hub is starting.")
    # one picture: the page goes on loading itself again every three seconds
    someone.picture("hub-away")
    someone.say("saw the page of the proxy")
    # nobody does anything, and the page that was asked for appears
    expect(page.locator("#request-token-form")).to_be_visible()


def leaves(someone):
    someone.sign_out()
    someone.go("home")
    expect(someone.page.locator("#username_input")).to_be_visible()


with browser() as chromium:
    with window(chromium, url, pictures) as someone:
        comes_in(someone)
        sees_errors(someone)
        keeps_the_place_in_the_page(someone)
        chooses_a_theme(someone)
        finds_services(someone)
        walks_by_keyboard(someone)
        if pause:
            waits_for_the_hub(someone, pause[0])
        leaves(someone)
    with window(chromium, url, pictures, locale="de-DE") as someone:
        page = someone.page
        someone.go("login")
        expect(page.get_by_role("heading", name="Anmelden")).to_be_visible()
        assert page.get_attribute("html", "lang") == "de"
        someone.look("login-german")
        someone.sign_in(name)
        expect(page.locator("#logout")).to_have_text("Abmelden")
        someone.say("in German too")
    with window(chromium, url, pictures, java_script_enabled=False) as someone:
        someone.sign_in(name)
        expect(someone.page.get_by_text(re.compile("JavaScript is off"))).to_be_visible()
        someone.picture("home-without-javascript")
        someone.sign_out()
        someone.say("without JavaScript too")
print("done", flush=True)
