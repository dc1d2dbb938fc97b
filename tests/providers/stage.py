"""What the providers beside this file stand on: one loopback port that says where it listens, remembers what it was
asked, can be told what to do, and ends with whoever started it.

    listening on PORT       on standard output, once it answers
    GET  /_seen             what was asked so far: [{"method", "url", "headers", "body"}…], oldest first, the last 20,000
    POST /_seen             the same, and forgets it
    GET  /_cases            the cases it can play, each with what a hub has to make of it
    POST /_control          tells it what to do; each provider says in its own file what can be told

It ends on SIGTERM, and when its standard input closes (unless --stays): nothing is left behind if a test is killed.
"""
import argparse
import asyncio
import collections
import gzip
import os
import signal
import ssl
import sys
import threading

from aiohttp import web

KEPT = 20_000
MEGA = 1 << 20
# What a browser or client is made wait for at most; nobody who is patient with it is well written.
NEVER = 120


def options(about):
    it = argparse.ArgumentParser(description=about.split("\n")[0])
    it.add_argument("--port", type=int, default=0, help="0: any that is free")
    it.add_argument("--cert", help="PEM; then it speaks TLS")
    it.add_argument("--key", help="PEM")
    it.add_argument("--name", default="127.0.0.1", help="the host in its own address (it listens on 127.0.0.1 anyway)")
    it.add_argument("--stays", action="store_true", help="does not end when standard input closes")
    return it


class Seen:
    def __init__(self):
        self.all = collections.deque(maxlen=KEPT)

    @web.middleware
    async def note(self, request, handler):
        if not request.path.startswith("/_"):
            body = (await request.read())[:MEGA] if request.can_read_body else b""
            self.all.append({
                "method": request.method, "url": request.path_qs, "headers": dict(request.headers),
                "body": body.decode(errors="replace"),
            })
        return await handler(request)

    async def tell(self, request):
        told = list(self.all)
        if request.method == "POST":
            self.all.clear()
        return web.json_response(told)


def serve(chosen, make):
    """`make(address)` gives the routes and the cases, once it is known where we are. Comes back when all is over."""
    asyncio.run(_serve(chosen, make))


async def _serve(chosen, make):
    seen = Seen()
    app = web.Application(middlewares=[seen.note], client_max_size=4 * MEGA)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    context = None
    if chosen.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chosen.cert, chosen.key)
    import socket
    listener = socket.create_server(("127.0.0.1", chosen.port), backlog=512)
    port = listener.getsockname()[1]
    address = f"{'https' if context else 'http'}://{chosen.name}:{port}"
    routes, cases = make(address)

    async def tell_cases(_):
        return web.json_response(cases)

    app.add_routes([web.get("/_seen", seen.tell), web.post("/_seen", seen.tell), web.get("/_cases", tell_cases)])
    app.add_routes(routes)
    await runner.setup()
    await web.SockSite(runner, listener, ssl_context=context).start()
    for which in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(which, over.set)
    if not chosen.stays:
        threading.Thread(target=_until_closed, args=(loop, over), daemon=True).start()
    print(f"listening on {port}", flush=True)
    await over.wait()
    await runner.cleanup()


def _until_closed(loop, over):
    try:
        while os.read(sys.stdin.fileno(), 4096):
            pass
    except OSError:
        pass
    loop.call_soon_threadsafe(over.set)


# How an answer can be bad whatever was asked. `honest` is the bytes that should have come.
async def badly(request, how, honest=b"{}", elsewhere="/evil/away"):
    """Answers `how`: see BAD."""
    if how.isdigit():
        return web.json_response({"error": "server_error", "message": "Server Error"}, status=int(how))
    if how == "html":
        return web.Response(text="<!doctype html><title>Busy</title><p>We are busy.", content_type="text/html")
    if how == "not-json":
        return web.Response(body=honest[: len(honest) // 2], content_type="application/json")
    if how == "empty":
        return web.Response(body=b"", content_type="application/json")
    if how == "array":
        return web.json_response([])
    if how == "null":
        return web.json_response(None)
    if how == "deep":
        return web.Response(body=b"[" * 100_000, content_type="application/json")
    if how == "redirect-metadata":
        return web.Response(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})
    if how == "redirect":
        return web.Response(status=307, headers={"Location": elsewhere})
    if how == "redirect-loop":
        return web.Response(status=302, headers={"Location": request.path_qs})
    if how == "gzip-bomb":
        bomb = gzip.compress(b" " * (200 * MEGA), 9)
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})
    if how == "drop":
        request.transport.abort()
        return web.Response()
    if how == "cut":
        # promises more than it sends
        out = web.StreamResponse(headers={"Content-Length": str(len(honest) + 100), "Content-Type": "application/json"})
        await out.prepare(request)
        await out.write(honest)
        request.transport.close()
        return out
    if how == "huge":
        # right, were it not for its size
        return web.Response(body=honest[:-1] + b', "pad": "' + b"x" * (10 * MEGA) + b'"}', content_type="application/json")
    if how == "silent":
        await asyncio.sleep(NEVER)
        return web.Response(body=honest, content_type="application/json")
    if how in ("endless", "slow"):
        out = web.StreamResponse(headers={"Content-Type": "application/json"})
        await out.prepare(request)
        deadline = asyncio.get_running_loop().time() + NEVER
        try:
            if how == "slow":
                for byte in honest:
                    await out.write(bytes([byte]))
                    await asyncio.sleep(1)
            while asyncio.get_running_loop().time() < deadline and how == "endless":
                await out.write(b" " * 4096)
                await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.CancelledError):
            pass
        return out
    raise ValueError(f"no such way to answer badly: {how}")


BAD = [
    "500", "503", "404", "html", "not-json", "empty", "array", "null", "deep", "redirect-metadata", "redirect",
    "redirect-loop", "gzip-bomb", "drop", "cut", "huge", "silent", "endless", "slow",
]
