use std::{fs::File, os::fd::AsFd, thread::sleep};

use nix::{sys::stat::Mode, unistd::geteuid};
use tempfile::TempDir;

use super::*;
use crate::{
    config::{
        Config,
        sections::{Simple, SpawnerClass},
    },
    ipc::{Hello, VERSION, root::Child},
    os::{fd, users},
    root::{
        Reload, Relog, Setup,
        children::Children,
        control::Control,
        policy::Ourselves,
        roles::{Link, Process},
        sockets,
    },
};

/// A root that nobody runs, and the hub's end of its link.
pub(in crate::root) struct Scene {
    pub(in crate::root) root: Root,
    hub: OwnedFd,
    dir: TempDir,
}

impl Scene {
    /// Servers run as `nobody`, or as ourselves where the tests have no privilege.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let uid = geteuid().as_raw();
        let mut config = Config::default();
        config.hub.ip = "127.0.0.1".to_owned();
        (config.hub.port, config.hub.hub_port, config.proxy.sockets) = (0, 0, 1);
        config.spawner.cmd = ["sh", "-c", "exit 7"].map(str::to_owned).into();
        config.spawner.class = SpawnerClass::Simple(Simple {
            user: "nobody".to_owned(),
            home_dir_template: "/".to_owned(),
        });
        let setting = birth::Setting {
            we: Ourselves { privileged: uid == 0, uid, hub: uid, proxy: 1 },
            hub_gid: 0,
            env: std::env::vars().collect(),
            umask: Mode::from_bits_truncate(0o022),
            open_files: (256, 1024),
            servers_oom: 0,
        };
        let sockets = sockets::bind(&config, dir.path(), dir.path(), None, Vec::new()).unwrap();
        let children = Children::open(dir.path()).unwrap();
        let own = users::by_uid(uid).unwrap().unwrap();
        let (reload, relog): (Reload, Relog) =
            (Box::new(|| Err(Vec::new())), Box::new(|_| Ok(None)));
        let tap = Box::new(|_, _| Ok(()));
        let (program, arguments) = ("/proc/self/exe".into(), Vec::new());
        let setup = Setup { config, file: None, program, arguments, reload, relog, tap };
        let control = Control::open(dir.path()).unwrap();
        let file = || File::open(dir.path()).unwrap();
        let held = (file().into(), file());
        let root = Root::new(setup, setting, (own.clone(), own), held, sockets, children, control);
        let mut root = root.unwrap();
        let (ours, hub) = fd::pair().unwrap();
        let (report, _) = fd::pipe().unwrap();
        root.hub.process = Some(Process::new(i32::MAX, Link::new(ours), report, Instant::now()));
        Self { root, hub, dir }
    }

    /// One that has said Hello.
    pub(in crate::root) fn greeted() -> Self {
        let mut scene = Self::new();
        scene.say(None, HubSays::Hello(hello(VERSION, "hub")), Vec::new()).unwrap();
        scene
    }

    fn say(&mut self, id: Option<u64>, message: HubSays, fds: Vec<OwnedFd>) -> Result<(), String> {
        self.root.hub_said(Envelope { id, message }, fds)
    }

    pub(in crate::root) fn hear(&self) -> (Envelope<RootSays>, Vec<OwnedFd>) {
        frame::recv(self.hub.as_fd()).unwrap()
    }

    /// The answer to this request, which must be the next thing said.
    fn ask(&mut self, id: u64, message: HubSays, fds: Vec<OwnedFd>) -> RootSays {
        self.say(Some(id), message, fds).unwrap();
        let (answer, _) = self.hear();
        assert_eq!(answer.id, Some(id));
        answer.message
    }

    fn log(&self) -> Vec<OwnedFd> {
        let path = self.dir.path().join("log");
        vec![File::options().append(true).create(true).open(path).unwrap().into()]
    }
}

fn hello(version: u32, role: &str) -> Hello {
    Hello { version, role: role.to_owned(), build: String::new() }
}

fn order() -> OrderId {
    OrderId::from_bytes([9; 16])
}

fn spawn() -> HubSays {
    HubSays::Spawn {
        order: order(),
        user: Username::new("alice").unwrap(),
        server: ServerName::default_server(),
        env: BTreeMap::new(),
        holes: BTreeMap::new(),
        chosen: None,
    }
}

fn is_denied(answer: &RootSays) -> bool {
    matches!(answer, RootSays::Denied { .. })
}

#[test]
fn nothing_is_done_before_a_hello_in_our_version() {
    let mut scene = Scene::new();
    assert!(scene.say(Some(1), HubSays::Children, Vec::new()).is_err());
    assert!(scene.say(None, HubSays::Hello(hello(VERSION + 1, "hub")), Vec::new()).is_err());
    assert!(scene.say(None, HubSays::Hello(hello(VERSION, "proxy")), Vec::new()).is_err());
    assert!(scene.say(None, HubSays::Hello(hello(VERSION, "hub")), Vec::new()).is_ok());
    assert!(scene.say(Some(1), HubSays::Children, Vec::new()).is_ok());
    assert!(scene.say(None, HubSays::Hello(hello(VERSION, "hub")), Vec::new()).is_err());
}

#[test]
fn what_lacks_its_descriptor_or_its_order_is_denied() {
    let mut scene = Scene::greeted();
    let unknown = HubSays::Signal { order: order(), how: SignalKind::Kill };
    assert!(is_denied(&scene.ask(1, unknown, Vec::new())));
    assert!(is_denied(&scene.ask(2, spawn(), Vec::new())));
    let pam = HubSays::Pam { user: "alice".to_owned(), rhost: None };
    assert!(is_denied(&scene.ask(3, pam, Vec::new())));
    assert_eq!(scene.ask(4, HubSays::Forget { order: order() }, Vec::new()), RootSays::Done);
    scene.root.stop(libc::SIGTERM, Instant::now());
    let log = scene.log();
    assert!(is_denied(&scene.ask(5, spawn(), log)));
    assert_eq!(scene.root.children.living(), 0);
}

#[test]
fn an_order_is_started_once_and_remembered_until_it_is_forgotten() {
    if !geteuid().is_root() {
        return; // servers as another account need privilege
    }
    let mut scene = Scene::greeted();
    let log = scene.log();
    scene.say(Some(1), spawn(), log).unwrap();
    scene.say(Some(2), spawn(), Vec::new()).unwrap();
    assert_eq!(scene.root.births.len(), 1);
    assert!(is_denied(&scene.ask(3, HubSays::Forget { order: order() }, Vec::new())));
    let until = Instant::now() + Duration::from_secs(20);
    while !scene.root.births.is_empty() {
        assert!(Instant::now() < until, "not born");
        scene.root.look_after_births(Instant::now());
        sleep(Duration::from_millis(2));
    }
    let pid = scene.root.children.entries[&order()].pid;
    let spawned = RootSays::Spawned { order: order(), pid };
    for id in [1, 2] {
        assert_eq!(scene.hear().0, Envelope { id: Some(id), message: spawned.clone() });
    }
    let exit = loop {
        if let Some((_, exit)) = process::reap(pid) {
            break exit;
        }
        assert!(Instant::now() < until, "not ended");
        sleep(Duration::from_millis(2));
    };
    assert_eq!(exit, Exit::Code(7));
    scene.root.server_ended(&order(), exit);
    let bell = Envelope { id: None, message: RootSays::Exited { order: order(), exit } };
    assert_eq!(scene.hear().0, bell);
    assert_eq!(scene.ask(4, spawn(), Vec::new()), spawned);
    assert_eq!(scene.hear().0, bell);
    scene.say(Some(5), HubSays::Children, Vec::new()).unwrap();
    let list: Vec<Child> = frame::unseal(scene.hear().1.remove(0)).unwrap();
    assert_eq!((list.len(), list[0].pid, list[0].exit), (1, pid, Some(exit)));
    let late = HubSays::Signal { order: order(), how: SignalKind::Kill };
    assert_eq!(scene.ask(6, late, Vec::new()), RootSays::Done);
    assert_eq!(scene.ask(7, HubSays::Forget { order: order() }, Vec::new()), RootSays::Done);
    assert!(scene.root.children.list().is_empty());
}

#[test]
fn there_are_never_more_children_than_open_files() {
    let mut scene = Scene::greeted();
    scene.root.setting.open_files = (64, RESERVED_FILES);
    let log = scene.log();
    assert!(is_denied(&scene.ask(1, spawn(), log)));
    assert!(scene.root.children.list().is_empty());
    scene.root.setting.open_files.1 += 1;
    scene.root.setup.config.root.max_children = 0;
    let log = scene.log();
    assert!(is_denied(&scene.ask(2, spawn(), log)));
}

/// A birth that takes too long, and is over; these requests wait for it.
fn late(asked: Vec<Option<u64>>) -> Scene {
    let mut scene = Scene::greeted();
    let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = i32::try_from(sleeper.id()).unwrap();
    let entry = Entry {
        pid,
        since: 0,
        uid: None,
        user: "alice".to_owned(),
        api: None,
        service: None,
        exit: None,
        pidfd: Some(process::pidfd(pid).unwrap()),
        adopted: false,
    };
    scene.root.children.born(&order(), entry);
    let (report, _writer) = fd::pipe().unwrap();
    fd::set_nonblocking(report.as_fd(), true).unwrap();
    let until = Instant::now() + BIRTH;
    scene.root.births.push(Birth { order: order(), report, until, asked });
    scene.root.look_after_births(until - Duration::from_secs(1));
    assert_eq!(scene.root.births.len(), 1);
    scene.root.look_after_births(until);
    assert!(!sleeper.wait().unwrap().success());
    assert!(scene.root.children.list().is_empty());
    scene
}

#[test]
fn a_hub_that_serves_may_have_everything_ended_once() {
    let stop = |servers| HubSays::Stop { servers };
    let mut scene = Scene::greeted();
    scene.say(Some(1), stop(None), Vec::new()).unwrap();
    assert!(matches!(scene.hear().0.message, RootSays::Denied { .. }));
    assert_eq!(scene.root.stage, Stage::Serving);
    for (asked, setting, wanted) in [
        (None, None, false),
        (None, Some(ShutdownServers::Stop), true),
        (Some(true), Some(ShutdownServers::Keep), true),
        (Some(false), Some(ShutdownServers::Stop), false),
    ] {
        let mut scene = Scene::greeted();
        scene.root.setup.config.shutdown.servers = setting;
        scene.say(None, HubSays::Ready, Vec::new()).unwrap();
        scene.say(Some(1), stop(asked), Vec::new()).unwrap();
        let answer = scene.hear().0;
        assert_eq!((answer.id, answer.message), (Some(1), RootSays::Done));
        let Stage::Proxy { servers, .. } = scene.root.stage else { panic!("{asked:?}") };
        assert_eq!(servers, wanted, "{asked:?} {setting:?}");
        let before = scene.root.stage;
        scene.say(Some(2), stop(Some(!wanted)), Vec::new()).unwrap();
        assert_eq!(scene.hear().0.message, RootSays::Done);
        assert_eq!(scene.root.stage, before, "asking again changes nothing");
    }
}

#[test]
fn a_birth_that_takes_too_long_is_ended() {
    let scene = late(vec![Some(1)]);
    let (step, errno) = ("start in time".to_owned(), libc::ETIMEDOUT);
    assert_eq!(scene.hear().0, Envelope { id: Some(1), message: RootSays::Failed { step, errno } });
}

#[test]
fn a_failed_birth_is_told_to_the_hub_that_has_not_asked() {
    let message = RootSays::Exited { order: order(), exit: Exit::Unknown };
    assert_eq!(late(Vec::new()).hear().0, Envelope { id: None, message });
}
