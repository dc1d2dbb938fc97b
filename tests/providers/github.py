"""GitHub, as far as somebody signs in there: its OAuth pages and the API they lead to, made from its public documentation
(docs.github.com: "Authorizing OAuth apps", "Refreshing user access tokens", REST API 2022-11-28).

usage: github.py [--port N] [--cert PEM --key PEM] [--name HOST] [--callback URL] [--app oauth|github] [--stays]   (see stage.py)

The API is below /api/v3, as an Enterprise Server has it, and at the address itself, as api.github.com has it. One app is
known: client_id "Iv1.hub", client_secret "github-secret-0123456789abcdef", back to `--callback` or what is below it (none:
any address). `--app github` is a GitHub App: tokens end after 8 hours and can be refreshed, and have permissions, no scopes.

Whoever is named signs in: by the form, by `login=NAME` beside the parameters, or, once signed in, by a cookie. At the start
there are: `octocat`; `carol` (privately in organisation `school`, and in its team `Staff`); `dave` (publicly in `school`);
`erin` (asked to join `school`, has not); `owner` (owns it); `many` (in organisations `club-00` to `club-44`).

POST /_control tells it, each answered by {"done": true}:

    {"user": {"login": "zoe", "name": "Zoe", …}}      made, or changed (see people.py); `id` may be given
    {"rename": ["zoe", "zoe-b"]}, {"remove": "zoe"}
    {"org": {"login": "school", "members": {"zoe": {}}, "teams": {"Staff": {"members": {"zoe": {}}}}}}
    {"revoke": "zoe"}        her tokens no longer work, nor can they be refreshed
    {"expire": "zoe"}        her access tokens have ended; refresh tokens work
    {"fault": {"at": "user", "how": "500", "times": 1}}     at: authorize, token, user, emails, orgs, teams, members, api;
                                                            how: of stage.py, or of FAULTS below; of the API also 401,
                                                            rate, secondary, suspended, link-loop, link-away (pages that
                                                            never end, or are on another host); none: all is well
    {"case": "token-html"}   the fault of a case of /_cases
    {"rate": 5}              so many requests an hour are left
    {"clock": 28800}         its clock goes so many seconds ahead
    {"enterprise": true}     it answers as an Enterprise Server of 3.8: no 302 for those who are no members, but 404
"""
import base64
import hashlib
import html
import json
import secrets
import time
from urllib.parse import urlencode, urlsplit

from aiohttp import web

import people
import stage

CLIENT, SECRET = "Iv1.hub", "github-secret-0123456789abcdef"
CODES, ACCESS, REFRESH, AN_HOUR = 600, 28_800, 15_811_200, 5_000
DOCS = "https://docs.github.com/rest"
# What a scope has in it ("Scopes for OAuth apps").
INSIDE = {
    "user": ["read:user", "user:email", "user:follow"], "admin:org": ["write:org", "read:org"], "write:org": ["read:org"],
}
PAGE = """<!doctype html><html lang="en"><title>Authorize application</title><h1>Authorize {app}</h1>
<p>It wants: {scopes}</p><form method="post" action="{action}">{hidden}
<label>User name <input name="login" value="{login}"></label>
<button name="authorize" value="1">Authorize</button> <button name="authorize" value="0">Cancel</button></form></html>"""

# What can be wrong besides what stage.py can do: how a right answer is changed.
FAULTS = {
    "token": {
        "no-token": lambda it: {k: v for k, v in it.items() if k != "access_token"},
        "empty-token": lambda it: it | {"access_token": ""},
        "token-list": lambda it: it | {"access_token": [it["access_token"]]},
        "token-newline": lambda it: it | {"access_token": "x\r\nX-Evil: 1"},
        "type-mac": lambda it: it | {"token_type": "mac"},
        "bad-code": lambda it: token_error("bad_verification_code"),
        "unverified-email": lambda it: token_error("unverified_user_email"),
        "error-html": lambda it: {"error": "<script>alert(1)</script>", "error_description": "<script>alert(1)</script>"},
        "scope-less": lambda it: it | {"scope": ""},
    },
    "user": {
        "no-login": lambda it: {k: v for k, v in it.items() if k != "login"},
        "login-null": lambda it: it | {"login": None},
        "login-empty": lambda it: it | {"login": ""},
        "login-number": lambda it: it | {"login": 7},
        "login-slash": lambda it: it | {"login": "a/b"},
        "login-dots": lambda it: it | {"login": ".."},
        "login-nul": lambda it: it | {"login": "a\0b"},
        "login-long": lambda it: it | {"login": "n" * 300},
        "no-id": lambda it: {k: v for k, v in it.items() if k != "id"},
        "id-null": lambda it: it | {"id": None},
        "id-text": lambda it: it | {"id": "one"},
        "id-list": lambda it: it | {"id": [it["id"]]},
        "message": lambda it: {"message": "Bad credentials", "documentation_url": DOCS},
    },
}
WORDS = {
    "bad_verification_code": "The code passed is incorrect or expired.",
    "incorrect_client_credentials": "The client_id and/or client_secret passed are incorrect.",
    "redirect_uri_mismatch": "The redirect_uri MUST match the registered callback URL for this application.",
    "unverified_user_email": "The user must have a verified primary email.",
    "bad_refresh_token": "The refresh token passed is incorrect or expired.",
    "unsupported_grant_type": "The grant_type parameter is not supported.",
}


def token_error(word):
    where = f"/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/#{word.replace('_', '-')}"
    return {"error": word, "error_description": WORDS[word], "error_uri": where}


def all_cases():
    out = [("honest", "all is well", None, "signs in")]
    for at in ("token", "user"):
        ways = [*stage.BAD, *FAULTS[at]] + ([] if at == "token" else ["401", "rate", "secondary", "suspended"])
        for how in ways:
            right = "signs in" if how == "scope-less" else "refused"
            out.append((f"{at}-{how}", f"{at}: {how}", {"at": at, "how": how}, right))
    out.append(("denied", "the person says no", {"at": "authorize", "how": "denied"}, "refused"))
    out.append(("state-other", "another state comes back", {"at": "authorize", "how": "state-other"}, "refused"))
    out.append(("code-other", "a code comes back that it never made", {"at": "authorize", "how": "code-other"}, "refused"))
    out.append(("suspended-app", "the app is suspended", {"at": "authorize", "how": "suspended-app"}, "refused"))
    for twist in ("twice", "other-browser", "other-session", "no-start", "swapped", "post", "doubled-state", "doubled-code"):
        out.append((twist, f"the browser does it otherwise: {twist}", {"at": "token", "how": "codes-last"} if twist == "twice" else None, "refused"))
    out.append(("two-tabs", "two tabs at once, each comes back", None, "signs in"))
    return [{
        "case": name, "about": about, "expected": expected, "fault": fault, "fresh": False, "asks": {}, "before": None,
        "twist": name if fault is None and name != "honest" or name == "twice" else None, "then": None, "name": name,
        "set": "plain",
    } for name, about, fault, expected in out]


class GitHub:
    def __init__(self, address, callback, app):
        self.address, self.callback, self.app = address, callback, app
        self.people, self.codes, self.tokens, self.refresh = people.People(), {}, {}, {}
        self.granted, self.forms, self.ahead, self.enterprise, self.fault = {}, {}, 0, False, None
        self.left, self.cases = AN_HOUR, {it["case"]: it for it in all_cases()}
        tell = self.people.tell_user
        for login in ("octocat", "carol", "dave", "erin", "owner", "many"):
            tell(login)
        self.people.user("octocat").update(id=583231, email="octocat@github.test")
        self.people.tell_org("school", {
            "carol": {}, "dave": {"public": True}, "erin": {"state": "pending"}, "owner": {"role": "admin"},
        }, {"Staff": {"members": {"carol": {}}}, "Juniors": {"parent": "staff", "members": {"dave": {}}}})
        for n in range(45):
            self.people.tell_org(f"club-{n:02}", {"many": {}}, {f"Team {n:02}": {"members": {"many": {}}}})

    def routes(self):
        out = [
            web.post("/_control", self.control), web.route("*", "/evil/{what:.*}", self.evil),
            web.get("/login/oauth/authorize", self.authorize), web.post("/login/oauth/authorize", self.authorize),
            web.post("/login/oauth/access_token", self.token), web.get("/login/oauth/access_token", self.token),
        ]
        table = [
            ("/user", "user", self.user), ("/user/emails", "emails", self.user_emails), ("/user/orgs", "orgs", self.user_orgs),
            ("/user/teams", "teams", self.user_teams), ("/user/memberships/orgs/{org}", "members", self.own_membership),
            ("/orgs/{org}/members/{user}", "members", self.org_member),
            ("/orgs/{org}/public_members/{user}", "members", self.public_member),
            ("/orgs/{org}/memberships/{user}", "members", self.org_membership),
            ("/orgs/{org}/teams/{team}/members/{user}", "members", self.team_member),
            ("/orgs/{org}/teams/{team}/memberships/{user}", "members", self.team_membership),
            ("/users/{user}", "api", self.some_user), ("/rate_limit", "api", self.rate_limit),
        ]
        for base in ("/api/v3", ""):
            out += [web.get(base + path, self.api(at, handler, base)) for path, at, handler in table]
        return out

    def now(self):
        return time.time() + self.ahead

    def failing(self, *places):
        """How the next answer at one of these places is wrong, if it is."""
        it = self.fault
        if not it or it["at"] not in places:
            return None
        if it.get("times"):
            it["times"] -= 1
            if it["times"] == 0:
                self.fault = None
        return it["how"]

    async def evil(self, _):
        return web.json_response({"access_token": "gho_evil", "token_type": "bearer", "login": "owner", "id": 1})

    async def control(self, request):
        it = await request.json()
        known = {"user", "rename", "remove", "org", "revoke", "expire", "fault", "case", "rate", "clock", "enterprise"}
        if set(it) - known:
            return web.json_response({"error": f"unknown: {sorted(set(it) - known)}"}, status=400)
        if "user" in it:
            self.people.tell_user(**it["user"])
        if "rename" in it:
            self.people.rename(*it["rename"])
        if "remove" in it:
            self.people.remove(it["remove"])
            self.drop(it["remove"])
        if "org" in it:
            self.people.tell_org(**it["org"])
        if "revoke" in it:
            self.drop(it["revoke"])
        if "expire" in it:
            for held in self.tokens.values():
                if held["login"] == it["expire"].lower():
                    held["until"] = 0
        if "case" in it:
            if it["case"] not in self.cases:
                return web.json_response({"error": "no such case"}, status=400)
            fault = self.cases[it["case"]]["fault"]
            self.fault = dict(fault) if fault else None
        if "fault" in it:
            self.fault = it["fault"]
        self.left = it.get("rate", self.left)
        self.ahead = it.get("clock", self.ahead)
        self.enterprise = it.get("enterprise", self.enterprise)
        return web.json_response({"done": True})

    def drop(self, login):
        for held in (self.tokens, self.refresh):
            for token in [key for key, it in held.items() if it["login"] == login.lower()]:
                del held[token]
        self.granted.pop(login.lower(), None)

    # --- OAuth ---

    def fits(self, where):
        """Host, port and scheme are the callback's, the path is below (docs: "Redirect URLs")."""
        if not self.callback:
            return where.startswith(("http://", "https://"))
        ours, theirs = urlsplit(self.callback), urlsplit(where)
        if theirs.username or theirs.fragment or ".." in theirs.path or (ours.scheme, ours.netloc) != (theirs.scheme, theirs.netloc):
            return False
        return theirs.path == ours.path or theirs.path.startswith(ours.path.rstrip("/") + "/")

    def back(self, where, **fields):
        fields = {key: value for key, value in fields.items() if value is not None}
        mark = "&" if urlsplit(where).query else "?"
        return web.Response(status=302, headers={"Location": f"{where}{mark}{urlencode(fields)}", "Cache-Control": "no-cache"})

    async def authorize(self, request):
        how = self.failing("authorize")
        if how in stage.BAD:
            return await stage.badly(request, how)
        form = dict(await request.post()) if request.method == "POST" else dict(request.query)
        if form.get("client_id") != CLIENT:
            return web.Response(text="<!doctype html><title>Page not found</title>", content_type="text/html", status=404)
        state, where = form.get("state"), form.get("redirect_uri") or self.callback
        if not where or not self.fits(where):
            # to the address it knows, never to the one it was given
            if not self.callback:
                return web.Response(text="<!doctype html><title>No address</title>", content_type="text/html", status=400)
            return self.back(self.callback, **token_error("redirect_uri_mismatch"), state=state)
        if how == "suspended-app":
            words = "Your application has been suspended. Contact support@github.com."
            return self.back(where, error="application_suspended", error_description=words, state=state)
        if "code_challenge" in form and form.get("code_challenge_method") != "S256":
            return self.back(where, error="invalid_request", state=state, error_description="code_challenge_method must be S256")
        login = form.get("login") or (form.get("prompt") != "select_account" and request.cookies.get("github_user")) or None
        user = self.people.user(login) if login else None
        asked = form.get("scope", "").replace(",", " ").split() if self.app == "oauth" else []
        agreed = form.get("authorize")
        if request.method == "POST" and self.forms.pop(form.get("authenticity_token"), None) is None:
            return web.Response(text="<!doctype html><title>Unprocessable</title>", content_type="text/html", status=422)
        if login and user is None:
            # whoever comes is welcome: tests need not introduce everybody
            user = self.people.tell_user(login)
        known = user and set(asked) <= self.granted.get(user["login"].lower(), set()) or form.get("login") and request.method == "GET"
        if user is None or agreed is None and not known:
            return self.ask(form, login, asked)
        if agreed == "0" or how == "denied":
            words = "The user has denied your application access."
            uri = f"{DOCS}/apps/managing-oauth-apps/troubleshooting-authorization-request-errors/#access-denied"
            return self.back(where, error="access_denied", error_description=words, error_uri=uri, state=state)
        self.granted.setdefault(user["login"].lower(), set()).update(asked)
        code = secrets.token_hex(10)
        self.codes[code] = {
            "login": user["login"].lower(), "scopes": asked, "where": where, "challenge": form.get("code_challenge"),
            "until": self.now() + CODES,
        }
        out = self.back(where, code="0" * 20 if how == "code-other" else code, state="0" * 32 if how == "state-other" else state)
        out.set_cookie("github_user", user["login"], path="/login", httponly=True, samesite="Lax")
        return out

    def ask(self, form, login, asked):
        token = secrets.token_urlsafe(24)
        self.forms[token] = True
        fields = {k: v for k, v in form.items() if k not in ("login", "authorize", "authenticity_token")} | {"authenticity_token": token}
        hidden = "".join(f'<input type="hidden" name="{html.escape(k)}" value="{html.escape(v)}">' for k, v in fields.items())
        page = PAGE.format(
            app="the hub", scopes=html.escape(", ".join(asked) or "public information"), hidden=hidden,
            action="/login/oauth/authorize", login=html.escape(login or ""))
        return web.Response(text=page, content_type="text/html", headers={"X-Frame-Options": "DENY", "Cache-Control": "no-store"})

    async def token(self, request):
        form = dict(await request.post()) | dict(request.query)
        if "json" in request.content_type:
            form |= await request.json()
        if request.method != "POST":
            return web.Response(status=404)
        if form.get("client_id") != CLIENT:
            return web.json_response({"error": "Not Found"}, status=404)
        how = self.failing("token")
        body = self.exchange(form, how)
        if how in FAULTS["token"] and "error" not in body:
            body = FAULTS["token"][how](body)
        if how in stage.BAD:
            return await stage.badly(request, how, json.dumps(body).encode())
        # also what it refuses has status 200
        if "json" in request.headers.get("Accept", ""):
            return web.json_response(body)
        return web.Response(text=urlencode(body), content_type="application/x-www-form-urlencoded")

    def exchange(self, form, how):
        if not secrets.compare_digest(form.get("client_secret", "").encode(), SECRET.encode()):
            return token_error("incorrect_client_credentials")
        grant = form.get("grant_type", "authorization_code")
        if grant == "refresh_token" and self.app == "github":
            held = self.refresh.pop(form.get("refresh_token", ""), None)
            if held is None or held["until"] < self.now():
                return token_error("bad_refresh_token")
            # "that refresh token and the old user access token will no longer work"
            self.tokens.pop(held["access"], None)
            return self.give(held["login"], [])
        if grant != "authorization_code":
            return token_error("unsupported_grant_type")
        held = self.codes.get(form.get("code", ""))
        if held is None or held["until"] < self.now():
            return token_error("bad_verification_code")
        if how != "codes-last":
            del self.codes[form["code"]]
        if form.get("redirect_uri", held["where"]) != held["where"]:
            return token_error("redirect_uri_mismatch")
        verifier, challenge = form.get("code_verifier"), held["challenge"]
        made = base64.urlsafe_b64encode(hashlib.sha256((verifier or "").encode()).digest()).rstrip(b"=").decode()
        if (verifier is None) != (challenge is None) or challenge is not None and made != challenge:
            return token_error("bad_verification_code")
        return self.give(held["login"], held["scopes"])

    def give(self, login, scopes):
        if self.app == "oauth":
            token = "gho_" + secrets.token_hex(18)
            self.tokens[token] = {"login": login, "scopes": scopes, "until": None}
            return {"access_token": token, "token_type": "bearer", "scope": ",".join(scopes)}
        token, again = "ghu_" + secrets.token_hex(18), "ghr_" + secrets.token_hex(38)
        self.tokens[token] = {"login": login, "scopes": None, "until": self.now() + ACCESS}
        self.refresh[again] = {"login": login, "access": token, "until": self.now() + REFRESH}
        return {
            "access_token": token, "expires_in": ACCESS, "refresh_token": again, "refresh_token_expires_in": REFRESH,
            "scope": "", "token_type": "bearer",
        }

    # --- the API ---

    def api(self, at, handler, base):
        async def answer(request):
            how = self.failing(at, "api")
            out = await self.answer(request, at, handler, self.address + base, how)
            if out.prepared:
                return out
            left = 0 if how == "rate" else max(self.left, 0)
            reset = str(int(self.now()) // 3_600 * 3_600 + 3_600)
            out.headers.update({
                "X-GitHub-Request-Id": secrets.token_hex(8).upper(), "X-GitHub-Media-Type": "github.v3; format=json",
                "X-GitHub-Api-Version-Selected": "2022-11-28", "X-RateLimit-Limit": str(AN_HOUR),
                "X-RateLimit-Remaining": str(left), "X-RateLimit-Used": str(AN_HOUR - left),
                "X-RateLimit-Reset": reset, "X-RateLimit-Resource": "core", "Cache-Control": "private, max-age=60, s-maxage=60",
            })
            return out
        return answer

    async def answer(self, request, at, handler, base, how):
        if not request.headers.get("User-Agent"):
            return web.Response(status=403, text="Request forbidden by administrative rules. Please make sure your request has a User-Agent header.")
        version = request.headers.get("X-GitHub-Api-Version", "2022-11-28")
        if version != "2022-11-28":
            return said(400, f'The value "{version}" for the "X-GitHub-Api-Version" header is not supported.')
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if not token:
            return said(401, "Requires authentication")
        held = self.tokens.get(token) if kind.lower() in ("bearer", "token") else None
        user = self.people.user(held["login"]) if held else None
        if user is None or how == "401" or held["until"] is not None and held["until"] < self.now():
            return said(401, "Bad credentials")
        if self.left <= 0 or how == "rate":
            return said(403, f"API rate limit exceeded for user ID {user['id']}.")
        self.left -= 1
        if how == "secondary":
            out = said(403, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
            out.headers["Retry-After"] = "60"
            return out
        if how == "suspended" or user.get("suspended"):
            return said(403, "Sorry. Your account was suspended.")
        scopes = set(held["scopes"] or [])
        for scope in list(scopes):
            scopes.update(INSIDE.get(scope, []))
        if held["scopes"] is None:
            scopes = {"read:org", "user:email"}  # the permissions of the app
        self_ = Asked(request, user, scopes, base)
        out = handler(self_)
        if held["scopes"] is not None:
            out.headers["X-OAuth-Scopes"] = ", ".join(held["scopes"])
        if how in FAULTS.get(at, {}):
            return web.json_response(FAULTS[at][how](json.loads(out.body)))
        if how == "link-loop":
            out.headers["Link"] = f'<{base}{request.path.removeprefix("/api/v3")}?page=1>; rel="next"'
        elif how == "link-away":
            out.headers["Link"] = f'<{self.address.replace("127.0.0.1", "localhost")}/evil/orgs>; rel="next"'
        elif how in stage.BAD:
            return await stage.badly(request, how, out.body or b"{}")
        return out

    def user(self, asked):
        return web.json_response(people.private(asked.user, asked.base))

    def some_user(self, asked):
        it = self.people.user(asked.name("user"))
        return web.json_response(people.public(it, asked.base)) if it else said(404, "Not Found")

    def rate_limit(self, asked):
        core = {"limit": AN_HOUR, "used": AN_HOUR - self.left, "remaining": self.left, "reset": int(self.now()) + 3_600}
        return web.json_response({"resources": {"core": core}, "rate": core})

    def user_emails(self, asked):
        if "user:email" not in asked.scopes:
            return said(404, "Not Found")
        return asked.paged(people.emails(asked.user))

    def own(self, asked):
        """Organisations that the person is in and the app may see."""
        login = asked.user["login"]
        return [org for org in self.people.orgs.values() if self.people.member(org, login) and not org.get("restricted")]

    def user_orgs(self, asked):
        if not asked.scopes & {"read:org", "user", "read:user"}:
            return said(403, 'You need at least read:org scope or user scope to list your organizations')
        return asked.paged([people.organisation(org, asked.base) for org in self.own(asked)])

    def user_teams(self, asked):
        if "read:org" not in asked.scopes:
            return said(404, "Not Found")
        login = asked.user["login"].lower()
        return asked.paged([
            people.team(team, org, asked.base) for org in self.own(asked) for team in org["teams"].values()
            if team["members"].get(login, {}).get("state") == "active"])

    def behind_sso(self, org):
        """What keeps an app out of an organisation whose member the person is."""
        if org.get("sso"):
            out = said(403, "Resource protected by organization SAML enforcement. You must grant your OAuth token access to this organization.")
            out.headers["X-GitHub-SSO"] = f"required; url=https://github.com/orgs/{org['login']}/sso"
            return out
        if org.get("restricted"):
            return said(403, f"Although you appear to have the correct authorization credentials, the `{org['login']}` "
                             "organization has enabled OAuth App access restrictions")
        return None

    def org_member(self, asked):
        org = self.people.org(asked.name("org"))
        if org is None:
            return said(404, "Not Found")
        inside = self.people.member(org, asked.user["login"]) and "read:org" in asked.scopes
        if inside:
            refused = self.behind_sso(org)
            if refused:
                return refused
            found = self.people.member(org, asked.name("user"))
            return web.Response(status=204) if found else said(404, "User does not exist or is not a member of the organization")
        if self.enterprise:
            return said(404, "User does not exist or is not a member of the organization")
        where = f"{asked.base}/orgs/{org['login']}/public_members/{asked.name('user')}"
        return web.Response(status=302, headers={"Location": where})

    def public_member(self, asked):
        org = self.people.org(asked.name("org"))
        it = org and self.people.member(org, asked.name("user"))
        return web.Response(status=204) if it and it["public"] else said(404, "Not Found")

    def membership(self, asked, org, user, it):
        return web.json_response({
            "url": f"{asked.base}/orgs/{org['login']}/memberships/{user['login']}", "state": it["state"], "role": it["role"],
            "organization_url": f"{asked.base}/orgs/{org['login']}", "user": people.simple(user, asked.base),
            "organization": people.organisation(org, asked.base),
        })

    def own_membership(self, asked):
        org = self.people.org(asked.name("org"))
        it = org and org["members"].get(asked.user["login"].lower())
        if "read:org" not in asked.scopes:
            return said(403, "You must have the read:org scope to see your membership")
        if not it:
            return said(404, "Not Found")
        return self.behind_sso(org) or self.membership(asked, org, asked.user, it)

    def org_membership(self, asked):
        org, user = self.people.org(asked.name("org")), self.people.user(asked.name("user"))
        if not org or not self.people.member(org, asked.user["login"]) or "read:org" not in asked.scopes:
            return said(403, "You must be a member of this organization to see membership information")
        it = user and org["members"].get(user["login"].lower())
        return self.behind_sso(org) or (self.membership(asked, org, user, it) if it else said(404, "Not Found"))

    def in_team(self, asked):
        """The membership that is asked for, where the team can be seen: by members of the organisation, a secret one by
        its own; (None, why) else."""
        org = self.people.org(asked.name("org"))
        team = org and org["teams"].get(asked.name("team").lower())
        mine = org and self.people.member(org, asked.user["login"])
        if not team or not mine or "read:org" not in asked.scopes:
            return None, said(404, "Not Found")
        if team["privacy"] == "secret" and mine["role"] != "admin" and not self.people.of_team(org, team, asked.user["login"]):
            return None, said(404, "Not Found")
        it = self.people.of_team(org, team, asked.name("user"))
        return it, self.behind_sso(org) or (None if it else said(404, "Not Found"))

    def team_member(self, asked):
        it, refused = self.in_team(asked)
        if refused:
            return refused
        return web.Response(status=204) if it["state"] == "active" else said(404, "Not Found")

    def team_membership(self, asked):
        it, refused = self.in_team(asked)
        url = f"{asked.base}{asked.request.path.removeprefix('/api/v3')}"
        return refused or web.json_response({"url": url, "role": it["role"], "state": it["state"]})


class Asked:
    """One question to the API, by whom."""

    def __init__(self, request, user, scopes, base):
        self.request, self.user, self.scopes, self.base = request, user, scopes, base

    def name(self, which):
        return self.request.match_info[which]

    def paged(self, them):
        """`per_page` is 30, at most 100; `Link` says where more is (RFC 8288)."""
        def number(name, otherwise, most):
            text = self.request.query.get(name, "")
            return min(max(int(text), 1), most) if text.isdigit() else otherwise
        size, page = number("per_page", 30, 100), number("page", 1, 1 << 30)
        last = max(-(-len(them) // size), 1)
        here = f"{self.base}{self.request.path.removeprefix('/api/v3')}"
        links = []
        wanted = [("prev", page - 1, page > 1), ("next", page + 1, page < last), ("last", last, page < last), ("first", 1, page > 1)]
        for rel, to, there in wanted:
            if there:
                query = urlencode([(k, v) for k, v in self.request.query.items() if k != "page"] + [("page", to)])
                links.append(f'<{here}?{query}>; rel="{rel}"')
        headers = {"Link": ", ".join(links)} if links else {}
        return web.json_response(them[(page - 1) * size: page * size], headers=headers)


def said(status, message):
    return web.json_response({"message": message, "documentation_url": DOCS, "status": str(status)}, status=status)


def main():
    parser = stage.options(__doc__)
    parser.add_argument("--callback", help="where the app's people come back to")
    parser.add_argument("--app", choices=["oauth", "github"], default="oauth")
    chosen = parser.parse_args()

    def make(address):
        it = GitHub(address, chosen.callback, chosen.app)
        return it.routes(), list(it.cases.values())

    stage.serve(chosen, make)


if __name__ == "__main__":
    main()
