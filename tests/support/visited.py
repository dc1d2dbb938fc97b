"""A service made for JupyterHub, with its own library: who visits with a browser, and who with a token."""

import json, os, urllib.parse

from jupyterhub.services.auth import HubAuthenticated, HubOAuthCallbackHandler, HubOAuthenticated
from tornado import ioloop, web

PREFIX = os.environ["JUPYTERHUB_SERVICE_PREFIX"]


class Told:
    def tell(self):
        user = self.get_current_user()
        self.finish(json.dumps({"name": user["name"], "kind": user["kind"], "scopes": sorted(user["scopes"])}))


class Browser(HubOAuthenticated, Told, web.RequestHandler):
    @web.authenticated
    def get(self):
        self.tell()


class Script(HubAuthenticated, Told, web.RequestHandler):
    @web.authenticated
    def get(self):
        self.tell()


web.Application(
    [
        (PREFIX + "browser", Browser),
        (PREFIX + "script", Script),
        (PREFIX + "oauth_callback", HubOAuthCallbackHandler),
    ],
    cookie_secret=os.urandom(32),
).listen(urllib.parse.urlparse(os.environ["JUPYTERHUB_SERVICE_URL"]).port, "127.0.0.1")
ioloop.IOLoop.current().start()
