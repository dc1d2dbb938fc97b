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
        id: "activity later",
        places: &[("*", "body/*last_activity", "\"now\"", "null")],
        reference: "the first use of a token or an account is in the models at once",
        ours: "within `activity_resolution` (30 s)",
        why: "activity is written together, not with each request",
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
