"""What a provider of OpenID Connect can do wrong, or right in an unusual way: one behaviour, one case.

A case says what a hub has to make of it:

    "refused"     no cookie of a session, no account, a page of the hub with a status of 400 to 599
    "signs in"    the user is there under `name` (none said: as the user is called at the provider)
    "either"      both will do, but nothing between: neither a status of 500, nor more rights than honest claims give
    "signed out"  signs in, then `then` happens at the provider, and the session ends

and what the hub must be set to, if not its defaults (`asks`: settings of `Oidc(..)`, or of `auth` where they are not its).
`fresh`: what is wrong may be remembered by a hub from before, so it counts for a provider that the hub does not know yet.
`twist` is what the browser does (see walk.py), `before` who signs in honestly first.

The list follows OpenID Connect Core 3.1.3.7, RFC 9700 (attacks on OAuth), RFC 9207 (mix-up), RFC 8725 (attacks on JWTs).
"""
import json
import time

import jose
import stage

CASES = {}
# Settings of `auth` that the cases of a set need; those of `Oidc(..)` are each case's own.
SETS = {"groups": "manage_groups", "later": "enable_auth_state"}
OF_AUTH = {"manage_groups", "allowed_groups", "admin_groups", "enable_auth_state", "auth_refresh_age"}
REFUSED, SIGNS_IN, EITHER, SIGNED_OUT = "refused", "signs in", "either", "signed out"
DAY = 86_400


class Case:
    def __init__(self, name, about, expected=REFUSED, fresh=False, asks=None, before=None, twist=None, then=None,
                 as_name=None, **hooks):
        self.name, self.about, self.expected, self.fresh = name, about, expected, fresh
        self.asks, self.before, self.twist, self.then, self.as_name = asks or {}, before, twist, then, as_name
        self.hooks = hooks

    def told(self):
        return {
            "case": self.name, "about": self.about, "expected": self.expected, "fresh": self.fresh, "asks": self.asks,
            "before": self.before, "twist": self.twist, "then": self.then, "name": self.as_name or self.name,
            "set": self.set(),
        }

    def set(self):
        """Cases of one set can be settled by one hub: they need the same settings of `auth`."""
        return next((name for name, setting in SETS.items() if setting in self.asks), "plain")


def case(name, about, *expected, **more):
    assert name not in CASES, name
    CASES[name] = Case(name, about, *expected, **more)


def told():
    return [it.told() for it in CASES.values()]


def ron(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{ron(key)}: {ron(it)}" for key, it in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(ron, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def as_settings(address, which, **more):
    """The settings of `auth` with which one hub knows every case of a set, each as a way to sign in of its own name.
    `more`: settings of every `Oidc(..)`."""
    them = [it for it in CASES.values() if it.set() == which]
    lines, auth = [], {}
    for it in them:
        own = {key: value for key, value in it.asks.items() if key not in OF_AUTH}
        auth |= {key: value for key, value in it.asks.items() if key in OF_AUTH}
        own = {"issuer": f"{address}/i/{it.name}", "client_id": "hub", "client_secret": "hub-secret-0123456789"} | own | more
        fields = ", ".join(f"{key}: {ron(value)}" for key, value in own.items())
        lines.append(f'        (name: "{it.name}", class: Oidc({fields})),\n')
    rules = "".join(f"    {key}: {ron(value)},\n" for key, value in auth.items())
    return f"(\n{rules}    others: [\n{''.join(lines)}    ],\n)\n"


def put(**new):
    """Claims or fields replaced; None: taken out."""
    def change(_, old):
        both = old | {key: value(_) if callable(value) else value for key, value in new.items()}
        return {key: value for key, value in both.items() if value is not None}
    return change


def ahead(seconds):
    return lambda _: int(time.time()) + seconds



# --- right, in every way a provider may choose ---

case("honest", "RS256, client_secret_basic", SIGNS_IN)
case("honest-es256", "ES256", SIGNS_IN, algorithm="ES256")
case("honest-post", "takes client_secret_post only", SIGNS_IN, fresh=True, post_only=True,
     discovery=put(token_endpoint_auth_methods_supported=["client_secret_post"]))
case("honest-default-auth", "does not say how clients prove who they are: basic", SIGNS_IN, fresh=True, basic_only=True,
     discovery=put(token_endpoint_auth_methods_supported=None))
case("honest-many-keys", "keys of other kinds and uses beside its own", SIGNS_IN, fresh=True,
     jwks=lambda i, it: {"keys": [
         {"kty": "OKP", "crv": "Ed25519", "kid": "okp", "x": jose.b64(bytes(32))},
         {"kty": "future", "kid": "odd", "zap": 1},
         i.rsa.public() | {"use": "enc", "kid": "enc"}, *it["keys"],
     ]})
case("honest-no-kid", "one key, and tokens that do not name it", SIGNS_IN, fresh=True,
     jwks=lambda i, _: {"keys": [{k: v for k, v in i.rsa.public().items() if k != "kid"}]}, head=put(kid=None))
case("honest-rotated", "its keys are replaced after the first person signed in", SIGNS_IN, before="rotated-first", rotate=True)
case("honest-aud-list", "aud is a list of us alone", SIGNS_IN, claims=put(aud=lambda t: [t.client_id]))
case("honest-azp", "azp is us", SIGNS_IN, claims=put(azp=lambda t: t.client_id))
case("honest-no-at-hash", "no at_hash, as the code flow allows", SIGNS_IN, claims=put(at_hash=None))
case("honest-no-typ", "no typ in the header", SIGNS_IN, head=put(typ=None))
case("honest-typ-small", "typ is `jwt`: media types have no case", SIGNS_IN, head=put(typ="jwt"))
case("honest-skew", "its clock goes 30 s ahead", SIGNS_IN, claims=put(iat=ahead(30), nbf=ahead(30)))
case("honest-slow-clock", "its clock goes 30 s behind, and tokens live shortly", SIGNS_IN,
     claims=put(iat=ahead(-60), exp=ahead(-30)))
case("honest-userinfo", "the name is in the userinfo alone", SIGNS_IN, asks={"userinfo": True},
     claims=put(preferred_username=None))
case("honest-max-age", "the person proved who they are just now", SIGNS_IN, asks={"max_age": 300})
case("honest-acr", "proved as strongly as asked", SIGNS_IN, asks={"acr_values": ["gold"]}, claims=put(acr="gold"))
case("honest-extra", "claims nobody knows, and large ones", SIGNS_IN,
     claims=put(address={"locality": "Zürich", "deep": [[[1]]]}, picture="https://p.test/" + "x" * 2_000))

# --- the algorithm ---

for word in ("none", "None", "nOnE", "NONE"):
    spelled = {"none": "alg-none", "None": "alg-none-capital", "nOnE": "alg-none-mixed", "NONE": "alg-none-upper"}[word]
    case(spelled, f"alg is `{word}`, no signature", head=put(alg=word), sign=lambda t: lambda data: b"")
case("alg-none-signed", "alg is `none`, with the right signature left in place", head=put(alg="none"))
case("alg-missing", "no alg", head=put(alg=None))
case("alg-hs256-spki", "HS256 with the public key (PEM) for a secret", head=put(alg="HS256"),
     sign=lambda t: jose.mac(t.issuer.rsa.pem()))
case("alg-hs256-spki-trimmed", "the same, without the last line end", head=put(alg="HS256"),
     sign=lambda t: jose.mac(t.issuer.rsa.pem().strip()))
case("alg-hs256-pkcs1", "HS256 with the public key (PKCS 1) for a secret", head=put(alg="HS256"),
     sign=lambda t: jose.mac(t.issuer.rsa.pem(jose.serialization.PublicFormat.PKCS1)))
case("alg-hs256-jwk", "HS256 with the public key (JWK) for a secret", head=put(alg="HS256"),
     sign=lambda t: jose.mac(json.dumps(t.issuer.rsa.public()).encode()))
case("alg-hs256-client-secret", "HS256 with our client secret: a signature that many can make", head=put(alg="HS256"),
     sign=lambda t: jose.mac(t.client_secret.encode()))
case("alg-hs256-empty", "HS256 with an empty secret", head=put(alg="HS256"), sign=lambda t: jose.mac(b""))
case("alg-swapped", "says ES256, signed by the RSA key it names", head=put(alg="ES256"))
case("alg-swapped-back", "says RS256, signed by the EC key it names", algorithm="ES256", head=put(alg="RS256"))
case("alg-ps256", "PS256, which was not agreed on", head=put(alg="PS256"), sign=lambda t: t.issuer.rsa.sign_pss)
case("alg-number", "alg is a number", head=put(alg=256))
case("es256-zero", "ES256 with r and s 0 (CVE-2022-21449)", algorithm="ES256", sign=lambda t: lambda data: bytes(64))
case("rsa-short", "a right signature by a key of 1,024 bits", fresh=True,
     jwks=lambda i, _: {"keys": [i.short.public()]}, head=put(kid="short"), sign=lambda t: t.issuer.short.sign)
case("jwks-oct", "a symmetric key among the public ones, and tokens by it", fresh=True,
     jwks=lambda i, it: {"keys": [*it["keys"], {"kty": "oct", "kid": "oct", "k": jose.b64(b"open" * 8)}]},
     head=put(alg="HS256", kid="oct"), sign=lambda t: jose.mac(b"open" * 8))

# --- which key ---

case("kid-unknown", "a kid that no key has, signed by a stranger", head=put(kid="nobody"), sign=lambda t: t.issuer.evil.sign)
case("kid-unknown-honest", "a kid that no key has, signed by its own key", head=put(kid="nobody"))
case("kid-missing", "no kid, where there are several keys of a kind", fresh=True,
     jwks=lambda i, it: {"keys": [*it["keys"], i.spare.public()]}, head=put(kid=None), sign=lambda t: t.issuer.evil.sign)
case("kid-path", "kid is a path, signed with what is there", head=put(alg="HS256", kid="../../../../../../dev/null"),
     sign=lambda t: jose.mac(b""))
case("kid-sql", "kid is SQL, signed with what it selects", head=put(alg="HS256", kid="x' UNION SELECT 'key' -- "),
     sign=lambda t: jose.mac(b"key"))
case("kid-url", "kid is the address of a stranger's keys",
     head=put(kid=lambda t: t.issuer.site + "/evil/jwks"), sign=lambda t: t.issuer.evil.sign)
case("kid-shell", "kid is a command", head=put(kid="$(touch /tmp/kid)|`id`"), sign=lambda t: t.issuer.evil.sign)
case("kid-number", "kid is a number", head=put(kid=1), sign=lambda t: t.issuer.evil.sign)
case("kid-empty", "kid is empty", head=put(kid=""), sign=lambda t: t.issuer.evil.sign)
case("kid-long", "kid is 10 kB long", head=put(kid="k" * 10_240), sign=lambda t: t.issuer.evil.sign)
case("key-other", "the right kid, signed by a stranger", sign=lambda t: t.issuer.evil.sign)
case("key-of-another-issuer", "the right kid, signed by another issuer's key", sign=lambda t: t.issuer.other().rsa.sign)
case("jwk", "brings its key along", head=put(jwk=lambda t: t.issuer.evil.public()), sign=lambda t: t.issuer.evil.sign)
case("jwk-alone", "brings its key along, names none", sign=lambda t: t.issuer.evil.sign,
     head=put(jwk=lambda t: t.issuer.evil.public(), kid=None))
case("jku", "says where a stranger's keys are", head=put(jku=lambda t: t.issuer.site + "/evil/jwks", kid="evil"),
     sign=lambda t: t.issuer.evil.sign)
case("jku-right-kid", "says where a stranger's keys are, which have our kid",
     head=put(jku=lambda t: t.issuer.site + "/evil/jwks"), sign=lambda t: t.issuer.evil.sign)
case("x5u", "says where a stranger's certificate is", head=put(x5u=lambda t: t.issuer.site + "/evil/x5u", kid=None),
     sign=lambda t: t.issuer.evil.sign)
case("x5c", "brings its certificate along", head=put(x5c=lambda t: [t.issuer.evil.certificate()], kid=None),
     sign=lambda t: t.issuer.evil.sign)

# --- the form ---

case("crit-unknown", "demands what nobody knows", head=put(crit=["exp-2"], **{"exp-2": 1}))
case("crit-b64", "demands an unencoded payload", head=put(crit=["b64"], b64=False))
case("crit-empty", "crit is empty, which it must not be", head=put(crit=[]))
case("signature-of-another", "the signature of another token", token=lambda t, own: cut(own, 2) + "." + part(t.another(), 2))
case("payload-changed", "another payload under a right signature", token=lambda t, own: ".".join(
    [part(own, 0), part(t.another(), 1), part(own, 2)]))
case("signature-cut", "half of the signature", token=lambda t, own: own[: len(own) - 100])
case("signature-empty", "no signature, but RS256", token=lambda t, own: cut(own, 2) + ".")
case("two-parts", "no signature part at all", token=lambda t, own: cut(own, 2))
case("four-parts", "a part too many", token=lambda t, own: own + "." + part(own, 2))
case("two-signatures", "the JSON form with two signatures, one right", token=lambda t, own: {
    "payload": part(own, 1), "signatures": [
        {"protected": part(own, 0), "signature": part(own, 2)},
        {"protected": jose.b64(b'{"alg":"none"}'), "signature": ""}]})
case("two-signatures-text", "the same, as a text", token=lambda t, own: json.dumps({
    "payload": part(own, 1), "signatures": [
        {"protected": part(own, 0), "signature": part(own, 2)},
        {"protected": jose.b64(b'{"alg":"none"}'), "signature": ""}]}))
case("json-flat", "the flattened JSON form, right", token=lambda t, own: json.dumps({
    "payload": part(own, 1), "protected": part(own, 0), "signature": part(own, 2)}))
case("typ-at-jwt", "an access token (RFC 9068) where an ID token belongs", head=put(typ="at+jwt"))
case("typ-logout", "a logout token where an ID token belongs", head=put(typ="logout+jwt"))
case("jwe", "encrypted, for nobody", token=lambda t, own: jose.encrypted(own))
case("padded", "base64 with padding", token=lambda t, own: cut(own, 2) + "." + part(own, 2) + "==")
case("blanks", "blanks and line ends inside", token=lambda t, own: own.replace(".", " .\n"))
case("payload-not-json", "a signed payload that is no JSON", claims=lambda t, c: "sub=root")
case("payload-array", "a signed payload that is a list", claims=lambda t, c: json.dumps([c]))
case("payload-nul", "a signed payload with something after its end", claims=lambda t, c: json.dumps(c) + "\0{}")
case("id-token-long", "an ID token of 2 MB", claims=put(pad="x" * (2 << 20)))
case("id-token-missing", "no ID token", answer=put(id_token=None))
case("id-token-empty", "an empty ID token", token=lambda t, own: "")
case("id-token-list", "a list of ID tokens", token=lambda t, own: [own])
case("id-token-number", "a number for an ID token", token=lambda t, own: 7)


def part(token, which):
    return token.split(".")[which]


def cut(token, parts):
    return ".".join(token.split(".")[:parts])


# --- who says it, to whom ---

case("iss-other", "iss is a stranger", claims=put(iss="https://evil.test"))
case("iss-slash", "iss has a slash at its end", claims=put(iss=lambda t: t.issuer.url + "/"))
case("iss-upper", "iss in other case", claims=put(iss=lambda t: t.issuer.url.upper()))
case("iss-prefix", "iss begins as it should", claims=put(iss=lambda t: t.issuer.url + ".evil.test"))
case("iss-missing", "no iss", claims=put(iss=None))
case("iss-list", "iss is a list", claims=put(iss=lambda t: [t.issuer.url]))
case("iss-another", "iss is another issuer that the hub may know, signed by that one's key",
     claims=put(iss=lambda t: t.issuer.other().url), sign=lambda t: t.issuer.other().rsa.sign)
case("aud-other", "aud is another client", claims=put(aud="another-client"))
case("aud-missing", "no aud", claims=put(aud=None))
case("aud-empty", "aud is an empty list", claims=put(aud=[]))
case("aud-prefix", "aud begins as it should", claims=put(aud=lambda t: t.client_id + "x"))
case("aud-list-others", "aud is a list without us", claims=put(aud=["one", "two"]))
case("aud-list-no-azp", "aud is a list of us and another, no azp", claims=put(aud=lambda t: [t.client_id, "another-client"]))
case("aud-number", "aud is a number", claims=put(aud=1))
case("azp-other", "azp is another client", claims=put(azp="another-client"))
case("azp-other-list", "aud is a list of us and another, azp is the other",
     claims=put(aud=lambda t: [t.client_id, "another-client"], azp="another-client"))

# --- when ---

case("exp-past", "ended an hour ago", claims=put(iat=ahead(-7_200), exp=ahead(-3_600)))
case("exp-skew", "ended 90 s ago", claims=put(iat=ahead(-600), exp=ahead(-90)))
case("exp-missing", "never ends", claims=put(exp=None))
case("exp-string", "exp is a text", claims=put(exp=lambda _: str(int(time.time()) + 600)))
case("exp-zero", "exp is 0", claims=put(exp=0))
case("exp-negative", "exp is before all time", claims=put(exp=-(1 << 62)))
case("iat-future", "made tomorrow", claims=put(iat=ahead(DAY), exp=ahead(2 * DAY)))
case("iat-skew", "made in 90 s", claims=put(iat=ahead(90)))
case("iat-missing", "never made", claims=put(iat=None))
case("nbf-future", "good from tomorrow on", claims=put(nbf=ahead(DAY), exp=ahead(2 * DAY)))
case("nbf-skew", "good from in 90 s on", claims=put(nbf=ahead(90)))
case("auth-time-old", "the person proved who they are an hour ago", asks={"max_age": 300}, claims=put(auth_time=ahead(-3_600)))
case("auth-time-missing", "does not say when", asks={"max_age": 300}, claims=put(auth_time=None))
case("acr-lower", "proved less strongly than asked", asks={"acr_values": ["gold"]}, claims=put(acr="silver"))
case("acr-missing", "does not say how strongly", asks={"acr_values": ["gold"]})

# --- to which question ---

case("nonce-missing", "no nonce", claims=put(nonce=None))
case("nonce-other", "another nonce", claims=put(nonce="n-other"))
case("nonce-empty", "an empty nonce", claims=put(nonce=""))
case("nonce-number", "a number for a nonce", claims=put(nonce=7))
case("nonce-replayed", "the nonce of a sign-in before this", before="nonce-first", claims=put(nonce=lambda t: t.issuer.first_nonce))
case("id-token-replayed", "the ID token of a sign-in before this", before="token-first", token=lambda t, own: t.issuer.first_token)
case("at-hash-wrong", "at_hash is another access token's", claims=put(at_hash=jose.half_hash("another")))
case("at-hash-empty", "at_hash is empty", claims=put(at_hash=""))
case("access-token-swapped", "an access token that at_hash does not fit", answer=put(access_token="another"))

# --- about whom ---

case("sub-missing", "no sub", claims=put(sub=None))
case("sub-empty", "an empty sub", claims=put(sub=""))
case("sub-long", "a sub of 10 kB", claims=put(sub="s" * 10_240))
case("sub-256", "a sub of 256 letters, one too many", claims=put(sub="s" * 256))
case("sub-number", "sub is a number", claims=put(sub=1000))
case("sub-list", "sub is a list", claims=put(sub=["root"]))
case("sub-null", "sub is null", claims=lambda t, c: json.dumps(c | {"sub": None}))

# --- the way there and back ---

case("state-missing", "no state", back=put(state=None))
case("state-empty", "an empty state", back=put(state=""))
case("state-other", "another state", back=put(state="s-other"))
case("state-swapped", "the state of another browser that is on its way", twist="swapped")
case("state-replayed", "the same return a second time, at a provider whose codes last", twist="twice", keep_codes=True)
case("other-browser", "the return is opened in another browser", twist="other-browser")
case("other-session", "the return is opened in a browser on a way of its own", twist="other-session")
case("no-start", "a return that nobody set out for", twist="no-start")
case("return-by-post", "the return comes as a form", twist="post")
case("doubled-state", "state is there twice", twist="doubled-state")
case("doubled-code", "code is there twice", twist="doubled-code")
case("two-tabs", "two tabs at once, each comes back", SIGNS_IN, twist="two-tabs")
case("code-missing", "no code", back=put(code=None))
case("code-empty", "an empty code", back=put(code=""))
case("code-long", "a code of 100 kB", back=put(code="c" * 6_000))
case("code-replayed", "the code of a sign-in before this", before="code-first", back=put(code=lambda t: t.issuer.first_code))
case("code-of-another-client", "a code made for another client", code_client="another-client")
case("code-of-another-challenge", "a code made for another PKCE challenge", code_challenge="another")
case("error", "access_denied", back=put(code=None, error="access_denied", error_description="The person said no."))
case("error-html", "an error whose description is a script", back=put(
    code=None, error="server_error", error_description="<script>alert(1)</script>", error_uri="javascript:alert(1)"))
case("error-beside-code", "an error, and a code beside it", back=put(error="access_denied"))
case("iss-parameter-other", "iss in the return is another issuer (RFC 9207)", back=put(iss="https://evil.test"))
case("iss-parameter-another", "iss in the return is another issuer that the hub may know",
     back=put(iss=lambda t: t.issuer.other().url))
case("iss-parameter-missing", "no iss in the return, which was promised", back=put(iss=None))
case("iss-parameter-slash", "iss in the return has a slash at its end", back=put(iss=lambda t: t.issuer.url + "/"))

# --- the exchange ---

case("token-error", "invalid_grant", token_status=400, answer=lambda t, a: {"error": "invalid_grant"})
case("token-error-client", "invalid_client", token_status=401, answer=lambda t, a: {"error": "invalid_client"})
case("token-error-200", "an error with status 200 beside tokens", answer=put(error="invalid_grant"), expected=EITHER)
case("access-token-missing", "no access token", answer=put(access_token=None))
case("token-type-missing", "does not say which type", answer=put(token_type=None))
case("token-type-mac", "a type that we cannot use", answer=put(token_type="mac"))

# Status codes, forms, sizes, times: at each place that is asked.
for bad in stage.BAD:
    case(f"token-{bad}", f"the token endpoint answers: {bad}", token_reply=bad)
    case(f"userinfo-{bad}", f"the userinfo endpoint answers: {bad}", asks={"userinfo": True}, userinfo_reply=bad)
    case(f"discovery-{bad}", f"the discovery document: {bad}", fresh=True, discovery_reply=bad)
    case(f"jwks-{bad}", f"the keys: {bad}", fresh=True, jwks_reply=bad)

# --- userinfo ---

case("userinfo-sub-differs", "userinfo is about another", asks={"userinfo": True}, userinfo=put(sub="another"))
case("userinfo-sub-missing", "userinfo says not about whom", asks={"userinfo": True}, userinfo=put(sub=None))
case("userinfo-jwt", "userinfo is unsigned (alg none)", asks={"userinfo": True}, userinfo_jwt=True)

# --- discovery ---

case("discovery-issuer-differs", "the document is another issuer's", fresh=True, discovery=put(issuer="https://evil.test"))
case("discovery-issuer-slash", "its issuer has a slash at its end", fresh=True, discovery=put(issuer=lambda i: i.url + "/"))
case("discovery-issuer-another", "the document of another issuer that the hub may know", fresh=True,
     discovery=lambda i, doc: i.other().document())
case("discovery-http-token", "the token endpoint goes without TLS", fresh=True, discovery=put(token_endpoint="http://provider.test/token"))
case("discovery-http-authorize", "the sign-in page goes without TLS", fresh=True,
     discovery=put(authorization_endpoint="http://provider.test/authorize"))
case("discovery-http-jwks", "the keys go without TLS", fresh=True, discovery=put(jwks_uri="http://provider.test/jwks"))
case("discovery-file", "the keys are a file", fresh=True, discovery=put(jwks_uri="file:///etc/passwd"))
case("discovery-metadata", "the token endpoint is the cloud's own address", fresh=True,
     discovery=put(token_endpoint="http://169.254.169.254/latest/meta-data/"))
case("discovery-javascript", "the sign-in page is a script", fresh=True, discovery=put(authorization_endpoint="javascript:alert(1)//"))
case("discovery-no-token", "no token endpoint", fresh=True, discovery=put(token_endpoint=None))
case("discovery-no-jwks", "no keys", fresh=True, discovery=put(jwks_uri=None))
case("discovery-no-authorize", "no sign-in page", fresh=True, discovery=put(authorization_endpoint=None))
case("jwks-none", "a list of no keys", fresh=True, jwks=lambda i, _: {"keys": []})
case("jwks-strange", "keys that are no keys", fresh=True, jwks=lambda i, _: {"keys": [1, None, {}, {"kty": "RSA", "n": "!", "e": ""}]})
case("jwks-many", "100,000 keys before its own", fresh=True,
     jwks=lambda i, it: {"keys": [i.spare.public() | {"kid": str(n)} for n in range(100_000)] + it["keys"]})

# --- the name ---

case("name-missing", "no name", claims=put(preferred_username=None))
case("name-empty", "an empty name", claims=put(preferred_username=""))
case("name-blanks", "a name of blanks", claims=put(preferred_username="   "))
case("name-number", "a number for a name", claims=put(preferred_username=0))
case("name-list", "a list of names", claims=put(preferred_username=["root", "admin"]))
case("name-slash", "a slash in it", claims=put(preferred_username="a/b"))
case("name-slash-escaped", "a slash in it, in escaped form", claims=put(preferred_username="a%2fb"))
case("name-dots", "two dots", claims=put(preferred_username=".."))
case("name-dots-path", "out of the folder and on", claims=put(preferred_username="../../etc/passwd"))
case("name-nul", "NUL in it", claims=put(preferred_username="name\0nul"))
case("name-newline", "a line end in it", claims=put(preferred_username="name\nroot: x"))
case("name-escape", "an escape of terminals in it", claims=put(preferred_username="name\x1b[2Jclear"))
case("name-long", "300 letters", claims=put(preferred_username="n" * 300))
case("name-case", "letters of both cases: names have none", SIGNS_IN, as_name="name-case", claims=put(preferred_username="Name-CASE"))
case("name-spaces", "blanks inside it", SIGNS_IN, as_name="name of two", claims=put(preferred_username="Name of Two"))
case("name-template", "what templates and shells would take for more than text", EITHER, as_name="{{7*7}}${home}$(id)",
     claims=put(preferred_username="{{7*7}}${HOME}$(id)"))
case("name-rtl", "a name that turns the text around", EITHER, as_name="name\u202egnp.exe", claims=put(preferred_username="name\u202egnp.exe"))
case("name-nfc", "a composed letter", SIGNS_IN, as_name="jos\u00e9-nfc", claims=put(preferred_username="jos\u00e9-nfc"))
case("name-nfd", "a decomposed letter: what looks the same is one name, or none", EITHER, as_name="jose\u0301-nfd",
     claims=put(preferred_username="jose\u0301-nfd"))
case("name-taken", "the name of somebody else at this provider", before="name-taken-owner",
     claims=put(preferred_username="name-taken-owner"))
case("name-renamed", "another name than before for the same sub: stays who they are", SIGNS_IN, before="name-renamed-before",
     as_name="name-renamed-before", claims=put(sub="sub-name-renamed-before", preferred_username="name-renamed-after"))

# --- groups, address ---

GROUPS = {"groups_claim": "groups", "manage_groups": True, "allowed_groups": ["let-in"], "admin_groups": ["masters"]}
case("groups", "in a group that is let in", SIGNS_IN, asks=GROUPS, claims=put(groups=["let-in", "others"]))
case("groups-absent", "no groups", asks=GROUPS, claims=put(groups=None))
case("groups-empty", "in no group", asks=GROUPS, claims=put(groups=[]))
case("groups-other", "in other groups", asks=GROUPS, claims=put(groups=["others", "let-in-not", "LET-IN"]))
case("groups-string", "a text that has the group in it", asks=GROUPS, claims=put(groups="others let-in,masters"))
case("groups-number", "a number", asks=GROUPS, claims=put(groups=7))
case("groups-nested", "a list in a list", asks=GROUPS, claims=put(groups=[["let-in"], {"let-in": True}]))
case("groups-object", "an object", asks=GROUPS, claims=put(groups={"let-in": "masters"}))
case("groups-many", "10,000 groups, one of which is let in", EITHER, asks=GROUPS,
     claims=put(groups=[f"g{n}" for n in range(9_999)] + ["let-in"]))
case("groups-strange", "groups with names that are none, one of which is let in", EITHER, asks=GROUPS,
     claims=put(groups=["", "\0", "x" * 10_000, "let-in", None, 3]))

VERIFIED = {"require_verified_email": True}
case("email-verified", "a verified address", SIGNS_IN, asks=VERIFIED)
case("email-unverified", "an address nobody verified", asks=VERIFIED, claims=put(email_verified=False))
case("email-verified-missing", "does not say", asks=VERIFIED, claims=put(email_verified=None))
case("email-verified-no-text", "`false` as a text", asks=VERIFIED, claims=put(email_verified="false"))
case("email-verified-text", "`true` as a text, as some do", EITHER, asks=VERIFIED, claims=put(email_verified="true"))
case("email-verified-number", "1", asks=VERIFIED, claims=put(email_verified=1))
case("email-verified-other", "another text", asks=VERIFIED, claims=put(email_verified="yes"))
case("email-missing", "no address, and that one verified", asks=VERIFIED, claims=put(email=None))

# --- later ---

LATER = {"enable_auth_state": True, "auth_refresh_age": 1}
case("refresh", "asked again, and all is well", SIGNS_IN, asks=LATER, then="nothing")
case("refresh-rotated", "each refresh token works once", SIGNS_IN, asks=LATER, then="nothing", rotate_refresh=True)
case("refresh-revoked", "the person's tokens are taken back", SIGNED_OUT, asks=LATER, then="revoke")
case("refresh-sub-differs", "the refresh answers for another", SIGNED_OUT, asks=LATER, then="other-sub")
case("refresh-iss-differs", "the refresh answers by another issuer", SIGNED_OUT, asks=LATER, then="other-iss")
case("refresh-signature", "the refresh answers with a stranger's signature", SIGNED_OUT, asks=LATER, then="evil-key")
case("refresh-down", "the provider is away when asked again: who is in may stay for a while", SIGNS_IN, asks=LATER, then="down")
case("down", "the provider is away: nobody comes in", down=True)
