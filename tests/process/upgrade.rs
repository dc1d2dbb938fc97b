//! Another program takes over as root, hub and proxy while people work; and programs that must not.
//!
//! The new program is the same one again (a link to it, replaced as a package manager replaces it), or a script in front
//! of it that breaks it in a named way (`src/broken.rs`).

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    as_root,
    support::{
        Account, Line, PATIENCE, Plan, Site, Socket, Visitor,
        load::{Load, Mix},
        process::Process,
        scale::{promise, scaled},
        wait_for, wait_until,
    },
    with_server,
};

/// What is promised of a roll-back, from the signal on.
const BACK: Duration = Duration::from_secs(10);

/// A hub with a program of its own, a user at work, and what must not change.
struct Scene {
    // first of all ended
    site: Site,
    account: Account,
    visitor: Visitor,
    socket: Socket,
    root: Process,
    server: Process,
}

impl Scene {
    fn new() -> Self {
        Self::of(Plan::quick())
    }

    fn of(plan: Plan) -> Self {
        let account = Account::make();
        let site = plan.program_of_its_own().start();
        let mut visitor = with_server(&site, &account);
        let socket = visitor.socket(&format!("/user/{}/ws", account.name)).expect("an upgrade");
        let (root, server) = (site.root(), site.server());
        Self { site, account, visitor, socket, root, server }
    }

    /// Asks for the program at its path to take over.
    fn upgrade(&self) -> usize {
        let mark = self.site.log.mark();
        self.site.signal(Signal::SIGUSR2);
        mark
    }

    /// The same, and it does.
    fn upgraded(&self) -> Line {
        let (hub, proxy) = (self.site.hub(), self.site.proxy());
        let line = self.site.log.event(self.upgrade(), "upgrade done", PATIENCE);
        assert!(self.site.hub() != hub && self.serving_proxy() != Some(proxy));
        line
    }

    /// The youngest proxy.
    fn serving_proxy(&self) -> Option<Process> {
        self.proxies().into_iter().max_by_key(|proxy| (proxy.since, proxy.pid))
    }

    fn proxies(&self) -> Vec<Process> {
        let proxy = |child: &Process| child.arguments().get(1).is_some_and(|it| it == "@proxy");
        self.site.children().into_iter().filter(proxy).collect()
    }

    /// Nobody noticed anything.
    fn is_unharmed(&mut self) {
        assert_eq!((self.site.root(), self.site.server()), (self.root, self.server));
        assert_eq!(self.socket.echo("still here").expect("the socket lives"), "still here");
        let path = format!("/user/{}/api", self.account.name);
        assert_eq!(self.visitor.get(&path).status, 200);
        assert_eq!(self.site.visitor().get("/hub/api").status, 200);
        assert_eq!(self.visitor.get("/hub/home").status, 200, "who was signed in still is");
    }
}

/// A file takes the place of the program, as one that is installed does.
fn install(site: &Site, make: impl FnOnce(&Path)) {
    let (program, fresh) = (site.program(), site.folder().join("fresh"));
    let _ = fs::remove_file(&fresh);
    make(&fresh);
    fs::rename(fresh, program).expect("it is our folder");
}

fn script(text: &str) -> impl FnOnce(&Path) {
    move |path| {
        fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("it is our folder");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
}

/// The program as it should be.
fn good(site: &Site) {
    let real = real(site);
    install(site, |path| fs::hard_link(real, path).expect("the same disk"));
}

/// The program itself, wherever scripts lead.
fn real(site: &Site) -> PathBuf {
    let real = site.folder().join("real");
    if !real.exists() {
        fs::hard_link(site.program(), &real).expect("the same disk");
    }
    real
}

/// The program, broken in this way.
fn broken(site: &Site, how: &str) {
    let real = real(site);
    let text = format!("export JOVIS_BROKEN={how}\nexec {} \"$@\"", real.display());
    install(site, script(&text));
}

#[test]
fn row_47_a_hub_upgraded_under_load_is_missed_by_nobody() {
    as_root!();
    let mut scene = Scene::new();
    let mix = Mix {
        servers: vec![format!("/user/{}/", scene.account.name)],
        sockets: scaled(100, 500),
        requests: scaled(40, 200),
        hub: 20,
        knocks: scaled(40, 200),
        ..Mix::default()
    };
    let load = Load::start(&scene.site, mix);
    let mut took = Vec::new();
    for _ in 0..scaled(3, 100) {
        let line = scene.upgraded();
        took.push(line.field("took_ms").and_then(serde_json::Value::as_u64).expect("a number"));
        let (before, now) = (load.so_far(), Instant::now());
        wait_until("the load goes on", PATIENCE, || {
            let seen = load.so_far();
            now.elapsed() > Duration::from_millis(300)
                && seen.hub.fine > before.hub.fine + 2
                && seen.requests.fine > before.requests.fine + 2
        });
    }
    let report = load.stop();
    report.print("row 47");
    println!("row 47: upgrades took {took:?} ms");
    for (what, tally) in [
        ("sockets", &report.sockets),
        ("requests", &report.requests),
        ("hub", &report.hub),
        ("downloads", &report.downloads),
        ("knocks", &report.knocks),
    ] {
        assert_eq!(tally.failures(), 0, "{what}: {:?} {:?}", tally.failed, tally.when);
    }
    let longest = report.hub.longest();
    assert!(longest <= promise(Duration::from_secs(1)), "the hub's longest answer: {longest:?}");
    scene.is_unharmed();
}

#[test]
fn row_48_tunnels_stay_with_their_proxy_through_all_generations() {
    as_root!();
    let mut scene = Scene::new();
    let path = format!("/user/{}/ws", scene.account.name);
    let (generations, each) = scaled((4, 10), (50, 20));
    let mut tunnels = Vec::new();
    let root_had = scene.root.descriptors();
    for generation in 0..generations {
        for _ in 0..each {
            tunnels.push(scene.visitor.socket(&path).expect("an upgrade"));
        }
        scene.upgraded();
        let alive = scene.proxies().len();
        assert_eq!(alive, generation + 2, "each proxy with a tunnel stays, and one serves");
    }
    let mut slowest = Duration::ZERO;
    for (number, tunnel) in tunnels.iter_mut().enumerate() {
        let (text, asked) = (format!("tunnel {number}"), Instant::now());
        assert_eq!(tunnel.echo(&text).expect("it lives"), text);
        slowest = slowest.max(asked.elapsed());
    }
    println!(
        "row 48: {} tunnels through {generations} generations, slowest echo {slowest:?}",
        tunnels.len()
    );
    // What goes through a proxy that retires still counts as use, with the hub of today.
    scene.is_unharmed();
    tunnels.clear();
    drop(std::mem::replace(&mut scene.socket, scene.visitor.socket(&path).expect("an upgrade")));
    let (_, gone) =
        wait_for("proxies without tunnels end", promise(Duration::from_secs(5)), || {
            (scene.proxies().len() == 1).then_some(())
        });
    println!("row 48: {generations} proxies ended {gone:?} after their last tunnel");
    scene.is_unharmed();
    let has = scene.root.descriptors();
    assert!(has <= root_had + 2, "root had {root_had} descriptors and has {has}");
}

#[test]
fn operators_upgrade_by_command_and_hear_what_came_of_it() {
    as_root!();
    let mut scene = Scene::new();
    good(&scene.site);
    let done = scene.site.jovis(&["upgrade"]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && said.contains("upgraded"), "{done:?}");
    scene.is_unharmed();
    let broken = scene.site.folder().join("broken");
    script("exit 3")(&broken);
    let refused = scene.site.jovis(&["upgrade", broken.to_str().expect("plain letters")]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && why.contains("Code(3)"), "{refused:?}");
    scene.is_unharmed();
    let status = scene.site.jovis(&["status"]);
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(said.contains("last upgrade: refused"), "{said}");
}

#[test]
fn row_49_root_is_replaced_and_keeps_everything() {
    as_root!();
    let mut scene = Scene::new();
    let before = (scene.root.descriptors(), scene.root.status("Threads"));
    for round in 0..scaled(3, 20) {
        good(&scene.site);
        let began = Instant::now();
        let mark = scene.upgrade();
        let replaced = scene.site.log.event(mark, "root replaced", PATIENCE);
        println!("row 49: round {round}: root replaced after {:?}", began.elapsed());
        assert_eq!(replaced.text("role").as_deref(), Some("root"));
        scene.site.log.event(mark, "upgrade done", PATIENCE);
        scene.is_unharmed();
        let program = fs::read_link(format!("/proc/{}/exe", scene.root.pid)).expect("it runs");
        assert_eq!(program, scene.site.program(), "it is the file that was installed");
    }
    // It is not only told of what it has: it takes care of it.
    let server = scene.server;
    server.kill();
    let told = scene.site.log.find(0, PATIENCE, |line| {
        line.is("server process ended")
            && line.text("exit").is_some_and(|exit| exit.contains("Signal(9)"))
    });
    assert!(told.is_some(), "the end of the server is told with its cause");
    wait_until("it is started again", PATIENCE, || {
        scene.site.servers().first().is_some_and(|now| *now != server)
    });
    crate::wait_for_server(&mut scene.visitor, &scene.account);
    let after = (scene.root.descriptors(), scene.root.status("Threads"));
    assert_eq!(after.1, "1");
    assert!(after.0 <= before.0 + 2, "descriptors: {before:?}, then {after:?}");
}

#[test]
fn row_49_what_happens_meanwhile_is_not_lost() {
    as_root!();
    let mut scene = Scene::of(Plan::quick().set("spawner.restart", "Never"));
    // A server that ends and one that is born while root is being replaced, and a login on its way.
    let other = Account::make();
    let mut visitor = scene.site.visitor();
    visitor.sign_in(&other);
    let late = Account::make();
    let mut third = scene.site.visitor();
    let mark = scene.upgrade();
    visitor.get("/hub/spawn");
    third.sign_in(&late);
    scene.server.kill();
    scene.site.log.event(mark, "upgrade done", PATIENCE);
    crate::wait_for_server(&mut visitor, &other);
    assert_eq!(scene.site.servers().len(), 1);
    wait_until("the hub knows that the first one has ended", PATIENCE, || {
        let path = format!("/hub/api/users/{}", scene.account.name);
        let user = scene.visitor.api("GET", &path, "");
        user.status == 200 && user.json()["server"].is_null()
    });
    assert_eq!(third.get("/hub/home").status, 200);
}

/// These are found out before anything has changed.
#[test]
fn row_50_a_broken_program_is_refused() {
    as_root!();
    let mut scene = Scene::new();
    let (hub, proxy) = (scene.site.hub(), scene.site.proxy());
    let garbage = |path: &Path| {
        // An ELF head for a machine that nobody has.
        let head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xff\xfe\x01\0\0\0";
        fs::write(path, [head.as_slice(), &[0; 100]].concat()).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let forbidden = |mode| {
        move |path: &Path| {
            fs::write(path, "#!/bin/sh\nexit 0\n").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    type Make<'a> = Box<dyn FnOnce() + 'a>;
    let site = &scene.site;
    let config = fs::read_to_string(&site.file).unwrap();
    let broken_config = || {
        good(site);
        fs::write(&site.file, config.replace("name:", "naem:")).unwrap();
    };
    let table: Vec<(&str, Make<'_>, &str)> = vec![
        ("exits at once", Box::new(|| install(site, script("exit 3"))), "Code(3)"),
        (
            "is no program of ours",
            Box::new(|| install(site, script("echo hello; exit 1"))),
            "hello",
        ),
        ("is for another machine", Box::new(|| install(site, garbage)), "Exec format error"),
        ("cannot be executed", Box::new(|| install(site, forbidden(0o644))), "Permission denied"),
        ("can be written by others", Box::new(|| install(site, forbidden(0o777))), "nobody else"),
        ("is not there", Box::new(|| fs::remove_file(site.program()).unwrap()), "No such file"),
        ("cannot read the store", Box::new(|| broken(site, "trial:exit")), "Code(7)"),
        ("refuses the configuration", Box::new(broken_config), "naem"),
    ];
    real(site);
    for (what, make, why) in table {
        make();
        let began = Instant::now();
        let mark = site.log.mark();
        site.signal(Signal::SIGUSR2);
        let line = site.log.event(mark, "upgrade refused", promise(BACK));
        println!("row 50: a program that {what} is refused after {:?}", began.elapsed());
        let said = line.text("why").unwrap_or_default();
        assert!(said.contains(why), "{what}: {said}");
        assert_eq!((site.hub(), site.proxy()), (hub, proxy), "{what}");
        fs::write(&site.file, &config).unwrap();
    }
    scene.is_unharmed();
    good(&scene.site);
    scene.upgraded();
    scene.is_unharmed();
}

/// Goes through an upgrade that is rolled back, and through a good one after it.
fn rolls_back(ways: &[(&str, &str)]) {
    let mut scene = Scene::new();
    real(&scene.site);
    for (how, why) in ways {
        broken(&scene.site, how);
        let began = Instant::now();
        let mark = scene.upgrade();
        let line = scene.site.log.event(mark, "upgrade rolled back", promise(BACK) + BACK);
        println!("row 50: {how} is rolled back after {:?}", began.elapsed());
        assert!(began.elapsed() <= promise(BACK), "{how}: {:?}", began.elapsed());
        let said = line.text("why").unwrap_or_default();
        assert!(said.contains(why), "{how}: {said}");
        wait_until("there is a hub of the program before", PATIENCE, || {
            let hub = scene.site.hub();
            let other = hub.environment().iter().any(|it| it.starts_with("JOVIS_BROKEN"));
            !other && scene.site.visitor().get("/hub/api").status == 200
        });
        scene.is_unharmed();
    }
    good(&scene.site);
    scene.upgraded();
    scene.is_unharmed();
}

#[test]
#[cfg(feature = "faults")]
fn row_50_a_program_that_fails_when_it_takes_over_is_rolled_back() {
    as_root!();
    rolls_back(&[
        ("root:panic", "panicked"),
        ("root:abort", "crashed"),
        ("hub:exit", "the hub ended 2 times"),
        ("hub:panic", "the hub ended 2 times"),
        ("proxy:exit", "the proxy ended 2 times"),
    ]);
}

#[test]
#[cfg(feature = "faults")]
fn row_50_a_root_that_hangs_when_it_takes_over_is_rolled_back() {
    as_root!();
    rolls_back(&[("root:hang", "hung")]);
}

#[test]
#[cfg(feature = "faults")]
fn row_50_a_hub_that_hangs_is_rolled_back() {
    as_root!();
    rolls_back(&[("hub:hang", "the hub did not serve")]);
}

#[test]
#[cfg(feature = "faults")]
fn row_50_a_proxy_that_hangs_is_rolled_back() {
    as_root!();
    rolls_back(&[("proxy:hang", "did not serve in time")]);
}

#[test]
fn row_50_a_program_that_hangs_is_refused() {
    as_root!();
    let mut scene = Scene::new();
    real(&scene.site);
    install(&scene.site, script("exec sleep 60"));
    let began = Instant::now();
    let line = scene.site.log.event(scene.upgrade(), "upgrade refused", promise(BACK));
    println!("row 50: a program that hangs is refused after {:?}", began.elapsed());
    assert!(line.text("why").is_some_and(|why| why.contains("no answer within")), "{line:?}");
    scene.is_unharmed();
    let sleeps = || {
        scene
            .site
            .children()
            .into_iter()
            .any(|child| child.arguments().first().is_some_and(|it| it == "sleep"))
    };
    wait_until("nothing of it is left", PATIENCE, || !sleeps());
    good(&scene.site);
    scene.upgraded();
    scene.is_unharmed();
}

#[test]
#[cfg(feature = "faults")]
fn row_51_who_speaks_another_version_is_refused_with_a_message() {
    as_root!();
    let mark_of = |site: &Site| site.log.mark();
    let mut scene = Scene::new();
    real(&scene.site);
    for (how, event) in [("hub:version", "link broken"), ("proxy:version", "link broken")] {
        broken(&scene.site, how);
        let mark = mark_of(&scene.site);
        scene.site.signal(Signal::SIGUSR2);
        let said = scene.site.log.find(mark, PATIENCE, |line| {
            line.is(event) && line.text("why").is_some_and(|why| why.contains("in version 2"))
        });
        let said = said.expect("a refusal with its reason");
        println!("row 51: {how}: {}", said.text("why").unwrap_or_default());
        scene.site.log.event(mark, "upgrade rolled back", promise(BACK));
        wait_until("the hub before serves", PATIENCE, || {
            scene.site.visitor().get("/hub/api").status == 200
        });
        scene.is_unharmed();
    }
}

#[test]
fn row_51_a_proxy_of_before_serves_with_the_hub_of_now() {
    as_root!();
    let mut scene = Scene::new();
    let old = scene.site.proxy();
    scene.upgraded();
    // It has retired and lives for its tunnel: the hub of now keeps its routes, and hears of its traffic.
    assert!(old.lives());
    let path = format!("/hub/api/users/{}", scene.account.name);
    let used = |scene: &mut Scene| {
        let user = scene.visitor.api("GET", &path, "").json();
        user["servers"][""]["last_activity"].as_str().unwrap_or_default().to_owned()
    };
    let before = used(&mut scene);
    wait_until("what its tunnel carries counts as use", PATIENCE, || {
        assert_eq!(scene.socket.echo("typing").expect("the socket lives"), "typing");
        std::thread::sleep(Duration::from_millis(500));
        used(&mut scene) > before
    });
    scene.is_unharmed();
}
