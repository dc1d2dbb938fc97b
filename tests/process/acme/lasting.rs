//! Renewal, and what is left after an end of any kind.

use nix::sys::signal::Signal;
use serde_json::json;

use super::stand::{Authority, NAME, TRY, answered, believed, obtained, serial};
use crate::{
    as_root,
    reload::Kept,
    support::{PATIENCE, Plan, wait_until},
};

#[test]
fn a_certificate_is_renewed_again_and_again_and_nobody_is_dropped() {
    as_root!();
    let authority = Authority::start();
    authority.play(&json!({ "life": 12 }));
    let (mut site, _) = authority.hub_by_http(Plan::quick(), "");
    site.start();
    let mark = site.log.mark();
    obtained(&site, 0);
    let is_ours = || believed(&site, NAME, &authority.root()) == "200";
    wait_until("it is shown", PATIENCE, is_ours);
    let mut kept = Kept::open(&site);
    assert!(kept.answers());
    let mut last = serial(&site);
    for _ in 0..2 {
        wait_until("another one is shown", TRY, || {
            // Never one that has ended.
            assert!(is_ours());
            serial(&site) != last
        });
        last = serial(&site);
        assert!(kept.answers());
    }
    assert!(site.log.find(mark, PATIENCE, |line| line.is("acme renewal due")).is_some());
    let log = site.log.since(0);
    assert!(
        !log.iter().any(|line| line.is("acme attempt failed") || line.is("certificate expired"))
    );
    assert_eq!(authority.count("accounts"), 1);
}

#[test]
fn a_restart_shows_what_is_there_and_asks_nobody() {
    as_root!();
    let authority = Authority::start();
    let (mut site, _) = authority.hub_by_http(Plan::quick(), "");
    site.start();
    obtained(&site, 0);
    wait_until("it is shown", PATIENCE, || believed(&site, NAME, &authority.root()) == "200");
    let first = serial(&site);
    // The authority is gone meanwhile: nobody notices.
    authority.play(&json!({ "fault": "away" }));
    for _ in 0..2 {
        let (mark, proxy) = (site.log.mark(), site.proxy());
        proxy.kill();
        site.log.event(mark, "proxy open", PATIENCE);
        assert_eq!(
            (believed(&site, NAME, &authority.root()), serial(&site)),
            ("200".into(), first.clone())
        );
    }
    site.signal(Signal::SIGTERM);
    site.ended(PATIENCE);
    let mark = site.log.mark();
    site.start();
    assert_eq!((believed(&site, NAME, &authority.root()), serial(&site)), ("200".into(), first));
    let since = site.log.since(mark);
    assert!(!since.iter().any(|line| line.raw.contains("\"acme ")), "{}", site.log.tail(30));
    assert_eq!(authority.count("orders"), 1);
}

#[test]
fn a_proxy_killed_amid_an_order_costs_one_try() {
    as_root!();
    let authority = Authority::start();
    authority.play(&json!({ "slow": 600 }));
    let (mut site, _) = authority.hub_by_http(Plan::quick(), "");
    site.start();
    for tries in 1..3 {
        wait_until("an order is under way", TRY, || authority.count("orders") == tries);
        let (mark, proxy) = (site.log.mark(), site.proxy());
        if tries == 2 {
            authority.play(&json!({ "slow": 0 }));
        }
        proxy.kill();
        site.log.event(mark, "proxy open", PATIENCE);
        assert_eq!(answered(&site, NAME), "200");
    }
    obtained(&site, 0);
    wait_until("it is shown", PATIENCE, || believed(&site, NAME, &authority.root()) == "200");
    assert_eq!((authority.count("accounts"), authority.count("orders")), (1, 3));
}

#[test]
fn an_authority_that_forgot_us_makes_our_acquaintance_anew() {
    as_root!();
    let authority = Authority::start();
    authority.play(&json!({ "life": 12 }));
    let (mut site, _) = authority.hub_by_http(Plan::quick(), "");
    site.start();
    obtained(&site, 0);
    authority.forget_accounts();
    wait_until("there is another account", TRY, || authority.count("accounts") == 2);
    let mark = site.log.mark();
    obtained(&site, mark);
    assert_eq!(believed(&site, NAME, &authority.root()), "200");
}

#[test]
fn of_two_proxies_only_the_one_that_serves_renews() {
    as_root!();
    let authority = Authority::start();
    authority.play(&json!({ "life": 12 }));
    let (mut site, _) = authority.hub_by_http(Plan::quick().program_of_its_own(), "");
    site.start();
    obtained(&site, 0);
    wait_until("it is shown", PATIENCE, || believed(&site, NAME, &authority.root()) == "200");
    // The proxy before stays as long as this connection does.
    let mut kept = Kept::open(&site);
    assert!(kept.answers());
    let before = site.proxy();
    let mark = site.log.mark();
    site.signal(Signal::SIGUSR2);
    site.log.event(mark, "upgrade done", PATIENCE);
    // Whatever was under way is over with the next one.
    let mark = site.log.mark();
    obtained(&site, mark);
    let (mark, orders) = (site.log.mark(), authority.count("orders"));
    obtained(&site, mark);
    let mark = site.log.mark();
    obtained(&site, mark);
    assert!(before.lives());
    assert_eq!(authority.count("orders"), orders + 2);
    assert_eq!(believed(&site, NAME, &authority.root()), "200");
}

#[test]
fn a_certificate_is_renewed_sooner_where_the_authority_would_have_it() {
    as_root!();
    let authority = Authority::start();
    let (mut site, _) = authority.hub_by_http(Plan::quick(), "");
    site.start();
    obtained(&site, 0);
    wait_until("the authority is asked", PATIENCE, || authority.count("asked") > 0);
    // It takes the first certificate back; who asks next is the proxy that comes next.
    authority.play(&json!({ "early": 1 }));
    let mark = site.log.mark();
    site.proxy().kill();
    obtained(&site, mark);
    wait_until("it is asked about the new one", PATIENCE, || authority.count("asked") > 2);
    assert_eq!(authority.count("orders"), 2);
    assert_eq!(believed(&site, NAME, &authority.root()), "200");
}
