"""A provider of OpenID Connect: honest, or as one of the cases in cases.py has it.

usage: openid.py [--port N] [--cert PEM --key PEM] [--name HOST] [--redirect URL] [--stays]    serves (see stage.py)
       openid.py --list                                                                       prints the cases as JSON

There is an issuer at the address itself, which plays what it is told to (`{"case": …}`), and one at /i/CASE for each
case, which always plays that: a hub can know all of them at once. Each has keys of its own. All know this client:

    client_id "hub", client_secret "hub-secret-0123456789", any redirect address (--redirect: exactly this one)

People sign in with any name, by a form or at once by `login=NAME` beside the other parameters; their claims are made from
the name, and what `people` says beside it. /evil/… is where attacks lead: an honest hub is never seen there.

GET /_ron?set=plain       the section `auth` with which a hub knows all cases of a set ("plain", "groups", "later"), each by
                          its name; further parameters are settings of every `Oidc(..)`: &timeout=2

POST /_control, each answered by {"done": true}:

    {"case": "iss-other"}                   what the issuer at the address plays from now on
    {"people": {"carol": {"groups": []}}}   claims of people, at all issuers
    {"revoke": "carol"}                     her refresh and access tokens end
    {"then": "revoke", "issuer": "refresh-revoked", "user": "carol"}     what a case says happens after a sign-in
    {"rotate": "CASE or empty"}             new keys for this issuer
    {"down": true}                          every request is cut off
    {"forget": true}                        as if just started, but for the keys
"""
import base64
import hashlib
import html
import json
import secrets
import sys
import time
from urllib.parse import unquote, urlencode, urlsplit

from aiohttp import web

import cases
import jose
import stage

CLIENT, SECRET = "hub", "hub-secret-0123456789"
LASTS, ACCESS, CODES = 600, 3_600, 60
# RSA keys take long to make, and nobody is answered meanwhile: the honest issuers share one, the cases another, each with
# a name of its own for it.
KEYS = {True: jose.Rsa("honest"), False: jose.Rsa("case")}
EVIL, SHORT, SPARE = jose.Rsa("evil"), jose.Rsa("short", 1_024), jose.Rsa("spare")

PAGE = """<!doctype html><html lang="en"><title>Sign in at the provider</title>
<h1>Sign in at the provider</h1>
<form method="post" action="{action}">{hidden}
<label>Name <input name="login" value="{login}" autofocus></label>
<button name="answer" value="yes">Sign in</button> <button name="answer" value="no">Cancel</button></form></html>"""


class Turn:
    """One person's way through one issuer."""

    def __init__(self, issuer, asked, login, honest):
        self.issuer, self.asked, self.login, self.honest = issuer, asked, login, honest
        self.client_id, self.client_secret, self.nonce = CLIENT, SECRET, asked.get("nonce")
        self.challenge, self.redirect = asked.get("code_challenge"), asked["redirect_uri"]
        self.code_client, self.made, self.used, self.began = asked["client_id"], time.time(), False, int(time.time())
        self.access_token = self.refresh_token = None
        self.after = None

    def hook(self, name, otherwise=None):
        return otherwise if self.honest else self.issuer.case.hooks.get(name, otherwise)

    def person(self):
        it = {
            "sub": f"sub-{self.login}", "preferred_username": self.login, "name": self.login.title(),
            "email": f"{self.login}@provider.test", "email_verified": True, "groups": ["everybody"],
        }
        return it | self.issuer.world.people.get(self.login, {})

    def claims(self):
        now = int(time.time())
        it = self.person() | {
            "iss": self.issuer.url, "aud": self.client_id, "iat": now, "exp": now + LASTS, "auth_time": self.began,
            "at_hash": jose.half_hash(self.access_token),
        }
        return it | ({"nonce": self.nonce} if self.nonce is not None else {})

    def another(self):
        """Another token of this issuer's, honestly made and signed: of root, at another time."""
        head = jose.header(self.issuer.rsa)
        return jose.signed(head, self.claims() | {"sub": "sub-root", "preferred_username": "root"}, self.issuer.rsa.sign)

    def id_token(self):
        keep = lambda _, it: it  # noqa: E731
        key = self.issuer.ec if self.hook("algorithm") == "ES256" else self.issuer.rsa
        head = self.hook("head", keep)(self, jose.header(key))
        claims = self.hook("claims", keep)(self, self.claims())
        sign = self.hook("sign", lambda _: key.sign)(self)
        if self.after == "other-sub":
            claims["sub"] = "sub-root"
        elif self.after == "other-iss":
            claims["iss"] = "https://evil.test"
        elif self.after == "evil-key":
            sign = EVIL.sign
        return self.hook("token", keep)(self, jose.signed(head, claims, sign))


class Issuer:
    evil, short, spare = EVIL, SHORT, SPARE

    def __init__(self, world, name, case):
        self.world, self.name, self.case = world, name, case
        self.site = world.address
        self.path = f"/i/{name}" if name else ""
        self.url = self.site + self.path
        self.forget()
        self.keys = None

    def forget(self):
        self.codes, self.access, self.refresh = {}, {}, {}
        self.first_nonce = self.first_code = self.first_token = self.waiting_state = None
        self.rotated = False

    # Made when somebody asks: there are some hundred issuers.
    @property
    def rsa(self):
        return self._keys()[0]

    @property
    def ec(self):
        return self._keys()[1]

    def _keys(self):
        if self.keys is None:
            self.rotate(KEYS[self.name.startswith("honest")])
        return self.keys

    def rotate(self, key=None):
        tag = secrets.token_hex(4)
        self.keys = (jose.Rsa(f"rsa-{tag}", key=key), jose.Ec(f"ec-{tag}"))

    def other(self):
        return self.world.issuer("honest" if self.name != "honest" else "honest-es256")

    def document(self):
        methods = ["client_secret_basic", "client_secret_post"]
        it = {
            "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks", "userinfo_endpoint": f"{self.url}/userinfo",
            "end_session_endpoint": f"{self.url}/logout",
            "response_types_supported": ["code"], "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "token_endpoint_auth_methods_supported": methods, "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "profile", "email", "groups", "offline_access"],
            "authorization_response_iss_parameter_supported": True,
        }
        return self.case.hooks.get("discovery", lambda _, doc: doc)(self, it)

    def jwks(self):
        it = {"keys": [self.rsa.public(), self.ec.public()]}
        return self.case.hooks.get("jwks", lambda _, doc: doc)(self, it)

    def revoke(self, login):
        for tokens in (self.access, self.refresh):
            for token in [it for it, turn in tokens.items() if turn.login == login]:
                del tokens[token]


class World:
    def __init__(self, address, redirect):
        self.address, self.redirect = address, redirect
        self.people, self.down, self.issuers = {}, False, {}
        self.top = Issuer(self, "", cases.CASES["honest"])

    def issuer(self, name):
        if not name:
            return self.top
        if name not in cases.CASES:
            raise web.HTTPNotFound(text="no such issuer")
        if name not in self.issuers:
            self.issuers[name] = Issuer(self, name, cases.CASES[name])
        return self.issuers[name]

    def routes(self):
        out = [web.post("/_control", self.control), web.get("/_ron", self.settings), web.route("*", "/evil/{what:.*}", self.evil)]
        for prefix in ("", "/i/{name}"):
            out += [
                web.get(prefix + "/.well-known/openid-configuration", self.guard(self.discovery)),
                web.get(prefix + "/jwks", self.guard(self.keys)),
                web.get(prefix + "/authorize", self.guard(self.authorize)),
                web.post(prefix + "/authorize", self.guard(self.authorize)),
                web.post(prefix + "/token", self.guard(self.token)),
                web.get(prefix + "/userinfo", self.guard(self.userinfo)),
                web.get(prefix + "/logout", self.guard(self.logout)),
            ]
        return out

    def guard(self, handler):
        async def guarded(request):
            issuer = self.issuer(request.match_info.get("name", ""))
            if self.down or issuer.case.hooks.get("down"):
                request.transport.abort()
                return web.Response()
            return await handler(request, issuer)
        return guarded

    async def settings(self, request):
        more = {key: json.loads(value) for key, value in request.query.items() if key != "set"}
        return web.Response(text=cases.as_settings(self.address, request.query.get("set", "plain"), **more))

    async def control(self, request):
        told = await request.json()
        known = {"case", "people", "revoke", "then", "issuer", "user", "rotate", "down", "forget"}
        if set(told) - known:
            return web.json_response({"error": f"unknown: {sorted(set(told) - known)}"}, status=400)
        if "case" in told:
            if told["case"] not in cases.CASES:
                return web.json_response({"error": "no such case"}, status=400)
            self.top.case = cases.CASES[told["case"]]
            self.top.forget()
        self.people.update(told.get("people", {}))
        everyone = [self.top, *self.issuers.values()]
        if "revoke" in told:
            for issuer in everyone:
                issuer.revoke(told["revoke"])
        if "then" in told:
            self.then(self.issuer(told.get("issuer", "")), told["then"], told["user"])
        if "rotate" in told:
            self.issuer(told["rotate"]).rotate()
        self.down = told.get("down", self.down)
        if told.get("forget"):
            self.people.clear()
            for issuer in everyone:
                issuer.forget()
        return web.json_response({"done": True})

    def then(self, issuer, what, login):
        """What happens at the provider after somebody has signed in. Access tokens end, so that a refresh is needed."""
        if what == "revoke":
            issuer.revoke(login)
        elif what == "down":
            # this issuer alone: the others serve other tests
            issuer.case = cases.Case(issuer.case.name, issuer.case.about, down=True)
        else:
            for token in [it for it, turn in issuer.access.items() if turn.login == login]:
                del issuer.access[token]
            for turn in issuer.refresh.values():
                if turn.login == login:
                    turn.after = what

    async def evil(self, request):
        """Where attacks would lead: all that a careless client needs to be convinced."""
        what = request.match_info["what"]
        if what == "jwks":
            own = [EVIL.public() | {"kid": key.kid} for issuer in [self.top, *self.issuers.values()] for key in issuer.keys or ()]
            return web.json_response({"keys": [EVIL.public(), *own]})
        if what == "x5u":
            return web.Response(text=f"-----BEGIN CERTIFICATE-----\n{EVIL.certificate()}\n-----END CERTIFICATE-----\n")
        return web.json_response({})

    async def document_as(self, request, issuer, body, hook):
        how = issuer.case.hooks.get(hook)
        honest = json.dumps(body).encode()
        if how and not (how == "redirect" and "right" in request.query):
            # a redirect leads to what would be right: following it is the mistake
            return await stage.badly(request, how, honest, f"{request.path}?right")
        return web.Response(body=honest, content_type="application/json")

    async def discovery(self, request, issuer):
        return await self.document_as(request, issuer, issuer.document(), "discovery_reply")

    async def keys(self, request, issuer):
        return await self.document_as(request, issuer, issuer.jwks(), "jwks_reply")

    async def authorize(self, request, issuer):
        form = dict(await request.post()) if request.method == "POST" else dict(request.query)
        wrong = self.wrong_question(form)
        if wrong:
            return web.Response(text=f"<!doctype html><title>Refused</title><p>{html.escape(wrong)}", content_type="text/html", status=400)
        login = form.pop("login", None)
        issuer.waiting_state = issuer.waiting_state or form.get("state")
        if login is None:
            hidden = "".join(f'<input type="hidden" name="{html.escape(k)}" value="{html.escape(v)}">' for k, v in form.items())
            page = PAGE.format(action=html.escape(issuer.url + "/authorize"), hidden=hidden, login="")
            return web.Response(text=page, content_type="text/html")
        if form.pop("answer", "yes") == "no":
            return self.send_back(form["redirect_uri"], {"error": "access_denied", "state": form.get("state"), "iss": issuer.url})
        turn = Turn(issuer, form, login, honest=login == issuer.case.before)
        code = secrets.token_urlsafe(32)
        if turn.hook("code_client"):
            turn.code_client = turn.hook("code_client")
        turn.challenge = turn.hook("code_challenge", turn.challenge)
        issuer.codes[code] = turn
        issuer.first_code, issuer.first_nonce = issuer.first_code or code, issuer.first_nonce or turn.nonce
        back = {"code": code, "state": form.get("state"), "iss": issuer.url}
        back = {key: value for key, value in turn.hook("back", lambda _, it: it)(turn, back).items() if value is not None}
        return self.send_back(turn.redirect, back)

    def wrong_question(self, form):
        if form.get("client_id") != CLIENT:
            return "unknown client"
        where = form.get("redirect_uri", "")
        if not where.startswith(("http://", "https://")) or self.redirect and where != self.redirect:
            return "this redirect_uri is not registered"
        if form.get("response_type") != "code":
            return "unsupported_response_type"
        if "openid" not in form.get("scope", "").split():
            return "the scope openid is missing"
        if form.get("code_challenge_method") != "S256" or len(form.get("code_challenge", "")) != 43:
            return "PKCE by S256 is needed"
        if len(form.get("state", "")) < 16 or len(form.get("nonce", "")) < 16:
            return "state and nonce are needed, and long enough not to be guessed"
        return None

    def send_back(self, where, back):
        back = {key: value for key, value in back.items() if value is not None}
        mark = "&" if urlsplit(where).query else "?"
        return web.Response(status=302, headers={
            "Location": f"{where}{mark}{urlencode(back)}", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})

    def client_refused(self, request, form, case):
        """RFC 6749 2.3.1: by Basic, each half form-encoded, or in the form; not by both."""
        basic = request.headers.get("Authorization", "")
        if basic.startswith("Basic "):
            if "client_secret" in form or case.hooks.get("post_only"):
                return True
            try:
                name, _, secret = base64.b64decode(basic[6:]).decode().partition(":")
            except ValueError:
                return True
            return (unquote(name), unquote(secret)) != (CLIENT, SECRET)
        if case.hooks.get("basic_only"):
            return True
        return (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET)

    async def token(self, request, issuer):
        form = dict(await request.post())
        if request.query_string or self.client_refused(request, form, issuer.case):
            return oauth_error("invalid_client", 401)
        grant = form.get("grant_type")
        if grant == "authorization_code":
            turn = issuer.codes.get(form.get("code", ""))
            if turn is None or turn.used or turn.code_client != CLIENT or turn.made + CODES < time.time():
                return oauth_error("invalid_grant")
            verifier = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
            if form.get("redirect_uri") != turn.redirect or verifier.rstrip(b"=").decode() != turn.challenge:
                return oauth_error("invalid_grant")
            turn.used = not turn.hook("keep_codes")
        elif grant == "refresh_token":
            turn = issuer.refresh.get(form.get("refresh_token", ""))
            if turn is None:
                return oauth_error("invalid_grant")
            if issuer.case.hooks.get("rotate_refresh"):
                del issuer.refresh[form["refresh_token"]]
                turn.refresh_token = None
            turn.nonce = None  # Core 12.2: none in a refreshed token, or the first one's
        else:
            return oauth_error("unsupported_grant_type")
        if turn.hook("rotate") and not issuer.rotated:
            issuer.rotated = True
            issuer.rotate()
        turn.access_token = secrets.token_urlsafe(32)
        turn.refresh_token = turn.refresh_token or secrets.token_urlsafe(32)
        issuer.access[turn.access_token] = turn
        issuer.refresh[turn.refresh_token] = turn
        token = turn.id_token()
        issuer.first_token = issuer.first_token or token
        body = {
            "access_token": turn.access_token, "token_type": "Bearer", "expires_in": ACCESS,
            "refresh_token": turn.refresh_token, "id_token": token, "scope": turn.asked.get("scope", ""),
        }
        body = turn.hook("answer", lambda _, it: it)(turn, body)
        honest = json.dumps(body).encode()
        how = turn.hook("token_reply")
        if how:
            return await stage.badly(request, how, honest)
        return web.Response(
            body=honest, content_type="application/json", status=turn.hook("token_status", 200),
            headers={"Cache-Control": "no-store"})

    async def userinfo(self, request, issuer):
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        turn = issuer.access.get(token) if kind.lower() == "bearer" else None
        if turn is None:
            return web.json_response({"error": "invalid_token"}, status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        body = turn.person()
        if turn.after == "other-sub":
            body["sub"] = "sub-root"
        body = turn.hook("userinfo", lambda _, it: it)(turn, body)
        if turn.hook("userinfo_jwt"):
            unsigned = jose.signed({"alg": "none"}, body, lambda data: b"")
            return web.Response(text=unsigned, content_type="application/jwt")
        honest = json.dumps(body).encode()
        how = turn.hook("userinfo_reply")
        if how:
            return await stage.badly(request, how, honest)
        return web.Response(body=honest, content_type="application/json")

    async def logout(self, request, issuer):
        where = request.query.get("post_logout_redirect_uri")
        if where:
            return web.Response(status=302, headers={"Location": where})
        return web.Response(text="<!doctype html><title>Signed out</title><p>Signed out.", content_type="text/html")


def oauth_error(word, status=400):
    headers = {"WWW-Authenticate": 'Basic realm="provider"'} if status == 401 else {}
    return web.json_response({"error": word}, status=status, headers=headers)


def main():
    parser = stage.options(__doc__)
    parser.add_argument("--list", action="store_true", help="prints the cases and ends")
    parser.add_argument("--redirect", help="the one redirect address that is registered")
    chosen = parser.parse_args()
    if chosen.list:
        json.dump(cases.told(), sys.stdout, indent=1)
        return
    stage.serve(chosen, lambda address: (World(address, chosen.redirect).routes(), cases.told()))


if __name__ == "__main__":
    main()
