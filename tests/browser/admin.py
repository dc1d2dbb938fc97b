"""The pages for administrators, as an administrator uses them; somebody else looks on.

usage: admin.py URL ADMIN USER PICTURES      (both have the same password)
"""
import re
import sys

from person import browser, expect, window

url, boss, ann, pictures = sys.argv[1:]
GHOSTS = ["ghost-a", "ghost-b", "ghost-c"]
HOSTILE = "<img src=x onerror=document.title='run'>"


def row(page, key):
    return page.locator(f'tr[data-key="{key}"]')


def adds_users(someone):
    page = someone.page
    someone.go("admin")
    page.click("#add-users")
    page.fill("#usernames", "\n".join([*GHOSTS, boss, "not/a/name"]))
    page.get_by_role("button", name="Add Users").click()
    expect(page.locator("#report li")).to_have_count(5)
    expect(page.locator("#report")).to_contain_text("User already exists.")
    expect(page.locator("#usernames")).to_have_value("not/a/name")
    someone.look("admin-add-users")
    someone.say("users are added, each name is answered for")


def searches_as_one_types(someone):
    page = someone.page
    someone.go("admin")
    expect(row(page, ann)).to_be_visible()
    expect(row(page, "ghost-a")).to_be_visible()
    someone.look("admin-users")
    page.locator("#name_filter").press_sequentially("host-", delay=30)
    expect(row(page, ann)).to_have_count(0)
    expect(page.locator("tr[data-key]")).to_have_count(3)
    assert "name_filter=host-" in page.url, page.url
    assert page.evaluate("document.activeElement.id") == "name_filter", "whoever types goes on typing"
    page.locator("a.sort", has_text="User").click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("User")
    page.locator("a.sort", has_text="User").click()
    expect(page.locator("tr[data-key]").first).to_have_attribute("data-key", "ghost-c")
    page.go_back()
    expect(page.locator("tr[data-key]").first).to_have_attribute("data-key", "ghost-a")
    page.fill("#name_filter", "nobody-like-this")
    expect(page.locator("#none")).to_have_text("No user matches this search.")
    someone.look("admin-nobody-found")
    page.fill("#name_filter", "")
    expect(row(page, ann)).to_be_visible()
    # bookmarks of JupyterHub's page
    for old, new in [("#/groups", "/hub/admin/groups"), ("#/?name_filter=host-&sort=-name", "name_filter=host-"), ("#/add-users", "/add-users")]:
        page.goto("about:blank")
        someone.go(f"admin{old}")
        page.wait_for_url(re.compile(re.escape(new)))
    someone.say("users are found, sorted, and old bookmarks lead on")


def starts_and_stops(someone, other):
    page = someone.page
    someone.go("admin")
    other.go("admin")
    # the other one has picked something, opened something, and stands on something
    row(other.page, "ghost-a").locator("[data-pick]").check()
    row(other.page, "ghost-b").locator("[data-details]").click()
    expect(other.page.locator("tr.opened")).to_contain_text("last_activity")
    row(other.page, "ghost-c").get_by_role("link", name="Edit User").focus()
    row(page, ann).get_by_role("button", name="Start Server").click()
    expect(row(page, ann)).to_contain_text("Running")
    # live, in another browser
    expect(row(other.page, ann)).to_contain_text("Running")
    expect(row(other.page, "ghost-a").locator("[data-pick]")).to_be_checked()
    expect(other.page.locator("tr.opened")).to_have_count(1)
    focus = "document.activeElement.closest('tr').dataset.key + document.activeElement.textContent"
    assert other.page.evaluate(focus) == "ghost-cEdit User"
    expect(other.page.locator("#picked")).to_have_text("Selected: 1")
    other.look("admin-live")
    expect(row(page, ann).get_by_role("link", name="Access Server")).to_have_attribute("href", f"/user/{ann}/")
    expect(row(page, ann)).to_contain_text(re.compile("[0-9] [KMG]B"), timeout=60_000)
    row(page, ann).get_by_role("button", name="Stop Server").click()
    expect(row(page, ann)).to_contain_text("Not running")
    expect(row(page, ann)).to_contain_text(f"stopped by {boss}")
    expect(row(other.page, ann)).to_contain_text("Not running")
    someone.say("servers start and stop, and another browser sees it")


def does_many_at_once(someone):
    page = someone.page
    someone.go("admin?name_filter=ghost")
    page.check("#pick-page")
    expect(page.locator("#picked")).to_have_text("Selected: 3")
    page.fill("#name_filter", ann)
    expect(page.locator("tr[data-key]")).to_have_count(1)
    row(page, ann).locator("[data-pick]").check()
    expect(page.locator("#picked")).to_have_text("Selected: 4")
    page.locator("[data-bulk=start]").click()
    expect(page.locator("#ask-text")).to_have_text("Servers that are started: 4.")
    someone.picture("admin-bulk-asked")
    page.click("#ask-yes")
    expect(page.locator("#work-close")).to_be_visible(timeout=60_000)
    expect(page.locator("#work-text")).to_have_text("Done: 4 of 4. Failed: 3.")
    expect(page.locator("#work-failed li")).to_have_count(3)
    someone.look("admin-bulk-failed")
    page.click("#work-close")
    expect(row(page, ann)).to_contain_text("Running")
    page.fill("#name_filter", "")
    expect(row(page, "ghost-a")).to_contain_text("Failed")
    # to a group, by those that match
    page.locator("[data-bulk=join]").click()
    page.fill("#ask-name", "no-such-group")
    page.click("#ask-yes")
    expect(page.locator("#work-close")).to_be_visible()
    expect(page.locator("#work-failed li")).to_have_count(4)
    page.click("#work-close")
    page.click("#pick-none")
    expect(page.locator("#bulk")).to_be_hidden()
    page.fill("#name_filter", "ghost-c")
    expect(page.locator("tr[data-key]")).to_have_count(1)
    row(page, "ghost-c").locator("[data-pick]").check()
    page.click("#pick-matching")
    expect(page.locator("#picked")).to_have_text("Selected: 1")
    page.locator("[data-bulk=remove]").click()
    someone.picture("admin-bulk-delete")
    page.click("#ask-no")
    expect(row(page, "ghost-c")).to_be_visible()
    page.locator("[data-bulk=remove]").click()
    page.click("#ask-yes")
    expect(page.locator("#none")).to_be_visible()
    # all went well: nothing to read, the window closes by itself
    expect(page.locator("#work")).to_be_hidden()
    page.fill("#name_filter", "")
    expect(row(page, ann)).to_be_visible()
    page.click("#stop-all")
    page.click("#ask-yes")
    expect(row(page, ann)).to_contain_text("Not running")
    expect(page.locator("#work")).to_be_hidden()
    someone.say("many are done at once, and what failed is told")


def keeps_groups(someone):
    page = someone.page
    someone.go("admin")
    page.click("#manage-groups")
    expect(page.locator("#none")).to_have_text("There are no groups yet.")
    page.fill("#new-group", HOSTILE)
    page.get_by_role("button", name="Create").click()
    expect(page.locator("h1")).to_contain_text(HOSTILE)
    page.fill("#users", f"{ann}\nghost-a")
    page.get_by_role("button", name="Add user").click()
    expect(page.locator(".members li")).to_have_count(2)
    page.get_by_label("New key").fill("room")
    page.get_by_label("New value").fill(HOSTILE)
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_label("Value of room")).to_have_value(HOSTILE)
    someone.look("admin-group")
    page.locator("#name_filter").press_sequentially("ghost", delay=20)
    expect(page.locator(".members li")).to_have_count(1)
    page.get_by_role("button", name="Remove ghost-a").click()
    expect(page.locator("#none")).to_be_visible()
    someone.go("admin/groups")
    expect(page.locator("tr[data-key]")).to_have_count(1)
    someone.look("admin-groups")
    # somebody else makes one meanwhile: it is seen
    page.evaluate("fetch('/hub/api/groups/another', {method: 'POST', headers: {'X-XSRFToken': document.body.dataset.xsrf, 'Content-Type': 'application/json'}})")
    expect(page.locator("tr[data-key]")).to_have_count(2)
    page.get_by_role("link", name="another").click()
    page.locator("#delete-group [name=sure]").check()
    page.locator("#delete-group button").click()
    page.wait_for_url("**/hub/admin/groups")
    expect(page.locator("tr[data-key]")).to_have_count(1)
    assert page.title() != "run", "what is written is shown, never run"
    someone.say("groups are kept")


def edits_a_user(someone):
    page = someone.page
    someone.go("admin")
    row(page, "ghost-b").get_by_role("link", name="Edit User").click()
    page.fill("#name", "spirit")
    page.check("[name=admin]")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**/hub/admin/users/spirit")
    expect(page.locator("[name=admin]")).to_be_checked()
    someone.look("admin-user")
    # without the tick nothing goes
    page.locator("#delete-user button").click()
    assert page.url.endswith("/users/spirit")
    page.locator("#delete-user [name=sure]").check()
    page.locator("#delete-user button").click()
    page.wait_for_url("**/hub/admin")
    expect(row(page, "ghost-a")).to_be_visible()
    expect(row(page, "spirit")).to_have_count(0)
    someone.go("admin/services")
    someone.look("admin-services")
    someone.say("a user is edited and deleted")


def keeps_the_hub_quiet(someone, guest, other):
    page = someone.page
    someone.go("admin/hub")
    page.fill("#text", f"{HOSTILE} See https://example.org/news.")
    page.get_by_role("button", name="Announce").click()
    expect(page.locator("#notices")).to_contain_text(HOSTILE)
    expect(page.locator("#notices a")).to_have_attribute("href", "https://example.org/news")
    other.go("admin")
    page.fill("#message", "New disks, back soon.")
    page.get_by_label("are stopped once nobody has used them").check()
    page.fill("#maintain-hours", "2")
    page.get_by_role("button", name="Begin maintenance").click()
    expect(page.locator("#maintenance")).to_contain_text("Servers unused for 10 minutes are stopped.")
    # another browser shows the banner without being loaded again
    expect(other.page.locator("#notices")).to_contain_text("New disks, back soon.")
    someone.look("admin-hub")
    guest.sign_in(ann)
    expect(guest.page.locator("#notices")).to_contain_text("Maintenance: no servers are started now.")
    guest.look("home-in-maintenance")
    answer = guest.go("spawn")
    assert answer.status == 503, answer.status
    expect(guest.page.locator("#error")).to_contain_text("New disks, back soon.")
    page.get_by_role("button", name="End maintenance").click()
    expect(page.locator("#notices")).not_to_contain_text("Maintenance")
    page.get_by_role("button", name="Take back").click()
    expect(page.locator("#notices .notice")).to_have_count(0)
    assert guest.go("spawn").status != 503
    assert page.title() != "run"
    someone.say("announcement and maintenance come and go")


def works_by_keyboard(someone):
    page = someone.page
    someone.go("admin")
    page.focus("#name_filter")
    page.keyboard.type("ghost-a")
    expect(page.locator("tr[data-key]")).to_have_count(1)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('[data-details]')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("tr.opened")).to_be_visible()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Start Server":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#problem")).to_be_visible(timeout=60_000)
    page.keyboard.press("Escape")
    expect(page.locator("#problem")).to_be_hidden()
    # back to the box, by keyboard: pick it and see the bar
    page.locator("[data-pick]").focus()
    page.keyboard.press("Space")
    expect(page.locator("#picked")).to_have_text("Selected: 1")
    someone.say("all of it goes by keyboard")


def works_without_scripts(someone):
    page = someone.page
    someone.sign_in(boss)
    someone.go("admin")
    assert not page.locator("#start-all").is_visible()
    page.fill("#name_filter", ann)
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tr[data-key]")).to_have_count(1)
    if page.get_by_role("button", name="Stop Server").count():
        page.get_by_role("button", name="Stop Server").click()
    page.get_by_role("button", name="Start Server").click()
    expect(row(page, ann)).to_contain_text("Running")
    assert f"name_filter={ann}" in page.url, "it comes back to what was searched"
    someone.picture("admin-without-javascript")
    page.get_by_role("button", name="Stop Server").click()
    expect(row(page, ann)).to_contain_text("Not running")
    page.get_by_role("link", name="Edit User").click()
    expect(page.locator("#edit-user")).to_be_visible()
    someone.say("and without scripts")


with browser() as chromium:
    with window(chromium, url, pictures) as guest:
        # known to the hub from now on
        guest.sign_in(ann)
        answer = guest.go("admin")
        assert answer.status == 403, answer.status
        guest.sign_out()
        with window(chromium, url, pictures) as someone, window(chromium, url, pictures) as other:
            someone.sign_in(boss)
            other.sign_in(boss)
            adds_users(someone)
            searches_as_one_types(someone)
            starts_and_stops(someone, other)
            does_many_at_once(someone)
            keeps_groups(someone)
            edits_a_user(someone)
            keeps_the_hub_quiet(someone, guest, other)
            works_by_keyboard(someone)
    with window(chromium, url, pictures, java_script_enabled=False) as someone:
        works_without_scripts(someone)
    with window(chromium, url, pictures, locale="de-DE") as someone:
        someone.sign_in(boss)
        someone.go("admin")
        expect(someone.page.get_by_role("heading", name="Nutzer")).to_be_visible()
        someone.look("admin-german")
print("done", flush=True)
