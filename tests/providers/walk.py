"""Signing in as a browser does it, by HTTP alone: from the hub's page to the provider, through its form, and back, redirect
by redirect, with a cookie jar of its own for each browser. And the judgement: what came of it, is it what had to come?

    walk.py --hub URL --provider URL --cases all --set plain        every case, each by the way of its own name (openid.py)
    walk.py --hub URL --provider URL --cases iss-other,two-tabs     these alone
    walk.py --hub URL --provider URL --cases all --way oidc         one way; the provider is told what to play, one by one
    walk.py --hub URL --provider URL --many 100 [--way oidc]        so many browsers at once, all honest
    walk.py --hub URL --provider URL --user carol [--way github]    one

`--hub` ends with the hub's prefix (http://127.0.0.1:8000/hub/). One JSON object for each, on a line of its own:

    {"case", "expected", "got", "ok", "status", "user", "problems": […], "took", "hops": […]}

and the exit status is 1 if one is not ok. With a token of an administrator in JOVIS_TEST_TOKEN the hub's list of users is
asked, too: who was refused must not be there. As a module: `await walk(hub, way, user)`; `await settle(hub, case, …)`.
"""
import argparse
import asyncio
import html
import json
import os
import re
import sys
import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit

import aiohttp
from yarl import URL

LOGIN = ("jupyterhub-hub-login", "__Host-jupyterhub-hub-login")
PATIENCE = 90  # seconds for one answer: as long as a slow provider may hold the hub, and more
LATER = 20     # seconds in which a hub has to learn that somebody is no longer welcome
HOPS = 20
MOST = 4 << 20  # bytes of one page


class Page(HTMLParser):
    """An answer; of HTML, its links and its first form."""

    def __init__(self, status, url, headers, text):
        super().__init__()
        self.status, self.url, self.headers, self.text = status, url, headers, text
        self.links, self.form, self.fields, self.user = [], None, {}, None
        if "html" in headers.get("Content-Type", ""):
            self.feed(text)

    def handle_starttag(self, tag, pairs):
        it = {name: value or "" for name, value in pairs}
        if tag == "a" and "href" in it:
            self.links.append(urljoin(self.url, it["href"]))
        elif tag == "form" and self.form is None:
            self.form = urljoin(self.url, it.get("action", ""))
        elif tag == "input" and self.form and it.get("name"):
            self.fields[it["name"]] = it.get("value", "")
        elif tag == "body" and "data-user" in it:
            self.user = it["data-user"]

    @property
    def next(self):
        where = self.headers.get("Location")
        return urljoin(self.url, where) if where and 300 <= self.status < 400 else None


class Browser:
    """One person's: cookies by host, name and path (RFC 6265, as far as a hub and a provider need it)."""

    def __init__(self, session, hub):
        self.session, self.hub, self.jar, self.hops = session, hub, {}, []

    def copy(self):
        other = Browser(self.session, self.hub)
        other.jar = dict(self.jar)
        return other

    def cookies(self, url):
        parts = urlsplit(url)
        held = [(path, name, value) for (host, name, path), (value, secure) in self.jar.items()
                if host == parts.hostname and (parts.path or "/").startswith(path) and (not secure or parts.scheme == "https")]
        return "; ".join(f"{name}={value}" for _, name, value in sorted(held, key=lambda it: -len(it[0])))

    def keep(self, url, lines):
        host = urlsplit(url).hostname
        for line in lines:
            pair, *more = [it.strip() for it in line.split(";")]
            name, _, value = pair.partition("=")
            attributes = {key.lower(): text for key, _, text in (it.partition("=") for it in more)}
            where = (host, name, attributes.get("path") or "/")
            gone = attributes.get("max-age", "1").lstrip("-") == "0" or attributes.get("max-age", "").startswith("-")
            gone = gone or value.strip('"') == "" or re.search(r"19[67]\d", attributes.get("expires", "")) is not None
            if gone:
                self.jar.pop(where, None)
            else:
                self.jar[where] = (value, "secure" in attributes)

    def signed_in_cookie(self):
        host = urlsplit(self.hub).hostname
        return any(name in LOGIN and at == host for at, name, _ in self.jar)

    async def ask(self, url, data=None, **headers):
        """One request, no redirect followed."""
        headers |= {"User-Agent": "walk", "Accept": "text/html,*/*;q=0.1"}
        cookies = self.cookies(url)
        if cookies:
            headers["Cookie"] = cookies
        # written as the other side gave it: nothing is encoded once more
        limit = aiohttp.ClientTimeout(total=PATIENCE)
        method = "GET" if data is None else "POST"
        async with self.session.request(
            method, URL(url, encoded=True), data=data, headers=headers, allow_redirects=False, timeout=limit
        ) as answer:
            text = bytearray()
            async for piece in answer.content.iter_any():
                text += piece
                if len(text) > MOST:
                    raise Failed(f"more than {MOST} bytes at {url}")
            text = text.decode(errors="replace")
            self.keep(url, answer.headers.getall("Set-Cookie", []))
            self.hops.append(f"{method} {answer.status} {urlunsplit(urlsplit(url)._replace(query='', fragment=''))}")
            return Page(answer.status, url, answer.headers, text)

    async def follow(self, page, leave=lambda url: False):
        """Redirect by redirect, until there is a page, or one that `leave` names: then its address."""
        for _ in range(HOPS):
            if page.next is None:
                return page
            if leave(page.next):
                return page.next
            page = await self.ask(page.next)
        raise Failed(f"more than {HOPS} redirects, at {page.url}")

    # --- the three legs ---

    async def depart(self, way):
        """From the sign-in page to the provider's address, or to the hub's page that says no."""
        there = lambda url: not url.startswith(self.hub)  # noqa: E731
        page = await self.follow(await self.ask(f"{self.hub}login?next={quote(urlsplit(self.hub).path + 'home', safe='')}"), there)
        if isinstance(page, str):
            return page
        doors = [url for url in page.links if urlsplit(url).path.endswith("/oauth_login")]
        if way is not None:
            doors = [url for url in doors if ("authenticator", way) in parse_qsl(urlsplit(url).query)] or (doors if len(doors) == 1 else [])
        if len(doors) != 1:
            raise Failed(f"the sign-in page has {len(doors)} doors for {way}")
        return await self.follow(await self.ask(doors[0]), there)

    async def consent(self, address, user):
        """Through the provider's form, to the address it sends back to, or its page that says no."""
        home = lambda url: url.startswith(self.hub)  # noqa: E731
        page = await self.follow(await self.ask(address), home)
        for _ in range(5):
            if isinstance(page, str) or page.form is None or page.status >= 400:
                return page
            fields = dict(page.fields)
            for name in fields:
                if name in ("login", "username"):
                    fields[name] = user
            fields |= {"answer": "yes", "authorize": "1"}  # whichever button it has
            page = await self.follow(await self.ask(page.form, data=fields), home)
        raise Failed(f"the provider's forms do not end, at {page.url}")

    async def arrive(self, address, data=None):
        """Back at the hub, as far as it leads there."""
        return await self.follow(await self.ask(address, data=data))

    async def who(self):
        """Who the hub takes this browser for; none."""
        page = await self.follow(await self.ask(f"{self.hub}home"), lambda url: not url.startswith(self.hub))
        if not isinstance(page, Page) or page.status != 200:
            return None
        # JupyterHub's own pages say it in a script
        told = re.search(r'window\.jhdata = \{.*?\buser: "([^"]+)"', page.text, re.S)
        return page.user or (told and told[1]) or None


class Failed(Exception):
    """Neither a refusal nor a sign-in."""


@dataclass
class Outcome:
    status: int = 0
    user: str | None = None
    cookie: bool = False
    page: Page | None = None
    browser: Browser | None = None
    problems: list = field(default_factory=list)

    @property
    def got(self):
        return "signs in" if self.user else "refused"


async def outcome(browser, page):
    if isinstance(page, str):
        raise Failed(f"led away to {urlsplit(page).netloc}")
    user = await browser.who()
    return Outcome(page.status, user, browser.signed_in_cookie(), page, browser)


async def walk(session, hub, way, user):
    """Signs in, or is refused."""
    browser = Browser(session, hub)
    address = await browser.depart(way)
    if isinstance(address, Page):
        return await outcome(browser, address)
    back = await browser.consent(address, user)
    return await outcome(browser, back if isinstance(back, Page) else await browser.arrive(back))


# --- what a browser can do otherwise ---

def changed(address, change):
    parts = urlsplit(address)
    return urlunsplit(parts._replace(query=urlencode(change(parse_qsl(parts.query, keep_blank_values=True)))))


async def set_out(session, hub, way, user):
    browser = Browser(session, hub)
    address = await browser.depart(way)
    if isinstance(address, Page):
        raise Failed(f"did not get to the provider: {address.status}")
    back = await browser.consent(address, user)
    if isinstance(back, Page):
        raise Failed(f"did not get back from the provider: {back.status}")
    return browser, back


def value(address, name):
    return dict(parse_qsl(urlsplit(address).query)).get(name)


async def twisted(twist, session, hub, way, user):
    if twist == "no-start":
        browser = Browser(session, hub)
        return await outcome(browser, await browser.arrive(f"{hub}oauth_callback?code=made-up-{'c' * 32}&state={'0' * 32}"))
    if twist == "two-tabs":
        browser = Browser(session, hub)
        tabs = [await browser.depart(way), await browser.depart(way)]
        if any(isinstance(it, Page) for it in tabs):
            raise Failed("did not get to the provider")
        backs = [await browser.consent(it, user) for it in tabs]
        first = await outcome(browser, await browser.arrive(backs[0]))
        second = await outcome(browser, await browser.arrive(backs[1]))
        if not first.user or first.status >= 400:
            second.problems.append(f"the first tab: {first.status}, user {first.user}")
        if second.status >= 400:
            second.problems.append(f"the second tab: {second.status}")
        return second
    browser, back = await set_out(session, hub, way, user)
    if twist == "twice":
        # whoever has seen the address, and even has the cookies from before, comes second
        thief = browser.copy()
        first = await outcome(browser, await browser.arrive(back))
        result = await outcome(thief, await thief.arrive(back))
        if not first.user:
            result.problems.append(f"the first time: {first.status}, user {first.user}")
        return result
    if twist == "other-browser":
        stranger = Browser(session, hub)
        return await outcome(stranger, await stranger.arrive(back))
    if twist == "other-session":
        stranger, _ = await set_out(session, hub, way, user + "-2")
        return await outcome(stranger, await stranger.arrive(back))
    if twist == "swapped":
        _, other = await set_out(session, hub, way, user + "-2")
        back = changed(back, lambda pairs: [(k, value(other, "state") if k == "state" else v) for k, v in pairs])
        return await outcome(browser, await browser.arrive(back))
    if twist == "post":
        parts = urlsplit(back)
        data = dict(parse_qsl(parts.query))
        return await outcome(browser, await browser.arrive(urlunsplit(parts._replace(query="")), data=data))
    if twist.startswith("doubled-"):
        name = twist.removeprefix("doubled-")
        back = changed(back, lambda pairs: pairs + [(name, value(back, name))])
        return await outcome(browser, await browser.arrive(back))
    raise ValueError(twist)


# --- judging ---

async def told(session, address, what):
    async with session.post(f"{address}/_control", json=what) as answer:
        if answer.status != 200:
            raise Failed(f"the provider does not understand {what}: {await answer.text()}")


async def users(session, hub, name):
    """Is there a user of this name? None: nobody may ask."""
    token = os.environ.get("JOVIS_TEST_TOKEN")
    if not token:
        return None
    url = URL(f"{hub}api/users/{quote(name, safe='')}", encoded=True)
    async with session.get(url, headers={"Authorization": f"token {token}"}) as answer:
        if answer.status not in (200, 404):
            raise Failed(f"the hub does not say whether {name} is there: {answer.status}")
        return answer.status == 200


async def settle(session, hub, provider, it, way=None):
    """One case, played and judged: what is printed."""
    began = time.monotonic()
    # a case of its own name is an issuer of its own: see openid.py
    issuer, way = ("", way) if way else (it["case"], it["case"])
    result = None
    try:
        if not issuer:
            await told(session, provider, {"case": it["case"]})
        if it["before"]:
            first = await walk(session, hub, way, it["before"])
            if not first.user:
                raise Failed(f"{it['before']}, who came before, was refused with {first.status}")
        if it["twist"]:
            result = await twisted(it["twist"], session, hub, way, it["case"])
        else:
            result = await walk(session, hub, way, it["case"])
        got = result.got
        if it["then"] and result.user:
            got = await afterwards(session, provider, result.browser, issuer, it)
        problems = result.problems + judge(it, result, got)
        # `twice` has signed in once, rightly; who came before is rightly there
        there = await users(session, hub, it["name"]) if it["twist"] != "twice" and it["name"] != it["before"] else None
        if there is not None and got == "refused" and there:
            problems.append("an account was made")
        if there is False and got == "signs in":
            problems.append(f"there is no user {it['name']}")
    except (Failed, aiohttp.ClientError, TimeoutError) as why:
        got, problems = "failed", [f"{type(why).__name__}: {why}"]
    return {
        "case": it["case"], "expected": it["expected"], "got": got, "ok": not problems,
        "status": result.status if result else None, "user": result.user if result else None, "problems": problems,
        "took": round(time.monotonic() - began, 2),
        "hops": result.browser.hops[-12:] if result and problems else [],
    }


def judge(it, result, got):
    expected, problems = it["expected"], []
    if expected == "either":
        if got == "refused" and not 400 <= result.status < 500:
            problems.append(f"refused, but with status {result.status}")
    elif got != expected:
        problems.append(f"{got}, not {expected} (status {result.status})")
    if got == "refused":
        if result.cookie:
            problems.append("a session's cookie was given")
        if result.status < 400:
            problems.append(f"refused, but with status {result.status}")
        if "X-Jupyterhub-Version" not in result.page.headers:
            problems.append("the page is not the hub's")
        for word in ("<script>alert", "hub-secret", "javascript:alert", "Traceback", "panicked"):
            if word in result.page.text:
                problems.append(f"the page shows {html.escape(word)!r}")
    else:
        if result.user != it["name"]:
            problems.append(f"signed in as {result.user!r}, not {it['name']!r}")
        if not result.cookie:
            problems.append("signed in, but without a cookie")
    return problems


async def afterwards(session, provider, browser, issuer, it):
    """Something happens at the provider. What becomes of the session?"""
    what = it["then"]
    if what == "down" and not issuer:
        await told(session, provider, {"down": True})
    else:
        await told(session, provider, {"then": what, "issuer": issuer, "user": it["case"]})
    stays = it["expected"] == "signs in"
    # who is to stay is asked for some times, past `auth_refresh_age`; who is to go is waited for
    deadline = time.monotonic() + (4 if stays else LATER)
    while time.monotonic() < deadline:
        if await browser.who() is None:
            return "signed out"
        await asyncio.sleep(0.3)
    return "signs in"


# --- command line ---

async def gather(limit, jobs):
    gate, bad = asyncio.Semaphore(limit), 0

    async def one(job):
        nonlocal bad
        async with gate:
            line = await job
        bad += not line["ok"]
        print(json.dumps(line, ensure_ascii=False), flush=True)

    await asyncio.gather(*(one(job) for job in jobs))
    return bad


async def single(session, hub, way, user, wanted="signs in"):
    began = time.monotonic()
    try:
        it = await walk(session, hub, way, user)
        got, problems = it.got, ([] if it.got == wanted else [f"{it.got} with status {it.status}"])
        status, who = it.status, it.user
        if who and who != user.lower():
            problems.append(f"signed in as {who}")
    except (Failed, aiohttp.ClientError, TimeoutError) as why:
        got, problems, status, who = "failed", [f"{type(why).__name__}: {why}"], None, None
    return {"case": user, "expected": wanted, "got": got, "ok": not problems, "status": status, "user": who,
            "problems": problems, "took": round(time.monotonic() - began, 2), "hops": []}


async def main(chosen):
    hub = chosen.hub.rstrip("/") + "/"
    connector = aiohttp.TCPConnector(limit=0, ssl=False)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        if chosen.many:
            jobs = [single(session, hub, chosen.way, f"many-{n}") for n in range(chosen.many)]
            return await gather(chosen.many, jobs)
        if chosen.user:
            return await gather(1, [single(session, hub, chosen.way, chosen.user, chosen.expect)])
        async with session.get(f"{chosen.provider}/_cases") as answer:
            every = await answer.json()
        if chosen.cases == "all":
            picked = [it for it in every if it.get("set", "plain") == chosen.set]
        else:
            names = chosen.cases.split(",")
            picked = [next(it for it in every if it["case"] == name) for name in names]
        if chosen.way:
            picked = [it for it in picked if not it.get("fresh") or chosen.cases != "all"]
        jobs = [settle(session, hub, chosen.provider.rstrip("/"), it, chosen.way) for it in picked]
        return await gather(1 if chosen.way else chosen.at_once, jobs)


def parsed():
    it = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    it.add_argument("--hub", required=True)
    it.add_argument("--provider")
    it.add_argument("--cases", help="`all`, or names with commas between")
    it.add_argument("--set", default="plain")
    it.add_argument("--way", help="which authenticator, by its name; none: the case's own name (--cases), or the only one")
    it.add_argument("--many", type=int)
    it.add_argument("--user")
    it.add_argument("--expect", default="signs in", choices=["signs in", "refused"], help="what has to come of --user")
    it.add_argument("--at-once", type=int, default=8, help="cases at a time")
    return it.parse_args()


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(main(parsed())) else 0)
