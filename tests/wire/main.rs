//! The wire, side by side: the same requests to JupyterHub 6.1.1 and to jovis, and what comes back compared.
//!
//! | file | what it is |
//! |---|---|
//! | `areas/` | the exchanges, a file for each kind of thing |
//! | `exchange.rs` | one request as data, and the words they are written in |
//! | `world.rs` | how both hubs are set up |
//! | `reference.rs`, `reference/` | a running JupyterHub |
//! | `side.rs` | a hub to be asked, and what is known of it |
//! | `seen.rs` | an answer without what differs from run to run |
//! | `compare.rs` | where two answers differ |
//! | `described.rs` | the description of the API, tried by itself |
//! | `wanted.rs` | the differences that are wanted, with reasons; `docs/differences.md` is made from it |
//! | `not_built.rs` | what is still to be built |
//!
//! `JOVIS_WIRE=groups,tokens` asks only what belongs to these areas. Every exchange with both answers stands in
//! `target/tmp/wire.txt` afterwards.

#[path = "../support/mod.rs"]
pub mod support;

mod areas;
mod compare;
mod described;
mod exchange;
mod not_built;
mod reference;
mod seen;
mod side;
mod wanted;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use compare::{Difference, differences, fits};
use exchange::Exchange;
use not_built::NOT_BUILT;
use reference::Reference;
use seen::Seen;
use side::Side;
use wanted::WANTED;

/// At least so many, over all endpoints and kinds of callers.
const PROMISED: usize = 300;

#[test]
fn jovis_answers_as_jupyterhub_does() {
    as_root!();
    let only = std::env::var("JOVIS_WIRE").unwrap_or_default();
    let areas: Vec<_> = areas::all()
        .into_iter()
        .filter(|area| only.is_empty() || only.split(',').any(|name| name == area.name))
        .collect();
    let exchanges: Vec<Exchange> = areas.into_iter().flat_map(|area| area.exchanges).collect();
    assert!(!exchanges.is_empty(), "no area is called {only}");
    assert!(!only.is_empty() || exchanges.len() >= PROMISED, "only {} exchanges", exchanges.len());

    let (theirs, ours) = thread::scope(|scope| {
        let ours = scope.spawn(|| {
            let site = world::ours().start();
            Side::new(site.public).run(&exchanges)
        });
        let reference = Reference::start();
        let theirs = Side::new(reference.address).run(&exchanges);
        (theirs, ours.join().expect("the other side panics with its own words"))
    });
    keep(&exchanges, &theirs, &ours);

    let all: Vec<Difference> = exchanges
        .iter()
        .zip(theirs.iter().zip(&ours))
        .flat_map(|(exchange, (theirs, ours))| differences(&exchange.id, &theirs.0, &ours.0))
        .collect();
    judge(&exchanges, &all, only.is_empty());
}

/// Panics if a difference is listed nowhere, or a list names one that is none.
fn judge(exchanges: &[Exchange], all: &[Difference], whole: bool) {
    let built = |it: &&Difference| !NOT_BUILT.iter().any(|(row, _)| fits(row, &it.exchange));
    let unlisted: Vec<_> =
        all.iter().filter(built).filter(|it| !WANTED.iter().any(|row| row.covers(it))).collect();

    let differing: BTreeSet<&str> = unlisted.iter().map(|it| it.exchange.as_str()).collect();
    let mut areas: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for exchange in exchanges {
        let area = exchange.id.split(':').next().unwrap_or_default();
        let counts = areas.entry(area).or_default();
        counts.0 += 1;
        counts.1 += usize::from(differing.contains(exchange.id.as_str()));
    }
    for (area, (asked, differ)) in areas {
        println!("wire: {area}: {asked} exchanges, {differ} with unwanted differences");
    }

    let mut wrong = String::new();
    for it in &unlisted {
        writeln!(wrong, "{it}").expect("a string takes everything");
    }
    if whole {
        let idle = WANTED.iter().filter(|row| !all.iter().any(|it| row.covers(it)));
        for row in idle {
            writeln!(wrong, "wanted.rs: {} no longer occurs", row.id).expect("a string");
        }
        let idle =
            NOT_BUILT.iter().filter(|(row, _)| !all.iter().any(|it| fits(row, &it.exchange)));
        for (row, issue) in idle {
            writeln!(wrong, "not_built.rs: {row} (issue {issue}) is built").expect("a string");
        }
    }
    assert!(wrong.is_empty(), "{} differences that nobody wants:\n{wrong}", unlisted.len());
}

/// Writes down what was said, for whoever wants to look closer.
fn keep(exchanges: &[Exchange], theirs: &[(Seen, Duration)], ours: &[(Seen, Duration)]) {
    let mut text = String::new();
    for ((exchange, theirs), ours) in exchanges.iter().zip(theirs).zip(ours) {
        let body = String::from_utf8_lossy(&exchange.body).chars().take(300).collect::<String>();
        let body = format!("{body:?} {:?}", exchange.headers);
        let mark = if theirs.0 == ours.0 { "" } else { "≠ " };
        write!(
            text,
            "{mark}{}\n  sent {body}\n  reference ({} ms) {}\n  jovis ({} ms) {}\n",
            exchange.id,
            theirs.1.as_millis(),
            theirs.0.0,
            ours.1.as_millis(),
            ours.0.0
        )
        .expect("a string takes everything");
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wire.txt");
    fs::write(path, text).expect("cargo's folder is ours");
}

#[test]
fn the_page_about_differences_is_made_from_the_list() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/differences.md");
    let page = fs::read_to_string(&path).expect("it is there");
    let (before, rest) = page.split_once(wanted::BEGIN).expect("it has the part's beginning");
    let (_, after) = rest.split_once(wanted::END).expect("it has the part's end");
    let wanted = format!("{before}{}{after}", wanted::part());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &wanted).expect("the checkout is ours");
    } else {
        assert!(page == wanted, "docs/differences.md: UPDATE=1 cargo test --test wire the_page");
    }
}

#[test]
fn a_pattern_fits_from_end_to_end() {
    for (pattern, text, wanted) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "ab", true),
        ("*b", "ab", true),
        ("*b", "abc", false),
        ("a*c*e", "abcde", true),
        ("a*e*c", "abcde", false),
        ("*/0", "x/0/0", true),
        ("*", "", true),
    ] {
        assert_eq!(fits(pattern, text), wanted, "{pattern} {text}");
    }
}
