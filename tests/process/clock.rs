//! The wall clock jumps. What measures durations does not notice; what compares moments goes wrong for nobody.

use std::time::Duration;

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, Visitor, wait_until},
    wait_for_server, with_server,
};

const DAY: i64 = 86_400;
const YEARS: i64 = 3_653 * DAY;

fn token(visitor: &mut Visitor, account: &Account, body: &str) -> String {
    let made = visitor.api("POST", &format!("/hub/api/users/{}/tokens", account.name), body);
    assert_eq!(made.status, 201, "{}", made.text());
    format!("token {}", made.json()["token"].as_str().expect("shown once"))
}

fn status(visitor: &Visitor, token: &str) -> u16 {
    let answer = visitor.clone().send("GET", "/hub/api/user", &[("Authorization", token)], b"");
    answer.expect("an answer").status
}

#[test]
fn row_22_a_clock_that_jumps_ends_no_server_and_revives_no_token() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let (hub, proxy, server) = (site.hub(), site.proxy(), site.server());
    let mut socket = visitor.socket(&format!("/user/{}/ws", account.name)).expect("an upgrade");
    let lasting = token(&mut visitor, &account, "{}");
    let hour = token(&mut visitor, &account, r#"{"expires_in": 3600}"#);
    let short = token(&mut visitor, &account, r#"{"expires_in": 2}"#);
    let stranger = site.visitor();
    let holds = |token: &str| match status(&stranger, token) {
        200 => true,
        403 => false,
        other => panic!("{other}"),
    };
    assert!(holds(&lasting) && holds(&hour));
    wait_until("the short one is over", PATIENCE, || !holds(&short));

    // Ahead, what lasts an hour is over; back again it was the clock that was wrong. What has really ended stays so.
    for (jump, within_the_hour) in
        [(3_500, true), (-3_600, true), (DAY, false), (0, true), (-DAY, true), (-YEARS, true)]
    {
        site.arm(&format!("clock {jump}"));
        assert!(holds(&lasting), "{jump}");
        assert!(!holds(&short), "{jump}");
        assert_eq!(holds(&hour), within_the_hour, "{jump}");
        // A session lives fourteen days; a clock that is behind ends none.
        assert_eq!(visitor.get("/hub/home").status, 200, "{jump}");
        assert_eq!(visitor.get(&format!("/user/{}/api", account.name)).status, 200);
        assert_eq!(socket.echo("tick").expect("the tunnel lives"), "tick");
    }
    site.log.event(0, "wall clock was put back", PATIENCE);

    // Far ahead a session is over, once; one may sign in again.
    site.arm(&format!("clock {YEARS}"));
    assert_eq!(visitor.get("/hub/home").status, 302);
    assert_eq!(status(&stranger, &lasting), 200);
    let mut again = site.visitor();
    again.sign_in(&account);
    assert_eq!(again.get("/hub/home").status, 200);
    // Nobody is ended for having been idle for ten years.
    site.log.find(site.log.mark(), Duration::from_secs(2), |line| line.is("server process ended"));
    assert_eq!([site.hub(), site.proxy(), site.server()], [hub, proxy, server]);
    assert_eq!(socket.echo("tock").expect("the tunnel lives"), "tock");
    println!("row 22: clock at -10 years to +10 years, server and tunnel untouched");
}

#[test]
fn row_22_a_start_during_a_jump_neither_times_out_nor_hangs() {
    as_root!();
    for jump in [YEARS, -YEARS] {
        let account = Account::make();
        let site = Plan::quick().fake(&["slow", "1"]).start();
        let mut visitor = site.visitor();
        visitor.sign_in(&account);
        visitor.get("/hub/spawn");
        wait_until("it is starting", PATIENCE, || site.servers().len() == 1);
        site.arm(&format!("clock {jump}"));
        // Ten years ahead the session is over as well.
        let mut visitor = site.visitor();
        visitor.sign_in(&account);
        wait_for_server(&mut visitor, &account);
        // A crash is answered by a restart after a second, not after ten years.
        let server = site.server();
        server.kill();
        wait_until(
            "it was started again",
            PATIENCE,
            || matches!(site.servers()[..], [now] if now != server),
        );
        wait_for_server(&mut visitor, &account);
    }
}
