"""Reads streams of HTTP/1.1 messages by two parsers that share no code: h11 and llhttp (in aiohttp).

stdin: a list of {"kind": "requests" | "answers", "bytes": hex, "methods": [...], "cut": bool}.
stdout: for each {"h11": [...], "llhttp": [...]}: messages as [first, second, fields, body as hex, complete, trailers],
where first and second are method and target, or status and "". A stream that a parser refuses ends with ["error", text].
"""

import asyncio
import json
import sys

import h11
from aiohttp import _http_parser as llhttp
from aiohttp.base_protocol import BaseProtocol

LIMIT = 1 << 28


def fields_of(pairs):
    return [[name.decode("latin-1").lower(), value.decode("latin-1").strip()] for name, value in pairs]


def message(first, second, pairs, body, complete, trailers=()):
    # aiohttp keeps what is no UTF-8 in surrogates.
    return [str(first), second, pairs, bytes(body).hex(), complete, list(trailers)]


def by_h11(stream):
    data = bytes.fromhex(stream["bytes"])
    requests = stream["kind"] == "requests"
    us = h11.Connection(h11.SERVER if requests else h11.CLIENT, max_incomplete_event_size=1 << 20)
    us.receive_data(data)
    if not stream["cut"]:
        us.receive_data(b"")
    methods = iter(stream["methods"])
    read = []
    try:
        while True:
            if not requests:
                method = next(methods, None)
                if method is None:
                    break
                us.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
                us.send(h11.EndOfMessage())
            head, body, complete, trailers = None, bytearray(), False, []
            while not complete:
                event = us.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    break
                if isinstance(event, (h11.Request, h11.Response)):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    trailers = fields_of(event.headers)
                complete = isinstance(event, h11.EndOfMessage)
            if head is None:
                break
            first, second = (head.method.decode(), head.target.decode()) if requests else (head.status_code, "")
            read.append(message(first, second, fields_of(head.headers), body, complete, trailers))
            if not complete or us.their_state is not h11.DONE:
                break
            if requests:
                us.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                us.send(h11.EndOfMessage())
            us.start_next_cycle()
        rest = us.trailing_data[0]
        if rest and complete:
            read.append(["error", f"behind the last message: {rest[:80]!r}"])
    except h11.RemoteProtocolError as error:
        if head is not None:
            first, second = (head.method.decode(), head.target.decode()) if requests else (head.status_code, "")
            read.append(message(first, second, fields_of(head.headers), body, False))
        # A stream may end within a message: that is not the parser's refusal.
        if not any(end in str(error) for end in ("without sending complete", "unexpectedly closed", "ConnectionClosed when")):
            read.append(["error", str(error)])
    return read


def by_llhttp(stream, loop):
    data = bytes.fromhex(stream["bytes"])
    requests = stream["kind"] == "requests"
    limits = dict(limit=LIMIT, max_line_size=1 << 17, max_headers=400, max_field_size=1 << 17, auto_decompress=False)
    if requests:
        parser = llhttp.HttpRequestParser(BaseProtocol(loop), loop, **limits)
    else:
        with_body = stream["methods"][:1] != ["HEAD"]
        parser = llhttp.HttpResponseParser(
            BaseProtocol(loop), loop, response_with_body=with_body, read_until_eof=True, **limits
        )
    messages, fault = [], None
    try:
        found, upgraded, tail = parser.feed_data(data)
        messages += found
        if tail and not upgraded:
            fault = f"behind the last message: {tail[:80]!r}"
    except Exception as error:
        fault = repr(error)
    if fault is None and not stream["cut"]:
        try:
            parser.feed_eof()
        except Exception:
            pass  # seen below: the last message is not complete
    read = []
    for head, payload in messages:
        body, complete = bytearray(), True
        if hasattr(payload, "_buffer"):
            body = b"".join(bytes(piece) for piece in payload._buffer)
            complete = payload._eof and payload.exception() is None
        first, second = (head.method, head.path) if requests else (head.code, "")
        read.append(message(first, second, fields_of(head.raw_headers), body, complete))
    if fault is not None:
        read.append(["error", fault])
    return read


async def main():
    loop = asyncio.get_running_loop()
    answer = [{"h11": by_h11(it), "llhttp": by_llhttp(it, loop)} for it in json.load(sys.stdin)]
    json.dump(answer, sys.stdout)


asyncio.run(main())
