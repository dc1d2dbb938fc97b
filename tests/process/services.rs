//! Managed services: who they run as, what they are given, and that they are there whatever dies.

use std::{fs, os::unix::fs::PermissionsExt as _};

use nix::{sys::signal::Signal, unistd::User};
use serde_json::Value;

use crate::{
    as_root,
    support::{PATIENCE, Plan, Site, free_ports, process::Process, wait_for, wait_until},
};

/// Puts sections that are no structs into the configuration, in the place of those that were put there before.
fn put(site: &Site, plain: &str, sections: &str) {
    let end = plain.rfind(')').expect("it is RON");
    fs::write(&site.file, format!("{}{sections}\n)\n", &plain[..end])).expect("the folder is ours");
}

/// What the service says through the proxy, once it does.
fn itself(site: &Site, path: &str) -> Value {
    let mut visitor = site.visitor();
    wait_for("the service answers", PATIENCE, || {
        let answer = visitor.get(&format!("/services/tool/{path}"));
        (answer.status == 200).then(|| answer.json())
    })
    .0
}

#[test]
fn a_managed_service_is_kept_running_whatever_dies() {
    as_root!();
    let mut site = Plan::quick().prepare();
    let script = site.folder().join("service.py");
    fs::write(&script, include_str!("../support/service.py")).expect("the folder is ours");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let port = free_ports(1);
    let plain = fs::read_to_string(&site.file).expect("it was just written");
    let entry = |extra: &str| {
        format!(
            "    services: [(name: \"tool\", url: \"http://127.0.0.1:{port}\", command: [\"python3\", {script:?}], cwd: \"/usr\", \
             environment: {{\"EXTRA\": \"{extra}\"}}), (name: \"broken\", command: [\"/no/such/program\"])],\n    \
             roles: [(name: \"tooling\", scopes: [\"list:users\"], services: [\"tool\"])],"
        )
    };
    put(&site, &plain, &entry("one"));
    site.start();

    // It runs as the account for services, knows the hub, and has no home.
    let told = itself(&site, "hub");
    let account = User::from_name("jovis-service").expect("readable").expect("it is there");
    assert_eq!(told["uid"], account.uid.as_raw());
    assert_eq!((&told["cwd"], &told["path"]), (&"/usr".into(), &"/services/tool/hub".into()));
    let env = &told["environment"];
    for (name, value) in [
        ("JUPYTERHUB_SERVICE_NAME", "tool"),
        ("JUPYTERHUB_SERVICE_PREFIX", "/services/tool/"),
        ("JUPYTERHUB_CLIENT_ID", "service-tool"),
        ("JUPYTERHUB_USER", ""),
        ("EXTRA", "one"),
    ] {
        assert_eq!(env[name], value, "{name}");
    }
    assert!(env["HOME"].is_null() && env["JUPYTERHUB_ACTIVITY_URL"].is_null(), "{env}");
    assert_eq!((&told["hub"]["kind"], &told["hub"]["name"]), (&"service".into(), &"tool".into()));
    let scopes = told["hub"]["scopes"].to_string();
    assert!(scopes.contains("list:users"), "{scopes}");
    // Where there is a route it counts without its last slash too, as for servers.
    assert_eq!(site.visitor().get("/services/tool?a=b").status, 200);
    // One that cannot start keeps nobody else.
    site.log.event(0, "service not started", PATIENCE);

    // It dies: it comes back, with another token.
    let first = told["pid"].as_i64().expect("a number");
    let token = env["JUPYTERHUB_API_TOKEN"].clone();
    let process = |pid: i64| Process::of(i32::try_from(pid).expect("small")).expect("it is there");
    process(first).kill();
    wait_until("the first process is gone", PATIENCE, || {
        Process::of(i32::try_from(first).expect("small")).is_none()
    });
    let again = itself(&site, "hub");
    let second = again["pid"].as_i64().expect("a number");
    assert_ne!(second, first);
    assert_ne!(again["environment"]["JUPYTERHUB_API_TOKEN"], token);

    // The hub dies: the service does not notice, and is not doubled.
    let mark = site.log.mark();
    let hub = site.hub();
    hub.kill();
    let found = site.log.event(mark, "service found again", PATIENCE);
    assert_eq!(found.field("pid").and_then(Value::as_i64), Some(second));
    wait_until("the next hub serves", PATIENCE, || site.visitor().get("/hub/api").status == 200);
    assert_eq!(itself(&site, "hub")["pid"], second, "its token still counts");
    let of_it = || {
        let all = Process::all().into_iter();
        all.filter(|it| it.arguments().iter().any(|word| word == script.to_str().unwrap())).count()
    };
    assert_eq!(of_it(), 1);

    // Another entry: another process with that. None: none.
    put(&site, &plain, &entry("two"));
    site.signal(Signal::SIGHUP);
    wait_until("it has its new variable", PATIENCE, || {
        let answer = site.visitor().get("/services/tool/");
        answer.status == 200 && answer.json()["environment"]["EXTRA"] == "two"
    });
    put(&site, &plain, "");
    site.signal(Signal::SIGHUP);
    wait_until("it has left", PATIENCE, || of_it() == 0);
    let gone = || site.visitor().get("/services/tool/").status != 200;
    wait_until("its route is gone", PATIENCE, gone);

    // With jovis it ends.
    put(&site, &plain, &entry("three"));
    site.signal(Signal::SIGHUP);
    wait_until("it is back", PATIENCE, || of_it() == 1);
    site.signal(Signal::SIGTERM);
    site.ended(PATIENCE);
    assert_eq!(of_it(), 0);
}
