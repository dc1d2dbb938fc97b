//! Who may sign in by groups of the machine, under which name, and what becomes of those who are blocked.

use std::{fs, process::Command};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, Site, crowd::Crowd, unique, wait_until},
};

/// A group of the machine, for one test.
struct Group(String);

impl Group {
    fn make() -> Self {
        let name = format!("jv{}", unique());
        // The tools lock /etc/group and fail instead of waiting.
        wait_until("the group is made", PATIENCE, || run("groupadd", &name));
        Self(name)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..50 {
            if run("groupdel", &self.0) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

fn run(tool: &str, name: &str) -> bool {
    Command::new(tool).arg(name).output().expect("it is installed").status.success()
}

fn status(site: &Site, account: &Account) -> u16 {
    site.visitor().sign_in_as(&account.name, &account.password).status
}

#[test]
fn groups_of_the_machine_let_in_and_make_administrators_as_they_are_at_each_sign_in() {
    as_root!();
    let (staff, wheel) = (Group::make(), Group::make());
    let [member, chief, stranger] = [Account::make(), Account::make(), Account::make()];
    member.join(&staff.0);
    chief.join(&wheel.0);
    let site = Plan::quick()
        .set("auth.allowed_groups", &format!("[{:?}]", staff.0))
        .set("auth.admin_groups", &format!("[{:?}]", wheel.0))
        .start();
    let admin = |account: &Account| {
        let mut visitor = site.visitor();
        visitor.sign_in(account);
        visitor.api("GET", "/hub/api/user", "").json()["admin"].clone()
    };
    assert_eq!((admin(&member), admin(&chief)), (false.into(), true.into()));
    assert_eq!(status(&site, &stranger), 403);
    site.log.event(0, "user not allowed", PATIENCE);
    stranger.join(&staff.0);
    assert_eq!(status(&site, &stranger), 302, "who has joined may");
    // Who leaves is no administrator any more, and may not enter either.
    let left = Command::new("gpasswd").args(["--delete", &chief.name, &wheel.0]).output();
    assert!(left.expect("it is installed").status.success());
    assert_eq!(status(&site, &chief), 403);
    chief.join(&staff.0);
    assert_eq!(admin(&chief), false);
}

#[test]
fn another_name_of_the_same_account_becomes_the_accounts_own() {
    as_root!();
    let account = Account::make();
    let uid = account.uid.to_string();
    let plan = |class: &str| Plan::quick().set("auth.class", class);
    {
        let alias = Account::with(&["--non-unique", "--uid", &uid, "--no-user-group"]);
        let site = plan("Pam(pam_normalize_username: true)").start();
        let mut visitor = site.visitor();
        visitor.sign_in(&alias);
        let me = visitor.api("GET", "/hub/api/user", "").json();
        assert_eq!(me["name"], account.name.as_str(), "the first name of that number");
    }
}

#[test]
fn servers_of_the_blocked_are_stopped_at_once_and_at_the_start_and_others_adopted() {
    as_root!();
    let mut site =
        Plan::crowd().set("auth.blocked_users", "[]").set("shutdown.servers", "Keep").start();
    let crowd = Crowd::of(&site, "anna", 3);
    crowd.start_all();
    let (first, second, third) =
        (crowd.process("anna-1"), crowd.process("anna-2"), crowd.process("anna-3"));
    let mut out = crowd.browser(&site, "anna-1");
    assert_eq!(out.get("/hub/home").status, 200);
    let block = |site: &Site, names: &str| {
        let text = fs::read_to_string(&site.file).expect("it is ours");
        let line = text.lines().find(|line| line.trim_start().starts_with("blocked_users: "));
        let line = line.expect("it is set").to_owned();
        fs::write(&site.file, text.replace(&line, &format!("        blocked_users: {names},")))
            .expect("it is ours");
    };
    block(&site, r#"["Anna-1"]"#);
    site.signal(Signal::SIGHUP);
    wait_until("the blocked one's has ended", PATIENCE, || crowd.process("anna-1").is_none());
    assert!(first.is_some_and(|process| !process.lives()));
    assert_eq!(out.get("/hub/home").status, 302, "and their session");
    let mine = |name: &str| [("Authorization", crowd.token(name))];
    let may = |site: &Site, name: &str| {
        let headers = mine(name);
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let path = format!("/hub/api/users/{name}");
        site.visitor().send("GET", &path, &headers, b"").expect("an answer").status
    };
    assert_eq!((may(&site, "anna-1"), may(&site, "anna-2")), (403, 200));
    assert_eq!((crowd.process("anna-2"), crowd.process("anna-3")), (second, third));
    // Now while jovis is away.
    site.signal(Signal::SIGTERM);
    assert!(site.ended(PATIENCE).success());
    assert_eq!(crowd.processes().len(), 2, "servers stay");
    block(&site, r#"["anna-1", "anna-2"]"#);
    site.start();
    wait_until("the other blocked one's has ended", PATIENCE, || crowd.process("anna-2").is_none());
    wait_until("the last one answers", PATIENCE, || crowd.answers("anna-3"));
    assert_eq!(crowd.process("anna-3"), third, "adopted, not started anew");
    assert_eq!((may(&site, "anna-2"), may(&site, "anna-3")), (403, 200), "its token is good");
    assert_eq!(crowd.said("anna-3")["ready"], true);
    let answer = site.visitor().sign_in_as("anna-2", "a password for everybody");
    assert_eq!(answer.status, 403);
}
