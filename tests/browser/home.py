"""One's servers on the home page, as a person uses them; at the end without JavaScript.

usage: home.py URL NAME PICTURES
"""
import os
import re
import signal
import subprocess
import sys

from person import START, browser, expect, window

url, name, pictures = sys.argv[1:]
HOSTILE = "<img src=x onerror=alert(1)> & Läb"


def card(page, server):
    return page.locator(f'.server[data-server="{server}"]')


def state(page, server, words):
    expect(card(page, server).locator(".badge")).to_have_text(words, timeout=START)


def begins(someone):
    page = someone.page
    someone.sign_in(name)
    state(page, "", "Not running")
    expect(page.locator("#start")).to_have_text("Start My Server")
    expect(page.locator("#stop")).to_have_count(0)
    someone.look("home-empty")


def makes_servers(someone):
    page = someone.page
    expect(page.locator("#new-server-help")).to_contain_text("Of 3 you may have 3 more.")
    page.fill("#new-server-name", HOSTILE)
    page.click(".new-server-btn")
    slug = "img-src-x-onerror-alert-1-lab"
    expect(card(page, slug).locator("h3")).to_have_text(HOSTILE)
    page.fill("#new-server-name", HOSTILE)
    page.keyboard.press("Enter")
    expect(page.locator("#new-server-help .error")).to_have_text("You have a server of that name already.")
    assert page.input_value("#new-server-name") == HOSTILE, "what was typed is kept"
    someone.look("home-name-taken")
    page.fill("#new-server-name", "GPU")
    page.keyboard.press("Enter")
    expect(card(page, "gpu").locator("h3")).to_have_text("GPU")
    # asked before, and nothing is done where the answer is no
    page.once("dialog", lambda dialog: dialog.dismiss())
    card(page, slug).locator(".delete-server").click()
    expect(card(page, slug)).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    card(page, slug).locator(".delete-server").click()
    expect(card(page, slug)).to_have_count(0)
    someone.say("servers are made and removed")


def runs_them(someone):
    page = someone.page
    page.click("#start")
    page.wait_for_url(f"**/user/{name}/**", timeout=START)
    someone.go("home")
    state(page, "", "Running")
    expect(page.locator("#start")).to_have_text("My Server")
    # measured meanwhile, and told without loading the page again
    expect(card(page, "").get_by_text("Processor")).to_be_visible(timeout=START)
    expect(card(page, "").locator(".facts")).to_contain_text(re.compile(r"Memory\s*[\d.]+ MB"))
    card(page, "gpu").locator(".start-server").click()
    page.wait_for_url(f"**/user/{name}/gpu/**", timeout=START)
    someone.go("home")
    state(page, "gpu", "Running")
    expect(card(page, "gpu").get_by_text("Processor")).to_be_visible(timeout=START)
    someone.look("home-running")
    page.once("dialog", lambda dialog: dialog.accept())
    card(page, "gpu").locator(".restart-server").click()
    page.wait_for_url(lambda where: "/spawn-pending/" in where or f"/user/{name}/gpu/" in where, timeout=START)
    page.wait_for_url(f"**/user/{name}/gpu/**", timeout=START)
    someone.say("they run, and one was restarted")


def sees_an_end(someone):
    """A server dies while its owner looks at the page: it tells by itself, and why."""
    page = someone.page
    someone.go("home")
    state(page, "gpu", "Running")
    card(page, "gpu").locator(".stop-server").focus()
    for pid in subprocess.run(["pgrep", "-u", name, "-f", "."], capture_output=True, text=True).stdout.split():
        with open(f"/proc/{pid}/environ") as file:
            if f"/user/{name}/gpu/" in file.read():
                os.kill(int(pid), signal.SIGKILL)
    state(page, "gpu", "Ended")
    expect(card(page, "gpu").locator(".notice")).to_contain_text("killed (signal 9).")
    expect(page.locator("#news")).to_have_text("GPU: Ended")
    assert page.evaluate("document.activeElement.closest('.server').dataset.server") == "gpu", "the focus stays near"
    someone.look("home-ended")
    someone.say("an end is told")


def stops(someone):
    page = someone.page
    page.click("#stop")
    expect(page.locator("#stop")).to_be_hidden(timeout=START)
    state(page, "", "Not running")
    expect(page.locator("#start")).to_have_text("Start My Server")


def without_scripts(someone):
    page = someone.page
    someone.sign_in(name)
    page.click("#start")
    page.wait_for_url(lambda where: "/spawn-pending/" in where or f"/user/{name}/" in where, timeout=START)
    while True:
        someone.go("home")
        if card(page, "").get_attribute("data-state") == "running":
            break
    someone.picture("home-running-without-javascript")
    page.click("#stop")
    page.wait_for_url("**/hub/home")
    while card(page, "").get_attribute("data-state") != "stopped":
        someone.go("home")
    page.fill("#new-server-name", "Plain")
    page.click(".new-server-btn")
    expect(card(page, "plain")).to_be_visible()
    page.click("#delete-plain")
    expect(card(page, "plain")).to_have_count(0)
    someone.picture("home-without-javascript")
    someone.say("without JavaScript too")


with browser() as chromium:
    with window(chromium, url, pictures) as someone:
        begins(someone)
        makes_servers(someone)
        runs_them(someone)
        sees_an_end(someone)
        stops(someone)
    with window(chromium, url, pictures, locale="de-DE") as someone:
        someone.sign_in(name)
        expect(someone.page.locator("#start")).to_have_text("Meinen Server starten")
        someone.look("home-german")
    with window(chromium, url, pictures, java_script_enabled=False) as someone:
        without_scripts(someone)
print("done", flush=True)
