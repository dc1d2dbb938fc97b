//! Authorities that are away, refuse, or misbehave: nothing of theirs is shown to anybody, and traffic goes on.

use std::{fs, time::Duration};

use serde_json::json;

use super::stand::{Authority, NAME, answered, believed, failed, obtained, reload, serial};
use crate::{
    as_root,
    reload::Kept,
    support::{PATIENCE, Plan, wait_until},
};

#[test]
fn each_misbehaviour_is_refused_with_its_reason() {
    as_root!();
    let authority = Authority::start();
    authority.play(&json!({ "fault": "away" }));
    let (mut site, _) = authority.hub_by_http(Plan::quick(), "");
    let mut mark = site.launch();
    site.log.event(mark, "jovis is ready", PATIENCE);
    let (proxy, ours) = (site.proxy(), serial(&site));
    let mut kept = Kept::open(&site);
    let table = [
        ("away", "127.0.0.1"),
        ("error", "answered 500"),
        ("plain", "no address that begins with https://"),
        ("words", "red xxxx"),
        ("json", "JSON"),
        ("huge", "too long"),
        ("hang", "does not answer in time"),
        ("foreign", "asks about elsewhere.example"),
        ("offer", "offers no http-01"),
        ("refuse", "connection refused, they say"),
        ("later", "timed out"),
        ("pending", "timed out"),
        ("processing", "timed out"),
        ("garbage", "is not used: certificate or key cannot be used"),
        ("names", "other names"),
        ("key", "another certificate"),
        ("ended", "ended already"),
    ];
    for (fault, words) in table {
        let slow = u8::from(fault == "later");
        authority.play(&json!({ "fault": fault, "slow": slow }));
        if fault != "away" {
            mark = reload(&site);
        }
        let told = failed(&site, mark, words);
        let error = told.text("error").expect("a reason");
        assert!(error.len() < 1000 && !error.contains(['\n', '\u{1b}']), "{fault}: {error}");
        // The same as before, by the same process, to everybody.
        assert_eq!((site.proxy(), serial(&site)), (proxy, ours.clone()), "{fault}");
        assert_eq!(answered(&site, NAME), "200", "{fault}");
        assert!(kept.answers(), "{fault}");
    }
    authority.play(&json!({ "fault": "", "slow": 0 }));
    mark = reload(&site);
    obtained(&site, mark);
    wait_until("it is shown", PATIENCE, || believed(&site, NAME, &authority.root()) == "200");
    assert_eq!(authority.count("accounts"), 1);
    assert_eq!(authority.seen("forgeries"), json!([]));
}

#[test]
fn an_authority_that_wants_to_be_left_alone_is() {
    as_root!();
    let authority = Authority::start();
    authority.play(&json!({ "fault": "rate" }));
    let (mut site, _) = authority.hub_by_http(Plan::quick(), "");
    let mut mark = site.launch();
    let told = failed(&site, mark, "too many certificates");
    let wait =
        |line: &crate::support::Line| line.field("next_s").and_then(serde_json::Value::as_i64);
    assert!(wait(&told).is_some_and(|wait| (7190..=7200).contains(&wait)), "{}", told.raw);
    assert_eq!(authority.count("orders"), 1);
    // Neither an operator nor an end changes that.
    authority.play(&json!({ "fault": "" }));
    reload(&site);
    mark = site.log.mark();
    site.proxy().kill();
    site.log.event(mark, "proxy open", PATIENCE);
    reload(&site);
    let more =
        site.log.find(mark, Duration::from_secs(3), |line| line.is("acme certificate obtained"));
    assert!(more.is_none() && authority.count("orders") == 1);
    assert_eq!(answered(&site, NAME), "200");
}

#[test]
fn an_authority_whom_nobody_vouches_for_is_told_nothing() {
    as_root!();
    let authority = Authority::start();
    let (mut site, _) = authority.hub_by_http(Plan::quick(), "");
    let right = fs::read_to_string(&site.file).expect("it is ours");
    // Somebody else vouches; or, of those whom this machine trusts, nobody.
    let (start, end) = right.split_once("directory_ca: \"").expect("it is set");
    let (house, end) = end.split_once('"').expect("it is a text");
    let with = |file: &str| format!("{start}directory_ca: {file:?}{end}");
    fs::write(&site.file, with(&authority.root())).expect("it is ours");
    let mut mark = site.launch();
    failed(&site, mark, "UnknownIssuer");
    site.log.event(mark, "jovis is ready", PATIENCE);
    fs::write(&site.file, with("")).expect("it is ours");
    mark = reload(&site);
    failed(&site, mark, "UnknownIssuer");
    assert_eq!(authority.count("requests"), 0);
    fs::write(&site.file, with(house)).expect("it is ours");
    mark = reload(&site);
    obtained(&site, mark);
}
