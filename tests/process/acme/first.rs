//! The first certificate, by either way of showing whose a name is.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
};

use serde_json::json;

use super::stand::{Authority, NAME, answered, believed, change, obtained, shown};
use crate::{
    as_root,
    reload::certificate_of,
    support::{PATIENCE, Plan, Site, Visitor, wait_until},
};

/// `GET` without TLS: the status and where it leads.
fn plain(address: SocketAddr, path: &str) -> (u16, Option<String>) {
    let answer = Visitor::new(address).get(path);
    (answer.status, answer.header("location").map(str::to_owned))
}

#[test]
fn a_certificate_comes_by_http_and_its_keys_are_nobody_elses() {
    as_root!();
    let authority = Authority::start();
    let (mut site, way) = authority.hub_by_http(Plan::quick(), "");
    let mark = site.launch();
    // From the beginning there is an answer by TLS, if only one that nobody vouches for.
    site.log.event(mark, "acme certificate missing", PATIENCE);
    site.log.event(mark, "jovis is ready", PATIENCE);
    assert_eq!(answered(&site, NAME), "200");
    let made = site.log.event(mark, "acme account made", PATIENCE);
    assert!(made.text("url").is_some_and(|url| url.contains("/account/")));
    let told = obtained(&site, mark);
    assert_eq!(told.text("names").as_deref(), Some(NAME));
    assert!(told.text("until").is_some_and(|until| until.starts_with("20")));
    wait_until("it is shown", PATIENCE, || believed(&site, NAME, &authority.root()) == "200");
    // Who asks for another name, or for none, is shown it too: there is no other.
    assert!(shown(&site, "elsewhere.example", &["-issuer"]).contains("root"));
    assert_eq!(authority.count("accounts"), 1);
    assert_eq!(authority.seen("contacts"), json!(["mailto:admin@acme.example"]));
    assert_eq!(authority.seen("looks"), json!([format!("http-01 {NAME}")]));
    assert_eq!(authority.seen("forgeries"), json!([]));
    assert!(authority.count("bad_nonces") > 0, "no nonce was ever refused");
    // Nothing under way: the way to TLS, as for every other path.
    let path = "/.well-known/acme-challenge/abc";
    let to = format!("https://{way}{path}")
        .replace(&way.port().to_string(), &site.public.port().to_string());
    assert_eq!(plain(way, path), (308, Some(to)));
    keys_are_hidden(&site);
}

/// Files for the proxy's account alone; and what is in them stands nowhere else.
fn keys_are_hidden(site: &Site) {
    let folder = site.state_dir().join("acme");
    let owner = site.proxy().ids("Uid")[0];
    let is_private = |path: &std::path::Path, mode: u32| {
        let facts = path.metadata().expect("it is there");
        assert_eq!((facts.uid(), facts.mode() & 0o7777), (owner, mode), "{}", path.display());
    };
    is_private(&folder, 0o700);
    let files: Vec<_> = folder.read_dir().expect("it is a folder").map(Result::unwrap).collect();
    let names: Vec<_> = files.iter().map(|file| file.file_name().into_string().unwrap()).collect();
    assert_eq!(files.len(), 3, "{names:?}");
    let mut secrets = Vec::new();
    for file in files {
        is_private(&file.path(), 0o600);
        let text = fs::read_to_string(file.path()).expect("it is text");
        if let Some((_, rest)) = text.split_once("BEGIN PRIVATE KEY-----\n") {
            secrets.push(rest.lines().nth(1).expect("a key has lines").to_owned());
        }
        if let Some((_, rest)) = text.split_once("key_pkcs8\":\"") {
            secrets.push(rest.split('"').next().expect("a text").to_owned());
        }
    }
    assert_eq!(secrets.len(), 2);
    let log = site.log.tail(usize::MAX);
    let runtime = fs::read_to_string(&site.file).expect("it is ours");
    for secret in &secrets {
        assert!(secret.len() >= 40 && !log.contains(secret) && !runtime.contains(secret));
        for process in site.children().into_iter().chain([site.root()]) {
            let open = [process.environment(), process.arguments()].concat();
            assert!(!open.iter().any(|text| text.contains(secret)), "{open:?}");
        }
    }
}

/// What openssl says to a visitor who offers only the protocol of authorities.
fn offers_to_look(site: &Site, name: &str) -> String {
    let done = Command::new("openssl")
        .args(["s_client", "-alpn", "acme-tls/1", "-servername", name])
        .args(["-connect", &site.public.to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn a_certificate_comes_by_tls_beside_one_from_a_file() {
    as_root!();
    let authority = Authority::start();
    let plan = Plan::quick()
        .set("hub.ssl_cert", r#""FOLDER/one.pem""#)
        .set("hub.ssl_key", r#""FOLDER/one.key""#);
    let mut site = authority.hub_by_tls(plan, "");
    certificate_of(site.folder(), "one", "DNS:one.example");
    site.start();
    obtained(&site, 0);
    wait_until("it is shown", PATIENCE, || believed(&site, NAME, &authority.root()) == "200");
    assert_eq!(authority.seen("looks"), json!([format!("tls-alpn-01 {NAME}")]));
    let subject = |name: &str| shown(&site, name, &["-subject"]).replace(' ', "");
    for name in ["one.example", "elsewhere.example"] {
        assert_eq!(subject(name), "subject=CN=one", "{name}");
    }
    // Who is no authority, or comes when nothing is under way, is shown no certificate at all.
    assert!(!offers_to_look(&site, NAME).contains("BEGIN CERTIFICATE"));
    // Another name: shown at once under the old ones, got, shown.
    let more = r#""two.acme.example", "THREE.acme.example""#;
    let mark = change(&site, &format!("names: [{NAME:?}]"), &format!("names: [{NAME:?}, {more}]"));
    assert_eq!(believed(&site, NAME, &authority.root()), "200");
    obtained(&site, mark);
    for name in [NAME, "two.acme.example", "three.acme.example"] {
        wait_until(name, PATIENCE, || believed(&site, name, &authority.root()) == "200");
    }
    assert_eq!((authority.count("accounts"), authority.count("orders")), (1, 2));
}

#[test]
fn it_is_switched_on_and_off_while_jovis_runs() {
    as_root!();
    let authority = Authority::start();
    let site = Plan::quick().set("proxy.drain", "10").start();
    authority.play(&json!({ "tls_port": site.public.port() }));
    assert_eq!(site.visitor().get("/hub/login").status, 200);
    let on = format!("drain: 10, acme: {},", authority.settings(""));
    let mark = change(&site, "drain: 10,", &on);
    obtained(&site, mark);
    wait_until("it is shown", PATIENCE, || believed(&site, NAME, &authority.root()) == "200");
    change(&site, &on, "drain: 10,");
    wait_until("there is no TLS", PATIENCE, || {
        let answer = site.visitor().send("GET", "/hub/login", &[], b"");
        answer.is_ok_and(|answer| answer.status == 200)
    });
    // On again: with what is there.
    change(&site, "drain: 10,", &on);
    wait_until("it is shown again", PATIENCE, || believed(&site, NAME, &authority.root()) == "200");
    assert_eq!((authority.count("accounts"), authority.count("orders")), (1, 1));
}
