"""Keys and signatures of JSON Web Tokens (RFC 7515 to 7519), with nothing between us and the bytes: what a library would
refuse to write has to be written here, too.
"""
import base64
import datetime
import hashlib
import hmac
import json
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(value):
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def text(value):
    """As it goes into a token. A string is taken for JSON that is written already."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class Rsa:
    algorithm = "RS256"

    def __init__(self, kid, bits=2048, key=None):
        self.kid, self.private = kid, key.private if key else rsa.generate_private_key(65537, bits)

    def public(self):
        it = self.private.public_key().public_numbers()
        return {
            "kty": "RSA", "use": "sig", "alg": self.algorithm, "kid": self.kid,
            "n": number(it.n), "e": number(it.e),
        }

    def pem(self, how=serialization.PublicFormat.SubjectPublicKeyInfo):
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, how)

    def sign(self, data):
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def sign_pss(self, data):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        return self.private.sign(data, pss, hashes.SHA256())

    def certificate(self):
        """Vouches for itself, as an `x5c` (RFC 7515 4.1.6)."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider.test")])
        now = datetime.datetime.now(datetime.timezone.utc)
        it = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.private.public_key())
        it = it.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        der = it.sign(self.private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        return base64.b64encode(der).decode()


class Ec:
    algorithm = "ES256"

    def __init__(self, kid):
        self.kid, self.private = kid, ec.generate_private_key(ec.SECP256R1())

    def public(self):
        it = self.private.public_key().public_numbers()
        return {
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": self.algorithm, "kid": self.kid,
            "x": b64(it.x.to_bytes(32, "big")), "y": b64(it.y.to_bytes(32, "big")),
        }

    def sign(self, data):
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def header(key, **more):
    return {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"} | more


def signing_input(head, payload):
    return f"{b64(text(head).encode())}.{b64(text(payload).encode())}"


def signed(head, payload, sign):
    """The compact form; `sign` makes a signature of bytes."""
    data = signing_input(head, payload)
    return f"{data}.{b64(sign(data.encode()))}"


def mac(secret):
    return lambda data: hmac.new(secret, data, hashlib.sha256).digest()


def half_hash(value):
    """`at_hash` (OpenID Connect Core 3.1.3.6) for the algorithms that end in 256."""
    return b64(hashlib.sha256(value.encode()).digest()[:16])


def encrypted(payload):
    """A JWE in its compact form (RFC 7516), whole, but for a key that nobody has."""
    head = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "typ": "JWT"}
    key, iv = os.urandom(32), os.urandom(12)
    to = rsa.generate_private_key(65537, 2048).public_key()
    wrapped = to.encrypt(key, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    protected = b64(text(head).encode())
    sealed = AESGCM(key).encrypt(iv, text(payload).encode(), protected.encode())
    return ".".join([protected, b64(wrapped), b64(iv), b64(sealed[:-16]), b64(sealed[-16:])])
