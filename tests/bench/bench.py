"""jovis beside JupyterHub with configurable-http-proxy: both as whole systems, taking turns, in one run.

Called by `.ci/bench` as `bench.py FOLDER HOME` (then `api.py`, which is about the REST API): a folder of its own that holds the programs `jovis` and `load`, and the
folder that `.ci/install` fills. Both sides sign in by "dummy" and start servers by "simple"; the user server is the same
on both, `load serve`, which is there at once. All traffic stays on 127.0.0.1. Prints a table: medians, and the median of
the ratios of neighbouring runs with the lowest and the highest of them.
"""

import getpass, json, os, re, shutil, signal, socket, statistics, subprocess, sys, time
import http.client, http.cookiejar, urllib.error, urllib.parse, urllib.request
from pathlib import Path

FOLDER, HOME = map(Path, sys.argv[1:])
LOAD = FOLDER / "load"
PAIRS = int(os.environ.get("PAIRS", 5))
SECONDS = float(os.environ.get("SECONDS_EACH", 3))
USER = "bench" if os.geteuid() == 0 else getpass.getuser()
TICKS = os.sysconf("SC_CLK_TCK")
PORTS = 50  # of each side; user servers get the most of them


def say(text):
    print(f"bench: {text}", file=sys.stderr)


def until(what, limit, ask):
    """Waits until `ask` says yes; asks more seldom as time goes by, so as not to take it from who is waited for."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < limit:
        if ask():
            return
        time.sleep(0.002 + min(0.03, waited / 20))
    sys.exit(f"bench: {what}: not within {limit} s")


def listens(url):
    """Does it answer, and well?"""
    try:
        return urllib.request.urlopen(url, timeout=30).status == 200
    except (OSError, http.client.HTTPException):
        return False


def free_ports(count):
    """The first of so many free ports in a row, below those the kernel draws from."""
    for base in range(12000 + os.getpid() % 100 * 100, 32000, max(100, count)):
        try:
            for port in range(base, base + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    sys.exit("bench: no free ports")


def processes():
    """Of every process: parent, start time, processor seconds, words."""
    table = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text().rpartition(") ")[2].split()
            words = (entry / "cmdline").read_text().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        table[int(entry.name)] = (int(stat[1]), stat[19], (int(stat[11]) + int(stat[12])) / TICKS, words)
    return table


def memory(pids, kind="Rss"):
    """MiB of resident memory; `Pss` counts pages that processes share only once."""
    texts = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return sum(int(re.search(rf"^{kind}:\s+(\d+)", text, re.M)[1]) for text in texts) / 1024


class Hub:
    """One side: a hub with its proxy, in a folder and on ports of its own."""

    def __init__(self, label):
        self.folder, self.known, self.root, self.token = FOLDER / f"{self.name}-{label}", {}, None, None
        self.folder.mkdir()
        self.port = free_ports(PORTS)
        self.label = f"bench-{os.getpid()}-{self.port}"
        self.url = f"http://127.0.0.1:{self.port}"
        self.configure()

    def start(self):
        """Starts it; seconds until the hub answers on the public port."""
        began = time.monotonic()
        with open(self.folder / "log", "ab") as log:
            self.root = subprocess.Popen(self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                         stderr=log, start_new_session=True)
        until(f"{self.name} starts", 60, self.answers)
        return time.monotonic() - began

    def answers(self):
        return listens(self.url + "/hub/api")

    def family(self):
        """Hub and proxy processes: what root has started and is no user server."""
        table, ours = processes(), {self.root.pid}
        for pid in sorted(table):
            if table[pid][0] in ours:
                ours.add(pid)
        self.known |= {pid: table[pid][1] for pid in ours if pid in table}
        return {pid: table[pid] for pid in ours if pid in table and str(LOAD) not in table[pid][3]}

    def role(self, part):
        found = [pid for pid, (*_, words) in self.family().items() if any(part in word for word in words)]
        assert len(found) == 1, f"{self.name}: {part}: {found}"
        return found[0]

    def spent(self, *roles):
        """Seconds of the processor that these have used so far."""
        table = self.family()
        return sum(table[self.role(role)][2] for role in roles)

    def stop(self):
        if self.root is None:
            return
        self.family()
        self.root.send_signal(signal.SIGINT)
        try:
            self.root.wait(20)
        except subprocess.TimeoutExpired:
            say(f"{self.name} does not end by itself")
        self.root.poll() is not None or self.root.kill()
        self.root.wait()
        table = processes()
        for pid, since in self.known.items():
            if pid in table and table[pid][1] == since:
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(f"/run/jovis/{self.label}", ignore_errors=True)
        self.root = None

    def call(self, method, path, body=None):
        """A call of the hub's API with the token; its JSON."""
        request = urllib.request.Request(f"{self.url}/hub/api{path}", body, {"Authorization": f"token {self.token}"},
                                         method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def server(self):
        """Signs in and starts the server as a browser would; seconds from posting the form to the server's answer."""
        jar = http.cookiejar.CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        browser.open(self.url + "/hub/login", timeout=30).read()
        xsrf = next(cookie.value for cookie in jar if cookie.name == "_xsrf")
        form = urllib.parse.urlencode({"_xsrf": xsrf, "username": USER, "password": "bench"}).encode()

        def there():
            try:
                return "X-Bench" in browser.open(f"{self.url}/user/{USER}/size/1", timeout=30).headers
            except urllib.error.HTTPError:
                return False

        began = time.monotonic()
        browser.open(f"{self.url}/hub/login?next=%2Fhub%2Fspawn", form, timeout=30).read()
        until(f"{self.name}'s server", 30, there)
        took = time.monotonic() - began
        if self.token is None:
            browser.open(self.url + "/hub/home", timeout=30).read()
            xsrf = next(cookie.value for cookie in jar if cookie.name == "_xsrf")
            headers = {"X-XSRFToken": xsrf, "Content-Type": "application/json"}
            request = urllib.request.Request(f"{self.url}/hub/api/users/{USER}/tokens", b"{}", headers)
            self.token = json.loads(browser.open(request, timeout=30).read())["token"]
        return took

    def stop_server(self):
        self.call("DELETE", f"/users/{USER}/server")
        until("the server stops", 30, lambda: not self.call("GET", f"/users/{USER}")["servers"])


class Jovis(Hub):
    name, proxy, hub = "jovis", "@proxy", "@hub"

    def configure(self):
        (self.folder / "hub.ron").write_text(f"""(
            hub: (name: "{self.label}", ip: "127.0.0.1", port: {self.port}, hub_port: {self.port + 1},
                  state_dir: "{self.folder}/state"),
            auth: (class: Dummy(), allow_all: true, admin_users: ["{USER}"]),
            spawner: (class: Simple(home_dir_template: "{FOLDER}/home/{self.name}-{{username}}"),
                      cmd: ["{LOAD}", "serve"], ports: ({self.port + 3}, {self.port + PORTS - 1})),
        )""")

    def command(self):
        return [FOLDER / "jovis", "-f", self.folder / "hub.ron"]

    def hub_dies(self):
        """Seconds until a killed hub answers again."""
        os.kill(self.role(self.hub), signal.SIGKILL)
        began = time.monotonic()
        until("the hub is back", 30, self.answers)
        return time.monotonic() - began


class JupyterHub(Hub):
    name, proxy, hub = "JupyterHub", "configurable-http-proxy", "bin/jupyterhub"

    def configure(self):
        proxy = [HOME / "bench/bin/node",
                 HOME / "bench/npm/node_modules/configurable-http-proxy/bin/configurable-http-proxy"]
        (self.folder / "hub.py").write_text(f"""
c.JupyterHub.bind_url = "{self.url}/"
c.JupyterHub.hub_port = {self.port + 1}
c.JupyterHub.authenticator_class, c.Authenticator.allow_all = "dummy", True
c.Authenticator.admin_users = {{"{USER}"}}
c.JupyterHub.spawner_class, c.Spawner.cmd = "simple", ["{LOAD}", "serve"]
c.SimpleLocalProcessSpawner.home_dir_template = "{FOLDER}/home/{self.name}-{{username}}"
c.ConfigurableHTTPProxy.command = {[str(word) for word in proxy]}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{self.port + 2}"
""")

    def command(self):
        return [HOME / "env/bin/python3", HOME / "env/bin/jupyterhub", "-f", self.folder / "hub.py"]

    def hub_dies(self):
        """The same, with somebody who starts it again that very moment."""
        self.family()
        self.root.kill()
        self.root.wait()
        return self.start()


def wrk(url, connections, *options):
    """Requests, seconds, the 99th percentile in milliseconds. Every answer must be a good one."""
    words = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS:g}s", "--latency", *options, url]
    text = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"bench: {url}: {text}")
    requests, seconds = re.search(r"(\d+) requests in ([\d.]+)s", text).groups()
    p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    return int(requests), float(seconds), float(p99) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def alone():
    """What the user server does without a proxy: 1 KiB answers, and MiB, in a second."""
    url = f"http://127.0.0.1:{free_ports(1)}"
    server = subprocess.Popen([LOAD, "serve"], env={"JUPYTERHUB_SERVICE_URL": url})
    try:
        until("the user server", 5, lambda: listens(url))
        small, big = wrk(f"{url}/size/1024", 64), wrk(f"{url}/size/{1 << 20}", 8)
        return small[0] / small[1], big[0] / big[1]
    finally:
        server.kill()
        server.wait()


def idle_sockets(hub, count=1000):
    """KiB that an open and idle WebSocket costs the proxy."""
    pid = hub.role(hub.proxy)
    before = memory([pid])
    words = [LOAD, "idle", f"127.0.0.1:{hub.port}", f"/user/{USER}/ws", str(count)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        if client.stdout.readline() != b"open\n":
            sys.exit(f"bench: {hub.name}: {count} WebSockets do not open")
        return (memory([pid]) - before) * 1024 / count


def echo(hub, sockets=64):
    words = [LOAD, "echo", f"127.0.0.1:{hub.port}", f"/user/{USER}/ws", str(sockets), str(SECONDS)]
    trips, seconds = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout.split()
    return int(trips), float(seconds)


def fresh(hub, note):
    """What is measured on a hub that has just been started."""
    note("start until the hub answers, s", hub.start())
    time.sleep(1.5)  # what starting leaves to do is no part of "idle"
    family = hub.family()
    note("memory of all processes, idle (RSS), MiB", memory(family))
    note("the same, shared pages counted once (PSS), MiB", memory(family, "Pss"))
    hub.server()
    note("memory of the proxy for an idle WebSocket, KiB", idle_sockets(hub))
    note("hub killed, until it answers, s", hub.hub_dies())
    hub.stop()


def loaded(hub, note):
    """What is measured under load."""

    user, before = f"{hub.url}/user/{USER}", hub.spent(hub.proxy)
    requests, seconds, p99 = wrk(f"{user}/size/1024", 64)
    note("1 KiB answers, 64 connections: requests/s", requests / seconds, more=True)
    note("1 KiB answers: processor seconds of the proxy for 10,000", (hub.spent(hub.proxy) - before) / requests * 1e4)
    note("1 KiB answers: 99th percentile, ms", p99)

    before = hub.spent(hub.proxy)
    requests, seconds, _ = wrk(f"{user}/size/{1 << 20}", 8)
    note("1 MiB answers, 8 connections: MiB/s", requests / seconds, more=True)
    note("1 MiB answers: processor seconds of the proxy for 10 GiB", (hub.spent(hub.proxy) - before) / requests * 10240)

    before = hub.spent(hub.proxy)
    trips, seconds = echo(hub)
    note("WebSocket echoes, 64 sockets: round trips/s", trips / seconds, more=True)
    note("WebSocket echoes: processor seconds of the proxy for 10,000", (hub.spent(hub.proxy) - before) / trips * 1e4)

    before = hub.spent(hub.proxy, hub.hub)
    requests, seconds, p99 = wrk(f"{hub.url}/hub/api/user", 16, "-H", f"Authorization: token {hub.token}")
    note("`GET /hub/api/user`, 16 connections: requests/s", requests / seconds, more=True)
    note("`GET /hub/api/user`: 99th percentile, ms", p99)
    note("`GET /hub/api/user`: processor seconds of hub and proxy for 10,000",
         (hub.spent(hub.proxy, hub.hub) - before) / requests * 1e4)

    for _ in range(2):
        hub.stop_server()
        note("login form posted, until the server answers, ms", hub.server() * 1000)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to end"))
    busy = os.getloadavg()[0]
    lines, hubs = {}, []  # a line: is more better?, then the values of jovis and of JupyterHub

    def note(side):
        return lambda name, value, more=False: lines.setdefault(name, (more, [], []))[1 + side].append(value)

    (FOLDER / "home").mkdir()
    os.chmod(FOLDER / "home", 0o1777)
    try:
        for number in range(PAIRS):
            for side, kind in enumerate((Jovis, JupyterHub)):
                hubs.append(kind(number))
                fresh(hubs[-1], note(side))
            say(f"pair {number + 1} of fresh hubs done")
        for kind in Jovis, JupyterHub:
            hubs.append(kind("loaded"))
            hubs[-1].start()
            hubs[-1].server()
            loaded(hubs[-1], lambda *_, **__: None)  # to warm up: compilers at run time and caches
        for number in range(PAIRS):
            for side, hub in enumerate(hubs[-2:]):
                loaded(hub, note(side))
            say(f"pair {number + 1} under load done")
        bare = alone()
    except BaseException:
        for hub in hubs[-2:]:
            say(f"the last lines of {hub.name}:\n" + "\n".join((hub.folder / "log").read_text().splitlines()[-30:]))
        raise
    finally:
        for hub in hubs:
            hub.stop()

    table(lines)
    print(f"\n{time.strftime('%Y-%m-%d')}, {os.cpu_count()} processors, load before the start {busy:.1f}, {PAIRS} pairs.")
    print(f"The user server alone, no proxy before it: {bare[0]:,.0f} requests/s, {bare[1]:,.0f} MiB/s.")


def turns(kinds, label, prepare, measure, what, told):
    """Hubs of these kinds beside each other, taking turns: `prepare(hub)` once, `measure(hub, note, number)` in each round.
    Prints the table, and below it what there is to be `told`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to end"))
    busy, lines, hubs = os.getloadavg()[0], {}, []

    def note(side):
        return lambda name, value, more=False: lines.setdefault(name, (more, [], []))[1 + side].append(value)

    (FOLDER / "home").mkdir(exist_ok=True)
    os.chmod(FOLDER / "home", 0o1777)
    try:
        for kind in kinds:
            hubs.append(kind(label))
            hubs[-1].start()
            prepare(hubs[-1])
        for number in range(PAIRS):
            for side, hub in enumerate(hubs):
                measure(hub, note(side), number)
            say(f"pair {number + 1} of {what} done")
    except BaseException:
        for hub in hubs:
            say(f"the last lines of {hub.name}:\n" + "\n".join((hub.folder / "log").read_text().splitlines()[-30:]))
        raise
    finally:
        for hub in hubs:
            hub.stop()
    table(lines)
    print(f"\n{time.strftime('%Y-%m-%d')}, {os.cpu_count()} processors, load before the start {busy:.1f}, {PAIRS} pairs{told}.")


def table(lines):
    """Medians, and the median of the ratios of neighbouring runs with the lowest and the highest of them."""
    print("| | jovis | JupyterHub + CHP | jovis better by | lowest to highest |\n|---|---:|---:|---:|---:|")
    for name, (more, ours, theirs) in lines.items():
        ratios = [a / b if more else b / a for a, b in zip(ours, theirs)]
        cells = (statistics.median(values) for values in (ours, theirs, ratios))
        ours, theirs, ratio = (f"{cell:,.0f}" if cell >= 100 else f"{cell:.3g}" for cell in cells)
        print(f"| {name} | {ours} | {theirs} | {ratio} × | {min(ratios):.3g} to {max(ratios):.3g} |")


if __name__ == "__main__":
    main()
