//! Who may sign in: lists of the configuration, and people who are added and removed while it runs.

use crate::{
    as_root,
    support::{PATIENCE, Plan, Site, Visitor, wait_until},
};

const PASSWORD: &str = "a password for everybody";

/// The list lets ann in; boss administrates. Nobody needs an account here.
fn site() -> Site {
    Plan::crowd()
        .set("auth.class", &format!("Dummy(password: {PASSWORD:?})"))
        .set("auth.allowed_users", r#"["ann"]"#)
        .set("auth.admin_users", r#"["boss", "vice"]"#)
        .set("auth.blocked_users", r#"["eve"]"#)
        .start()
}

fn signs_in(site: &Site, name: &str) -> u16 {
    site.visitor().sign_in_as(name, PASSWORD).status
}

fn boss(site: &Site) -> Visitor {
    let mut visitor = site.visitor();
    assert_eq!(visitor.sign_in_as("boss", PASSWORD).status, 302, "always: an administrator");
    visitor.get("/hub/home");
    visitor
}

#[test]
fn people_who_are_added_may_sign_in_until_they_are_removed() {
    as_root!();
    let site = site();
    assert_eq!(signs_in(&site, "tom"), 403, "on no list");
    let mut boss = boss(&site);
    for name in ["tom", "eve"] {
        let made = boss.api("POST", &format!("/hub/api/users/{name}"), "{}");
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let mut tom = site.visitor();
    assert_eq!(tom.sign_in_as("tom", PASSWORD).status, 302);
    assert_eq!(signs_in(&site, "eve"), 403, "blocked, and added all the same");
    assert_eq!(tom.get("/hub/home").status, 200);
    let gone = boss.api("DELETE", "/hub/api/users/tom", "");
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert_eq!(tom.get("/hub/home").status, 302, "a session ends with its user");
    assert_eq!(signs_in(&site, "tom"), 403);
}

#[test]
fn whom_the_file_lets_in_comes_back_and_the_log_says_why() {
    as_root!();
    let site = site();
    assert_eq!(signs_in(&site, "ann"), 302);
    let mut boss = boss(&site);
    assert_eq!(boss.api("DELETE", "/hub/api/users/ann", "").status, 204);
    let told = site.log.event(0, "deleted user may return", PATIENCE);
    assert_eq!(told.text("user").as_deref(), Some("ann"));
    assert_eq!(told.text("setting").as_deref(), Some("auth.allowed_users"));
    assert_eq!(signs_in(&site, "ann"), 302);
}

#[test]
fn administrators_of_the_file_are_there_from_the_first_start() {
    as_root!();
    let site = site();
    let mut boss = boss(&site);
    let vice = boss.api("GET", "/hub/api/users/vice", "");
    assert_eq!(vice.status, 200, "{}", vice.text());
    assert_eq!(vice.json()["admin"], true, "who has never signed in");
    assert_eq!(boss.api("GET", "/hub/api/users/ann", "").status, 404, "an allow list makes nobody");
}

/// What is put there by request (`auth_state`) is sealed and durable when the answer comes, and stands in no log.
#[test]
fn what_is_put_about_a_user_outlives_the_hub_and_lies_sealed() {
    as_root!();
    const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const STATE: &str = r#"{"auth_state": {"token": "a-word-nobody-else-knows"}}"#;
    let mut site = Plan::crowd()
        .set("auth.class", &format!("Dummy(password: {PASSWORD:?})"))
        .set("auth.admin_users", r#"["boss"]"#)
        .set("auth.enable_auth_state", "true")
        .prepare();
    site.variables.push(("JUPYTERHUB_CRYPT_KEY", KEY.to_owned()));
    site.start();
    let mut boss = boss(&site);
    let tom = "/hub/api/users/tom";
    assert_eq!(boss.api("POST", tom, "{}").status, 201);
    let set = boss.api("PATCH", tom, STATE);
    let hub = site.hub();
    hub.kill();
    assert_eq!(set.status, 200, "{}", set.text());
    let another = || site.role("@hub").is_some_and(|now| now != hub);
    wait_until("there is another hub", PATIENCE, another);
    let told = boss.api("GET", tom, "").json();
    assert_eq!(told["auth_state"]["token"], "a-word-nobody-else-knows", "{told:#}");
    let mut grep = std::process::Command::new("grep");
    let found = grep.args(["-rqF", "a-word-nobody-else-knows"]).arg(site.state_dir()).status();
    assert_eq!(found.expect("it is there").code(), Some(1), "it stands in the store");
    assert!(!site.log.tail(usize::MAX).contains("a-word-nobody-else-knows"));
}
