//! Backups, the way back, and what a hub that is killed at a commit has lost: nothing.

use std::{
    collections::BTreeSet,
    fs,
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
        Account, PATIENCE, Plan, Site, Visitor, done,
        ledger::{issue, listed, tokens_of},
        said,
        scale::{promise, scaled},
        wait_until,
    },
};

/// The checksum in the words of `jovis restore`.
fn checksum(words: &str) -> String {
    let line = words.lines().find(|line| line.contains("checksum")).expect("it names one");
    line.split_whitespace().last().expect("it does").to_owned()
}

/// A token that was acknowledged: its number and its secret.
fn issued(visitor: &mut Visitor, path: &str) -> Option<(String, String)> {
    issue(visitor, path)
        .map_err(|answer| {
            let promised = answer.is_none_or(|answer| matches!(answer.status, 502..=504));
            assert!(promised, "an answer that is none");
        })
        .ok()
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
    let path = tokens_of(&account);
    let made: Vec<_> = (0..30).map(|_| issued(&mut visitor, &path).expect("it is made")).collect();
    stop(&mut here);
    let backup = here.folder().join("it.backup");
    let name = backup.to_str().expect("a plain path");
    let written = done(&here.jovis(&["backup", name]));
    assert!(written.contains("1 users"), "{written}");
    let again = here.jovis(&["backup", name]);
    assert!(!again.status.success() && said(&again).contains("is there already"));
    let verified = done(&here.jovis(&["restore", "--verify", name]));
    let state = here.state_dir();
    let of_store = done(&here.jovis(&["restore", "--verify", state.to_str().unwrap()]));
    assert_eq!(checksum(&verified), checksum(&of_store), "the backup is the store");

    // Another machine: its own folder, its own account for the hub, its own key for cookies.
    let mut there = Plan::quick().set("root.hub_user", &format!("{:?}", other_hub.name)).prepare();
    let begun = Instant::now();
    done(&there.jovis(&["restore", name]));
    let took = begun.elapsed();
    there.start();
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(there.state_dir()).unwrap());
    assert_eq!(owner, other_hub.uid);
    for (_, secret) in &made {
        let token = format!("token {secret}");
        let me = there.visitor().send("GET", "/hub/api/user", &[("Authorization", &token)], b"");
        assert_eq!(me.expect("an answer").json()["name"], account.name.as_str());
    }
    let running = there.jovis(&["restore", name]);
    assert!(!running.status.success(), "a running hub's store is left alone");
    assert!(said(&running).contains("another process has the store"), "{running:?}");
    let mut newcomer = there.visitor();
    newcomer.sign_in(&account);
    assert!(issued(&mut newcomer, &path).is_some(), "it goes on from there");
    stop(&mut there);

    // And back again: what was there stays.
    let told = done(&there.jovis(&["restore", name]));
    assert_eq!(checksum(&told), checksum(&verified));
    let aside = told.lines().last().and_then(|line| line.split(' ').next_back()).expect("a folder");
    let kept = done(&there.jovis(&["restore", "--verify", aside]));
    assert_ne!(checksum(&kept), checksum(&verified));
    let now = there.state_dir();
    let now = done(&there.jovis(&["restore", "--verify", now.to_str().unwrap()]));
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
    let path = tokens_of(&account);
    let before: Vec<_> =
        (0..50).map(|_| issued(&mut visitor, &path).expect("it is made")).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (stop, path, mut visitor) = (stop.clone(), path.clone(), visitor.clone());
        thread::spawn(move || {
            let (mut slowest, mut made) = (Duration::ZERO, 0);
            while !stop.load(Ordering::Acquire) {
                let begun = Instant::now();
                issued(&mut visitor, &path).expect("it is made");
                slowest = slowest.max(begun.elapsed());
                made += 1;
            }
            (slowest, made)
        })
    };
    let backup = site.folder().join("it.backup");
    let name = backup.to_str().expect("a plain path");
    let begun = Instant::now();
    let written = done(&site.jovis(&["backup", name]));
    let took = begun.elapsed();
    stop.store(true, Ordering::Release);
    let (slowest, meanwhile) = writer.join().expect("every change was made");
    assert!(slowest < promise(Duration::from_secs(1)), "{slowest:?}");
    site.hub().kill();
    let verified = done(&site.jovis(&["restore", "--verify", name]));
    assert!(written.contains("1 users") && verified.contains("whole and undamaged"), "{verified}");

    let mut there = Plan::quick().prepare();
    done(&there.jovis(&["restore", name]));
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
    done(&site.jovis(&["backup", name]));
    let before = checksum(&done(&site.jovis(&["restore", "--verify", store])));
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() - 20;
    bytes[middle] ^= 1;
    fs::write(&backup, bytes).unwrap();
    for words in [&["restore", "--verify", name][..], &["restore", name]] {
        let refused = site.jovis(words);
        assert_eq!(refused.status.code(), Some(1));
        assert!(said(&refused).contains("is no backup"), "{}", said(&refused));
    }
    assert_eq!(checksum(&done(&site.jovis(&["restore", "--verify", store]))), before);
    site.start();
}

#[test]
fn row_02_a_hub_killed_at_any_commit_of_its_store_has_lost_nothing() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    let path = tokens_of(&account);
    let mut acknowledged = BTreeSet::new();
    let (mut kills, mut slowest) = (0, Duration::ZERO);
    for nth in 1..=scaled(2, 20) {
        for point in ["store:before:append", "store:after:append"] {
            let hub = site.hub();
            site.arm(&format!("{point} kill {nth}"));
            let begun = Instant::now();
            while hub.lives() {
                acknowledged.extend(issued(&mut visitor, &path).map(|(id, _)| id));
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
