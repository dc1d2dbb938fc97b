//! A whole hub whose servers run in containers, of an engine that the test starts.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::Arc,
};

use crate::{
    as_root,
    canary::seen_by,
    support::{
        Account, PATIENCE, Plan, Site, Visitor,
        engine::{Engine, IMAGE, NETWORK},
        python_home, unique, wait_until,
    },
};

const PASSWORD: &str = "anybody's word";

/// Servers in containers of this engine; `more` settings of the class.
fn plan(engine: &Engine, more: &str) -> Plan {
    let socket = engine.socket();
    let class = format!(
        r#"Docker(socket: {socket:?}, image: {IMAGE:?}, pull_policy: Never, network_name: {NETWORK:?}, use_internal_ip: Some(false),
            prefix: "p{}", {more})"#,
        unique()
    );
    Plan::quick()
        .set("auth.class", &format!("Dummy(password: {PASSWORD:?})"))
        .set("hub.hub_ip", &format!("{:?}", engine.gateway()))
        .set("spawner.term_timeout", "1")
        .set("spawner.class", &class)
}

const FAKE: &str = r#"cmd: ["/usr/bin/python3", "-IS", "FOLDER/fake_singleuser.py", "ok"],
    volumes: {"/usr": "/usr:ro", "FOLDER": "FOLDER:ro"}"#;

fn sign_in(site: &Site) -> (Visitor, String) {
    let name = format!("guest{}", unique());
    let mut visitor = site.visitor();
    assert_eq!(visitor.sign_in_as(&name, PASSWORD).status, 302);
    (visitor, name)
}

fn ready(visitor: &mut Visitor, name: &str) -> bool {
    visitor.get(&format!("/user/{name}/api")).status == 200
}

fn containers(engine: &Arc<Engine>, user: &str) -> Vec<String> {
    engine.containers(&format!("jovis.user={user}"))
}

#[test]
fn a_container_outlives_the_hub_and_ends_when_it_is_stopped() {
    as_root!();
    let Some(engine) = Engine::shared() else { return };
    let site = plan(&engine, FAKE).start();
    let (mut visitor, name) = sign_in(&site);
    visitor.get("/hub/spawn");
    wait_until("the server answers", PATIENCE, || ready(&mut visitor, &name));
    assert_eq!(containers(&engine, &name).len(), 1);
    assert!(site.servers().is_empty(), "none is a process of ours");

    let hub = site.hub();
    hub.kill();
    wait_until("there is another hub", PATIENCE, || {
        site.role("@hub").is_some_and(|now| now != hub)
    });
    assert!(ready(&mut visitor, &name), "nobody notices");
    let path = format!("/hub/api/users/{name}");
    wait_until("it is known again", PATIENCE, || {
        visitor.api("GET", &path, "").json()["servers"][""]["ready"] == true
    });
    assert_eq!(containers(&engine, &name).len(), 1, "it was not started again");

    let stopped = visitor.api("DELETE", &format!("{path}/server"), "").status;
    assert!([202, 204].contains(&stopped), "{stopped}");
    wait_until("its container is gone", PATIENCE, || containers(&engine, &name).is_empty());
    wait_until("it is over", PATIENCE, || {
        visitor.api("GET", &path, "").json()["servers"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
    });
}

#[test]
fn people_choose_among_the_images_that_are_allowed() {
    as_root!();
    let Some(engine) = Engine::shared() else { return };
    let more =
        format!(r#"{FAKE}, allowed_images: {{"Small": {IMAGE:?}, "Gone": "jovis-test:none"}}"#);
    let site = plan(&engine, &more).start();
    let (mut visitor, name) = sign_in(&site);
    let form = visitor.get("/hub/spawn").text();
    assert!(form.contains("Small") && form.contains("Gone"), "{form}");

    let path = format!("/hub/api/users/{name}/server");
    let refused = visitor.api("POST", &path, r#"{"image": "evil"}"#);
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(containers(&engine, &name).len(), 0);
    visitor.api("POST", &path, r#"{"image": "Gone"}"#);
    wait_until("it is told why", PATIENCE, || {
        visitor.get(&format!("/hub/spawn-pending/{name}")).text().contains("jovis-test:none")
            || visitor.get("/hub/home").text().contains("jovis-test:none")
    });
    let begun = visitor.api("POST", &path, r#"{"image": "Small"}"#).status;
    assert!([201, 202].contains(&begun), "{begun}");
    wait_until("the server answers", PATIENCE, || ready(&mut visitor, &name));
    let one = containers(&engine, &name).remove(0);
    assert_eq!(engine.ask(&["inspect", "--format", "{{.Config.Image}}", &one]), IMAGE);
    visitor.api("DELETE", &path, "");
    wait_until("its container is gone", PATIENCE, || containers(&engine, &name).is_empty());
}

#[test]
fn a_real_notebook_server_runs_in_a_container() {
    as_root!();
    let Some(engine) = Engine::shared() else { return };
    let home = python_home();
    let more = format!(
        r#"cmd: ["{0}/env/bin/jupyterhub-singleuser"], user: "1000:100", volumes: {{"/usr": "/usr:ro", "{0}": "{0}:ro"}}"#,
        home.display()
    );
    let site = plan(&engine, &more)
        .set("spawner.environment", r#"{"HOME": "/home/jovyan"}"#)
        .set("spawner.start_timeout", "120")
        .set("spawner.http_timeout", "120")
        .start();
    let (mut visitor, name) = sign_in(&site);
    visitor.get("/hub/spawn");
    wait_until("the server answers", 4 * PATIENCE, || ready(&mut visitor, &name));
    // By the hub's consent: the server asks it over the engine's network. (There is nothing in that folder; who is not let
    // in does not hear even that.)
    let (answer, _) = visitor.follow(&format!("/user/{name}/files/none"));
    assert_eq!(answer.status, 404, "{}", answer.text());
    let status = visitor.get(&format!("/user/{name}/api/status"));
    assert_eq!(status.status, 200, "{}", status.text());
    assert!(status.json()["started"].is_string(), "{}", status.text());
    visitor.api("DELETE", &format!("/hub/api/users/{name}/server"), "");
    wait_until("its container is gone", PATIENCE, || containers(&engine, &name).is_empty());
}

#[test]
fn containers_and_accounts_see_no_token_of_others() {
    as_root!();
    let Some(engine) = Engine::shared() else { return };
    let site = plan(&engine, FAKE).start();
    let both: Vec<_> = (0..2)
        .map(|_| {
            let (mut visitor, name) = sign_in(&site);
            visitor.get("/hub/spawn");
            wait_until("the server answers", PATIENCE, || ready(&mut visitor, &name));
            let container = containers(&engine, &name).remove(0);
            let form = "{{range .Config.Env}}{{println .}}{{end}}";
            let env = engine.ask(&["inspect", "--format", form, &container]);
            let token = env.lines().find_map(|it| it.strip_prefix("JUPYTERHUB_API_TOKEN="));
            (container, token.expect("it has one").to_owned())
        })
        .collect();
    let look = r#"env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; find / -xdev -type s; hostname; ls /run /var/run"#;
    for (nth, (container, token)) in both.iter().enumerate() {
        let other = &both[1 - nth];
        let seen =
            engine.ask(&["exec", container, "/bin/sh", "-c", &format!("({look}) 2>&1; true")]);
        assert!(seen.contains(token), "a server has its own token");
        assert!(!seen.contains(&other.1), "another's token is seen in a container");
        assert!(!seen.contains(".sock"), "a socket is seen in a container: {seen}");
        // It is in the environment, and in nothing else that the engine tells of a container.
        let told = engine.ask(&["inspect", container]);
        let mut told: serde_json::Value = serde_json::from_str(&told).expect("it is JSON");
        assert!(told.to_string().contains(token));
        told[0]["Config"]["Env"] = serde_json::Value::Null;
        assert!(!told.to_string().contains(token), "name, labels and command line are public");
    }
    // An account of this machine: no process, no file, and no engine.
    let person = Account::make();
    let shown = seen_by(person.uid, person.gid, engine.folder());
    assert!(both.iter().all(|(_, token)| !shown.contains(token)), "an account is shown a token");
    let all = seen_by(0, 0, site.folder());
    assert!(both.iter().all(|(_, token)| all.contains(token)), "root is not shown it");
    let mut asked = Command::new("docker");
    asked.arg("--host").arg(format!("unix://{}", engine.socket().display())).arg("ps");
    asked.uid(person.uid).gid(person.gid).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(!asked.status().expect("docker is there").success(), "anybody may use the engine");
}
