"""A browser that comes by TLS: it speaks HTTP/2, and its WebSocket goes by the same connection (RFC 8441).

usage: secure.py URL NAME LOG
"""
import sys

from person import CHROMIUM, FLAGS, SECOND, Person
from playwright.sync_api import sync_playwright

url, name, log = sys.argv[1:]
ECHO = """async address => {
    const socket = new WebSocket(address)
    socket.binaryType = "arraybuffer"
    await new Promise((yes, no) => { socket.onopen = yes; socket.onerror = no })
    const heard = []
    for (const said of ["one", "\u00e4".repeat(50), "x".repeat(100)]) {
        const echo = new Promise(yes => { socket.onmessage = yes })
        socket.send(said)
        heard.push((await echo).data === said)
    }
    const end = new Promise(yes => { socket.onclose = yes })
    socket.close(1000)
    return [...heard, (await end).code]
}"""

with sync_playwright() as play:
    flags = [*FLAGS, "--ignore-certificate-errors", f"--log-net-log={log}"]
    browser = play.chromium.launch(executable_path=CHROMIUM, args=flags)
    page = browser.new_page(ignore_https_errors=True)
    Person(page, url, ".").sign_in(name)
    page.goto(f"{url}hub/spawn")
    for _ in range(60):
        if page.goto(f"{url}user/{name}/api").status == 200:
            break
        page.wait_for_timeout(SECOND / 2)
    seen = page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol")
    assert seen == "h2", seen
    print("the page came by", seen, flush=True)
    said = page.evaluate(ECHO, f"{url.replace('https', 'wss')}user/{name}/ws")
    assert said == [True, True, True, 1000], said
    print("the socket echoes", flush=True)
    browser.close()
with open(log) as file:
    assert ":protocol: websocket" in file.read(), "it had a connection of its own"
print("by the same connection", flush=True)
