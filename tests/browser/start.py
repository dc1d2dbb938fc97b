"""Starting a server: choose, wait, watch, cancel, understand.

usage: start.py URL BOB EVE PICTURES GO
"""
import os
import re
import sys
import time

from person import browser, expect, window

url, bob, eve, pictures, go = sys.argv[1:]


def server(name, path=""):
    return f"/user/{name}/{path}"


def stop(someone, name, which=""):
    """By the API, as the home page's script does."""
    path = f"users/{name}/servers/{which}" if which else f"users/{name}/server"
    ended = """async (path) => {
        const call = (method) => fetch(`${document.body.dataset.baseUrl}api/${path}`,
            {method, headers: {"X-XSRFToken": document.body.dataset.xsrf, "Content-Type": "application/json"}});
        const status = (await call("DELETE")).status;
        for (let n = 0; n < 100; n++) {
            if ((await (await call("GET")).json()).stopped) return status;
            await new Promise((done) => setTimeout(done, 100));
        }
        return "it runs on";
    }"""
    someone.go("home")
    status = someone.page.evaluate(ended, path)
    assert status in (202, 204), status


def chooses(someone):
    page = someone.page
    someone.sign_in(bob)
    someone.go("spawn?next=" + server(bob, "tree%3Fa=1"))
    expect(page.get_by_role("heading", name="Server Options")).to_be_visible()
    expect(page.get_by_label("Small")).to_be_checked()
    # only what belongs to the choice
    expect(page.get_by_label(re.compile("^Memory"))).to_be_visible()
    page.get_by_label("Broken").check()
    expect(page.get_by_label(re.compile("^Memory"))).to_be_hidden()
    page.get_by_label("Small").check()
    someone.look("form")
    page.get_by_label("Python").select_option("3.13")
    page.get_by_label(re.compile("^Memory")).fill("4")
    page.get_by_label("Project").fill("Apollo 11")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("Small letters only, please.")).to_be_visible()
    assert page.input_value("input[name=profile-option-small--note]") == "Apollo 11", "what was typed is kept"
    assert page.evaluate("document.activeElement.name") == "profile-option-small--note"
    someone.look("form-error")
    page.get_by_label("Project").fill("apollo")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**" + server(bob, "tree?a=1"))
    assert "_xsrf" not in page.url
    someone.go(server(bob, "self"))
    it = page.evaluate("JSON.parse(document.body.innerText).environment")
    assert (it["NOTE"], it["PY"], it["MEM_LIMIT"]) == ("apollo", "3.13", str(4 << 30)), it
    someone.say("what was chosen reached the server, and the page asked for was reached")
    stop(someone, bob)
    someone.go("spawn")
    expect(page.get_by_label("Python")).to_have_value("3.13")
    expect(page.get_by_label("Project")).to_have_value("apollo")
    # options in the address start at once
    someone.go(f"spawn?opt-profile=small&opt-note=zeus&next={server(bob, 'lab')}")
    page.wait_for_url("**" + server(bob, "lab"))
    someone.go(server(bob, "self"))
    assert page.evaluate("JSON.parse(document.body.innerText).environment.NOTE") == "zeus"
    someone.say("options in the address too")


def waits(chromium, someone):
    """bob's server takes the one place there is."""
    with window(chromium, url, pictures) as other:
        page = other.page
        other.sign_in(eve)
        other.go(f"spawn?next={server(eve, 'files')}")
        page.get_by_role("button", name="Start").click()
        page.wait_for_url("**/hub/spawn-pending/**")
        expect(page.locator("#place")).to_contain_text("Place 1 of 1 in the queue.")
        other.look("queue")
        # there is room for one in the queue
        full = someone.go("spawn/" + bob + "/lab?opt-profile=small")
        assert full.status == 429 and int(full.headers["retry-after"]) >= 30, full.status
        expect(someone.page.get_by_text("Too many servers are waiting")).to_be_visible()
        someone.look("queue-full")
        print("eve waits", flush=True)
        # now the hub is killed; there is another one when this file is there
        deadline = time.monotonic() + 60
        while not os.path.exists(go):
            assert time.monotonic() < deadline, "no other hub"
            time.sleep(0.1)
        other.go(f"spawn-pending/{eve}?next={server(eve, 'files')}")
        expect(page.locator("#place")).to_contain_text("Place 1 of 1 in the queue.")
        other.say("she waits also after the hub was killed")
        stop(someone, bob)
        page.wait_for_url("**" + server(eve, "files"))
        other.say("and is taken to the page she asked for")
        stop(other, eve)


def watches_and_cancels(someone):
    page = someone.page
    someone.go(f"spawn/{bob}/lab")
    page.get_by_label("Never ready").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/hub/spawn-pending/**")
    expect(page.locator("#stages [aria-current=step]")).to_have_text("Waiting for its first answer")
    page.get_by_text("What the server writes").click()
    expect(page.locator("#server-log")).to_have_text("<b>loading</b> kernels")
    someone.look("pending")
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url("**/hub/home")
    someone.say("the named server was cancelled")


def understands_a_failure(someone):
    page = someone.page
    for _ in range(50):
        answer = someone.go(f"spawn/{bob}/lab?next={server(bob, 'lab/tree')}")
        if page.locator("#spawn_form").count():
            break
        time.sleep(0.2)
    assert answer.status == 200, answer.status
    page.get_by_label("Broken").check()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="Spawn failed")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("exited with status 1")
    expect(page.locator("#advice")).to_contain_text("A Python package is missing or broken.")
    expect(page.locator(".tail")).to_contain_text("<i>ModuleNotFoundError</i>: No module named jupyterlab")
    someone.look("failed")
    page.get_by_role("button", name="Relaunch Server").click()
    expect(page.get_by_role("heading", name="Server Options")).to_be_visible()
    expect(page.get_by_label("Broken")).to_be_checked()
    page.get_by_label("Small").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**" + server(bob, "lab/tree"))
    someone.say("and another choice runs")
    stop(someone, bob, "lab")


def without_scripts(chromium):
    with window(chromium, url, pictures, java_script_enabled=False) as someone:
        page = someone.page
        someone.sign_in(bob)
        someone.go("spawn")
        expect(page.get_by_label(re.compile("^Memory"))).to_be_visible()
        someone.picture("form-without-scripts")
        page.get_by_label("Never ready").check()
        page.get_by_role("button", name="Start").click()
        page.wait_for_url("**/hub/spawn-pending/**")
        someone.picture("pending-without-scripts")
        expect(page.locator("#server-log")).to_contain_text("loading", timeout=20_000)
        page.get_by_role("button", name="Cancel").click()
        page.wait_for_url("**/hub/home")
        for _ in range(50):
            someone.go("spawn")
            if page.locator("#spawn_form").count():
                break
            time.sleep(0.2)
        page.get_by_label("Small").check()
        page.get_by_role("button", name="Start").click()
        page.wait_for_url("**" + server(bob))
        someone.say("without scripts too")


with browser() as chromium:
    with window(chromium, url, pictures) as someone:
        chooses(someone)
        waits(chromium, someone)
        watches_and_cancels(someone)
        understands_a_failure(someone)
        with window(chromium, url, pictures, locale="de-DE") as german:
            german.sign_in(bob)
            german.go("spawn")
            german.picture("form-german")
    without_scripts(chromium)
print("done", flush=True)
