//! SIGHUP: a right hub.ron takes effect, a wrong one changes nothing.

use std::{fs, path::Path, process::Command};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, Site, wait_until},
};

/// Changes hub.ron so, and says SIGHUP. The place in the log where that begins.
fn reload(site: &Site, from: &str, to: &str) -> usize {
    let text = fs::read_to_string(&site.file).expect("it is ours");
    assert!(text.contains(from), "{text}");
    fs::write(&site.file, text.replace(from, to)).expect("it is ours");
    let mark = site.log.mark();
    site.signal(Signal::SIGHUP);
    mark
}

#[test]
fn a_wrong_file_changes_nothing_and_is_told_in_full() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().set("auth.blocked_users", "[]").start();
    let ours = [site.hub(), site.proxy()];
    let wrong =
        format!("blocked_users: [{:?}], admin_users: [\"a/b\"], alow_all: true", account.name);
    let mark = reload(&site, "blocked_users: []", &wrong);
    site.log.event(mark, "reload refused", PATIENCE);
    let findings: String = site.log.since(mark).iter().map(|line| line.raw.clone()).collect();
    assert!(findings.contains("alow_all"), "{findings}");
    assert_eq!([site.hub(), site.proxy()], ours);
    site.visitor().sign_in(&account);
}

#[test]
fn each_finding_is_told() {
    as_root!();
    let site = Plan::quick().set("log.level", r#""debug""#).set("hub.ssl_key", r#""""#).start();
    let wrong = r#"ssl_key: "/no/such/key", ssl_cert: "/no/such/certificate""#;
    reload(&site, "level: \"debug\"", "level: \"deafening\"");
    let mark = reload(&site, r#"ssl_key: """#, wrong);
    site.log.event(mark, "reload refused", PATIENCE);
    for part in ["deafening", "/no/such/key", "/no/such/certificate"] {
        let told = site.log.find(mark, PATIENCE, |line| {
            line.is("setting rejected") && line.text("finding").is_some_and(|it| it.contains(part))
        });
        assert!(told.is_some(), "{part}: {}", site.log.tail(10));
    }
}

#[test]
fn a_right_file_takes_effect_in_all_roles() {
    as_root!();
    let (kept, blocked) = (Account::make(), Account::make());
    let site = Plan::quick().set("auth.blocked_users", "[]").start();
    let ours = [site.hub(), site.proxy()];
    site.visitor().sign_in(&blocked);
    let mark = reload(&site, "blocked_users: []", &format!("blocked_users: [{:?}]", blocked.name));
    let told = site.log.event(mark, "configuration reloaded", PATIENCE);
    assert_eq!(told.text("applied").as_deref(), Some("auth.blocked_users"));
    wait_until("the hub has it", PATIENCE, || {
        site.visitor().sign_in_as(&blocked.name, &blocked.password).status == 403
    });
    site.visitor().sign_in(&kept);

    let mark = reload(&site, "\"debug\"", "\"error\"");
    wait_until("nobody tells of requests any more", PATIENCE, || {
        let before = site.log.mark();
        assert_eq!(site.visitor().get("/hub/api").status, 200);
        site.log.find(before, std::time::Duration::from_millis(300), |_| true).is_none()
    });
    assert!(site.log.since(mark).iter().all(|line| !line.is("reload refused")));
    assert_eq!([site.hub(), site.proxy()], ours);
}

#[test]
fn what_waits_for_a_restart_is_named_and_stays() {
    as_root!();
    let site = Plan::quick().set("hub.base_url", r#""/""#).start();
    let mark = reload(&site, r#"base_url: "/""#, r#"base_url: "/elsewhere/""#);
    let told = site.log.event(mark, "setting needs restart", PATIENCE);
    assert_eq!(told.text("setting").as_deref(), Some("hub.base_url"));
    wait_until("the hub has heard of it", PATIENCE, || {
        site.log.since(mark).iter().any(|line| line.is("new settings taken on"))
    });
    assert_eq!(site.visitor().get("/hub/api").status, 200);
}

fn certificate(folder: &Path, name: &str) {
    let path = |end: &str| folder.join(format!("{name}.{end}")).display().to_string();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-days", "2", "-keyout", &path("key"), "-out", &path("pem")])
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The name in the certificate that is shown to visitors.
fn shown(site: &Site) -> String {
    let asked = Command::new("openssl")
        .args(["s_client", "-connect", &site.public.to_string()])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    let subject = text.lines().find_map(|line| line.strip_prefix("subject="));
    subject.unwrap_or_default().replace([' ', '/'], "")
}

#[test]
fn a_new_certificate_in_the_same_place_is_shown() {
    as_root!();
    let mut site = Plan::quick()
        .set("hub.ssl_cert", r#""FOLDER/one.pem""#)
        .set("hub.ssl_key", r#""FOLDER/one.key""#)
        .prepare();
    certificate(site.folder(), "one");
    site.start();
    assert_eq!(shown(&site), "CN=one");
    certificate(site.folder(), "two");
    for end in ["pem", "key"] {
        let (new, old) = (format!("two.{end}"), format!("one.{end}"));
        fs::rename(site.folder().join(new), site.folder().join(old)).expect("the folder is ours");
    }
    site.signal(Signal::SIGHUP);
    wait_until("the new one is shown", PATIENCE, || shown(&site) == "CN=two");
}
