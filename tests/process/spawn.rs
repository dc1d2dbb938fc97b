//! Starting user servers: as whom, with what, and what is said when it does not work.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, Site, Visitor, wait_for, wait_until},
    with_server,
};

/// What the fake server says of itself.
fn itself(visitor: &mut Visitor, account: &Account) -> Value {
    let answer = visitor.get(&format!("/user/{}/self", account.name));
    assert_eq!(answer.status, 200, "{}", answer.words());
    answer.json()
}

/// Signs in, asks for the server, waits for the page that says it failed: its words.
fn failed_start(site: &Site, account: &Account) -> String {
    let mut visitor = site.visitor();
    visitor.sign_in(account);
    visitor.get("/hub/spawn");
    let page = format!("/hub/spawn-pending/{}", account.name);
    wait_for("a page that says the start failed", PATIENCE, || {
        let answer = visitor.get(&page);
        (answer.status >= 400).then(|| answer.words())
    })
    .0
}

fn milliseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis()
}

#[test]
fn a_server_runs_as_its_user_and_inherits_nothing() {
    as_root!();
    let account = Account::make();
    account.join("games");
    let site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let server = itself(&mut visitor, &account);

    assert_eq!(server["uids"], json!([account.uid, account.uid, account.uid]));
    assert_eq!(server["gids"], json!([account.gid, account.gid, account.gid]));
    let listed = Command::new("id").args(["-G", &account.name]).output().expect("id is installed");
    let wanted: BTreeSet<u64> = String::from_utf8_lossy(&listed.stdout)
        .split_whitespace()
        .map(|gid| gid.parse().expect("a number"))
        .collect();
    let has: BTreeSet<u64> =
        server["groups"].as_array().unwrap().iter().map(|gid| gid.as_u64().unwrap()).collect();
    assert_eq!(has, wanted);
    assert!(wanted.len() >= 2, "the test account is in a second group");
    assert_eq!(server["cwd"], account.home.to_str().unwrap());
    assert_eq!(server["session"], server["pid"], "a session of its own");
    assert_eq!(server["ppid"], site.root().pid);

    let open = server["open"].as_object().unwrap();
    assert_eq!(open.keys().collect::<Vec<_>>(), ["0", "1", "2"], "{open:?}");
    assert_eq!(open["0"], "/dev/null");
    assert_eq!(open["1"], open["2"]);
    assert!(!open["1"].as_str().unwrap().contains("pipe:"), "output is a file: {open:?}");

    for name in ["CapEff", "CapPrm", "CapInh", "CapAmb", "SigBlk"] {
        assert_eq!(server["status"][name], "0000000000000000", "{name}");
    }
    // Python itself ignores SIGPIPE and SIGXFSZ; signals above 31 are the C library's own
    let ignored = u64::from_str_radix(server["status"]["SigIgn"].as_str().unwrap(), 16).unwrap();
    assert_eq!(ignored & 0x7FFF_FFFF, 0x0100_1000);
}

#[test]
fn a_servers_environment_is_exactly_the_contract() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().set("spawner.environment", r#"{"EXTRA": "one"}"#).start();
    let mut visitor = with_server(&site, &account);
    let server = itself(&mut visitor, &account);
    let mut has: BTreeMap<String, String> =
        serde_json::from_value(server["environment"].clone()).expect("names and texts");

    let name = account.name.as_str();
    let token = has.remove("JUPYTERHUB_API_TOKEN").expect("a token");
    assert_eq!(token.len(), 32, "JupyterHub's are so long");
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(has.remove("JPY_API_TOKEN"), Some(token), "the legacy name has the same");
    let api = has.remove("JUPYTERHUB_API_URL").expect("the hub's address");
    assert!(api.starts_with("http://127.0.0.1:") && api.ends_with("/hub/api"), "{api}");
    let listen = has.remove("JUPYTERHUB_SERVICE_URL").expect("where to listen");
    assert!(listen.starts_with("http://127.0.0.1:"), "{listen}");
    assert!(listen.ends_with(&format!("/user/{name}/")), "{listen}");
    for names in ["JUPYTERHUB_OAUTH_ACCESS_SCOPES", "JUPYTERHUB_OAUTH_SCOPES"] {
        let scopes: Value = serde_json::from_str(&has.remove(names).expect("scopes")).unwrap();
        let (server, user) =
            (format!("access:servers!server={name}/"), format!("access:servers!user={name}"));
        assert_eq!(scopes, json!([server, user]), "{names}");
    }

    let home = account.home.to_str().unwrap().to_owned();
    let wanted: BTreeMap<String, String> = [
        ("EXTRA", "one".to_owned()),
        ("HOME", home),
        ("JUPYTERHUB_ACTIVITY_URL", format!("{api}/users/{name}/activity")),
        ("JUPYTERHUB_BASE_URL", "/".to_owned()),
        ("JUPYTERHUB_CLIENT_ID", format!("jupyterhub-user-{name}")),
        ("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "0".to_owned()),
        ("JUPYTERHUB_HOST", String::new()),
        ("JUPYTERHUB_OAUTH_CALLBACK_URL", format!("/user/{name}/oauth_callback")),
        ("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", "[]".to_owned()),
        ("JUPYTERHUB_PUBLIC_HUB_URL", String::new()),
        ("JUPYTERHUB_PUBLIC_URL", String::new()),
        ("JUPYTERHUB_SERVER_NAME", String::new()),
        ("JUPYTERHUB_SERVICE_PREFIX", format!("/user/{name}/")),
        ("JUPYTERHUB_USER", name.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("SHELL", "/bin/bash".to_owned()),
        ("USER", name.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    assert_eq!(has, wanted);
}

#[test]
fn a_missing_command_is_named_on_the_page() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().command(&["no-such-command"]).start();
    let page = failed_start(&site, &account);
    assert!(page.contains("no-such-command"), "{page}");
}

#[test]
fn a_command_that_cannot_be_executed_is_named_on_the_page() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().command(&["FOLDER/hub/hub.ron"]).start();
    let page = failed_start(&site, &account);
    assert!(page.contains("hub.ron"), "{page}");
}

#[test]
fn a_server_that_ends_at_once_is_reported_with_its_last_words() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().fake(&["exit", "3"]).start();
    let page = failed_start(&site, &account);
    let seen = milliseconds();
    assert!(page.contains("status 3"), "{page}");
    assert!(page.contains("these are my last words"), "{page}");
    let ended = page.split("ended at ").nth(1).and_then(|rest| rest.split(' ').next());
    let ended: u128 = ended.expect("its last line").parse().expect("milliseconds");
    assert!(seen - ended < 2000, "it took {} ms", seen - ended);
}

#[test]
fn a_server_that_never_answers_is_ended_and_reported() {
    as_root!();
    for mode in ["silent", "broken"] {
        let account = Account::make();
        let site = Plan::quick().fake(&[mode]).set("spawner.http_timeout", "2").start();
        let page = failed_start(&site, &account);
        assert!(page.contains("did not answer"), "{mode}: {page}");
        assert!(page.contains("fake: listening"), "{mode}, its output: {page}");
        wait_until("it was ended", PATIENCE, || account.processes().is_empty());
    }
}

#[test]
fn any_answer_below_500_means_a_server_is_up() {
    as_root!();
    let account = Account::make();
    // it knows nothing under its prefix; JupyterHub's rule counts that as alive
    let site = Plan::quick().fake(&["elsewhere"]).start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    visitor.get("/hub/spawn");
    wait_until("the hub says ready", PATIENCE, || {
        let user = visitor.api("GET", &format!("/hub/api/users/{}", account.name), "").json();
        user["servers"][""]["ready"] == true
    });
    assert_eq!(visitor.get(&format!("/user/{}/x", account.name)).json()["message"], "not here");
}

#[test]
fn a_server_is_stopped_gently_and_then_by_force() {
    as_root!();
    for (mode, limit) in [("ok", 2), ("stubborn", 8)] {
        let account = Account::make();
        let site = Plan::quick()
            .fake(&[mode])
            .set("spawner.interrupt_timeout", "1")
            .set("spawner.term_timeout", "1")
            .start();
        let mut visitor = with_server(&site, &account);
        let server = site.server();
        let path = format!("/hub/api/users/{}/server", account.name);
        let answer = visitor.api("DELETE", &path, "");
        assert!(matches!(answer.status, 202 | 204), "{}", answer.status);
        wait_until("it has ended", Duration::from_secs(limit), || !server.lives());
        wait_until("its route is gone", PATIENCE, || {
            visitor.get(&format!("/user/{}/api", account.name)).status != 200
        });
    }
}

#[test]
fn a_killed_server_is_known_within_a_second_and_the_page_says_so() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().set("spawner.restart", "Never").start();
    let mut visitor = with_server(&site, &account);
    site.server().kill();
    let user = format!("/hub/api/users/{}", account.name);
    let took = wait_until("the hub knows", Duration::from_secs(1), || {
        visitor.api("GET", &user, "").json()["server"].is_null()
    });
    println!("known after {took:?}");
    let pages =
        [format!("/hub/spawn-pending/{}", account.name), format!("/hub/user/{}/", account.name)];
    let words = pages.map(|page| visitor.get(&page).words()).join("\n");
    assert!(words.contains("killed"), "{words}");
}

#[test]
fn a_server_that_failed_is_started_again() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let first = site.server();
    first.signal(Signal::SIGKILL);
    wait_until("another one runs", PATIENCE, || {
        site.servers().first().is_some_and(|server| *server != first)
    });
    crate::wait_for_server(&mut visitor, &account);
    assert_eq!(site.servers().len(), 1);
}

#[test]
fn a_server_that_left_with_0_is_not_started_again() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let server = site.server();
    visitor.get(&format!("/user/{}/exit?status=0", account.name));
    wait_until("it has ended", PATIENCE, || !server.lives());
    let user = format!("/hub/api/users/{}", account.name);
    wait_until("the hub shows it as stopped", PATIENCE, || {
        let user = visitor.api("GET", &user, "").json();
        user["server"].is_null() && user["pending"].is_null()
    });
    assert!(site.servers().is_empty());
}

#[test]
fn two_people_have_servers_of_their_own() {
    as_root!();
    let (one, two) = (Account::make(), Account::make());
    let site = Plan::quick().start();
    let mut visitors = [with_server(&site, &one), with_server(&site, &two)];
    assert_eq!(itself(&mut visitors[0], &one)["uids"][0], one.uid);
    assert_eq!(itself(&mut visitors[1], &two)["uids"][0], two.uid);
    assert_eq!(site.servers().len(), 2);
    // neither may touch the other's by the API
    let path = format!("/hub/api/users/{}/server", two.name);
    let answer = visitors[0].api("DELETE", &path, "");
    assert!(matches!(answer.status, 403 | 404), "{}", answer.status);
    assert_eq!(site.servers().len(), 2);
}

#[test]
fn a_server_that_keeps_dying_is_left_alone() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().fake(&["die", "7"]).start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    visitor.get("/hub/spawn");
    let user = format!("/hub/api/users/{}", account.name);
    let mut lives = BTreeSet::new();
    wait_until("three lives", 2 * PATIENCE, || {
        lives.extend(site.servers());
        lives.len() == 3
    });
    wait_until("it is left alone", PATIENCE, || {
        lives.extend(site.servers());
        let user = visitor.api("GET", &user, "").json();
        user["server"].is_null() && user["pending"].is_null() && site.servers().is_empty()
    });
    assert_eq!(lives.len(), 3, "the third death within five minutes is the last");
    let page = visitor.get(&format!("/hub/spawn-pending/{}", account.name)).words();
    assert!(page.contains("status 7"), "{page}");
}
