"""The reference as the wire tests run it: settings from a JSON file that the test writes, servers and proxy stood in for.

`WIRE_SETTINGS` names the file: {"Section": {"name": value}}. Nothing here is on the wire but what JupyterHub itself puts
there: the spawner answers from within the hub's process, the proxy is a dictionary.
"""
import asyncio
import ctypes
import json
import os
import signal
from datetime import datetime, timezone

from jupyterhub.proxy import Proxy
from jupyterhub.spawner import Spawner
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler


class Answer(RequestHandler):
    """What a single-user server must answer to count as one."""

    def prepare(self):
        self.set_header("X-JupyterHub-Version", "6.1.1")

    def get(self):
        self.finish({"version": "fake"})


class InProcess(Spawner):
    """A server that costs nothing. The first word of its user's name says how it behaves, as in fake_server.rs."""

    listener = None
    status = 0

    def load_state(self, state):
        super().load_state(state)
        self.status = 0  # nothing of it outlives the hub

    def get_state(self):
        state = super().get_state()
        if self.listener:
            state["pid"] = os.getpid()
        return state

    async def start(self):
        mode = self.user.name.split("-")[0]
        if mode == "exit":
            raise RuntimeError("these are my last words")
        self.status = None
        if mode == "hang":
            await asyncio.sleep(3600)
        if mode == "slow":
            await asyncio.sleep(2)
        sockets = bind_sockets(0, "127.0.0.1")
        self.listener = HTTPServer(Application([(".*", Answer)]))
        self.listener.add_sockets(sockets)
        return "127.0.0.1", sockets[0].getsockname()[1]

    async def poll(self):
        return self.status

    async def stop(self, now=False):
        self.status = 0
        if self.listener:
            self.listener.stop()
            await self.listener.close_all_connections()
            self.listener = None


class Dictionary(Proxy):
    """Routes nobody follows: the tests speak to the hub itself."""

    should_start = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.routes = {}

    async def add_route(self, routespec, target, data):
        self.routes[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec):
        self.routes.pop(routespec, None)

    async def get_all_routes(self):
        # a proxy tells when it last carried something
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            spec: {**route, "data": {**route["data"], "last_activity": now}} for spec, route in self.routes.items()
        }


PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # whoever started us may be killed
c = get_config()  # noqa: F821
c.JupyterHub.spawner_class = InProcess
c.JupyterHub.proxy_class = Dictionary
with open(os.environ["WIRE_SETTINGS"]) as file:
    for section, settings in json.load(file).items():
        for name, value in settings.items():
            c[section][name] = value
