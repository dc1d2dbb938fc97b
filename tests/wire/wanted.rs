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
