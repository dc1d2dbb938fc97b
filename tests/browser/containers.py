"""A server in a container: chosen, fetched while its user watches, used and stopped; and what cannot be fetched.

usage: containers.py URL NAME PICTURES PORT

At PORT there is a registry with one image, which takes its time; it is what `Fetched` means in the site's settings.
"""
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from person import expect, person

url, name, pictures, port = sys.argv[1:]
WEIGHT, SLICES = 6 << 20, 12
KIND = "application/vnd.docker.distribution.manifest.v2+json"


def layer():
    """Folders, links into /usr as in the engine's own image, and something heavy."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for folder in ("usr", "tmp", "etc"):
            it = tarfile.TarInfo(folder)
            it.type, it.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(it)
        for link in ("bin", "sbin", "lib", "lib64"):
            it = tarfile.TarInfo(link)
            it.type, it.linkname = tarfile.SYMTYPE, f"usr/{link}"
            archive.addfile(it)
        it = tarfile.TarInfo("heavy")
        it.size = WEIGHT
        archive.addfile(it, io.BytesIO(os.urandom(WEIGHT)))
    return raw.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry(BaseHTTPRequestHandler):
    """As much of a registry as one image needs."""
    plain = layer()
    packed = gzip.compress(plain, 1)
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(plain)]},
    }).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": KIND,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digest(config)},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(packed), "digest": digest(packed)}],
    }).encode()

    def answer(self, body, kind="application/octet-stream"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", digest(body))
        self.end_headers()
        if self.command == "GET":
            step = -(-len(body) // SLICES)
            for at in range(0, len(body), step):
                self.wfile.write(body[at:at + step])
                if body is self.packed:
                    time.sleep(0.3)

    def do_GET(self):
        place = self.path.rsplit("/", 1)[-1]
        if self.path == "/v2/":
            self.answer(b"{}", "application/json")
        elif "/slow/manifests/" in self.path:
            self.answer(self.manifest, KIND)
        elif "/blobs/" in self.path and place == digest(self.config):
            self.answer(self.config)
        elif "/blobs/" in self.path and place == digest(self.packed):
            self.answer(self.packed)
        else:
            body = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
            self.send_response(404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_words):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_where):
        # the engine tries TLS first, and hangs up
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*_where)


def chooses(someone, image):
    page = someone.page
    someone.go("spawn")
    expect(page.get_by_role("heading", name="Server Options")).to_be_visible()
    page.get_by_label("Image").select_option(image)
    page.get_by_role("button", name="Start").click()


registry = Server(("127.0.0.1", int(port)), Registry)
threading.Thread(target=registry.serve_forever, daemon=True).start()

with person(url, pictures) as someone:
    page = someone.page
    someone.sign_in(name, to="spawn")
    someone.look("images")

    chooses(someone, "Gone")
    told = page.get_by_role("alert")
    expect(told).to_contain_text("cannot be fetched")
    expect(told).to_contain_text("manifest unknown")
    someone.picture("gone")
    someone.say("an image that is not there is named, and why")

    chooses(someone, "Fetched")
    page.wait_for_url("**/hub/spawn-pending/**")
    expect(page.locator("#progress-log")).to_contain_text("of 6 MB")
    someone.picture("fetching")
    someone.say("the fetch is told as it goes")
    page.wait_for_url(f"**/user/{name}/**")
    someone.go(f"/user/{name}/self")
    it = page.evaluate("JSON.parse(document.body.innerText)")
    assert it["environment"]["JUPYTER_IMAGE_SPEC"].endswith("/slow:1"), it
    assert it["pid"] == 1, "it is the first process of its container"
    someone.say("and its server is reached")

    someone.go("home")
    page.get_by_role("button", name="Stop My Server").click()
    expect(page.get_by_role("button", name="Start My Server")).to_be_visible()
    someone.picture("stopped")
    someone.say("and stopped")
