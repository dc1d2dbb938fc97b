//! Accounts of the machine, made when their people first come.

use std::{collections::BTreeSet, os::unix::fs::MetadataExt, thread};

use serde_json::json;

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, Site, Visitor},
    wait_for_server,
};

const PASSWORD: &str = "a password for everybody";

/// Anybody may sign in, and servers run as their users.
fn plan() -> Plan {
    Plan::quick().set("auth.class", &format!("Dummy(password: {PASSWORD:?})"))
}

fn making() -> Plan {
    plan().set("auth.create_system_users", "true")
}

impl Plan {
    fn run_by(self, boss: &Account) -> Self {
        self.set("auth.admin_users", &format!("[{:?}]", boss.name))
    }
}

/// The administrator, signed in.
fn signed_in(site: &Site, boss: &Account) -> Visitor {
    let mut visitor = site.visitor();
    let answer = visitor.sign_in_as(&boss.name, PASSWORD);
    assert_eq!(answer.status, 302, "{}", answer.words());
    visitor.get("/hub/home");
    visitor
}

#[test]
fn who_comes_first_gets_an_account_and_a_server_that_runs_as_it() {
    as_root!();
    let mut ann = Account::to_come();
    let site = making().start();
    let mut visitor = site.visitor();
    let answer = visitor.sign_in_as(&ann.name, PASSWORD);
    assert_eq!(answer.status, 302, "{}", answer.words());
    assert!(ann.came());
    assert!(ann.uid >= 1000, "{}", ann.uid);
    let home = ann.home.metadata().unwrap();
    assert_eq!((home.uid(), home.mode() & 0o7777), (ann.uid, 0o700));
    let made = site.log.event(0, "account made", PATIENCE);
    assert_eq!(made.text("user").as_ref(), Some(&ann.name));
    let shadow = std::fs::read_to_string("/etc/shadow").unwrap();
    let locked = format!("{}:!", ann.name);
    assert!(shadow.lines().any(|line| line.starts_with(&locked)), "it has no password");
    visitor.get("/hub/spawn");
    wait_for_server(&mut visitor, &ann);
    assert_eq!(site.server().ids("Uid"), [ann.uid; 4]);
    assert_eq!(site.server().ids("Gid"), [ann.gid; 4]);
    // Once more: it is there, and nothing is made.
    let mark = site.log.mark();
    assert_eq!(site.visitor().sign_in_as(&ann.name, PASSWORD).status, 302);
    assert!(!site.log.since(mark).iter().any(|line| line.is("account made")));
}

#[test]
fn users_that_an_administrator_adds_get_accounts_too() {
    as_root!();
    let [boss, mut ann, mut tom, mut listed] = [(); 4].map(|()| Account::to_come());
    let list = format!("[(name: \"class\", users: [{:?}], scopes: Some([\"self\"]))]", listed.name);
    let site = making()
        .run_by(&boss)
        .set("auth.uids", &format!("{{{:?}: 23456}}", ann.name))
        .set("auth.home_mode", "\"0750\"")
        .set(
            "auth.add_user_cmd",
            r#"["/usr/sbin/useradd", "--create-home", "--comment", "Here as USERNAME"]"#,
        )
        .set("roles", &list)
        .start();
    let mut visitor = signed_in(&site, &boss);
    let made = visitor.api("POST", &format!("/hub/api/users/{}", ann.name), "{}");
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(ann.came());
    assert_eq!(ann.uid, 23456);
    assert_eq!(ann.home.metadata().unwrap().mode() & 0o7777, 0o750);
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    assert!(passwd.contains(&format!(":Here as {}:", ann.name)));
    let several = json!({"usernames": [tom.name, ann.name]}).to_string();
    let made = visitor.api("POST", "/hub/api/users", &several);
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(tom.came() && !listed.came());
    // Whom the configuration has made a user gets it with the first server.
    let started = visitor.api("POST", &format!("/hub/api/users/{}/server", listed.name), "");
    assert!(matches!(started.status, 201 | 202), "{}", started.text());
    assert!(listed.came());
    assert_eq!(site.server().ids("Uid"), [listed.uid; 4]);
    // The user goes, the account stays.
    let gone = visitor.api("DELETE", &format!("/hub/api/users/{}", tom.name), "");
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert!(tom.came() && tom.home.is_dir());
}

#[test]
fn a_hundred_new_people_at_once_get_an_account_each() {
    as_root!();
    let mut people: Vec<_> = (0..100).map(|_| Account::to_come()).collect();
    let site = making().start();
    thread::scope(|scope| {
        // The first ten twice: by two browsers at once.
        for one in people.iter().chain(&people[..10]) {
            let site = &site;
            scope.spawn(move || {
                let answer = site.visitor().sign_in_as(&one.name, PASSWORD);
                assert_eq!(answer.status, 302, "{}: {}", one.name, answer.words());
            });
        }
    });
    let uids: BTreeSet<u32> =
        people.iter_mut().map(|it| if it.came() { it.uid } else { 0 }).collect();
    assert!(uids.len() == 100 && uids.iter().all(|uid| *uid >= 1000), "{uids:?}");
    let made = site.log.since(0).iter().filter(|line| line.is("account made")).count();
    assert_eq!(made, 100);
}

#[test]
fn without_an_account_nobody_new_comes_in_and_hears_why() {
    as_root!();
    let [boss, mut ann] = [(); 2].map(|()| Account::to_come());
    let site = plan().run_by(&boss).start();
    let answer = site.visitor().sign_in_as(&ann.name, PASSWORD);
    assert_eq!(answer.status, 403);
    let words = answer.words();
    assert!(
        words.contains(&format!("There is no account {} on this machine", ann.name)),
        "{words}"
    );
    let told = site.log.event(0, "user has no account", PATIENCE);
    assert_eq!(told.text("user").as_ref(), Some(&ann.name));
    assert!(told.text("error").unwrap().contains("auth.create_system_users"), "{told:?}");
    // The one who administrates may have none, but no server either.
    let mut visitor = signed_in(&site, &boss);
    let refused = visitor.api("POST", &format!("/hub/api/users/{}", ann.name), "{}");
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("auth.create_system_users"), "{}", refused.text());
    let started = visitor.api("POST", &format!("/hub/api/users/{}/server", boss.name), "");
    assert!(started.status >= 400, "{}", started.status);
    assert!(
        started.text().contains(&format!("no account {} on this machine", boss.name)),
        "{}",
        started.text()
    );
    // Made by hand, it counts from then on.
    let hand = Account::make();
    assert_eq!(site.visitor().sign_in_as(&hand.name, PASSWORD).status, 302);
    assert!(!ann.came());
}

#[test]
fn names_of_the_system_and_strange_ones_get_no_account() {
    as_root!();
    let site = making().start();
    let names = ["daemon", "a.b", "x y", "0x", &"x".repeat(33)];
    for name in names {
        let answer = site.visitor().sign_in_as(name, PASSWORD);
        assert_eq!(answer.status, 403, "{name}");
        assert!(
            answer.words().contains("nobody can have an account"),
            "{name}: {}",
            answer.words()
        );
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    for name in &names[1..] {
        assert!(!passwd.contains(&format!("\n{name}:")), "{name}");
    }
    assert!(!site.log.since(0).iter().any(|line| line.is("account made")));
}

#[test]
fn a_command_that_fails_lets_nobody_in_and_says_so() {
    as_root!();
    let [boss, mut ann] = [(); 2].map(|()| Account::to_come());
    let command = r#"["/usr/sbin/useradd", "--no-such"]"#;
    let site = making().run_by(&boss).set("auth.add_user_cmd", command).start();
    let answer = site.visitor().sign_in_as(&ann.name, PASSWORD);
    assert_eq!(answer.status, 503, "{}", answer.words());
    assert!(answer.words().contains("could not be made"), "{}", answer.words());
    let told = site.log.event(0, "account not looked after", PATIENCE);
    assert!(told.text("error").unwrap().contains("no-such"), "{told:?}");
    assert!(!ann.came());
    let mut visitor = signed_in(&site, &boss);
    let path = format!("/hub/api/users/{}", ann.name);
    assert_eq!(visitor.api("GET", &path, "").status, 404, "no user is left");
}
