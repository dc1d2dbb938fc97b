//! Backups, the way back, and what a hub that is killed at a commit has lost: nothing.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{
        Account, PATIENCE, Plan, Site, Visitor,
        scale::{promise, scaled},
        wait_until,
    },
};

/// Runs the command line beside a hub's, with that one's configuration.
fn jovis(file: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jovis"));
    command.arg("-f").arg(file).args(words).output().expect("the binary is built")
}

/// What it said, if it went well.
fn said(output: &Output) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {out}{err}", output.status);
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The checksum in the words of `jovis restore`.
fn checksum(words: &str) -> String {
    let line = words.lines().find(|line| line.contains("checksum")).expect("it names one");
    line.split_whitespace().last().expect("it does").to_owned()
}

/// Makes a token: its number and its secret.
fn issue(visitor: &mut Visitor, path: &str) -> Option<(String, String)> {
    let token = visitor.cookie("_xsrf", "/hub/").unwrap_or_default();
    let headers = [("X-Xsrftoken", token.as_str()), ("Content-Type", "application/json")];
    let answer = visitor.send("POST", path, &headers, br#"{"note": "kept"}"#).ok()?;
    if answer.status != 201 {
        assert!(matches!(answer.status, 502..=504), "{}: {}", answer.status, answer.text());
        return None;
    }
    let word = |name: &str| answer.json()[name].as_str().expect("it has one").to_owned();
    Some((word("id"), word("token")))
}

/// The numbers of this user's tokens, by the API.
fn listed(visitor: &mut Visitor, path: &str) -> BTreeSet<String> {
    let answer = visitor.api("GET", path, "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let tokens = answer.json()["api_tokens"].as_array().expect("a list").clone();
    tokens.iter().map(|it| it["id"].as_str().expect("an id").to_owned()).collect()
}

fn stop(site: &mut Site) {
    site.signal(Signal::SIGTERM);
    assert!(site.ended(PATIENCE).success());
}

#[test]
fn row_53_a_backup_restored_on_another_machine_holds_the_same() {
    as_root!();
    let (account, other_hub) = (Account::make(), Account::make());
    let mut here = Plan::quick().start();
    let mut visitor = here.visitor();
    visitor.sign_in(&account);
    let path = format!("/hub/api/users/{}/tokens", account.name);
    let made: Vec<_> = (0..30).map(|_| issue(&mut visitor, &path).expect("it is made")).collect();
    stop(&mut here);
    let backup = here.folder().join("it.backup");
    let name = backup.to_str().expect("a plain path");
    let written = said(&jovis(&here.file, &["backup", name]));
    assert!(written.contains("1 users"), "{written}");
    let again = jovis(&here.file, &["backup", name]);
    assert!(!again.status.success() && text(&again.stderr).contains("is there already"));
    let verified = said(&jovis(&here.file, &["restore", "--verify", name]));
    let state = here.state_dir();
    let of_store = said(&jovis(&here.file, &["restore", "--verify", state.to_str().unwrap()]));
    assert_eq!(checksum(&verified), checksum(&of_store), "the backup is the store");

    // Another machine: its own folder, its own account for the hub, its own key for cookies.
    let mut there = Plan::quick().set("root.hub_user", &format!("{:?}", other_hub.name)).prepare();
    let begun = Instant::now();
    said(&jovis(&there.file, &["restore", name]));
    let took = begun.elapsed();
    there.start();
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(there.state_dir()).unwrap());
    assert_eq!(owner, other_hub.uid);
    for (_, secret) in &made {
        let token = format!("token {secret}");
        let me = there.visitor().send("GET", "/hub/api/user", &[("Authorization", &token)], b"");
        assert_eq!(me.expect("an answer").json()["name"], account.name.as_str());
    }
    let running = jovis(&there.file, &["restore", name]);
    assert!(!running.status.success(), "a running hub's store is left alone");
    assert!(text(&running.stderr).contains("another process has the store"), "{running:?}");
    let mut newcomer = there.visitor();
    newcomer.sign_in(&account);
    assert!(issue(&mut newcomer, &path).is_some(), "it goes on from there");
    stop(&mut there);

    // And back again: what was there stays.
    let told = said(&jovis(&there.file, &["restore", name]));
    assert_eq!(checksum(&told), checksum(&verified));
    let aside = told.lines().last().and_then(|line| line.split(' ').next_back()).expect("a folder");
    let kept = said(&jovis(&there.file, &["restore", "--verify", aside]));
    assert_ne!(checksum(&kept), checksum(&verified));
    let now = there.state_dir();
    let now = said(&jovis(&there.file, &["restore", "--verify", now.to_str().unwrap()]));
    assert_eq!(checksum(&now), checksum(&verified));
    there.start();
    println!("row 53: {} tokens restored on another machine, same checksum, {took:?}", made.len());
}

#[test]
fn row_53_a_running_hub_is_backed_up_and_nobody_waits() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    let path = format!("/hub/api/users/{}/tokens", account.name);
    let before: Vec<_> = (0..50).map(|_| issue(&mut visitor, &path).expect("it is made")).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (stop, path, mut visitor) = (stop.clone(), path.clone(), visitor.clone());
        thread::spawn(move || {
            let (mut slowest, mut made) = (Duration::ZERO, 0);
            while !stop.load(Ordering::Acquire) {
                let begun = Instant::now();
                issue(&mut visitor, &path).expect("it is made");
                slowest = slowest.max(begun.elapsed());
                made += 1;
            }
            (slowest, made)
        })
    };
    let backup = site.folder().join("it.backup");
    let name = backup.to_str().expect("a plain path");
    let begun = Instant::now();
    let written = said(&jovis(&site.file, &["backup", name]));
    let took = begun.elapsed();
    stop.store(true, Ordering::Release);
    let (slowest, meanwhile) = writer.join().expect("every change was made");
    assert!(slowest < promise(Duration::from_secs(1)), "{slowest:?}");
    site.hub().kill();
    let verified = said(&jovis(&site.file, &["restore", "--verify", name]));
    assert!(written.contains("1 users") && verified.contains("whole and undamaged"), "{verified}");

    let mut there = Plan::quick().prepare();
    said(&jovis(&there.file, &["restore", name]));
    there.start();
    for (_, secret) in &before {
        let token = format!("token {secret}");
        let me = there.visitor().send("GET", "/hub/api/user", &[("Authorization", &token)], b"");
        assert_eq!(me.expect("an answer").status, 200);
    }
    println!(
        "row 53: backed up in {took:?}; slowest of {meanwhile} changes meanwhile {slowest:?}; all {} restored",
        before.len()
    );
}

#[test]
fn row_53_a_damaged_backup_is_refused_and_changes_nothing() {
    as_root!();
    let mut site = Plan::quick().start();
    stop(&mut site);
    let (backup, state) = (site.folder().join("it.backup"), site.state_dir());
    let (name, store) = (backup.to_str().unwrap(), state.to_str().unwrap());
    said(&jovis(&site.file, &["backup", name]));
    let before = checksum(&said(&jovis(&site.file, &["restore", "--verify", store])));
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() - 20;
    bytes[middle] ^= 1;
    fs::write(&backup, bytes).unwrap();
    for words in [&["restore", "--verify", name][..], &["restore", name]] {
        let refused = jovis(&site.file, words);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("is no backup"), "{}", text(&refused.stderr));
    }
    assert_eq!(checksum(&said(&jovis(&site.file, &["restore", "--verify", store]))), before);
    site.start();
}

#[test]
fn row_02_a_hub_killed_at_any_commit_of_its_store_has_lost_nothing() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    let path = format!("/hub/api/users/{}/tokens", account.name);
    let mut acknowledged = BTreeSet::new();
    let (mut kills, mut slowest) = (0, Duration::ZERO);
    for nth in 1..=scaled(2, 20) {
        for point in ["store:before:append", "store:after:append"] {
            let hub = site.hub();
            site.arm(&format!("{point} kill {nth}"));
            let begun = Instant::now();
            while hub.lives() {
                acknowledged.extend(issue(&mut visitor, &path).map(|(id, _)| id));
                assert!(begun.elapsed() < PATIENCE, "{point} was not passed {nth} times");
            }
            let killed = Instant::now();
            wait_until("another hub answers", PATIENCE, || {
                site.visitor().send("GET", "/hub/api", &[], b"").is_ok_and(|it| it.status == 200)
            });
            slowest = slowest.max(killed.elapsed());
            kills += 1;
            let there = listed(&mut visitor, &path);
            assert_eq!(acknowledged.difference(&there).count(), 0, "{point} {nth}");
        }
    }
    println!(
        "row 2: {kills} kills at commits, {} acknowledged, 0 lost, back within {slowest:?}",
        acknowledged.len()
    );
}
