"""Signing in at a provider of OpenID Connect: jovis beside JupyterHub with `GenericOAuthenticator`, taking turns, 100 people
at once. Called as `bench.py` is, and made of its parts. Both are at the provider of tests/providers/openid.py; the people
are its neighbour walk.py, which goes every step that a browser goes. Provider and people cost more than either hub and run
on the same processors: what counts is what the hubs spend.
"""

import json, subprocess, sys, time
from pathlib import Path

from bench import HOME, JupyterHub, Jovis, turns

PEOPLE = 100
PROVIDERS = Path(__file__).resolve().parent.parent / "providers"
PYTHON = HOME / "oauthenticator/bin/python3"
CLIENT, SECRET = "hub", "hub-secret-0123456789"


class Provider:
    def __init__(self):
        self.process = subprocess.Popen([PYTHON, "-u", PROVIDERS / "openid.py"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        said = self.process.stdout.readline()
        self.url = f"http://127.0.0.1:{said.split()[-1]}"

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)


class OpenId(Jovis):
    def configure(self):
        super().configure()
        file = self.folder / "hub.ron"
        client = f'issuer: "{self.provider}", client_id: "{CLIENT}", client_secret: "{SECRET}", userinfo: true'
        file.write_text(file.read_text().replace("Dummy()", f"Oidc({client})"))


class GenericOAuthenticator(JupyterHub):
    def configure(self):
        super().configure()
        with open(self.folder / "hub.py", "a") as file:
            file.write(f"""
c.JupyterHub.authenticator_class = "generic-oauth"
c.GenericOAuthenticator.allow_all = True
c.GenericOAuthenticator.client_id, c.GenericOAuthenticator.client_secret = "{CLIENT}", "{SECRET}"
c.GenericOAuthenticator.oauth_callback_url = "{self.url}/hub/oauth_callback"
c.GenericOAuthenticator.authorize_url = "{self.provider}/authorize"
c.GenericOAuthenticator.scope = ["openid", "profile", "email"]
# it has none of its own, and this provider insists on one
c.GenericOAuthenticator.extra_authorize_params = {{"nonce": "0123456789abcdef0123456789abcdef"}}
c.GenericOAuthenticator.token_url = "{self.provider}/token"
c.GenericOAuthenticator.userdata_url = "{self.provider}/userinfo"
c.GenericOAuthenticator.username_claim = "preferred_username"
""")

    def command(self):
        return [PYTHON, HOME / "oauthenticator/bin/jupyterhub", "-f", self.folder / "hub.py"]


def measure(hub, note, _):
    before, began = hub.spent(hub.proxy, hub.hub), time.monotonic()
    words = [PYTHON, PROVIDERS / "walk.py", "--hub", f"{hub.url}/hub/", "--provider", hub.provider, "--many", str(PEOPLE)]
    text = subprocess.run(words, capture_output=True, text=True, timeout=300).stdout
    took = time.monotonic() - began
    came = [json.loads(line) for line in text.splitlines()]
    bad = [it for it in came if not it["ok"]]
    if bad or len(came) != PEOPLE:
        sys.exit(f"bench: {hub.name}: {len(came)} of {PEOPLE} tried, {len(bad)} did not come in: {bad[:2]}")
    note(f"{PEOPLE} people sign in at once: people/s", PEOPLE / took, more=True)
    note("processor milliseconds of hub and proxy for one", (hub.spent(hub.proxy, hub.hub) - before) / PEOPLE * 1000)
    note("the slowest of them, s", max(it["took"] for it in came))


def warm(hub):
    """Everybody has been here, and what is compiled at run time is."""
    measure(hub, lambda *_, **__: None, None)


provider = Provider()
OpenId.provider = GenericOAuthenticator.provider = provider.url
try:
    turns((OpenId, GenericOAuthenticator), "sign-in", warm, measure, "signing in", "")
finally:
    provider.stop()
