// An OpenID provider that others have certified (https://openid.net/certification): `oidc-provider` from npm, in memory, on
// loopback. What our own fake (../openid.py) believes to be honest, this one is.
//
// usage: node provider.mjs --modules DIR --callback URL [--port N] [--cert PEM --key PEM] [--userinfo]
//
// node is bench/bin/node and DIR certified/node_modules below /opt/jovis, where .ci/install put them. One client: "hub", "hub-secret-0123456789". Anybody signs in by name, with
// any password, and agrees; the claims are preferred_username, name, email, email_verified and groups ("everybody", and
// "staff" for names that begin with `staff-`), in the ID token, or (--userinfo) at the userinfo endpoint alone. It prints
// `listening on PORT`, and ends on SIGTERM and when its standard input closes.
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values: chosen } = parseArgs({
  options: {
    modules: { type: "string" }, callback: { type: "string" }, port: { type: "string", default: "0" },
    cert: { type: "string" }, key: { type: "string" }, userinfo: { type: "boolean", default: false },
  },
});
const home = join(chosen.modules, "oidc-provider");
const about = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
// its warnings about a provider in memory are none here
console.warn = console.info = () => {};
const { default: Provider } = await import(pathToFileURL(join(home, about.exports?.default ?? about.main ?? "lib/index.js")));

const key = (kid, kind, options, alg) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: "jwk" }), kid, alg, use: "sig",
});

function configuration() {
  return {
    clients: [{
      client_id: "hub", client_secret: "hub-secret-0123456789", redirect_uris: [chosen.callback],
      grant_types: ["authorization_code", "refresh_token"], response_types: ["code"],
    }],
    claims: {
      openid: ["sub"], profile: ["preferred_username", "name"], email: ["email", "email_verified"], groups: ["groups"],
    },
    scopes: ["openid", "profile", "email", "groups", "offline_access"],
    conformIdTokenClaims: chosen.userinfo,
    jwks: { keys: [key("rsa", "rsa", { modulusLength: 2048 }, "RS256"), key("ec", "ec", { namedCurve: "P-256" }, "ES256")] },
    cookies: { keys: ["for a test, in memory, on loopback"] },
    pkce: { required: () => true },
    issueRefreshToken: async () => true,
    ttl: { AccessToken: 3600, AuthorizationCode: 60, IdToken: 600, RefreshToken: 86400, Interaction: 600, Session: 3600, Grant: 86400 },
    findAccount: async (_, id) => ({
      accountId: id,
      claims: async () => ({
        sub: id, preferred_username: id, name: id, email: `${id}@provider.test`, email_verified: true,
        groups: id.startsWith("staff-") ? ["everybody", "staff"] : ["everybody"],
      }),
    }),
  };
}

const tls = chosen.cert !== undefined;
const server = tls
  ? https.createServer({ cert: readFileSync(chosen.cert), key: readFileSync(chosen.key) })
  : http.createServer();
server.listen(Number(chosen.port), "127.0.0.1", () => {
  const { port } = server.address();
  const provider = new Provider(`${tls ? "https" : "http"}://127.0.0.1:${port}`, configuration());
  provider.on("server_error", (_, error) => console.error(error));
  server.on("request", provider.callback());
  console.log(`listening on ${port}`);
});

const end = () => process.exit(0);
process.on("SIGTERM", end);
process.stdin.on("end", end).on("error", end).resume();
