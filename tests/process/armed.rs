//! Faults armed in a running hub happen, and what comes after is the ordinary recovery.

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, wait_until},
    wait_for_server,
};

#[test]
fn an_armed_hub_dies_at_the_point_and_the_next_one_goes_on() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let hub = site.hub();
    site.arm("effect:after:Spawn kill 1");
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    // Held open until the hub is gone: a visitor who hangs up at once may be
    // forgotten before the request has reached it.
    let asked = visitor.begin("GET", "/hub/spawn", &[], b"");
    wait_until("the hub has gone", PATIENCE, || !hub.lives());
    drop(asked);
    wait_until("another one found the server", PATIENCE, || {
        site.visitor().get("/hub/api").status == 200 && site.servers().len() == 1
    });
    assert!(site.passed().contains_key("effect:before:Recover"), "{:?}", site.passed());
    wait_for_server(&mut visitor, &account);
    assert_eq!(site.servers().len(), 1);
}
