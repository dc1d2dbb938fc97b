"""A real JupyterHub whose proxy is the command that is given: sign-in, a server, a WebSocket, a restart of the hub, a stop.

    hub.py FOLDER PROXY-COMMAND…

Run by jupyterhub.rs with the Python that has JupyterHub. It ends with 0 if all went well; what it started is ended.
"""
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time

import requests
import websocket

FOLDER, COMMAND = sys.argv[1], sys.argv[2:]
TOKEN = secrets.token_hex(16)
# A name that has to be escaped.
NAME = "al ice@x"
QUOTED = "al%20ice@x"
PATIENCE = 120

CONFIG = """
import os
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_port = {hub}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.command = {command}
c.ConfigurableHTTPProxy.auth_token = "{token}"
c.ConfigurableHTTPProxy.check_running_interval = 1
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = os.getcwd() + "/home"
c.Spawner.cmd = ["{python}", "-m", "jupyterhub.singleuser", "--allow-root"]
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.last_activity_interval = 5
c.JupyterHub.services = [dict(name="tester", api_token="{token}")]
c.JupyterHub.load_roles = [dict(name="tester", services=["tester"],
    scopes=["admin:users", "admin:servers", "access:servers", "proxy", "read:hub", "list:users"])]
"""


def say(words):
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)


def ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return found


def wait(what, question):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            found = question()
        except requests.RequestException:
            found = None
        if found:
            say(what)
            return found
        time.sleep(0.1)
    raise SystemExit(f"never: {what}")


def proxies():
    """Processes of the command, by what the hub wrote down."""
    try:
        with open(f"{FOLDER}/jupyterhub-proxy.pid") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


public, hub_port, api = ports(3)
base = f"http://127.0.0.1:{public}"
with open(f"{FOLDER}/config.py", "w") as file:
    file.write(CONFIG.format(
        public=public, hub=hub_port, api=api, command=json.dumps(COMMAND), token=TOKEN, python=sys.executable))
os.makedirs(f"{FOLDER}/home", exist_ok=True)


def start():
    log = open(f"{FOLDER}/hub.log", "a")
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": FOLDER, "LANG": "C.UTF-8"}
    hub = subprocess.Popen(
        [sys.executable, "-m", "jupyterhub", "-f", f"{FOLDER}/config.py"],
        cwd=FOLDER, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ready():
        assert hub.poll() is None, f"the hub ended: {hub.returncode}"
        return requests.get(f"{base}/hub/health", timeout=5).status_code == 200

    wait("the hub answers through the proxy", ready)
    return hub


def stop(hub):
    hub.send_signal(signal.SIGTERM)
    hub.wait(PATIENCE)


by_token = {"Authorization": f"token {TOKEN}"}


def hub_api(method, path, **more):
    return requests.request(method, f"{base}/hub/api{path}", headers=by_token, timeout=30, **more)


def model():
    return hub_api("GET", f"/users/{QUOTED}").json()


def routes():
    reply = requests.get(f"http://127.0.0.1:{api}/api/routes", headers=by_token, timeout=5)
    return reply.json()


def server():
    return requests.get(f"{base}/user/{QUOTED}/api", headers=by_token, timeout=5)


def terminal():
    """Asks a shell on the user's server for a sum, over a WebSocket."""
    made = requests.post(f"{base}/user/{QUOTED}/api/terminals", headers=by_token, timeout=30)
    assert made.status_code == 200, (made.status_code, made.text)
    shell = websocket.create_connection(
        f"ws://127.0.0.1:{public}/user/{QUOTED}/terminals/websocket/{made.json()['name']}",
        header=[f"Authorization: token {TOKEN}"], timeout=PATIENCE)
    shell.send(json.dumps(["stdin", "echo $((6*7))x\r"]))
    heard = ""
    while "42x" not in heard:
        kind, *words = json.loads(shell.recv())
        heard += words[0] if kind == "stdout" else ""
    return shell


hub = start()
try:
    # Sign in as a browser does, and start the server.
    person = requests.Session()
    page = person.get(f"{base}/hub/login", timeout=30)
    assert page.status_code == 200 and "_xsrf" in person.cookies, page.status_code
    xsrf = person.cookies["_xsrf"]
    signed = person.post(
        f"{base}/hub/login?next=/hub/home", data={"username": NAME, "password": "x", "_xsrf": xsrf}, timeout=30)
    assert signed.status_code == 200 and signed.url.endswith("/hub/home"), (signed.status_code, signed.url)
    say("signed in")
    made = hub_api("POST", f"/users/{QUOTED}/server")
    assert made.status_code in (201, 202), (made.status_code, made.text)
    wait("the server is ready", lambda: model()["servers"].get("", {}).get("ready"))
    assert f"/user/{NAME}" in routes(), routes()
    # The browser gets in by OAuth, through the proxy both ways.
    inside = person.get(f"{base}/user/{QUOTED}/api", timeout=30)
    opened = person.get(f"{base}/user/{QUOTED}/lab", timeout=60)
    assert opened.status_code == 200, (opened.status_code, opened.url)
    assert server().status_code == 200
    say("the server answers the browser")
    shell = terminal()
    say("a WebSocket speaks")
    before = model()["servers"][""]
    wait("use of the server is told to the hub", lambda: model()["servers"][""]["last_activity"] >= before["last_activity"])

    # A hub that goes leaves servers, the proxy and what runs through it alone.
    pid, proxy = before["state"]["pid"] if "state" in before else None, proxies()
    stop(hub)
    assert server().status_code == 200, "without a hub"
    shell.send(json.dumps(["stdin", "echo $((7*7))y\r"]))
    heard = ""
    while "49y" not in heard:
        kind, *words = json.loads(shell.recv())
        heard += words[0] if kind == "stdout" else ""
    away = requests.get(f"{base}/hub/login", timeout=30)
    assert away.status_code == 503, away.status_code
    say("without a hub the server goes on")
    hub = start()
    wait("the server is found again", lambda: model()["servers"].get("", {}).get("ready"))
    wait("and is reached", lambda: server().status_code == 200)
    terminal().close()

    # A proxy that dies is started again, and gets its routes back.
    dead = proxies()
    os.kill(dead, signal.SIGKILL)
    wait("there is another proxy", lambda: proxies() not in (None, dead))
    wait("the routes are back", lambda: server().status_code == 200)

    stopped = hub_api("DELETE", f"/users/{QUOTED}/server")
    assert stopped.status_code in (202, 204), stopped.status_code
    wait("the server is gone", lambda: not model()["servers"])
    assert f"/user/{NAME}" not in routes(), routes()
    gone = server()
    assert gone.status_code in (424, 503), gone.status_code
    nowhere = requests.get(f"{base}/nowhere", timeout=30)
    assert nowhere.status_code == 404, nowhere.status_code
    say("done")
finally:
    hub.poll() is None and stop(hub)
    last = proxies()
    if last:
        try:
            os.kill(last, signal.SIGTERM)
        except ProcessLookupError:
            pass
