"""The proxy alone beside configurable-http-proxy, nginx and HAProxy: the same work for each, taking turns, in one run.

Called by `.ci/bench` as `proxies.py FOLDER HOME`: a folder of its own that holds the programs `jovis` and `load`, and the
folder that `.ci/install` fills. Each proxy has one worker and one processor for itself; load and user server have the
other. All traffic stays on 127.0.0.1. What counts first is the processor time a piece of work costs the proxy, from
/proc; rates are told beside it. Prints a table: medians, and the medians of the ratios of neighbouring runs, with the
lowest and the highest of them.
"""

import http.client, json, os, re, signal, socket, ssl, statistics, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path

FOLDER, HOME = map(Path, sys.argv[1:])
LOAD = FOLDER / "load"
PAIRS = int(os.environ.get("PAIRS", 5))
SECONDS = float(os.environ.get("SECONDS_EACH", 3))
ONLY = os.environ.get("ONLY", "")  # a part of a row's name
ROUTES = int(os.environ.get("ROUTES", 200_000))  # what configurable-http-proxy needs a minute or two for
TICKS = os.sysconf("SC_CLK_TCK")
MIB, GIB = 1 << 20, 1 << 30
PROXY, REST = ([0], [1]) if os.cpu_count() > 1 else ([0], [0])
running, ports = [], iter(())


def say(text):
    print(f"bench: {text}", file=sys.stderr)


def free_ports(count):
    """The first of so many free ports in a row, below those the kernel draws from."""
    for base in range(14000 + os.getpid() % 100 * 100, 32000, max(100, count)):
        try:
            for port in range(base, base + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    sys.exit("bench: no free ports")


def start(words, cores, **options):
    """Starts a program on these processors."""
    child = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, **options,
                             preexec_fn=lambda: os.sched_setaffinity(0, cores))
    running.append(child)
    return child


def until(what, limit, ask):
    began = time.monotonic()
    while time.monotonic() - began < limit:
        if ask():
            return
        time.sleep(0.02)
    sys.exit(f"bench: {what}: not within {limit} s")


def family(pid):
    """The process and those it has started."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        pids += [one for child in task.read_text().split() for one in family(int(child))]
    return pids


class Side:
    """One proxy: plain on `port`, TLS on `tls`, `/user/a/` to the user server."""

    def __init__(self, server):
        self.server, self.port, self.tls, self.api, self.tls_api = server, *(next(ports) for _ in range(4))
        self.children = []
        self.log = open(FOLDER / f"{self.name}.log", "wb")
        for words in self.commands():
            self.children.append(start(words, PROXY, stdout=self.log, stderr=self.log, env=os.environ | self.env))
        context = ssl._create_unverified_context()
        for url in f"http://127.0.0.1:{self.port}", f"https://127.0.0.1:{self.tls}":
            until(f"{self.name} at {url}", 10, lambda: self.answers(url, context))

    env = {}

    def answers(self, url, context):
        try:
            return urllib.request.urlopen(f"{url}/user/a/size/1", timeout=5, context=context).status == 200
        except OSError:
            return False

    def pids(self):
        return [pid for child in self.children for pid in family(child.pid)]

    def cpu(self):
        fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in self.pids())
        return sum(int(it[11]) + int(it[12]) for it in fields) / TICKS

    def memory(self):
        texts = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.pids())
        return sum(int(re.search(r"^Rss:\s+(\d+)", text, re.M)[1]) for text in texts)


class Jovis(Side):
    name = "jovis"
    program = [FOLDER / "jovis", "proxy"]
    env = {"CONFIGPROXY_AUTH_TOKEN": "bench"}

    def commands(self):
        common = ["--ip", "127.0.0.1", "--api-ip", "127.0.0.1", "--log-level", "error", "--default-target", self.server]
        plain = ["--port", self.port, "--api-port", self.api]
        tls = ["--port", self.tls, "--api-port", self.tls_api]
        tls += ["--ssl-key", FOLDER / "key.pem", "--ssl-cert", FOLDER / "cert.pem"]
        return [self.program + common + plain, self.program + common + tls]


class Chp(Jovis):
    name = "configurable-http-proxy"
    program = [HOME / "bench/bin/node", HOME / f"bench/npm/node_modules/{name}/bin/{name}"]


class Nginx(Side):
    name = "nginx"

    def commands(self):
        config = FOLDER / "nginx.conf"
        server = self.server.removeprefix("http://")
        config.write_text(f"""
worker_processes 1; daemon off; pid {FOLDER}/nginx.pid; error_log {FOLDER}/nginx.err; user root;
events {{ worker_connections 20000; }}
http {{
    access_log off; keepalive_requests 1000000000; client_max_body_size 0; proxy_max_temp_file_size 0;
    client_body_temp_path {FOLDER}/nginx-body; proxy_temp_path {FOLDER}/nginx-proxy;
    fastcgi_temp_path {FOLDER}/nginx-fcgi; uwsgi_temp_path {FOLDER}/nginx-uwsgi; scgi_temp_path {FOLDER}/nginx-scgi;
    upstream server {{ server {server}; keepalive 256; keepalive_requests 1000000000; }}
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    ssl_certificate {FOLDER}/cert.pem; ssl_certificate_key {FOLDER}/key.pem; ssl_session_tickets off;
    server {{
        listen 127.0.0.1:{self.port}; listen 127.0.0.1:{self.tls} ssl;
        location /user/a/ {{
            proxy_pass http://server; proxy_http_version 1.1; proxy_request_buffering off; proxy_read_timeout 600s;
            proxy_set_header Host $http_host; proxy_set_header Connection $connection_upgrade;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Request-ID $request_id;
        }}
    }}
}}""")
        return [["/usr/sbin/nginx", "-c", config]]


class Haproxy(Side):
    name = "HAProxy"

    def commands(self):
        config = FOLDER / "haproxy.cfg"
        both = FOLDER / "both.pem"
        both.write_text((FOLDER / "cert.pem").read_text() + (FOLDER / "key.pem").read_text())
        config.write_text(f"""
global
    nbthread 1
    maxconn 8000
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout tunnel 600s
    option http-keep-alive
    http-reuse aggressive
frontend public
    bind 127.0.0.1:{self.port}
    bind 127.0.0.1:{self.tls} ssl crt {both} no-tls-tickets
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Port {self.port}
    http-request set-header X-Request-ID %[uuid()]
    use_backend server if {{ path_beg /user/a/ }}
backend server
    server one {self.server.removeprefix("http://")} pool-max-conn 256
""")
        return [["/usr/sbin/haproxy", "-f", config]]


def wrk(url, connections, *options, strict=True):
    """Requests, seconds, the 99th percentile in milliseconds. Every answer must be a good one, or only those count."""
    words = ["taskset", "-c", REST[0], "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(SECONDS))}s", "--latency", *options, url]
    text = subprocess.run([str(it) for it in words], check=True, capture_output=True, text=True, timeout=120).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if (bad or "Socket errors" in text) and strict:
        sys.exit(f"bench: {url}: {text}")
    requests, seconds = re.search(r"(\d+) requests in ([\d.]+)(?:s|m)", text).groups()
    p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    return int(requests) - int(bad[1] if bad else 0), float(seconds), float(p99) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def load(*words):
    words = ["taskset", "-c", REST[0], LOAD, *words]
    text = subprocess.run([str(it) for it in words], check=True, capture_output=True, text=True, timeout=300).stdout
    count, seconds = text.split()
    return int(count), float(seconds)


def rows(side, note):
    """All that is measured of one side, one time."""
    plain, secure = f"127.0.0.1:{side.port}", f"https://127.0.0.1:{side.tls}/user/a"

    def cost(name, unit, work, each=1e6, rate=None, scale=1):
        """Processor time for each piece of work, and how many a second."""
        if ONLY not in name:
            return
        before = side.cpu()
        count, seconds, *p99 = work()
        note(f"{name}: processor {unit}", (side.cpu() - before) / (count * scale) * each)
        if rate:
            note(f"{name}: {rate}", count * scale / seconds, more=True)
        if p99:
            note(f"{name}: 99th percentile, ms", p99[0])

    url = f"http://{plain}/user/a"
    cost("1 KiB answers, 64 connections", "µs a request", lambda: wrk(f"{url}/size/1024", 64), rate="requests/s")
    for size, sockets in (128, 64), (16 << 10, 16):
        cost(f"WebSocket echoes of {size} bytes", "µs a round trip",
             lambda: load("echo", plain, "/user/a/ws", sockets, SECONDS, size), rate="round trips/s")
    cost("answers of 1 MiB, 8 connections", "s a GiB", lambda: wrk(f"{url}/size/{MIB}", 8)[:2], 1, "GiB/s", 1 / 1024)
    cost("bodies of 1 MiB sent, 8 connections", "s a GiB", lambda: load("put", plain, "/user/a/", 8, SECONDS, MIB),
         1, "GiB/s", 1 / 1024)
    cost("answers of 1 GiB", "s a GiB", lambda: timed_get(f"{url}/size/{GIB}"), 1, "GiB/s")
    cost("bodies of 1 GiB sent", "s a GiB", lambda: load("put", plain, "/user/a/", 1, 0.001, GIB)[:1] + (1,), 1)
    cost("TLS, 1 KiB answers, 64 connections", "µs a request", lambda: wrk(f"{secure}/size/1024", 64),
         rate="requests/s")
    cost("TLS, a handshake for each request", "µs a request",
         # configurable-http-proxy passes "close" on to servers and then uses that connection again, now and then
         lambda: wrk(f"{secure}/size/1", 16, "-H", "Connection: close", strict=False)[:2], rate="requests/s")
    cost("TLS, answers of 1 MiB, 8 connections", "s a GiB", lambda: wrk(f"{secure}/size/{MIB}", 8)[:2], 1, "GiB/s",
         1 / 1024)


def timed_get(url):
    began = time.monotonic()
    subprocess.run(["taskset", "-c", str(REST[0]), "curl", "-sf", "-o", "/dev/null", url], check=True, timeout=120)
    return 1, time.monotonic() - began


def idle(side, note, count=1000):
    """KiB that an open and idle WebSocket costs the proxy."""
    if ONLY not in "idle WebSocket":
        return
    before = side.memory()
    words = [LOAD, "idle", f"127.0.0.1:{side.port}", "/user/a/ws", str(count)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        if client.stdout.readline() != b"open\n":
            sys.exit(f"bench: {side.name}: {count} WebSockets do not open")
        note("an idle WebSocket: memory, KiB", (side.memory() - before) / count)


def routes(side, first, last):
    """Adds so many routes by REST, one after another over one connection, as a hub does; seconds."""
    api = http.client.HTTPConnection("127.0.0.1", side.api, timeout=60)
    body = json.dumps({"target": side.server, "user": "a", "server_name": ""})
    headers = {"Authorization": "token bench", "Content-Type": "application/json"}
    began = time.monotonic()
    for number in range(first, last):
        api.request("POST", f"/api/routes/user/u{number}", body, headers)
        answer = api.getresponse()
        answer.read()
        if answer.status != 201:
            sys.exit(f"bench: {side.name}: route {number}: {answer.status}")
    return time.monotonic() - began


def grows(side, note):
    """What a request costs among ten routes and among very many; and how long it takes to say 10,000."""
    if ONLY not in "routes":
        return
    url = f"http://127.0.0.1:{side.port}/user/a/size/1024"
    routes(side, 0, 10)

    def cost(name, times=3):
        for _ in range(times):
            before = side.cpu()
            count = wrk(url, 64)[0]
            note(f"{name}: processor µs a request", (side.cpu() - before) / count * 1e6)

    cost("1 KiB answers among 10 routes")
    note("10,000 routes by REST, s", routes(side, 10, 10_010))
    memory = side.memory()
    routes(side, 10_010, ROUTES)
    note(f"{ROUTES:,} routes: memory, MiB", (side.memory() - memory) / 1024 * ROUTES / (ROUTES - 10_010))
    cost(f"1 KiB answers among {ROUTES:,} routes")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to end"))
    busy = os.getloadavg()[0]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                    FOLDER / "key.pem", "-out", FOLDER / "cert.pem"], check=True, capture_output=True)
    lines = {}  # name of a line: is more better?, then the values of each side
    kinds = [Jovis, Nginx, Haproxy, Chp]
    wanted = os.environ.get("SIDES", "").split()
    kinds = [kind for kind in kinds if not wanted or kind.name in wanted]

    def note(name):
        def add(row, value, more=False):
            lines.setdefault(row, (more, {kind.name: [] for kind in kinds}))[1][name].append(value)
        return add

    global ports
    base = free_ports(40)
    ports = iter(range(base, base + 40))
    server = f"http://127.0.0.1:{next(ports)}"
    start([LOAD, "serve"], REST, env=os.environ | {"JUPYTERHUB_SERVICE_URL": server})
    try:
        sides = [kind(server) for kind in kinds]
        for side in sides:
            idle(side, note(side.name))
        for side in sides:
            rows(side, lambda *_, **__: None)  # to warm up: compilers at run time and caches
        for number in range(PAIRS):
            for side in sides:
                rows(side, note(side.name))
            say(f"round {number + 1} done")
        for side in sides:
            if isinstance(side, Jovis):  # and configurable-http-proxy; the others read their routes from files
                grows(side, note(side.name))
    finally:
        for child in running:
            child.terminate()
        for child in running:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
    table(lines, kinds)
    print(f"\n{time.strftime('%Y-%m-%d')}, {os.cpu_count()} processors, load before the start {busy:.1f}, {PAIRS} rounds.")


def number(cell):
    return f"{cell:,.0f}" if cell >= 100 else f"{cell:.3g}"


def table(lines, kinds):
    """Medians; how much of the others' jovis takes (or how much more it does)."""
    others = [kind.name for kind in kinds if kind is not Jovis]
    print(f"| | jovis | {' | '.join(others)} | {' | '.join(f'of {name}' for name in others)} |")
    print("|---|---:|" + "---:|" * len(others) * 2)
    for name, (_, values) in lines.items():
        ours = values.get("jovis", [])
        cells = [number(statistics.median(ours)) if ours else ""]
        cells += [number(statistics.median(values[other])) if values[other] else "" for other in others]
        for other in others:
            ratios = [a / b for a, b in zip(ours, values[other]) if b]
            cells.append(f"{statistics.median(ratios):.2f} × ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
