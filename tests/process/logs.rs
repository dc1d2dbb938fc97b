//! Where the log goes, and what never stands in it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, scale, wait_until},
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

/// A small volume of its own, unmounted when dropped.
struct Volume(PathBuf);

impl Volume {
    fn mount(at: &Path, size: &str) -> Self {
        fs::create_dir(at).expect("the folder is ours");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "tmpfs"])
            .arg(at)
            .status();
        assert!(mounted.expect("mount is everywhere").success());
        Self(at.to_owned())
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a hub that a failed test left behind may still have the log open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn row_13_a_full_log_volume_harms_nothing_but_the_log() {
    as_root!();
    let account = Account::make();
    let mut site = Plan::quick().set("log.file", r#""FOLDER/hub/log/jovis""#).prepare();
    let folder = site.file.with_file_name("log");
    let volume = Volume::mount(&folder, "256k");
    site.launch();
    let mut visitor = site.visitor();
    wait_until("it serves", PATIENCE, || {
        visitor.send("GET", "/hub/api", &[], b"").is_ok_and(|answer| answer.status == 200)
    });
    let mut visitor = with_server(&site, &account);
    let ours = [site.root(), site.hub(), site.proxy(), site.server()];
    let ballast = folder.join("ballast");
    // Fills up what is left, whatever its size.
    let _ = fs::write(&ballast, vec![0; 1 << 20]);
    assert!(fs::write(folder.join("more"), [0; 5000]).is_err(), "the volume is full");
    for round in 0..20 {
        assert_eq!(visitor.get("/hub/home").status, 200, "round {round}");
        assert_eq!(visitor.get(&format!("/user/{}/api", account.name)).status, 200);
    }
    let made = visitor.api("POST", &format!("/hub/api/users/{}/tokens", account.name), "{}");
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(site.visitor().sign_in_as(&account.name, &account.password).status, 302);
    assert_eq!([site.root(), site.hub(), site.proxy(), site.server()], ours);
    fs::remove_file(&ballast).expect("it is there");
    let _ = fs::remove_file(folder.join("more"));
    let log = || fs::read_to_string(folder.join("jovis")).unwrap_or_default();
    wait_until("it says what is missing", PATIENCE, || {
        visitor.get("/hub/api");
        log().contains("log lines dropped")
    });
    let lost = log().lines().filter(|line| line.contains("log lines dropped")).count();
    println!("row 13: {lost} notes of lost lines, nothing else noticed");
    drop(site);
    drop(volume);
}

#[test]
fn row_54_a_reader_that_stands_still_blocks_nobody() {
    as_root!();
    let account = Account::make();
    let mut site = Plan::quick().set("log.level", r#""debug""#).prepare();
    // A pipe that somebody holds and nobody reads is full after 64 KiB.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    site.launch_into(writer.into());
    let mut visitor = site.visitor();
    wait_until("it serves", PATIENCE, || {
        visitor.send("GET", "/hub/api", &[], b"").is_ok_and(|answer| answer.status == 200)
    });
    let mut visitor = with_server(&site, &account);
    let ours = [site.root(), site.hub(), site.proxy(), site.server()];
    let began = Instant::now();
    let rounds = scale::scaled(2600, 10_000);
    for _ in 0..rounds {
        assert_eq!(visitor.get("/hub/api").status, 200);
    }
    println!(
        "row 54: {rounds} requests in {:?} beside a reader that stands still",
        began.elapsed()
    );
    // Root writes too: it starts and ends things.
    site.signal(Signal::SIGHUP);
    let made = visitor.api("DELETE", &format!("/hub/api/users/{}/server", account.name), "");
    assert!(matches!(made.status, 202 | 204), "{}", made.text());
    wait_until("the server has ended", PATIENCE, || site.servers().is_empty());
    assert_eq!([site.root(), site.hub(), site.proxy()], ours[..3]);
    // Now somebody reads: it says that lines are missing, and goes on.
    site.log.read(reader);
    wait_until("it says what is missing", PATIENCE, || {
        visitor.get("/hub/api");
        site.log.since(0).iter().any(|line| line.is("log lines dropped"))
    });
    let mark = site.log.mark();
    visitor.get("/hub/api");
    site.log.event(mark, "request answered", PATIENCE);
}
