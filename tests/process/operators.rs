//! The REST API of the built-in proxy: operators' routes beside the hub's, through whatever dies (`spec/proxy.md` 2, 11).

use std::{
    fs, io::ErrorKind, net::SocketAddr, os::unix::fs::PermissionsExt as _, process::Command,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    alone::{Backend, Reply, ask, ports, rest_request},
    as_root,
    support::{Account, PATIENCE, Plan, Site, wait_until},
    with_server,
};

/// The API of a site, and its token.
struct Api {
    at: SocketAddr,
    token: String,
}

impl Api {
    /// With the token that jovis has made.
    fn of(site: &Site, port: u16) -> Self {
        let file = site.file.with_file_name("state").join("proxy_auth_token");
        let mode = fs::metadata(&file).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let token = fs::read_to_string(file).expect("we are root").trim().to_owned();
        Self { at: SocketAddr::from(([127, 0, 0, 1], port)), token }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        self.ask_as(&format!("token {}", self.token), method, path, body)
    }

    fn ask_as(&self, who: &str, method: &str, path: &str, body: &str) -> Reply {
        ask(self.at, &rest_request(who, method, &format!("/api/routes{path}"), body))
    }

    fn add(&self, path: &str, target: &str) -> u16 {
        self.ask("POST", path, &json!({ "target": target, "mine": 1 }).to_string()).status
    }

    fn all(&self) -> Value {
        self.ask("GET", "", "").json()
    }

    /// Does anybody listen there?
    fn is_open(&self) -> bool {
        match std::net::TcpStream::connect(self.at) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                false
            }
        }
    }
}

/// The site's configuration with another section `hub` setting.
fn change(site: &Site, from: &str, to: &str) {
    let text = fs::read_to_string(&site.file).expect("it was written");
    assert!(text.contains(from), "{from} in {text}");
    fs::write(&site.file, text.replacen(from, to, 1)).expect("the folder is ours");
    site.signal(Signal::SIGHUP);
}

fn says(site: &Site, path: &str, text: &str) -> bool {
    let answer = site.visitor().get(path);
    answer.status == 200 && answer.text().contains(text)
}

#[test]
fn operators_routes_stand_beside_the_hubs_whatever_dies() {
    as_root!();
    let account = Account::make();
    let [port] = ports();
    let site = Plan::quick().set("hub.proxy_api_port", &port.to_string()).start();
    let api = Api::of(&site, port);
    let mut visitor = with_server(&site, &account);
    let (mine, other) = (Backend::start("mine"), Backend::start("other"));
    let home = format!("/user/{}", account.name);

    // Who may not is told nothing; who may sees the hub's routes as a JupyterHub stores them.
    for who in ["", "token wrong", "Bearer x", &format!("token {}x", api.token)] {
        for (method, path) in [("GET", ""), ("POST", "/x"), ("DELETE", "/x"), ("DELETE", &home)] {
            let reply = api.ask_as(who, method, path, "{\"target\": \"http://127.0.0.1:1\"}");
            assert_eq!((reply.status, &*reply.body), (403, ""), "{who} {method} {path}");
        }
    }
    let all = api.all();
    assert_eq!((&all["/"]["hub"], &all["/"]["jupyterhub"]), (&json!(true), &json!(true)), "{all}");
    let server = &all[&home];
    assert_eq!(server["jupyterhub"], true, "{all}");
    assert_eq!((&server["user"], &server["server_name"]), (&json!(account.name), &json!("")));
    assert!(server["target"].as_str().is_some_and(|it| it.starts_with("http://127.0.0.1:")));
    assert!(server["last_activity"].as_str().is_some_and(|it| it.ends_with('Z')), "{server}");

    // His own come and go; the hub's are not his.
    assert_eq!(api.add("/tools/mine", &mine.url("")), 201);
    assert!(says(&site, "/tools/mine/x", "mine"));
    let one = api.ask("GET", "/tools/mine/", "").json();
    assert_eq!((&one["mine"], &one["target"]), (&json!(1), &json!(mine.url(""))));
    assert_eq!(api.add("/tools/gone", &other.url("")), 201);
    assert_eq!(api.ask("DELETE", "/tools/gone", "").status, 204);
    assert_eq!(api.ask("DELETE", "/tools/gone", "").status, 404);
    for path in ["/", "", "/hub", "/hub/api", &home] {
        let reply = api.ask("POST", path, &json!({"target": other.url("")}).to_string());
        assert_eq!(reply.status, 409, "{path} {reply:?}");
        assert!(reply.body.contains("hub"), "{reply:?}");
        let status = api.ask("DELETE", path, "").status;
        assert_eq!(status, if path.starts_with("/hub") { 404 } else { 409 }, "{path}");
    }
    assert_eq!(visitor.get(&format!("{home}/api")).status, 200);
    assert_eq!(site.visitor().get("/hub/login").status, 200);

    // The hub dies and compares its routes with what is there: his are spared, and served all the time.
    let mark = site.log.mark();
    site.hub().kill();
    assert!(says(&site, "/tools/mine/x", "mine"));
    site.log.event(mark, "proxy in step", PATIENCE);
    assert!(says(&site, "/tools/mine/x", "mine"));
    let all = api.all();
    assert!(all["/tools/mine"]["mine"] == 1 && all[&home]["jupyterhub"] == true, "{all}");

    // The proxy dies: its routes are the operator's to set again, the hub's come back by themselves.
    let mark = site.log.mark();
    site.proxy().kill();
    site.log.event(mark, "proxy in step", PATIENCE);
    wait_until("the API is back", PATIENCE, || api.is_open());
    let all = api.all();
    assert!(all.get("/tools/mine").is_none() && all[&home]["jupyterhub"] == true, "{all}");
    assert_eq!(api.add("/tools/mine", &mine.url("")), 201);
    assert!(says(&site, "/tools/mine/x", "mine"));

    // Nobody else gets to see the token.
    assert!(!site.log.tail(100_000).contains(&api.token), "it is in the log");
    for process in [site.root(), site.hub(), site.proxy()] {
        let all = [process.arguments(), process.environment()].concat().join(" ");
        assert!(!all.contains(&api.token), "{all}");
    }
}

#[test]
fn the_rest_api_comes_goes_and_changes_its_token_by_a_reload() {
    as_root!();
    let [port] = ports();
    let site = Plan::quick().set("hub.proxy_api_port", "0").start();
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let closed = Api { at, token: String::new() };
    assert!(!closed.is_open());
    let on = format!("proxy_api_port: {port}");
    change(&site, "proxy_api_port: 0", &on);
    wait_until("the API is there", PATIENCE, || closed.is_open());
    let api = Api::of(&site, port);
    let mine = Backend::start("mine");
    wait_until("it takes the token", PATIENCE, || api.add("/mine", &mine.url("")) == 201);
    assert!(says(&site, "/mine/x", "mine"));

    // Another token counts at once, also for who is connected; the old one no more.
    let file = site.folder().join("token");
    fs::write(&file, "another-token-of-mine\n").expect("the folder is ours");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    change(&site, &on, &format!("{on},\n        proxy_auth_token_file: {file:?}"));
    let other = Api { at, token: "another-token-of-mine".to_owned() };
    wait_until("the other token counts", PATIENCE, || other.ask("GET", "", "").status == 200);
    assert_eq!(api.ask("GET", "", "").status, 403);
    assert_eq!(other.all()["/mine"]["mine"], 1, "routes stay");

    // JupyterHub's own client of the API.
    let script = format!(
        r#"
import asyncio, sys
from traitlets.config import Config
from jupyterhub.proxy import ConfigurableHTTPProxy
async def main():
    proxy = ConfigurableHTTPProxy(api_url="http://{at}", auth_token="another-token-of-mine", should_start=False)
    await proxy.add_route("/by/client/", "{target}", {{"a": 1}})
    routes = await proxy.get_all_routes()
    assert routes["/by/client/"]["data"]["a"] == 1, routes
    assert routes["/"]["data"]["hub"], routes
    await proxy.delete_route("/by/client/")
    assert "/by/client/" not in await proxy.get_all_routes()
asyncio.run(main())
"#,
        target = mine.url("")
    );
    let done = Command::new("/opt/jovis/env/bin/python").args(["-c", &script]).output();
    let done = done.expect("the Python of the tests (.ci/install)");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    // Off: closed, and what was set stays until the proxy ends.
    change(&site, &on, "proxy_api_port: 0");
    wait_until("the API is gone", PATIENCE, || !other.is_open());
    assert!(says(&site, "/mine/x", "mine"));
    // And never was it a way in for visitors.
    assert_eq!(site.visitor().get("/hub/login").status, 200);
}
