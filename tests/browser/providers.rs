//! People who sign in elsewhere, in a real browser: at GitHub, `providers.py`; at an OpenID provider that others have
//! certified, `certified.py`; and the long example of JupyterHub's first documentation, as it stands in `examples/`:
//! `classroom.py`.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    MINUTES, address, alone, as_root, pictures,
    support::{Account, Plan, Provider, Script, Site, Visitor, free_ports},
};

/// The client that GitHub's fake knows.
const ID: &str = "Iv1.hub";
const SECRET: &str = "github-secret-0123456789abcdef";

#[test]
fn a_person_signs_in_with_github_and_a_stranger_does_not() {
    as_root!();
    let _alone = alone();
    let account = Account::make();
    let github = Provider::start("github.py", &[]);
    let class = format!(
        "GitHub(github_url: {:?}, client_id: {ID:?}, client_secret: {SECRET:?})",
        github.url()
    );
    let site = Plan::quick()
        .set("auth.class", &class)
        .set("auth.allowed_users", &format!("[{:?}]", account.name))
        .start();
    let story: [&str; 4] = [&address(&site), &account.name, "octocat", &pictures("providers")];
    Script::start("providers.py", &story, "").done(MINUTES);
}

/// `security: an identity provider's word counts only when every check of it holds`: of a provider that is none of our
/// making, by TLS.
#[test]
fn people_sign_in_at_a_certified_provider_and_leave_with_it() {
    as_root!();
    let _alone = alone();
    let class = r#"Oidc(issuer: "ISSUER", client_id: "hub", client_secret: "hub-secret-0123456789",
        scope: ["profile", "email", "groups"], groups_claim: "groups", require_verified_email: true,
        login_service: "Campus", ca_file: "FOLDER/provider-cert.pem")"#;
    let mut site = Plan::quick()
        .without_accounts()
        .set("auth.class", class)
        .set("auth.manage_groups", "true")
        .set("auth.allowed_groups", "[\"everybody\"]")
        .set("auth.admin_groups", "[\"staff\"]")
        .set("auth.enable_auth_state", "true")
        .set("auth.auth_refresh_age", "1")
        .prepare();
    let (cert, key) = certificate(site.folder(), "provider");
    let callback = format!("{}hub/oauth_callback", address(&site));
    let provider = Provider::certified(&callback, &["--cert", &cert, "--key", &key]);
    let issuer = provider.url().replace("http://", "https://");
    let text = fs::read_to_string(&site.file).expect("it was made");
    fs::write(&site.file, text.replace("ISSUER", &issuer)).expect("the folder is ours");
    let keys = "00112233445566778899aabbccddeeff".repeat(2);
    site.variables.push(("JUPYTERHUB_CRYPT_KEY", keys.clone()));
    site.start();
    let story: [&str; 3] = [&address(&site), &issuer, &pictures("certified")];
    Script::start("certified.py", &story, "").done(MINUTES);
    // Whoever ended the session there was asked after, and is out here.
    site.log.event(0, "sign-in is over", crate::PATIENCE);
    let log = site.log.tail(usize::MAX);
    for secret in ["hub-secret-0123456789", &keys] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

/// A certificate for this machine's own address, and its key.
fn certificate(folder: &Path, name: &str) -> (String, String) {
    let file = |what: &str| folder.join(format!("{name}-{what}.pem")).display().to_string();
    let (cert, key) = (file("cert"), file("key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=provider",
        ])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &cert])
        .output()
        .expect("openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (cert, key)
}

/// What every new home begins with.
fn skeleton(folder: &Path) -> PathBuf {
    let skeleton = folder.join("skeleton");
    fs::create_dir_all(skeleton.join("assignments")).expect("the folder is ours");
    let notebook = serde_json::json!({
        "cells": [
            {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Welcome"},
            {"cell_type": "code", "id": "b", "metadata": {}, "execution_count": null,
             "outputs": [], "source": "6 * 7"},
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4, "nbformat_minor": 5,
    });
    let file = skeleton.join("assignments/Welcome.ipynb");
    fs::write(file, notebook.to_string()).expect("the folder is ours");
    skeleton
}

/// The example with what a test needs in the place of what is a site's own; every other word of it stays.
fn example(site: &Site, changes: &[(&str, String)]) -> String {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/github-classroom.ron");
    let mut text = fs::read_to_string(example).expect("it is there");
    for (old, new) in changes {
        assert!(text.contains(old), "the example has no {old} any more");
        text = text.replace(old, new);
    }
    // Addresses, files and the server's command are the plan's.
    let plan = fs::read_to_string(&site.file).expect("it was made");
    let mut section = "";
    for line in plan.lines() {
        if let Some(name) = line.strip_suffix(": (") {
            section = name;
        }
        let Some((key, _)) = line.trim_start().split_once(": ") else { continue };
        if !line.starts_with("        ") || !["    hub", "    spawner"].contains(&section) {
            continue;
        }
        let head = format!("{section}: (\n");
        let (before, rest) = text.split_once(&head).expect("the example has the section");
        let (inside, after) = rest.split_once("\n    )").expect("it ends");
        let kept: Vec<_> =
            inside.lines().filter(|it| !it.trim_start().starts_with(&format!("{key}: "))).collect();
        text = format!("{before}{head}{line}\n{}\n    ){after}", kept.join("\n"));
    }
    let text = text.trim_end().strip_suffix(')').expect("it ends").to_owned();
    text + "    log: (format: Json, level: \"debug\"),\n)\n"
}

#[test]
fn the_example_of_the_first_documents_runs_as_it_stands() {
    as_root!();
    let _alone = alone();
    let mut account = Account::to_come();
    let mut site = Plan::quick().notebooks().tls().prepare();
    let folder = site.folder().to_owned();
    let (cert, key) = certificate(&folder, "github");
    let github = Provider::start("github.py", &["--cert", &cert, "--key", &key]);
    let github = github.url().replace("http://", "https://");
    let skeleton = skeleton(&folder).display().to_string();
    let plain = SocketAddr::from(([127, 0, 0, 1], free_ports(1)));
    let changes = [
        ("redirect_port: 80", format!("redirect_port: {}", plain.port())),
        ("class: GitHub(", format!("class: GitHub(github_url: {github:?}, ca_file: {cert:?},")),
        (
            "create_system_users: true,",
            format!(
                "create_system_users: true, add_user_cmd: [\"/usr/sbin/useradd\", \"--create-home\", \"--shell\", \"/bin/bash\", \"--skel\", {skeleton:?}],"
            ),
        ),
        ("\"minrk\"", format!("{:?}", account.name)),
    ];
    let text = example(&site, &changes);
    fs::write(&site.file, &text).expect("the folder is ours");
    let callback = format!("https://{}/hub/oauth_callback", site.public);
    site.variables.push(("GITHUB_CLIENT_ID", ID.to_owned()));
    site.variables.push(("GITHUB_CLIENT_SECRET", SECRET.to_owned()));
    site.variables.push(("OAUTH_CALLBACK_URL", callback));
    let mark = site.launch();
    site.log.event(mark, "jovis is ready", crate::PATIENCE);

    let sent_on = Visitor::new(plain).get("/hub/home");
    let there = format!("https://{}/hub/home", site.public);
    assert_eq!(sent_on.header("location"), Some(there.as_str()));
    assert!(!account.came(), "nobody has come yet");
    let url = format!("https://{}/", site.public);
    let story: [&str; 3] = [&url, &account.name, &pictures("classroom")];
    Script::start("classroom.py", &story, "").done(2 * MINUTES);

    assert!(account.came(), "the account is on the machine");
    let home = fs::metadata(&account.home).expect("it has a home");
    assert_eq!((home.uid(), home.permissions().mode() & 0o007), (account.uid, 0));
    assert!(!site.log.tail(usize::MAX).contains(SECRET), "the secret is in the log");
}
