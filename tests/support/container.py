#!/usr/bin/python3 -IS
"""A server in a container for the contract suite: it talks, answers, resists where /control/stubborn lies, and leaves with
status N on signal SIGRTMIN+N. On SIGUSR1 it takes memory for ever."""
import os
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

if os.path.exists("/control/stubborn"):
    leave = signal.SIG_IGN
else:
    def leave(number, _frame):
        os._exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, leave)
for status in range(0, 20):
    signal.signal(signal.SIGRTMIN + status, lambda number, _frame: os._exit(number - signal.SIGRTMIN))


def eat(_number, _frame):
    hog = []
    while True:
        hog.append(bytearray(os.urandom(1 << 20)))


signal.signal(signal.SIGUSR1, eat)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words):
        pass


url = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
server = ThreadingHTTPServer((url.hostname, url.port), Handler)
for line in range(300):
    print(f"zeile {line} äöü")
print("äöü last line", flush=True)
server.serve_forever()
