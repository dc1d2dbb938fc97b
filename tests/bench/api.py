"""The REST API of jovis beside JupyterHub's, each with 5,000 users: what clients that manage a hub wait for, and what it
costs. Called as `bench.py` is, and made of its parts: the same two whole systems, taking turns, the user server the same
small program.
"""

import json, os, statistics, sys, time
import http.client
from concurrent.futures import ThreadPoolExecutor

import bench
from bench import JupyterHub, Jovis, say, turns, until, wrk

USERS = int(os.environ.get("USERS", 5000))
# Servers that start at once.
CROWD = 100
bench.PORTS = 300


class Api:
    """A connection that stays open, with the administrator's token."""

    def __init__(self, hub):
        self.line = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=120)
        self.headers = {"Authorization": f"token {hub.token}", "Content-Type": "application/json"}

    def ask(self, method, path, body):
        self.line.request(method, f"/hub/api{path}", None if body is None else json.dumps(body), self.headers)
        return self.line.getresponse()

    def call(self, method, path, body=None):
        try:
            answer = self.ask(method, path, body)
        except http.client.RemoteDisconnected:
            # It was kept open longer than its other end likes.
            answer = self.ask(method, path, body)
        text = answer.read()
        if answer.status >= 400:
            sys.exit(f"bench: {method} {path}: {answer.status} {text[:300]}")
        return answer.status, json.loads(text) if text else None


def fill(hub):
    """So many users, in one go each thousand."""
    api, step = Api(hub), 1000
    for first in range(0, USERS, step):
        api.call("POST", "/users", {"usernames": [f"student{n}" for n in range(first, min(USERS, first + step))]})


def creation(hub, label):
    """A script for wrk that makes a user with each request."""
    script = hub.folder / "create.lua"
    script.write_text(f"""
local n = 0
request = function()
    n = n + 1
    return wrk.format("POST", "/hub/api/users/made-{label}-" .. n)
end
""")
    return script


def ready(hub, api, names):
    """Waits until these users' servers all run."""
    def all_run():
        return all(api.call("GET", f"/users/{name}")[1]["servers"].get("", {}).get("ready") for name in names)
    until(f"{hub.name}: {len(names)} servers run", 120, all_run)


def stop(hub, api, names):
    for name in names:
        api.call("DELETE", f"/users/{name}/server")
    until("the servers stop", 120, lambda: not any(api.call("GET", f"/users/{name}")[1]["servers"] for name in names))


def measure(hub, note, round_):
    api = Api(hub)
    auth = ("-H", f"Authorization: token {hub.token}")
    before = hub.spent(hub.proxy, hub.hub)
    requests, seconds, p99 = wrk(f"{hub.url}/hub/api/users/student{USERS // 2}", 50, *auth)
    note("`GET /users/NAME`, 50 connections: requests/s", requests / seconds, more=True)
    note("`GET /users/NAME`: 99th percentile, ms", p99)
    note("`GET /users/NAME`: processor seconds of hub and proxy for 1,000",
         (hub.spent(hub.proxy, hub.hub) - before) / requests * 1e3)

    times = []
    for _ in range(20):
        began = time.monotonic()
        _, page = api.call("GET", f"/users?offset={USERS // 2}&limit=200")
        times.append(time.monotonic() - began)
        assert len(page) == 200, len(page)
    note("a page of 200 users, ms", statistics.median(times) * 1000)

    alone = [f"student{n}" for n in range(10)]
    times = []
    for name in alone:
        began = time.monotonic()
        status, _ = api.call("POST", f"/users/{name}/server")
        assert status == 201, status
        times.append(time.monotonic() - began)
    note("one start alone, ms", statistics.median(times) * 1000)
    stop(hub, api, alone)

    crowd = [f"student{n}" for n in range(100, 100 + CROWD)]
    before, began = hub.spent(hub.proxy, hub.hub), time.monotonic()
    with ThreadPoolExecutor(CROWD) as threads:
        list(threads.map(lambda name: Api(hub).call("POST", f"/users/{name}/server"), crowd))
    ready(hub, api, crowd)
    took = time.monotonic() - began
    note(f"{CROWD} starts at once: starts/s", CROWD / took, more=True)
    note(f"{CROWD} starts at once: processor milliseconds of hub and proxy for one",
         (hub.spent(hub.proxy, hub.hub) - before) / CROWD * 1000)
    stop(hub, api, crowd)

    before = hub.spent(hub.proxy, hub.hub)
    requests, seconds, _ = wrk(hub.url, 16, *auth, "-s", str(creation(hub, round_)))
    note("users made, one a request, 16 connections: users/s", requests / seconds, more=True)
    note("users made: processor seconds of hub and proxy for 1,000", (hub.spent(hub.proxy, hub.hub) - before) / requests * 1e3)


def prepare(hub):
    hub.server()
    hub.stop_server()
    fill(hub)
    say(f"{hub.name} has {USERS} users")


turns((Jovis, JupyterHub), "api", prepare, measure, "the API", f", {USERS} users and more with each round")
