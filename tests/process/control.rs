//! What operators ask of a running jovis: `jovis COMMAND`, and the socket behind it.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Child,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    as_root,
    support::{
        Account, Line, Log, PATIENCE, Plan, Site, Talk, code, process::Process, said, wait_until,
    },
    with_server,
};

/// Changes hub.ron so.
fn change(site: &Site, from: &str, to: &str) {
    let text = fs::read_to_string(&site.file).expect("it is ours");
    assert!(text.contains(from), "{text}");
    fs::write(&site.file, text.replace(from, to)).expect("it is ours");
}

fn status(site: &Site) -> Value {
    let output = site.jovis(&["status", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)))
}

fn process<'a>(status: &'a Value, role: &str) -> &'a Value {
    let mut all = status["processes"].as_array().expect("a list").iter();
    all.find(|process| process["role"] == role).expect("it is listed")
}

#[test]
fn a_reload_tells_its_outcome_and_its_exit_code_too() {
    as_root!();
    let site = Plan::quick().set("auth.blocked_users", "[]").set("hub.base_url", r#""/""#).start();
    let same = site.jovis(&["reload"]);
    assert_eq!(
        (code(&same), said(&same).contains("nothing has changed")),
        (0, true),
        "{}",
        said(&same)
    );

    change(&site, "blocked_users: []", r#"blocked_users: ["mallory"]"#);
    let applied = site.jovis(&["reload"]);
    assert_eq!(code(&applied), 0, "{}", said(&applied));
    assert!(said(&applied).contains("auth.blocked_users"), "{}", said(&applied));

    change(&site, r#"base_url: "/""#, r#"base_url: "/elsewhere/""#);
    let waits = site.jovis(&["reload"]);
    assert_eq!(code(&waits), 3, "{}", said(&waits));
    assert!(said(&waits).contains("needs restart: hub.base_url"), "{}", said(&waits));
    change(&site, r#"base_url: "/elsewhere/""#, r#"base_url: "/""#);

    // wrong in such a way that the file does not even tell the hub's name any more
    change(&site, r#"blocked_users: ["mallory"]"#, r#"blocked_users: ["a/b"], alow_all: true"#);
    let wrong = site.jovis(&["reload"]);
    assert_eq!(code(&wrong), 78, "{}", said(&wrong));
    assert!(said(&wrong).contains("alow_all"), "{}", said(&wrong));
    assert!(said(&wrong).contains("nothing was changed"), "{}", said(&wrong));
    assert_eq!(site.visitor().get("/hub/api").status, 200);
}

/// A signal whose usual meaning is the end of a process.
#[test]
fn sigusr1_tells_how_jovis_is_and_ends_nothing() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let _visitor = with_server(&site, &account);
    let (root, hub, proxy) = (site.root(), site.hub(), site.proxy());
    let mark = site.log.mark();
    site.signal(Signal::SIGUSR1);
    let told = site.log.event(mark, "status told", PATIENCE);
    let of = |line: &Line, name| line.text(name).unwrap_or_default();
    assert_eq!((of(&told, "state"), of(&told, "servers")), ("serving".into(), "1".into()));
    for (child, process) in [("root", root), ("hub", hub), ("proxy", proxy)] {
        let its = |line: &Line| line.is("process described") && of(line, "child") == child;
        let line = site.log.find(mark, PATIENCE, its).expect("each is described");
        let pid = process.pid.to_string();
        let seen = ["pid", "state", "restarts"].map(|name| of(&line, name));
        assert_eq!(seen, [pid, "ready".to_owned(), "0".to_owned()], "{}", line.raw);
    }
    assert_eq!((site.root(), site.hub(), site.proxy()), (root, hub, proxy));
    assert_eq!(site.servers().len(), 1, "and its server runs");
}

#[test]
fn roles_are_restarted_on_request_and_servers_do_not_notice() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let mut visitor = with_server(&site, &account);
    let (hub, proxy, server) = (site.hub(), site.proxy(), site.server());
    let mut socket = visitor.socket(&format!("/user/{}/ws", account.name)).expect("an upgrade");

    let began = Instant::now();
    let output = site.jovis(&["restart", "hub"]);
    println!("jovis restart hub took {:?}", began.elapsed());
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_ne!(site.hub(), hub);
    assert_eq!((site.proxy(), site.server()), (proxy, server));
    assert_eq!(socket.echo("still").unwrap(), "still");
    assert_eq!(visitor.get("/hub/home").status, 200, "still signed in");
    drop(socket);

    let hub = site.hub();
    let output = site.jovis(&["restart", "proxy"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_ne!(site.proxy(), proxy);
    assert_eq!((site.hub(), site.server()), (hub, server));
    assert_eq!(visitor.get(&format!("/user/{}/api", account.name)).status, 200);

    let told = status(&site);
    // The proxy was followed by another one before it left, which is no restart.
    assert_eq!(process(&told, "hub")["restarts"], 1, "{told:#}");
    assert_eq!(process(&told, "hub")["last_exit"], "code 0", "{told:#}");
}

#[test]
fn stop_comes_back_when_jovis_is_gone_and_servers_go_or_stay() {
    as_root!();
    let account = Account::make();
    let mut site = Plan::quick().start();
    with_server(&site, &account);
    let (root, server) = (site.root(), site.server());
    let kept = site.jovis(&["stop", "--servers=keep"]);
    assert_eq!(code(&kept), 0, "{}", said(&kept));
    assert!(!root.lives() && server.lives());
    assert!(site.ended(PATIENCE).success());
    let none = site.jovis(&["status"]);
    assert_eq!(code(&none), 69, "{}", said(&none));
    let words = format!("no jovis named {} is running", site.name);
    assert!(said(&none).contains(&words), "{}", said(&none));

    site.start();
    let stopped = site.jovis(&["stop", "--servers=stop"]);
    assert_eq!(code(&stopped), 0, "{}", said(&stopped));
    assert!(!server.lives());
    assert!(site.ended(PATIENCE).success());
    assert!(site.left_over().is_empty());
}

#[test]
fn an_administrator_ends_everything_by_the_api_with_servers_or_without() {
    as_root!();
    let account = Account::make();
    let admins = format!("[{:?}]", account.name);
    let mut site = Plan::quick().set("auth.admin_users", &admins).start();
    let mut admin = with_server(&site, &account);
    let (root, server) = (site.root(), site.server());
    let kept = admin.api("POST", "/hub/api/shutdown", "{\"servers\": false}");
    assert_eq!(kept.status, 202, "{}", kept.text());
    assert!(site.ended(PATIENCE).success());
    assert!(!root.lives() && server.lives());

    site.start();
    admin.follow("/hub/home");
    let gone = admin.api("POST", "/hub/api/shutdown", "{\"servers\": true, \"proxy\": true}");
    assert_eq!(gone.status, 202, "{}", gone.text());
    assert!(site.ended(PATIENCE).success());
    assert!(!server.lives() && site.left_over().is_empty());
}

#[test]
fn the_status_tells_of_processes_servers_and_the_store() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    with_server(&site, &account);
    let told = status(&site);
    assert_eq!(told["name"], site.name.as_str());
    assert_eq!(told["stage"], "serving");
    let pids = [("root", site.root()), ("hub", site.hub()), ("proxy", site.proxy())];
    for (role, real) in pids {
        let shown = process(&told, role);
        assert_eq!(shown["pid"], real.pid, "{told:#}");
        assert_eq!(shown["state"], "ready", "{told:#}");
        assert_eq!(shown["build"], env!("CARGO_PKG_VERSION"), "{told:#}");
        assert!(shown["memory_kib"].as_u64().is_some_and(|kib| kib > 500), "{told:#}");
        assert!(shown["open_files"].as_u64().is_some_and(|files| files > 4), "{told:#}");
    }
    assert_eq!(told["hub"]["servers"], json!({"running": 1}), "{told:#}");
    assert_eq!((&told["hub"]["routes"], &told["hub"]["routes_wanted"]), (&json!(1), &json!(1)));
    assert!(told["hub"]["store"]["free_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{told:#}");
    assert!(told["hub"]["store"]["journal_bytes"].as_u64().is_some_and(|it| it > 0), "{told:#}");
    assert!(told["hub"]["store"]["records"].as_u64().is_some_and(|count| count > 1), "{told:#}");

    let output = site.jovis(&["status"]);
    let text = said(&output);
    assert_eq!(code(&output), 0, "{text}");
    for part in [site.hub().pid.to_string(), "1 running".to_owned(), "ready".to_owned()] {
        assert!(text.contains(&part), "{part}: {text}");
    }
}

#[test]
fn roots_half_of_the_status_comes_also_without_a_hub_that_answers() {
    as_root!();
    let site = Plan::quick().start();
    let hub = site.hub();
    hub.signal(Signal::SIGSTOP);
    let talk = Talk::connect(&site.control_socket()).expect("root listens");
    let began = Instant::now();
    talk.say(br#"{"command":"status"}"#).unwrap();
    let root = talk.next(PATIENCE).unwrap().expect("root's half");
    println!("root's half of the status came after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(root["answer"], "root");
    let output = site.jovis(&["status"]);
    assert_eq!(code(&output), 75, "{}", said(&output));
    assert!(said(&output).contains("hub: no answer"), "{}", said(&output));
    wait_until("root has noticed", PATIENCE, || {
        process(&status(&site), "hub")["state"] == "silent"
    });

    // dead, and again and again, so that there is none for a while
    hub.kill();
    wait_until("there is no hub", PATIENCE, || {
        site.role("@hub").inspect(|hub| hub.kill());
        let told = status(&site);
        process(&told, "hub")["state"] == "waiting" && told["hub"].is_null()
    });
    let told = status(&site);
    assert_eq!(process(&told, "hub")["last_exit"], "signal 9", "{told:#}");
    wait_until("it is back", PATIENCE, || status(&site)["hub"].is_object());
}

#[test]
fn others_may_not() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let socket = site.control_socket();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let ask = || {
        // a program all can reach, which speaks to the socket as the other user
        let script = format!(
            "import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n\
             s.connect({:?})\ns.settimeout(20)\ntry: s.send(b'{{\"command\":\"stop\"}}')\n\
             except BrokenPipeError: pass\ntry: print(s.recv(9999).decode())\n\
             except ConnectionResetError: print(s.recv(9999).decode())",
            socket.display().to_string()
        );
        let mut python = std::process::Command::new("python3");
        let output = python.args(["-c", &script]).uid(account.uid).gid(account.gid).output();
        said(&output.expect("python is installed"))
    };
    let kept_out = ask();
    assert!(kept_out.contains("PermissionError"), "{kept_out}");
    // and if the file's mode were wrong
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let mark = site.log.mark();
    let refused = ask();
    assert!(refused.contains("you are not who started jovis"), "{refused}");
    site.log.event(mark, "operator refused", PATIENCE);
    assert_eq!(status(&site)["stage"], "serving");
}

#[test]
fn whoever_started_it_may_also_without_privilege() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().set("auth.class", "Dummy()").started_by(&account).start();
    let output = site.command(&["status"]).uid(account.uid).gid(account.gid).output();
    let output = output.expect("its copy of the binary can be reached");
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(said(&output).contains(&site.hub().pid.to_string()), "{}", said(&output));
    // root may too, where it looks in the right place
    let told = site.control(&json!({"command": "status"}));
    assert_eq!(told.len(), 2, "{told:#?}");
}

#[test]
fn garbage_silence_and_crowds_harm_nobody() {
    as_root!();
    let site = Plan::quick().start();
    let (hub, proxy, root) = (site.hub(), site.proxy(), site.root());
    let socket = site.control_socket();
    let files = root.descriptors();
    for garbage in [&b"\0"[..], b"{", b"[]", &[0xff; 4096], &[b'x'; 4097], &[b'{'; 100_000]] {
        let talk = Talk::connect(&socket).expect("root listens");
        talk.say(garbage).expect("root reads");
        let answers = talk.all();
        assert_eq!(answers.last().expect("an answer")["answer"], "refused", "{answers:?}");
    }
    // nobody speaks; more than root takes on
    let silent: Vec<_> = (0..40).map_while(|_| Talk::connect(&socket).ok()).collect();
    assert!(silent.len() > 16);
    let began = Instant::now();
    assert_eq!(site.visitor().get("/hub/api").status, 200);
    for talk in &silent {
        let answers = talk.all();
        assert!(answers.iter().all(|answer| answer["answer"] == "refused"), "{answers:?}");
    }
    println!("40 silent operators were sent away within {:?}", began.elapsed());
    drop(silent);
    // many that hang up at once
    for _ in 0..200 {
        let talk = Talk::connect(&socket).expect("root listens");
        drop(talk.say(br#"{"command":"status"}"#));
    }
    assert_eq!(status(&site)["stage"], "serving");
    assert_eq!((site.hub(), site.proxy()), (hub, proxy));
    wait_until("nothing stays open", PATIENCE, || root.descriptors() <= files);
}

/// `jovis events --follow`, and what it has told so far.
struct Following {
    child: Child,
    told: Log,
}

impl Following {
    fn begin(site: &Site, more: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = site.command(&[&["events", "--follow", "--json"], more].concat());
        let child = command.stdout(writer).spawn().expect("the binary is built");
        let told = Log::default();
        told.read(reader);
        Self { child, told }
    }

    /// Waits until root tells it something; `nudge` makes root log.
    fn wait_for_root(&self, nudge: impl Fn()) {
        wait_until("it hears root", PATIENCE, || {
            nudge();
            let root = |line: &Line| line.text("role").as_deref() == Some("root");
            self.told.find(0, Duration::from_millis(200), root).is_some()
        });
    }

    fn heard(&self, role: &str, event: &str) -> Line {
        let fits = |line: &Line| line.is(event) && line.text("role").as_deref() == Some(role);
        let found = self.told.find(0, PATIENCE, fits);
        found.unwrap_or_else(|| panic!("no {event:?} of {role}:\n{}", self.told.tail(30)))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn who_follows_hears_all_roles_also_those_started_later() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    let following = Following::begin(&site, &[]);
    let warnings = Following::begin(&site, &["--level", "warn", "--role", "root"]);
    following.wait_for_root(|| drop(site.jovis(&["reload"])));
    with_server(&site, &account);
    let server = following.heard("hub", "server in service");
    assert_eq!(server.text("user").as_deref(), Some(account.name.as_str()));
    following.heard("root", "server process started");
    following.heard("proxy", "request served");

    let (hub, proxy) = (site.hub(), site.proxy());
    hub.kill();
    following.heard("root", "role ended");
    following.heard("hub", "hub is ready");
    wait_until("another hub serves", PATIENCE, || site.visitor().get("/hub/api").status == 200);
    proxy.kill();
    following.heard("proxy", "proxy open");
    warnings.heard("root", "role ended");
    let others = |line: &Line| line.text("level").as_deref() != Some("WARN");
    assert!(warnings.told.find(0, Duration::ZERO, others).is_none(), "{}", warnings.told.tail(9));

    // its end is told, and so is jovis's
    let mut following = following;
    assert_eq!(code(&site.jovis(&["stop", "--servers=stop"])), 0);
    following.heard("root", "jovis is ending");
    let status = following.child.wait().expect("it is our child");
    assert_eq!(status.code(), Some(69));
    let refused = site.jovis(&["events", "--follow"]);
    assert_eq!(code(&refused), 69, "{}", said(&refused));
}

#[test]
fn who_follows_and_does_not_read_slows_nobody_down() {
    as_root!();
    let site = Plan::quick().start();
    let following = Following::begin(&site, &[]);
    following.wait_for_root(|| drop(site.jovis(&["reload"])));
    let reader = i32::try_from(following.child.id()).ok().and_then(Process::of).expect("it runs");
    reader.signal(Signal::SIGSTOP);
    let (hub, proxy, root) = (site.hub(), site.proxy(), site.root());
    let mut visitor = site.visitor();
    let mut worst = Duration::ZERO;
    for _ in 0..1_500 {
        let began = Instant::now();
        assert_eq!(visitor.get("/hub/api").status, 200);
        worst = worst.max(began.elapsed());
    }
    println!("1,500 requests beside a follower that is stopped; the slowest took {worst:?}");
    assert!(worst < Duration::from_secs(5), "{worst:?}");
    assert_eq!((site.hub(), site.proxy(), site.root()), (hub, proxy, root));
    reader.signal(Signal::SIGCONT);
    wait_until("it hears how much it missed", PATIENCE, || {
        drop(visitor.get("/hub/api"));
        let dropped = |line: &Line| line.is("log lines dropped");
        following.told.find(0, Duration::from_millis(100), dropped).is_some()
    });
    let filter = json!({"command": "events", "filter": {"level": "loud"}});
    assert_eq!(site.control(&filter)[0]["answer"], "refused");
    // as many as may, and one more
    let ask = || {
        let talk = Talk::connect(&site.control_socket()).expect("root listens");
        talk.say(br#"{"command":"events","filter":{"events":["none of this name"]}}"#)
            .expect("root reads");
        talk
    };
    let more: Vec<_> = (0..7).map(|_| ask()).collect();
    let refused = ask().next(PATIENCE).expect("an answer").expect("an answer");
    assert_eq!(refused["answer"], "refused", "{refused}");
    drop(more);
    // when they are gone there is room again
    wait_until("there is room again", PATIENCE, || {
        let answer = ask().next(Duration::from_millis(200));
        answer.is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
    });
}

#[test]
fn a_running_hub_is_backed_up() {
    as_root!();
    let account = Account::make();
    let site = Plan::quick().start();
    with_server(&site, &account);
    let file = site.folder().join("hub.backup");
    let path = file.display().to_string();
    let output = site.jovis(&["backup", &path]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert_eq!(fs::metadata(&file).expect("it was made").permissions().mode() & 0o777, 0o600);
    let verified = site.jovis(&["restore", "--verify", &path]);
    assert_eq!(code(&verified), 0, "{}", said(&verified));
    assert!(said(&verified).contains("1 users, 1 servers"), "{}", said(&verified));
    // what is there stays
    let again = site.jovis(&["backup", &path]);
    assert_eq!(code(&again), 1, "{}", said(&again));
    // without a file to write into there is nothing to do
    let refused = site.control(&json!({"command": "backup"}));
    assert_eq!(refused[0]["answer"], "refused", "{refused:?}");
}
