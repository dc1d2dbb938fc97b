#!/usr/bin/python3 -IS
"""A stand-in for a single-user server: it starts in a tenth of a second and behaves as badly as it is told.

First argument: how to behave.
  ok            answer (the default)
  exit N        print two lines and leave with status N
  silent        listen, accept, never answer
  broken        answer everything with 500
  elsewhere     answer, but not under the prefix: 404 everywhere
  slow N        sleep N seconds before listening
  stubborn      like ok, but ignore SIGINT and SIGTERM
  die N         answer; leave with status N seven tenths of a second after the first answer to a probe
Under the prefix: api, self (what the process is, as JSON), echo (the body), drip?seconds=N (one chunk every tenth of
a second), ws (WebSocket echo), size?bytes=N, exit?status=N (leave),
eat?mib=N (so much more memory).
Anything it prints goes to the server's log.
"""
import os

# First of all, before anything of ours is open: what were we born with?
OPEN = {}
for _name in os.listdir("/proc/self/fd"):
    try:
        OPEN[int(_name)] = os.readlink(f"/proc/self/fd/{_name}")
    except OSError:
        pass  # the descriptor of this very listing

import base64
import hashlib
import json
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


EATEN = []


def say(*words):
    print("fake:", *words, flush=True)


def environment():
    """As the kernel keeps it: what Python itself adds to os.environ does not count."""
    with open("/proc/self/environ", "rb") as file:
        pairs = file.read().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def itself():
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    mask = os.umask(0)
    os.umask(mask)
    return {
        "pid": os.getpid(), "ppid": os.getppid(), "session": os.getsid(0), "group": os.getpgrp(),
        "uids": os.getresuid(), "gids": os.getresgid(), "groups": sorted(os.getgroups()),
        "cwd": os.getcwd(), "argv": sys.argv, "environment": environment(), "umask": mask,
        "open": {str(fd): what for fd, what in OPEN.items()},
        "status": {name: status.get(name) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "SigBlk", "SigIgn")},
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    prefix = "/"
    mode = ["ok"]

    def answer(self, status, body=b"", kind="application/json", **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-JupyterHub-Version", "6.1.1")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.mode[0] == "broken":
            return self.answer(500, {"message": "broken on purpose"})
        if self.mode[0] == "elsewhere" or not self.path.startswith(self.prefix):
            return self.answer(404, {"message": "not here", "path": self.path})
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        what = url.path[len(self.prefix):]
        if what == "api":
            self.answer(200, {"version": "fake"})
            if self.mode[0] == "die":
                threading.Timer(0.7, leave, (int(self.mode[1]),)).start()
        elif what == "self":
            self.answer(200, itself())
        elif what == "echo":
            self.answer(200, body, "application/octet-stream")
        elif what == "headers":
            self.answer(200, [[name, value] for name, value in self.headers.items()])
        elif what == "size":
            self.answer(200, b"x" * int(query["bytes"]), "application/octet-stream")
        elif what == "drip":
            self.drip(float(query["seconds"]))
        elif what == "ws":
            self.websocket()
        elif what == "eat":
            self.answer(200, {})
            EATEN.append(b"x" * (int(query["mib"]) << 20))
        elif what == "exit":
            self.answer(200, {})
            leave(int(query["status"]))
        else:
            self.answer(200, {"path": self.path, "method": self.command})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    def drip(self, seconds):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(int(seconds * 10)):
            self.wfile.write(b"5\r\ndrip\n\r\n")
            self.wfile.flush()
            time.sleep(0.1)
        self.wfile.write(b"5\r\nlast\n\r\n0\r\n\r\n")

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while True:  # small masked frames only: it is a test's echo
            head = self.rfile.read(2)
            if len(head) < 2:
                return
            mask = self.rfile.read(4)
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(head[1] & 0x7F)))
            self.wfile.write(bytes([head[0], len(data)]) + data)
            self.wfile.flush()

    def log_message(self, format, *words):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):  # the parent's asks the resolver for a name, which can take seconds
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address


def leave(status):
    say("ended at", int(time.time() * 1000))
    sys.stdout.flush()
    os._exit(status)


def main():
    mode = sys.argv[1:] or ["ok"]
    say("mode", *mode, "pid", os.getpid())
    if mode[0] == "exit":
        say("these are my last words")
        leave(int(mode[1]))
    if mode[0] == "slow":
        time.sleep(float(mode[1]))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if mode[0] == "stubborn" else lambda *_: leave(0))
    url = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    address = (url.hostname or "", url.port)
    if mode[0] == "silent":
        listener = socket.create_server(address)
        say("listening and silent")
        kept = []
        while True:
            kept.append(listener.accept())
    Handler.prefix, Handler.mode = os.environ["JUPYTERHUB_SERVICE_PREFIX"], mode
    server = Server(address, Handler)
    say("listening on", url.netloc)
    server.serve_forever()


main()
