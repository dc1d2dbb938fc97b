"""Tokens, sharing and consent, as a person uses them; tokens also without JavaScript.

usage: own.py URL NAME PICTURES FRIEND FRIENDS_PASSWORD
"""
import json
import sys
import urllib.request

from person import browser, expect, window

url, name, pictures, friend, friends_password = sys.argv[1:]
HOSTILE = "<img src=x onerror=alert(1)>"


def who(token):
    request = urllib.request.Request(f"{url}hub/api/user", headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def makes_a_token(someone):
    page = someone.page
    someone.go("token")
    someone.look("token-empty")
    page.fill("#token-note", HOSTILE)
    page.select_option("#token-expiration-seconds", label="1 Week")
    page.click("#token-choices summary")
    page.fill("#token-filter", "see servers progress")
    expect(page.locator(".choices li:visible")).to_have_count(1)
    page.keyboard.press("Enter")  # searches, and makes no token
    page.locator(".choices li:visible input").check()
    page.fill("#token-filter", "no such thing")
    expect(page.locator(".choices li:visible")).to_have_count(1)  # what is chosen stays to be seen
    someone.look("token-choosing")
    page.get_by_role("button", name="Request new API token").click()
    expect(page.locator("#token-area")).to_be_visible()
    token = page.locator("#token-result").inner_text()
    model = who(token)
    assert model["name"] == name and f"read:servers!user={name}" in model["scopes"], model
    assert not any(scope.startswith("tokens") for scope in model["scopes"]), model
    row = page.locator(".token-row").filter(has_text=HOSTILE)
    expect(row).to_have_count(1)
    someone.look("token-made")
    page.fill("#token-scopes", "admin:users")
    page.get_by_role("button", name="Request new API token").click()
    expect(page.locator("#token-problem")).to_contain_text("not allowed to request scopes")
    page.once("dialog", lambda dialog: dialog.accept())
    row.locator(".revoke-token-btn").click()
    expect(row).to_have_count(0)
    someone.say("a token was made and revoked")


def shares(someone):
    page = someone.page
    someone.go("home")
    page.get_by_role("button", name="Share Your server").click()
    page.wait_for_url("**/hub/shares")
    someone.look("sharing-empty")
    page.fill("#share-with", "nobody-of-that-name")
    page.keyboard.press("Enter")
    expect(page.locator("#share-problem")).to_have_text("There is no such user or group.")
    page.fill("#share-with", friend)
    page.get_by_label("See whether it runs").check()
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Share", exact=True).click()
    expect(page.locator(".share-row")).to_contain_text(friend)
    page.get_by_role("button", name="Make a link").click()
    link = page.locator("#share-link").inner_text()
    assert link.startswith(url), link
    someone.look("sharing")
    someone.say("shared")
    return link


def is_invited(someone, link):
    page = someone.page
    someone.go("home")
    page.click("#shared-with-me")
    expect(page.locator(".received-row")).to_contain_text(name)
    someone.look("sharing-received")
    page.goto(link)
    expect(page.get_by_role("heading", name="Accept invitation")).to_be_visible()
    someone.look("invitation")
    someone.go("shares")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=f"Leave the server of {name}").click()
    expect(page.get_by_text("Nothing is shared with you.")).to_be_visible()
    someone.say("invited, and left")


def declines(someone):
    page = someone.page
    someone.go("api/oauth2/authorize?client_id=service-board&response_type=code&state=a%26b")
    expect(page.get_by_role("heading", name="Authorize access")).to_be_visible()
    expect(page.get_by_role("button", name="Authorize")).to_be_visible()
    someone.look("consent")
    with page.expect_request(lambda request: "oauth_callback" in request.url) as asked:
        page.get_by_role("button", name="Decline").click()
    assert asked.value.url.endswith("/services/board/oauth_callback?error=access_denied&state=a%26b"), asked.value.url
    someone.say("declined")


def without_scripts(someone):
    page = someone.page
    someone.sign_in(name, to="token")
    page.fill("#token-note", "plain")
    page.get_by_role("button", name="Request new API token").click()
    token = page.locator("#token-result").inner_text()
    assert who(token)["name"] == name
    someone.picture("token-without-javascript")
    someone.go("token")
    assert token not in page.content(), "shown once"
    page.locator(".token-row").filter(has_text="plain").locator(".revoke-token-btn").click()
    expect(page.locator(".token-row").filter(has_text="plain")).to_have_count(0)
    someone.say("without JavaScript too")


with browser() as chromium:
    with window(chromium, url, pictures) as someone, window(chromium, url, pictures) as other:
        # who was never here is nobody to share with
        other.sign_in(friend, friends_password)
        someone.sign_in(name)
        makes_a_token(someone)
        is_invited(other, shares(someone))
        declines(someone)
    with window(chromium, url, pictures, locale="de-DE") as someone:
        someone.sign_in(name, to="shares")
        someone.look("sharing-german")
    with window(chromium, url, pictures, java_script_enabled=False) as someone:
        without_scripts(someone)
print("done", flush=True)
