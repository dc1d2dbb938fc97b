//! What the first two documents of JupyterHub name, each as they say it: files and variables.

use std::{fs, path::Path, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{Account, PATIENCE, Plan, Site, Visitor, wait_until},
};

const MINUTE: Duration = Duration::from_secs(60);

fn again(site: &mut Site) {
    site.signal(Signal::SIGTERM);
    assert!(site.ended(MINUTE).success());
    site.start();
}

fn is_in(visitor: &mut Visitor) -> bool {
    visitor.get("/hub/home").status == 200
}

#[test]
fn deleting_the_cookie_secret_signs_everybody_out() {
    as_root!();
    let account = Account::make();
    let mut site = Plan::quick().set("hub.cookie_secret_file", "\"FOLDER/hub/secret\"").start();
    let file = site.folder().join("hub/secret");
    let first = fs::read(&file).expect("it was made");
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    again(&mut site);
    assert!(is_in(&mut visitor), "a restart signs nobody out");
    site.signal(Signal::SIGTERM);
    assert!(site.ended(MINUTE).success());
    fs::remove_file(&file).expect("it is there");
    site.start();
    assert_ne!(fs::read(&file).expect("there is another"), first);
    assert!(!is_in(&mut visitor), "its cookie is worth nothing now");
    site.visitor().sign_in(&account);
}

#[test]
fn a_cookie_secret_of_1024_bytes_by_the_variable_needs_no_file() {
    as_root!();
    let account = Account::make();
    let mut site = Plan::quick().prepare();
    site.variables.push(("JPY_COOKIE_SECRET", "7c".repeat(1_024)));
    site.start();
    let mut visitor = site.visitor();
    visitor.sign_in(&account);
    again(&mut site);
    assert!(is_in(&mut visitor));
    assert!(!site.folder().join("hub/state/cookie_secret").exists(), "nothing was written down");
    // another secret, other cookies
    site.variables.retain(|(name, _)| *name != "JPY_COOKIE_SECRET");
    site.variables.push(("JPY_COOKIE_SECRET", "7d".repeat(1_024)));
    again(&mut site);
    assert!(!is_in(&mut visitor));
}

#[test]
fn pages_come_from_the_program_alone() {
    as_root!();
    let mut site = Plan::quick().prepare();
    // no node, no npm, no pip, no Python to be found
    site.variables.retain(|(name, _)| *name != "PATH");
    site.variables.push(("PATH", "/nonexistent".to_owned()));
    site.start();
    let mut visitor = site.visitor();
    let page = visitor.get("/hub/login");
    assert_eq!(page.status, 200, "{}", page.words());
    let text = page.text();
    let files: Vec<&str> = text
        .split(['"', '\''])
        .filter(|word| word.starts_with("/hub/static/") && word.len() > "/hub/static/".len())
        .collect();
    assert!(files.len() >= 2, "a style and a script at least: {files:?}");
    for file in files {
        let answer = visitor.get(file);
        assert_eq!(answer.status, 200, "{file}");
        assert!(!answer.text().is_empty(), "{file}");
    }
}

#[test]
fn runtime_files_lie_where_they_are_told_to() {
    as_root!();
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    let mut site = Plan::quick()
        .set("hub.state_dir", "\"FOLDER/runtime/jupyterhub\"")
        .set("hub.cookie_secret_file", "\"FOLDER/runtime/cookie_secret\"")
        .set("hub.ssl_cert", "\"FOLDER/runtime/ssl/ssl.cert\"")
        .set("hub.ssl_key", "\"FOLDER/runtime/ssl/ssl.key\"")
        .prepare();
    let runtime = site.folder().join("runtime");
    fs::create_dir_all(runtime.join("ssl")).expect("the folder is ours");
    for (from, to) in [("cert.pem", "ssl.cert"), ("key.pem", "ssl.key")] {
        fs::copy(tls.join(from), runtime.join("ssl").join(to)).expect("the folder is ours");
    }
    site.start();
    for made in ["jupyterhub", "cookie_secret"] {
        assert!(runtime.join(made).exists(), "{made}");
    }
    assert!(!site.folder().join("hub/state").exists(), "and nowhere else");
    // no TLS in this client: the certificate is shown by who listens
    wait_until("the site speaks TLS", PATIENCE, || {
        let known = std::process::Command::new("openssl")
            .args(["s_client", "-connect", &site.public.to_string(), "-verify_quiet"])
            .stdin(std::process::Stdio::null())
            .output();
        known.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("BEGIN CERTIFICATE"))
    });
}
