"""A certificate authority for tests (RFC 8555, 8737), on loopback, that really looks and misbehaves on request.

    authority.py FOLDER

It looks for every name's challenges at two ports of 127.0.0.1. Into FOLDER it writes `house.pem` (who vouches for
its own server) and `root.pem` (who signs the certificates it gives). It says `ready DIRECTORY CONTROL` and ends with its
standard input. At CONTROL, without TLS: POST /play takes a JSON object of what shall be from now on (see `PLAY`), GET
/seen tells what has happened.
"""

import asyncio
import base64
import datetime
import hashlib
import ipaddress
import json
import os
import ssl
import sys

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PLAY = {
    # Where it looks.
    "http_port": 0,
    "tls_port": 0,
    # Seconds a certificate lives.
    "life": 90 * 86400,
    # What goes wrong; each is where it goes wrong.
    "fault": "",
    # With `rate`: what Retry-After says.
    "wait": "7200",
    # Certificates with lower numbers are to be renewed at once.
    "early": 0,
    # Seconds until a challenge is looked at.
    "slow": 0,
}
SEEN = {
    "accounts": 0,
    "contacts": [],
    "orders": 0,
    "looks": [],
    "certificates": 0,
    "requests": 0,
    "asked": 0,
    "bad_nonces": 0,
    "forgeries": [],
    "signed": [],
}
PROBLEM = "urn:ietf:params:acme:error:"
DAY = datetime.timedelta(days=1)
ACME_IDENTIFIER = "1.3.6.1.5.5.7.1.31"


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def called(certificate):
    key = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    number = certificate.serial_number
    return f"{b64(key.key_identifier)}.{b64(number.to_bytes(number.bit_length() // 8 + 1, 'big'))}"


class Signer:
    """A key that signs certificates."""

    def __init__(self, name):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self.begin(self.name, self.key.public_key(), now() - DAY, now() + 365 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        self.certificate = builder.sign(self.key, hashes.SHA256())

    def begin(self, subject, key, since, until):
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
        )

    def sign(self, names, key, since, until):
        builder = self.begin(x509.Name([]), key, since, until)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), True)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        us = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(usage, False).add_extension(us, False)
        return builder.sign(self.key, hashes.SHA256())


class Problem(Exception):
    def __init__(self, kind, detail, status=400, headers=None):
        super().__init__(detail)
        self.body = {"type": PROBLEM + kind, "detail": detail, "status": status}
        self.status, self.headers = status, headers or {}


class Authority:
    def __init__(self):
        self.house, self.signer = Signer("house"), Signer("root")
        self.base = ""
        self.nonces = set()
        # by the thumbprint of its key; by number: orders, authorizations, certificates
        self.accounts, self.orders, self.looks, self.certificates = {}, [], [], []
        # What certificates are called, by their numbers (RFC 9773, section 4.1).
        self.called = []
        self.tasks = set()

    # --- what is asked -------------------------------------------------------------------------------------------------

    def nonce(self):
        nonce = b64(os.urandom(16))
        self.nonces.add(nonce)
        return nonce

    def answer(self, body, status=200, headers=None, kind="application/json"):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Replay-Nonce": self.nonce(), "Cache-Control": "no-store", **(headers or {})}
        return web.Response(body=raw, status=status, headers=headers, content_type=kind)

    @web.middleware
    async def around(self, request, handler):
        SEEN["requests"] += 1
        try:
            if PLAY["fault"] == "error":
                return web.Response(text="<h1>Internal Server Error</h1>", status=500)
            if PLAY["fault"] == "away":
                request.transport.abort()
            return await handler(request)
        except Problem as problem:
            kind = "application/problem+json"
            return self.answer(problem.body, problem.status, problem.headers, kind)

    async def directory(self, _request):
        names = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order"}
        links = {name: f"{self.base}/{path}" for name, path in names.items()}
        links["renewalInfo"] = f"{self.base}/renewal"
        links["revokeCert"] = links["keyChange"] = f"{self.base}/none"
        if PLAY["fault"] == "plain":
            links = {name: link.replace("https:", "http:") for name, link in links.items()}
        return self.answer(links)

    async def new_nonce(self, _request):
        return self.answer(b"")

    async def read(self, request):
        """The payload of a signed request, and the account it comes from: none, if by a key of its own."""
        if request.content_type != "application/jose+json":
            raise Problem("malformed", "wrong type")
        body = json.loads(await request.text())
        head = json.loads(unb64(body["protected"]))
        if head.get("nonce") not in self.nonces:
            SEEN["bad_nonces"] += 1
            raise Problem("badNonce", "take this one")
        self.nonces.discard(head["nonce"])
        if SEEN["bad_nonces"] == 0:
            # Once, to each who comes first.
            SEEN["bad_nonces"] += 1
            raise Problem("badNonce", "too old")
        if head["alg"] != "ES256" or head["url"] != self.base + request.path:
            SEEN["forgeries"].append(f"{head['alg']} {head['url']}")
            raise Problem("unauthorized", "for another address", 401)
        account = None
        if "kid" in head:
            account = self.accounts.get(head["kid"].rsplit("/", 1)[-1])
            if account is None or PLAY["fault"] == "stranger":
                raise Problem("accountDoesNotExist", "never heard of you")
            jwk = account["jwk"]
        else:
            jwk = head["jwk"]
        point = ec.EllipticCurvePublicNumbers(
            *(int.from_bytes(unb64(jwk[at]), "big") for at in "xy"), ec.SECP256R1()
        )
        raw = unb64(body["signature"])
        signature = encode_dss_signature(*(int.from_bytes(raw[at : at + 32], "big") for at in (0, 32)))
        try:
            signed = f"{body['protected']}.{body['payload']}".encode()
            point.public_key().verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        except Exception:
            SEEN["forgeries"].append("signature")
            raise Problem("unauthorized", "wrong signature", 401) from None
        payload = json.loads(unb64(body["payload"])) if body["payload"] else None
        return payload, account, jwk

    async def new_account(self, request):
        payload, _, jwk = await self.read(request)
        if not payload.get("termsOfServiceAgreed"):
            raise Problem("userActionRequired", "agree first", 403)
        thin = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
        canonical = json.dumps(thin, separators=(",", ":"), sort_keys=True).encode()
        thumb = b64(hashlib.sha256(canonical).digest())
        new = thumb not in self.accounts
        if new:
            SEEN["accounts"] += 1
            SEEN["contacts"] = payload.get("contact", [])
            self.accounts[thumb] = {"jwk": jwk, "thumb": thumb}
        place = {"Location": f"{self.base}/account/{thumb}"}
        return self.answer({"status": "valid"}, 201 if new else 200, place)

    async def account(self, request):
        payload, _, _ = await self.read(request)
        SEEN["contacts"] = (payload or {}).get("contact", SEEN["contacts"])
        return self.answer({"status": "valid", "contact": SEEN["contacts"]})

    async def new_order(self, request):
        payload, account, _ = await self.read(request)
        SEEN["orders"] += 1
        await self.fault_of_orders()
        names = [one["value"] for one in payload["identifiers"] if one["type"] == "dns"]
        order = {"names": names, "looks": [], "status": "pending", "error": None, "by": account}
        for name in names:
            look = {"name": name, "token": b64(os.urandom(24)), "status": "pending", "error": None}
            look["order"] = order
            order["looks"].append(len(self.looks))
            self.looks.append(look)
        self.orders.append(order)
        number = len(self.orders) - 1
        return self.answer(self.shown(number), 201, {"Location": f"{self.base}/order/{number}"})

    async def fault_of_orders(self):
        fault = PLAY["fault"]
        if fault == "rate":
            raise Problem("rateLimited", "too many certificates", 429, {"Retry-After": PLAY["wait"]})
        if fault == "words":
            raise Problem("malformed", "line\n\x1b[31mred " + "x" * 50_000)
        if fault == "hang":
            await asyncio.sleep(3600)

    def shown(self, number):
        order = self.orders[number]
        body = {
            "status": order["status"],
            "identifiers": [{"type": "dns", "value": name} for name in order["names"]],
            "authorizations": [f"{self.base}/look/{at}" for at in order["looks"]],
            "finalize": f"{self.base}/order/{number}/finalize",
        }
        if order["status"] == "valid":
            body["certificate"] = f"{self.base}/certificate/{order['certificate']}"
        if PLAY["fault"] == "json":
            return b'{"status": "pending", "authorizations": ['
        if PLAY["fault"] == "huge":
            return b'{"status": "' + b"x" * (4 << 20) + b'"}'
        return body

    async def order(self, request):
        await self.read(request)
        # Longer than any clock goes, while an order is under way.
        headers = {"Retry-After": str(2**64 - 1)} if PLAY["fault"] == "later" else {}
        return self.answer(self.shown(int(request.match_info["number"])), headers=headers)

    async def look(self, request):
        await self.read(request)
        number = int(request.match_info["number"])
        look = self.looks[number]
        kinds = ["dns-01"] if PLAY["fault"] == "offer" else ["http-01", "tls-alpn-01", "dns-01"]
        challenges = [
            {
                "type": kind,
                "url": f"{self.base}/look/{number}/{kind}",
                "token": look["token"],
                "status": look["status"],
                **({"error": look["error"]} if kind == look.get("kind") else {}),
            }
            for kind in kinds
        ]
        name = "elsewhere.example" if PLAY["fault"] == "foreign" else look["name"]
        identifier = {"type": "dns", "value": name}
        body = {"identifier": identifier, "status": look["status"], "challenges": challenges}
        return self.answer(body)

    async def challenge(self, request):
        _, account, _ = await self.read(request)
        look = self.looks[int(request.match_info["number"])]
        kind = request.match_info["kind"]
        if PLAY["fault"] != "pending":
            task = asyncio.ensure_future(self.validate(look, kind, account))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        url = self.base + request.path
        body = {"type": kind, "url": url, "token": look["token"], "status": "processing"}
        return self.answer(body)

    # --- looking whose a name is ---------------------------------------------------------------------------------------

    async def validate(self, look, kind, account):
        await asyncio.sleep(PLAY["slow"])
        proof = f"{look['token']}.{account['thumb']}"
        try:
            if PLAY["fault"] == "refuse":
                raise ValueError("connection refused, they say")
            method = self.by_http if kind == "http-01" else self.by_tls
            await asyncio.wait_for(method(look["name"], look["token"], proof), 10)
            look["status"] = "valid"
            SEEN["looks"].append(f"{kind} {look['name']}")
        except Exception as error:
            words = f"{look['name']}: {error!r}"
            SEEN["looks"].append(f"failed {kind} {words}")
            look["status"], look["kind"] = "invalid", kind
            look["error"] = {"type": PROBLEM + "unauthorized", "detail": words, "status": 403}
        order = look["order"]
        states = {self.looks[at]["status"] for at in order["looks"]}
        if "invalid" in states:
            order["status"] = "invalid"
        elif states == {"valid"}:
            order["status"] = "ready"

    async def by_http(self, name, token, proof):
        reader, writer = await asyncio.open_connection("127.0.0.1", PLAY["http_port"])
        path = f"/.well-known/acme-challenge/{token}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        whole = await reader.read()
        writer.close()
        head, _, body = whole.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or body != proof.encode():
            raise ValueError(f"answered {head[:60]!r} and {body[:60]!r}")

    async def by_tls(self, name, _token, proof):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["acme-tls/1"])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", PLAY["tls_port"], ssl=context, server_hostname=name
        )
        tls = writer.get_extra_info("ssl_object")
        if tls.selected_alpn_protocol() != "acme-tls/1":
            raise ValueError(f"speaks {tls.selected_alpn_protocol()}")
        certificate = x509.load_der_x509_certificate(tls.getpeercert(True))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        if names.value.get_values_for_type(x509.DNSName) != [name]:
            raise ValueError(f"is {names.value}")
        identifier = x509.ObjectIdentifier(ACME_IDENTIFIER)
        shown = certificate.extensions.get_extension_for_oid(identifier)
        digest = hashlib.sha256(proof.encode()).digest()
        if not shown.critical or shown.value.value != b"\x04\x20" + digest:
            raise ValueError("shows another proof")
        if await reader.read() != b"":
            raise ValueError("goes on")
        writer.close()

    # --- certificates --------------------------------------------------------------------------------------------------

    async def finalize(self, request):
        payload, _, _ = await self.read(request)
        number = int(request.match_info["number"])
        order = self.orders[number]
        if order["status"] != "ready":
            raise Problem("orderNotReady", "not yet", 403)
        csr = x509.load_der_x509_csr(unb64(payload["csr"]))
        if not csr.is_signature_valid:
            raise Problem("badCSR", "wrong signature")
        wanted = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if sorted(wanted.get_values_for_type(x509.DNSName)) != sorted(order["names"]):
            raise Problem("badCSR", "other names")
        names, key, since = order["names"], csr.public_key(), now()
        until = since + datetime.timedelta(seconds=PLAY["life"])
        if PLAY["fault"] == "names":
            names = ["elsewhere.example"]
        if PLAY["fault"] == "key":
            key = ec.generate_private_key(ec.SECP256R1()).public_key()
        if PLAY["fault"] == "ended":
            since, until = since - 2 * DAY, since - DAY
        one = self.signer.sign([x509.DNSName(name) for name in names], key, since, until)
        self.certificates.append(pem(one) + pem(self.signer.certificate))
        self.called.append(called(one))
        SEEN["certificates"] += 1
        SEEN["signed"].append({"names": names, "serial": f"{one.serial_number:X}"})
        order["certificate"] = len(self.certificates) - 1
        order["status"] = "processing" if PLAY["fault"] == "processing" else "valid"
        return self.answer(self.shown(number))

    async def certificate(self, request):
        await self.read(request)
        chain = self.certificates[int(request.match_info["number"])]
        if PLAY["fault"] == "garbage":
            chain = b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n"
        return self.answer(chain, kind="application/pem-certificate-chain")

    async def renewal(self, request):
        SEEN["asked"] += 1
        number = self.called.index(request.match_info["name"])
        since = now() - DAY if number < PLAY["early"] else now() + 30 * DAY
        window = [since, since + DAY / 2]
        start, end = (one.isoformat().replace("+00:00", "Z") for one in window)
        return self.answer({"suggestedWindow": {"start": start, "end": end}})

    def app(self):
        app = web.Application(middlewares=[self.around])
        app.router.add_get("/directory", self.directory)
        app.router.add_get("/renewal/{name}", self.renewal)
        app.router.add_route("HEAD", "/nonce", self.new_nonce)
        for path, handler in [
            ("/account", self.new_account),
            ("/account/{name}", self.account),
            ("/order", self.new_order),
            ("/order/{number}", self.order),
            ("/order/{number}/finalize", self.finalize),
            ("/look/{number}", self.look),
            ("/look/{number}/{kind}", self.challenge),
            ("/certificate/{number}", self.certificate),
        ]:
            app.router.add_post(path, handler)
        return app


async def play(request):
    PLAY.update(await request.json())
    return web.json_response(PLAY)


async def seen(_request):
    return web.json_response(SEEN)


async def forget(request):
    """All accounts are gone, as after a move."""
    request.app["authority"].accounts.clear()
    return web.json_response({})


async def serve(folder):
    authority = Authority()
    key = ec.generate_private_key(ec.SECP256R1())
    loopback = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    own = authority.house.sign(loopback, key.public_key(), now() - DAY, now() + DAY)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files = {
        "house.pem": pem(authority.house.certificate),
        "root.pem": pem(authority.signer.certificate),
        "own.pem": private + pem(own),
    }
    for name, content in files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(os.path.join(folder, "own.pem"))
    control = web.Application()
    control["authority"] = authority
    control.router.add_post("/play", play)
    control.router.add_post("/forget", forget)
    control.router.add_get("/seen", seen)
    ports = []
    for app, secure in [(authority.app(), context), (control, None)]:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=secure)
        await site.start()
        ports.append(runner.addresses[0][1])
    authority.base = f"https://127.0.0.1:{ports[0]}"
    print(f"ready {authority.base}/directory 127.0.0.1:{ports[1]}", flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(serve(sys.argv[1]))
