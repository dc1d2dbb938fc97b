//! Where the log goes, and what never stands in it.

use std::{
    fs,
    io::{BufRead, BufReader},
};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, wait_until},
    wait_for_server, with_server,
};

#[test]
fn every_role_writes_to_the_file_and_to_the_new_one_after_sighup() {
    as_root!();
    let mut site = Plan::quick().set("log.file", r#""FOLDER/hub/log""#).prepare();
    let (file, old) = (site.file.with_file_name("log"), site.file.with_file_name("log.1"));
    let roles = |text: &str| {
        ["root", "hub", "proxy"].iter().all(|role| text.contains(&format!(r#""role":"{role}""#)))
    };
    let text = || fs::read_to_string(&file).unwrap_or_default();
    site.launch();
    wait_until("it is ready", PATIENCE, || text().contains("jovis is ready"));
    wait_until("all roles write", PATIENCE, || roles(&text()));
    fs::rename(&file, &old).expect("the folder is ours");
    site.signal(Signal::SIGHUP);
    wait_until("all roles write to the new file", PATIENCE, || roles(&text()));
    let before = fs::read_to_string(&old).expect("it is there");
    assert_eq!(site.visitor().get("/hub/api").status, 200);
    wait_until("what is new stands in the new file", PATIENCE, || text().contains("/hub/api"));
    let after = fs::read_to_string(&old).expect("it is there");
    assert_eq!(before, after, "somebody still writes to the old file");
    // Who is started later writes there too.
    let hub = site.hub();
    hub.kill();
    let booted = || text().lines().any(|line| line.contains("hub boots"));
    wait_until("the next hub writes to the new file", PATIENCE, booted);
    assert_eq!(site.log.tail(5), "", "nothing on standard error");
}

#[test]
fn no_secret_is_in_the_log_of_a_whole_round() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    // The form token of who is signed in comes with a page.
    visitor.get("/hub/home");
    let user = format!("/hub/api/users/{}", account.name);
    let made = visitor.api("POST", &format!("{user}/tokens"), r#"{"note": "a round"}"#);
    assert_eq!(made.status, 201, "{}", made.text());
    let token = made.json()["token"].as_str().expect("shown once").to_owned();
    let header = format!("token {token}");
    let me = site.visitor().send("GET", "/hub/api/user", &[("Authorization", &header)], b"");
    assert_eq!(me.expect("an answer").status, 200);
    let query = format!("/hub/api/user?token={token}");
    site.visitor().get(&query);
    assert_eq!(site.visitor().sign_in_as(&account.name, "the wrong Word").status, 403);
    let server = site.server().environment();
    let given = server.iter().find_map(|pair| pair.strip_prefix("JUPYTERHUB_API_TOKEN="));
    let mut secrets = visitor.cookie_values();
    secrets.extend([account.password.clone(), "the wrong Word".to_owned(), token]);
    secrets.push(given.expect("each server has one").to_owned());
    assert!(secrets.len() > 5, "cookies were set");
    assert!(matches!(visitor.api("DELETE", &format!("{user}/server"), "").status, 202 | 204));
    wait_until("it has ended", PATIENCE, || site.servers().is_empty());
    visitor.get("/hub/logout");
    for line in site.log.since(0) {
        for secret in secrets.iter().filter(|secret| secret.len() > 4) {
            assert!(!line.raw.contains(secret), "{secret}: {}", line.raw);
        }
    }
}

#[test]
fn a_reader_that_goes_away_harms_nobody() {
    as_root!();
    let account = Account::make();
    let mut site = Plan::quick().prepare();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    site.launch_into(writer.into());
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).expect("it says something");
    let mut visitor = site.visitor();
    wait_until("it serves", PATIENCE, || {
        visitor.send("GET", "/hub/api", &[], b"").is_ok_and(|answer| answer.status == 200)
    });
    let ours = [site.root(), site.hub(), site.proxy()];
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    visitor.get("/hub/spawn");
    wait_for_server(&mut visitor, &account);
    assert_eq!([site.root(), site.hub(), site.proxy()], ours);
    site.signal(Signal::SIGINT);
    assert!(site.ended(PATIENCE).success());
}
