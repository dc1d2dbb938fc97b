//! What operators and users are told: why a server ended, on page, in API, log and metric; the log's levels; health.

use std::fs;

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, Site, Visitor, wait_for, wait_until},
    with_server,
};

/// A number of `/hub/metrics`; 0 if it is not there.
fn number(site: &Site, series: &str) -> f64 {
    let text = site.visitor().get("/hub/metrics").text();
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.map_or(0.0, |number| number.parse().expect("a number"))
}

#[test]
fn what_the_proxy_counts_is_told_and_requests_are_logged_where_that_is_wanted() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick()
        .set("hub.authenticate_prometheus", "false")
        .set("proxy.access_log_every", "1")
        .start();
    let mut visitor = with_server(&site, &account);
    let mark = site.log.mark();
    let path = format!("/user/{}/api/status", account.name);
    let status = visitor.get(&format!("{path}?token=very-secret")).status;
    let line = site.log.find(mark, PATIENCE, |line| {
        line.is("visitor answered") && line.text("path").is_some_and(|it| it == path)
    });
    let line = line.unwrap_or_else(|| panic!("{}", site.log.tail(10)));
    assert_eq!(line.text("from").as_deref(), Some("127.0.0.1"));
    assert_eq!(line.text("method").as_deref(), Some("GET"));
    assert_eq!(line.text("status").as_deref(), Some(&*status.to_string()));
    assert!(!site.log.since(0).iter().any(|line| line.raw.contains("very-secret")));
    let class = format!("{}xx", status / 100);
    for series in [
        format!("jovis_proxy_request_duration_seconds_count{{to=\"server\",code=\"{class}\"}}"),
        "jovis_proxy_request_duration_seconds_count{to=\"hub\",code=\"2xx\"}".to_owned(),
        "jovis_proxy_backend_connections_total".to_owned(),
        "jovis_proxy_routes".to_owned(),
        "jovis_proxy_open_fds".to_owned(),
    ] {
        wait_until(&series, PATIENCE, || number(&site, &series) > 0.0);
    }
}

/// Waits until the API tells a cause of this kind for the user's server; its sentence.
fn cause(visitor: &mut Visitor, account: &Account, kind: &str) -> String {
    let path = format!("/hub/api/users/{}/server", account.name);
    let asked = wait_for(kind, PATIENCE, || {
        let server = visitor.api("GET", &path, "").json();
        let cause = &server["cause"];
        (cause["kind"] == kind && server["stopped"] == true)
            .then(|| cause["message"].as_str().expect("a sentence").to_owned())
    });
    asked.0
}

#[test]
fn why_a_server_ended_is_told_by_page_api_log_and_metric() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick()
        .set("spawner.restart", "Never")
        .set("hub.authenticate_prometheus", "false")
        .start();
    let path = format!("/hub/api/users/{}/server", account.name);
    for (kind, words) in
        [("exit code", "status 5"), ("signal", "killed (signal 9)"), ("stopped", "on request")]
    {
        let mark = site.log.mark();
        let mut visitor = with_server(&site, &account);
        let ready = number(&site, r#"jovis_servers{state="ready"}"#);
        assert_eq!((ready, number(&site, "jupyterhub_running_servers")), (1.0, 1.0));
        match kind {
            "exit code" => {
                let address = format!("/user/{}/exit?status=5", account.name);
                let _ = visitor.send("GET", &address, &[], b"");
            }
            "signal" => site.server().kill(),
            _ => assert!([202, 204].contains(&visitor.api("DELETE", &path, "").status)),
        }
        let told = cause(&mut visitor, &account, kind);
        assert!(told.contains(words), "{told}");
        let home = visitor.get("/hub/home").words();
        assert_eq!(home.contains(words), kind != "stopped", "{home}");
        let line = site.log.event(mark, "server ended", PATIENCE);
        assert_eq!((line.text("kind"), line.text("cause")), (Some(kind.into()), Some(told)));
        let series = format!("jovis_server_ends_total{{cause={kind:?}}}");
        wait_until("it is counted", PATIENCE, || number(&site, &series) == 1.0);
        assert_eq!(number(&site, r#"jovis_servers{state="ready"}"#), 0.0);
    }
    let starts = r#"jupyterhub_server_spawn_duration_seconds_count{status="success"}"#;
    assert_eq!(number(&site, starts), 3.0);
    assert!(number(&site, r#"jovis_logins_total{outcome="success"}"#) >= 3.0);
    assert!(number(&site, "jovis_store_commit_duration_seconds_count") > 3.0);
}

/// Writes this level into the configuration and has it read.
fn level(site: &Site, level: &str) {
    let text = fs::read_to_string(&site.file).expect("it is ours");
    let line = text.lines().find(|line| line.contains("level: ")).expect("it has a level");
    let text = text.replace(line, &format!("level: {level:?},"));
    fs::write(&site.file, text).expect("it is ours");
    site.signal(Signal::SIGHUP);
}

/// How many lines of these events follow from five requests, once `wanted` of one of them do.
fn lines_of(site: &Site, wanted: &str, other: &str) -> usize {
    wait_until(wanted, PATIENCE, || {
        let mark = site.log.mark();
        site.visitor().get("/hub/login");
        let lines = site.log.since(mark);
        lines.iter().any(|line| line.is(wanted)) && !lines.iter().any(|line| line.is(other))
    });
    // A line of a role that heard of the new level a moment later may still be on its way.
    let mut others = 0;
    wait_until("only what is wanted", PATIENCE, || {
        let mark = site.log.mark();
        for _ in 0..5 {
            site.visitor().get("/hub/login");
        }
        let count = |event: &str| site.log.since(mark).iter().filter(|line| line.is(event)).count();
        wait_until("five lines", PATIENCE, || count(wanted) >= 5);
        others = count(other);
        others == 0
    });
    others
}

#[test]
fn the_level_of_one_module_changes_in_every_role_without_a_restart() {
    as_root!();
    let site = Plan::quick().set("log.level", r#""info""#).start();
    let (hub, proxy) = (site.hub(), site.proxy());
    level(&site, "error,jovis::proxy=debug");
    assert_eq!(lines_of(&site, "request served", "request answered"), 0);
    level(&site, "error,jovis::web=info");
    assert_eq!(lines_of(&site, "request answered", "request served"), 0);
    assert_eq!((site.hub(), site.proxy()), (hub, proxy), "nobody was restarted");
    // Root speaks of what it does; the others are silent about it.
    let mark = site.log.mark();
    level(&site, "error,jovis::root=info");
    site.log.event(mark, "configuration reloaded", PATIENCE);
    wait_until("the hub is silent", PATIENCE, || {
        let mark = site.log.mark();
        site.visitor().get("/hub/login");
        site.log.since(mark).is_empty()
    });
    let mark = site.log.mark();
    proxy.kill();
    site.log.event(mark, "role ready", PATIENCE);
    // The hub tells of a new proxy at `info`. Its answer of before may be told a little late.
    let mut said = site.log.since(mark);
    said.retain(|line| !line.is("request answered"));
    assert!(said.iter().all(|line| line.text("role").as_deref() == Some("root")), "{said:?}");
}

#[test]
fn a_load_balancer_hears_that_the_hub_is_well() {
    let site = Plan::quick().start();
    for path in ["/hub/health", "/hub/api/health"] {
        for method in ["GET", "HEAD"] {
            let answer = site.visitor().send(method, path, &[], b"").expect("it answers");
            assert_eq!((answer.status, answer.text()), (200, String::new()), "{method} {path}");
            assert!(
                !answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
            );
        }
    }
    // Asked while there is no hub, it waits for the next one.
    site.hub().kill();
    let answer = site.visitor().get("/hub/health");
    assert_eq!(answer.status, 200, "{}", answer.words());
}
