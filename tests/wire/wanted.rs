//! The differences that are wanted, each with its reason. One that is not here fails the test; so does one that is here
//! and no longer occurs. The page `docs/differences.md` has its part about the wire from this list.

use std::fmt::Write as _;

use super::compare::{Difference, fits};

/// Patterns: of exchanges, of a place in their answers, of what stands there in the reference's and in ours (as JSON;
/// `nothing` where it is missing).
pub(crate) type Place = (&'static str, &'static str, &'static str, &'static str);

/// A difference, or several of one kind.
pub(crate) struct Wanted {
    /// A name for it.
    pub(crate) id: &'static str,
    /// Where it occurs; one fitting is enough.
    pub(crate) places: &'static [Place],
    /// What JupyterHub does.
    pub(crate) reference: &'static str,
    /// What jovis does.
    pub(crate) ours: &'static str,
    pub(crate) why: &'static str,
}

impl Wanted {
    /// Is this difference of this kind?
    pub(crate) fn covers(&self, it: &Difference) -> bool {
        let [reference, ours] = [&it.reference, &it.ours].map(Difference::show);
        self.places.iter().any(|(exchange, at, theirs, our)| {
            fits(exchange, &it.exchange)
                && fits(at, &it.at)
                && fits(theirs, &reference)
                && fits(our, &ours)
        })
    }
}

/// All of them.
#[rustfmt::skip]
pub(crate) const WANTED: &[Wanted] = &[
    Wanted {
        id: "cache-control",
        places: &[
            ("*", "headers/cache-control", "nothing", "\"private, no-cache\""),
            ("*", "headers/cache-control", "nothing", "\"no-store\""),
        ],
        reference: "nothing is said about caching",
        ours: "`Cache-Control: private, no-cache`; for pages `no-store`",
        why: "no cache in between keeps what is somebody's; a shared browser keeps no page that shows secrets",
    },
    Wanted {
        id: "admin page without scripts",
        places: &[("pages: GET /hub/admin as *", "body/html", "[]", "[\"_xsrf=some\"]")],
        reference: "the page for administrators is empty without scripts",
        ours: "it has a form, whose buttons work without them",
        why: "what one sees and does there is made by the hub; scripts only make it live",
    },
    Wanted {
        id: "forms of pages",
        places: &[
            ("*GET /hub/home*", "body/html", "[]", "[\"_xsrf=some\"*"),
            ("*GET /hub/token*", "body/html", "[]", "[\"_xsrf=some\"*"),
            ("*GET /hub/spawn-pending/*", "body/html", "[]", "[\"_xsrf=some\"*"),
        ],
        reference: "buttons of the home, token and progress pages are scripts that ask the API",
        ours: "they are forms with a form token",
        why: "they work without scripts",
    },
    Wanted {
        id: "policy of redirects",
        places: &[(
            "*", "headers/content-security-policy",
            "\"frame-ancestors 'none'; report-uri /hub/security/csp-report\"",
            "\"frame-ancestors 'none'; report-uri /hub/security/csp-report; default-src 'none'\"",
        )],
        reference: "redirects have the policy of pages",
        ours: "that of the API, which loads nothing",
        why: "there is nothing to load",
    },
    Wanted {
        id: "words for errors",
        places: &[("*", "body/message", "null", "\"words\"")],
        reference: "the `message` of many errors is null",
        ours: "a sentence, where there is something to say",
        why: "it was a text up to JupyterHub 5, and people read it",
    },
    Wanted {
        id: "make of the hub",
        places: &[
            ("*GET /info*", "body/python", "*", "\"\""),
            ("*GET /info*", "body/sys_executable", "*", "\"\""),
            ("*GET /info*", "body/spawner/*", "*", "*"),
            ("*GET /info*", "body/authenticator/*", "*", "*"),
        ],
        reference: "`GET /info` names Python and its classes",
        ours: "`python` and `sys_executable` are empty, classes have our own names and versions",
        why: "there is no Python; the fields stay, as clients expect texts in them",
    },
    Wanted {
        id: "trace",
        places: &[("*: TRACE *", "headers/*", "*", "*")],
        reference: "`TRACE` is refused by the hub (405)",
        ours: "by the proxy (405), with its headers",
        why: "no server behind is to be asked for it",
    },
    Wanted {
        id: "options of a stream",
        places: &[("*: OPTIONS */progress*", "headers/content-type", "\"text/event-stream\"", "\"application/json\"")],
        reference: "`OPTIONS` of a progress stream is typed as an event stream",
        ours: "as everything else of the API",
        why: "it has no body",
    },
    Wanted {
        id: "websocket mode",
        places: &[("cookies: POST /users/cleo/activity as cookie:cleo*", "status", "200", "403")],
        reference: "`Sec-Fetch-Mode: websocket` frees any request of the form token",
        ours: "a change needs it whatever the mode",
        why: "a WebSocket begins with a `GET`; a change that says it is one is none of ours",
    },
    Wanted {
        id: "type of JSON",
        places: &[("cookies: POST /users/cleo/activity as page:cleo*", "status", "200", "403")],
        reference: "with a cookie any type that begins with `application/json` counts as JSON",
        ours: "`application/json` alone, with or without parameters",
        why: "what a browser may send across sites unasked is to be told apart with certainty",
    },
    Wanted {
        id: "multipart",
        places: &[
            ("cookies: POST /users/cleo/activity as page:cleo*", "status", "400", "403"),
            ("cookies: POST /users/cleo/activity as cleo*", "status", "400", "200"),
        ],
        reference: "a body that says it is a form is read as one before anything else, and may be refused (400)",
        ours: "a body of the API is JSON whatever it says it is",
        why: "what the reference says itself",
    },
    Wanted {
        id: "programs of stopped servers",
        places: &[("login: POST /user/lena/api/kernels as nobody", "*", "*", "*")],
        reference: "a `POST` to a stopped server's API without a form token is 403, whoever asks",
        ours: "the proxy answers calls of a stopped server's API, and WebSockets, itself: 424 for everybody",
        why: "a page left open asks for ever; it troubles nobody, and hears what it understands",
    },
    Wanted {
        id: "policy of pages",
        places: &[
            ("*", "headers/content-security-policy", "\"frame-ancestors 'none'; report-uri /hub/security/csp-report\"", "\"default-src 'none'; script-src*"),
        ],
        reference: "pages forbid framing only",
        ours: "pages have a policy that names what they load",
        why: "injected scripts do not run",
    },
    Wanted {
        id: "same site",
        places: &[
            ("*", "cookies/*/samesite", "nothing", "\"Lax\""),
        ],
        reference: "cookies say nothing of sites",
        ours: "`SameSite=Lax`",
        why: "what browsers assume by now, said",
    },
    Wanted {
        id: "tags of pages",
        places: &[
            ("*", "headers/etag", "\"there\"", "nothing"),
        ],
        reference: "pages, health and metrics have an `ETag`",
        ours: "the API's answers alone",
        why: "what must not be kept needs no tag",
    },
    Wanted {
        id: "why it does not run",
        places: &[
            ("*", "body*/cause", "nothing", "*"),
        ],
        reference: "a server that is not running says nothing about why",
        ours: "its model has `cause`",
        why: "whoever watches need not read logs",
    },
    Wanted {
        id: "options unset",
        places: &[
            ("*", "body*/user_options", "{}", "null"),
            ("*", "body*/user_options", "null", "{}"),
            ("*", "body/user_options", "{}", "null"),
        ],
        reference: "`user_options` of a server without any is `{}` before its first start and null after it, by what the process happens to remember",
        ours: "null until a start was asked for, `{}` from then on",
        why: "what it says depends on the server alone",
    },
    Wanted {
        id: "options at once",
        places: &[
            ("servers: GET /users/ron*", "body*user_options/*", "nothing", "*"),
        ],
        reference: "options changed by `PATCH` show in the model at the next start",
        ours: "at once",
        why: "what was acknowledged is there",
    },
    Wanted {
        id: "state of a spawner",
        places: &[
            ("*", "body*state", "{}", "null"),
            ("*", "body*state/pid", "\"a number\"", "nothing"),
        ],
        reference: "`state` is what the spawner keeps: a pid",
        ours: "an object while the server is active, else null",
        why: "what our spawners keep is nobody else's",
    },
    Wanted {
        id: "form token of error pages",
        places: &[
            ("*", "cookies/_xsrf", "{\"max-age\":\"3600\"*", "nothing"),
            ("*", "cookies/_xsrf", "{\"path\"*", "nothing"),
        ],
        reference: "error pages and the metrics set a form token",
        ours: "pages with forms do",
        why: "there is no form in them",
    },
    Wanted {
        id: "session of a token",
        places: &[
            ("*", "cookies/jupyterhub-session-id", "{\"httponly\"*", "nothing"),
        ],
        reference: "a request with a token to a page begins a browser session",
        ours: "one with a cookie does",
        why: "a program has no browser session",
    },
    Wanted {
        id: "form token of a failed sign-in",
        places: &[
            ("login: POST /hub/login*", "cookies/_xsrf", "nothing", "*"),
        ],
        reference: "a sign-in that failed shows the form with the form token of before",
        ours: "with a fresh one",
        why: "the one of before may be why it failed",
    },
    Wanted {
        id: "methods of pages",
        places: &[
            ("*: PUT /hub/*", "status", "403", "405"),
            ("*: POST /hub/home*", "status", "403", "405"),
            ("*: PATCH /hub/home*", "status", "403", "405"),
            ("*: DELETE /hub/*", "status", "403", "405"),
            ("*: POST /hub/logout*", "status", "403", "405"),
            ("hub: POST *health*", "status", "403", "405"),
        ],
        reference: "a method that a page does not have is refused for want of a form token (403)",
        ours: "as what it is (405)",
        why: "it says what is wrong",
    },
    Wanted {
        id: "sign-in without a name",
        places: &[
            ("login: POST /hub/login as browser:one*", "status", "500", "403"),
        ],
        reference: "a sign-in without a name is a 500",
        ours: "403",
        why: "the client is wrong, not the hub",
    },
    Wanted {
        id: "line breaks in next",
        places: &[
            ("login: POST /hub/login?next=%2Fa%0Ab*", "status", "500", "302"),
        ],
        reference: "a line break in `next` is a 500 after the sign-in",
        ours: "it is escaped",
        why: "as above",
    },
    Wanted {
        id: "static files",
        places: &[
            ("hub: GET /hub/static/nothing.css*", "headers/*", "*", "*"),
        ],
        reference: "what is no static file has none of the hub's headers",
        ours: "all of them",
        why: "one rule for all",
    },
    Wanted {
        id: "idle progress",
        places: &[
            ("progress: GET /users/pam/server/progress*", "status", "400", "404"),
        ],
        reference: "the progress of a server that does not start is 400 or 404, by what the process remembers",
        ours: "404",
        why: "what it says depends on the server alone",
    },
    Wanted {
        id: "steps of a start",
        places: &[
            ("progress: GET /users/slow-pat/server/progress*", "events", "*", "*"),
        ],
        reference: "one event between the first and the last",
        ours: "one for each step",
        why: "the bar moves",
    },
    Wanted {
        id: "cancelled start",
        places: &[
            ("servers: GET /users/hang-hal/server/progress*", "status", "404", "200"),
        ],
        reference: "a start that was called off is forgotten",
        ours: "its progress ends with a failure",
        why: "whoever waits is told",
    },
    Wanted {
        id: "odd bodies of stops",
        places: &[
            ("servers: DELETE /users/sam/server as sam*", "status", "204", "400"),
            ("servers: DELETE /users/sam/server as sam*", "status", "500", "400"),
        ],
        reference: "`DELETE` of a server takes `[]` for no body, and a text is a 500",
        ours: "400",
        why: "the body is an object",
    },
    Wanted {
        id: "edits of display names",
        places: &[
            ("servers: PATCH /users/ron/servers/one*", "status", "200", "400"),
            ("servers: PATCH /users/ron/servers/one*", "status", "500", "400"),
            ("servers: *", "body*display_name", "\"  odd  \"", "\"One\""),
        ],
        reference: "a display name is held against the rules for new servers only; a body that is a text is a 500",
        ours: "always; 400",
        why: "it is shown to others",
    },
    Wanted {
        id: "notes of tokens",
        places: &[
            ("tokens: POST /users/tess/tokens as tess*", "status", "201", "400"),
            ("tokens: POST /users/tess/tokens as tess*", "body/note", "\"Requested via api\"", "\"\""),
        ],
        reference: "a token's `note` that is empty counts as none, a number is taken",
        ours: "an empty one stays, a number is 400",
        why: "what was sent is kept or refused",
    },
    Wanted {
        id: "far future",
        places: &[
            ("tokens: POST /users/tess/tokens as tess*", "status", "500", "201"),
        ],
        reference: "an `expires_in` beyond the year 9999 is a 500",
        ours: "the token does not expire before",
        why: "a number is a number",
    },
    Wanted {
        id: "long ids",
        places: &[
            ("tokens: * /users/tom/tokens/a999*", "status", "500", "404"),
        ],
        reference: "a token's id with twenty digits is a 500",
        ours: "404",
        why: "there is none",
    },
    Wanted {
        id: "words by password",
        places: &[
            ("tokens: POST /users/bob/tokens as nobody*", "body/message", "\"words\"", "null"),
        ],
        reference: "who proves a name by password and may not is told so",
        ours: "403 without a word",
        why: "as for a wrong password",
    },
    Wanted {
        id: "old addresses",
        places: &[
            ("tokens: * /authorizations/token*", "status", "500", "404"),
        ],
        reference: "the old token endpoint without a token, or asked by `POST`, is a 500",
        ours: "404",
        why: "there is nothing at that address",
    },
    Wanted {
        id: "methods of shares",
        places: &[
            ("conventions: POST /shares/ann as nobody*", "status", "403", "405"),
            ("conventions: POST /share-codes/ann as nobody*", "status", "403", "405"),
        ],
        reference: "a method that an owner's shares do not have is refused (403) to strangers",
        ours: "as what it is (405)",
        why: "as everywhere in the API",
    },
    Wanted {
        id: "bodies of the forbidden",
        places: &[
            ("*: POST /users/*/tokens as bob*", "status", "400", "403"),
        ],
        reference: "whoever may not make tokens is told of bad JSON",
        ours: "is refused",
        why: "nobody who may not reads on",
    },
    Wanted {
        id: "refresh grant",
        places: &[
            ("oauth: POST /oauth2/token as nobody*", "body/error", "\"unauthorized_client\"", "\"unsupported_grant_type\""),
        ],
        reference: "the refresh grant exists, and no client may use it",
        ours: "there is none",
        why: "it is said what is so",
    },
    Wanted {
        id: "wrong requests",
        places: &[("*", "status", "500", "400")],
        reference: "some requests that are wrong are a 500",
        ours: "400",
        why: "the client is wrong, not the hub",
    },
    Wanted {
        id: "no objects",
        places: &[
            ("*: POST /users/never-made as boss*", "status", "201", "400"),
            ("*: POST /users/never-made as boss*", "status", "409", "400"),
            ("*: GET /users/never-made as boss*", "status", "200", "404"),
        ],
        reference: "a new user's body that is no object counts as none",
        ours: "400",
        why: "what was sent is heeded or refused",
    },
    Wanted {
        id: "texts for lists",
        places: &[
            ("bad input: POST /users as boss*", "status", "201", "400"),
            ("groups: POST /groups as boss*", "status", "201", "400"),
            ("groups: GET /groups as boss #2", "body", "*", "*"),
        ],
        reference: "a text in the place of a list of names is taken for its letters, a number for a name",
        ours: "400",
        why: "nobody means that",
    },
    Wanted {
        id: "twice in one request",
        places: &[("users: POST /users as boss #4", "body", "*", "*")],
        reference: "who is named twice in one request is in the answer twice",
        ours: "once",
        why: "one user was made",
    },
    Wanted {
        id: "one's own name",
        places: &[
            ("bad input: PATCH /users/equal-name as boss", "body/name", "null", "\"equal-name\""),
            ("bad input: GET /users/equal-name as boss", "status", "404", "200"),
        ],
        reference: "who is renamed to the name they have loses it, and is never found again",
        ours: "nothing changes",
        why: "it is a mistake there",
    },
    Wanted {
        id: "filters with NUL",
        places: &[("users: GET /users?*name_filter=list-a%00 as boss", "body", "*", "[]")],
        reference: "a name filter ends at a NUL",
        ours: "it is a character that no name has",
        why: "as any other",
    },
    Wanted {
        id: "far pages",
        places: &[("pagination: *&offset=99999999999999999999 as boss*", "status", "500", "200")],
        reference: "an offset with twenty digits is a 500",
        ours: "an empty page",
        why: "a number is a number",
    },
    Wanted {
        id: "numbers with underlines",
        places: &[("pagination: *&limit=1_0 as boss*", "status", "200", "400")],
        reference: "`limit=1_0` is ten",
        ours: "400",
        why: "that is Python's way to write it, and nobody else's",
    },
    Wanted {
        id: "blanks in addresses",
        places: &[("pagination: *c=%20d as boss*", "body/_pagination/next/url", "*c=+d&*", "*c=%20d&*")],
        reference: "a blank in the address of the next page is a `+`",
        ours: "`%20`",
        why: "it is a blank for everybody",
    },
    Wanted {
        id: "counts of lists",
        places: &[
            ("groups: GET /groups?limit=1 as boss[list:groups!group=staff]", "body/_pagination/*", "*", "*"),
        ],
        reference: "the total of a page of groups counts those that one may not list",
        ours: "it does not",
        why: "it is nobody's business how many there are",
    },
    Wanted {
        id: "half of a request",
        places: &[("groups: GET /groups/several-e as boss", "status", "200", "404")],
        reference: "of several groups those before the one that exists are made",
        ours: "all or none",
        why: "a refused request has done nothing",
    },
    Wanted {
        id: "services as asked for",
        places: &[
            ("services: POST /services/body as boss*", "status", "201", "400"),
            ("services: DELETE /services/body as boss*", "status", "200", "404"),
            ("services: POST /services/no-redirect as boss", "status", "201", "400"),
            ("services: POST /services/same-token as boss", "status", "201", "400"),
            ("services: GET /services/short-token as boss", "status", "200", "404"),
            ("services: GET /services as boss*", "body/no-redirect", "*", "nothing"),
            ("services: GET /services as boss*", "body/same-token", "*", "nothing"),
            ("services: GET /services as boss*", "body/short-token", "*", "nothing"),
        ],
        reference: "a service with a name that is a number, scopes for a client that it lacks, or another's token is made; one whose token was refused stays",
        ours: "400, and there is none",
        why: "what was sent is heeded or refused",
    },
    Wanted {
        id: "services beyond the token",
        places: &[
            ("services: POST /services/admin-two as boss[admin:services]", "status", "201", "400"),
            ("services: POST /services/scoped as boss[admin:services]", "status", "201", "400"),
            ("services: GET /services as boss*", "body/admin-two", "*", "nothing"),
            ("services: GET /services as boss*", "body/scoped", "*", "nothing"),
        ],
        reference: "a token for services makes services that may more than the token, up to all that its owner may",
        ours: "400",
        why: "a token never outgrows itself",
    },
    Wanted {
        id: "shares in tokens",
        places: &[("shares: GET /user as *", "body/scopes", "*", "*")],
        reference: "a token that inherits leaves out what came through a group's share, and what `servers` of a share brings",
        ours: "it may what its owner may",
        why: "that is what inheriting is",
    },
    Wanted {
        id: "words in redirects",
        places: &[
            ("oauth: GET */oauth2/authorize*", "headers/location", "\"http://ADDRESS/back?error=*", "\"http://ADDRESS/back?error=*&error_description=words*"),
        ],
        reference: "some errors of the OAuth provider have no description",
        ours: "all have one",
        why: "it says what is wrong",
    },
    Wanted {
        id: "two response types",
        places: &[("oauth: GET */oauth2/authorize?*response_type=code%20token as cookie:vic", "status", "200", "302")],
        reference: "`response_type=code token` is taken for `code`",
        ours: "it is refused as unsupported",
        why: "it asks for a token in the address",
    },
    Wanted {
        id: "empty scope",
        places: &[("oauth: GET */oauth2/authorize?*&scope= as cookie:vic", "status", "302", "200")],
        reference: "a `scope` without a value is refused",
        ours: "it counts as left out",
        why: "RFC 6749, 3.1",
    },
    Wanted {
        id: "consent of strangers",
        places: &[("oauth: POST */oauth2/authorize?* as cookie:ann", "status", "302", "403")],
        reference: "who may not use a service is not asked for consent, but can give it",
        ours: "neither",
        why: "the page and its form have one rule",
    },
    Wanted {
        id: "codes used twice",
        places: &[
            ("oauth: GET /user as nobody", "status", "200", "403"),
            ("oauth: GET /users/vic/tokens as vic", "body/api_tokens", "*", "*"),
        ],
        reference: "a code that comes a second time is refused",
        ours: "and the token given for it ends",
        why: "RFC 6749, 4.1.2: one of the two was a thief",
    },
    Wanted {
        id: "arguments beside the form",
        places: &[("oauth: POST /oauth2/token?code=x as nobody", "status", "500", "200")],
        reference: "an argument in the address and in the form is a 500",
        ours: "the form counts",
        why: "what is in an address is in logs",
    },
    Wanted {
        id: "plain challenges",
        places: &[
            ("oauth: GET */oauth2/authorize?*", "headers/location", "\"http://ADDRESS/back?code=*", "\"http://ADDRESS/back?error=invalid_request&error_description=words*"),
            ("oauth: POST /oauth2/token as nobody*", "status", "200", "400"),
        ],
        reference: "PKCE may be plain, and a verifier without a challenge is ignored",
        ours: "S256 alone; a verifier wants a challenge",
        why: "RFC 9700, 2.1.1 and 4.8.2",
    },
    Wanted {
        id: "impossible paths",
        places: &[
            ("names: * /*", "status", "404", "400"),
            ("names: * /hub/user/*", "status", "404", "400"),
            ("names: POST /users/*", "status", "201", "400"),
            ("names: POST /users/*", "status", "409", "400"),
            ("names: GET /users/*", "status", "200", "400"),
            ("names: GET /users/*", "status", "200", "404"),
            ("names: POST /users as boss*", "status", "201", "400"),
            ("names: POST /users as boss*", "status", "409", "400"),
            ("names: POST /groups/*", "status", "201", "400"),
            ("names: POST /groups/*", "status", "409", "400"),
            ("names: GET /groups/*", "status", "200", "400"),
            ("names: GET /groups/*", "status", "200", "404"),
        ],
        reference: "names of dots, with control characters, separators of addresses, broken escapes or more than 255 bytes are names",
        ours: "they are refused",
        why: "proxies, logs and file systems make something else of each",
    },
    Wanted {
        id: "refused at the door",
        places: &[
            ("names: *", "headers/access-control-allow-headers", "*", "nothing"),
            ("services: POST /services/.. as boss", "headers/*", "*", "*"),
            ("names: *", "headers/x-jupyterhub-version", "*", "nothing"),
            ("names: *", "headers/content-security-policy", "*", "\"default-src 'none'\""),
            ("names: GET /hub/user/*", "headers/content-type", "\"text/html\"", "\"application/json\""),
            ("names: GET /hub/user/*", "body/*", "*", "*"),
            ("pagination: GET /users?*&limit=2 as boss #8", "*", "*", "*"),
        ],
        reference: "what cannot be a request is refused by the hub",
        ours: "by the proxy, with its own words and headers",
        why: "it never reaches the hub",
    },
    Wanted {
        id: "what is not quite JSON",
        places: &[
            ("bad input: * as boss*", "status", "200", "400"),
            ("bad input: * as boss*", "status", "201", "400"),
            ("bad input: * as boss*", "status", "204", "400"),
            ("bad input: PUT /users/ann/servers/lab as boss*", "status", "409", "400"),
            ("bad input: GET /users/ann?include_stopped_servers as boss", "body/servers/lab", "*", "nothing"),
            ("bad input: GET /users?* as boss", "body/0/servers/lab", "*", "nothing"),
        ],
        reference: "invalid UTF-8, lone surrogates, `NaN` and a `%ff` in the address are taken for something",
        ours: "400",
        why: "RFC 8259, 8.1; nobody can send back what came",
    },
    Wanted {
        id: "large bodies",
        places: &[
            ("bad input: POST *", "status", "201", "413"),
            ("bad input: POST *", "status", "400", "413"),
            ("bad input: POST *", "status", "403", "413"),
        ],
        reference: "a body may have 100 MiB",
        ours: "1 MiB, forms less",
        why: "nothing that anybody sends is larger",
    },
];

/// Where the part begins and ends in the page.
pub(crate) const BEGIN: &str =
    "<!-- Made from tests/wire/wanted.rs by `UPDATE=1 cargo test --test wire the_page`. -->\n";
pub(crate) const END: &str = "<!-- The end of what is made. -->\n";

/// The part of the page.
pub(crate) fn part() -> String {
    let mut out = format!("{BEGIN}| JupyterHub | jovis | why |\n|---|---|---|\n");
    for it in WANTED {
        writeln!(out, "| {} | {} | {} |", it.reference, it.ours, it.why)
            .expect("a string takes everything");
    }
    out + END
}
