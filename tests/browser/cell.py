"""What a browser does, without one: sign in, start, OAuth, a kernel, a cell over its WebSocket, stop, sign out.

usage: cell.py URL NAME [--rounds N] [--pause FOLDER]     (the password is in JOVIS_TEST_PASSWORD)

--rounds N      the whole from signing in to signing out, N times (1)
--pause FOLDER  the cell prints a first line, then waits for the file FOLDER/go; `running` is printed here when that
                first line has arrived. So the caller can do harm meanwhile and then let it end.
"""
import argparse
import asyncio
import html
import json
import os
import re
import sys
import time
import uuid

import aiohttp
from yarl import URL

PATIENCE = 180  # seconds for a first start on two busy cores
FORM_TOKEN = re.compile(r'<input[^>]*name="_xsrf"[^>]*>')
VALUE = re.compile(r'value="([^"]*)"')


class Refused(Exception):
    """An answer that is not what was expected."""


async def expect(answer, *statuses):
    if answer.status not in statuses:
        raise Refused(f"{answer.method} {answer.url.path}: {answer.status}\n{(await answer.text())[:2000]}")
    return answer


class Person:
    """A browser's cookies and what one does with them."""

    def __init__(self, session, url, name):
        self.session, self.url, self.name = session, url.rstrip("/"), name
        self.server = f"{self.url}/user/{name}/"

    def form_token(self, where):
        """The form token that counts below this address."""
        cookies = self.session.cookie_jar.filter_cookies(URL(where))
        return cookies["_xsrf"].value if "_xsrf" in cookies else ""

    async def sign_in(self, password):
        async with self.session.get(f"{self.url}/hub/login") as answer:
            page = await (await expect(answer, 200)).text()
        field = FORM_TOKEN.search(page) or sys.exit("the login page has no form token")
        token = html.unescape(VALUE.search(field[0])[1])
        form = {"username": self.name, "password": password, "_xsrf": token}
        async with self.session.post(f"{self.url}/hub/login", data=form, allow_redirects=False) as answer:
            await expect(answer, 302)

    async def hub(self, method, path, *statuses):
        headers = {"X-XSRFToken": self.form_token(f"{self.url}/hub/"), "Content-Type": "application/json"}
        async with self.session.request(method, f"{self.url}/hub/api{path}", headers=headers) as answer:
            await expect(answer, *statuses)
            text = await answer.text()
            return json.loads(text) if text else None

    async def start(self):
        await self.hub("POST", f"/users/{self.name}/server", 201, 202)
        await self.wait("ready", lambda server: server and server["ready"])

    async def stop(self):
        await self.hub("DELETE", f"/users/{self.name}/server", 202, 204)
        await self.wait("stopped", lambda server: not server)

    async def wait(self, what, holds):
        until = time.monotonic() + PATIENCE
        while True:
            user = await self.hub("GET", f"/users/{self.name}", 200)
            if holds(user["servers"].get("")):
                return
            if not user["servers"].get("") and not user["pending"] and what == "ready":
                raise Refused("the server did not start")
            if time.monotonic() > until:
                raise Refused(f"not {what} within {PATIENCE} s")
            await asyncio.sleep(0.2)

    async def enter(self):
        """Opens the server's page: through its OAuth redirects to the hub and back. Must end inside."""
        async with self.session.get(f"{self.server}lab") as answer:
            await expect(answer, 200)
            if not answer.url.path.startswith(f"/user/{self.name}/"):
                raise Refused(f"the visit ended at {answer.url.path}")
            return [hop.url.path for hop in answer.history]

    async def notebook(self, method, path, *statuses, **more):
        headers = {"X-XSRFToken": self.form_token(self.server)}
        async with self.session.request(method, f"{self.server}api/{path}", headers=headers, **more) as answer:
            await expect(answer, *statuses)
            text = await answer.text()
            return json.loads(text) if text else None

    async def run(self, code, heard=lambda text: None):
        """Runs one cell in a kernel of its own: everything it printed, and its result."""
        kernel = (await self.notebook("POST", "kernels", 201, json={"name": "python3"}))["id"]
        try:
            where = f"{self.server}api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
            async with self.session.ws_connect(where, headers={"Origin": self.url}, heartbeat=20) as socket:
                output = await asyncio.wait_for(self.execute(socket, code, heard), PATIENCE)
        finally:
            await self.notebook("DELETE", f"kernels/{kernel}", 204)
        return output

    @staticmethod
    async def execute(socket, code, heard):
        header = {
            "msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": uuid.uuid4().hex,
            "username": "", "version": "5.3", "date": "",
        }
        content = {
            "code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
            "stop_on_error": True,
        }
        request = {
            "header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell",
            "buffers": [],
        }
        await socket.send_str(json.dumps(request))
        printed, result = "", None
        async for message in socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                continue
            message = message.json()
            if message["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                printed += content["text"]
                heard(printed)
            elif kind == "execute_result":
                result = content["data"]["text/plain"]
            elif kind == "error":
                raise Refused(f"the cell failed: {content['ename']}: {content['evalue']}")
            elif kind == "status" and content["execution_state"] == "idle":
                return printed, result
        raise Refused(f"the socket closed ({socket.close_code}) before the cell was done; it printed {printed!r}")

    async def sign_out(self):
        async with self.session.get(f"{self.url}/hub/logout", allow_redirects=False) as answer:
            await expect(answer, 302)
        async with self.session.get(f"{self.url}/hub/home", allow_redirects=False) as answer:
            await expect(answer, 302)


PAUSED = """
import os, time
print("started", flush=True)
until = time.monotonic() + 120
while not os.path.exists({go!r}) and time.monotonic() < until:
    time.sleep(0.05)
print("ended", flush=True)
6*7
"""


async def one_round(url, name, password, pause):
    limits = aiohttp.ClientTimeout(total=PATIENCE)
    # a hub on an address instead of a name has cookies too
    jar = aiohttp.CookieJar(unsafe=True, quote_cookie=False)
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=limits) as session:
        person = Person(session, url, name)
        await person.sign_in(password)
        await person.start()
        hops = await person.enter()
        if not any(hop.endswith("/hub/api/oauth2/authorize") for hop in hops):
            raise Refused(f"no OAuth on the way in: {hops}")
        if pause:
            told = []

            def heard(printed):
                if "started" in printed and not told:
                    told.append(print("running", flush=True))

            printed, result = await person.run(PAUSED.format(go=os.path.join(pause, "go")), heard)
            if printed != "started\nended\n":
                raise Refused(f"output was lost: {printed!r}")
        else:
            _, result = await person.run("6*7")
        if result != "42":
            raise Refused(f"6*7 gave {result!r}")
        await person.stop()
        await person.sign_out()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("name")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--pause")
    given = parser.parse_args()
    for number in range(given.rounds):
        began = time.monotonic()
        await one_round(given.url, given.name, os.environ["JOVIS_TEST_PASSWORD"], given.pause)
        print(f"round {number + 1}: {time.monotonic() - began:.1f} s", flush=True)


try:
    asyncio.run(main())
except Refused as why:
    sys.exit(f"failed: {why}")
