//! Containers of a real engine.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use jovis::{
    config::sections::{self, PullPolicy, SpawnerClass},
    spawn::{
        docker::{Docker, hub_id, names, plan},
        listeners::Expected,
        output::Outputs,
    },
};
use jovis_actors::{
    domain::{OrderId, Seconds, Secret, Username},
    ports::{EnvVars, Exit, Order, Recovered, Spawner, Stop},
    testing::SeededEntropy,
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    spawner::{World, contract, fate, hub, inventory, order, quiet, soon, started},
    support::{
        Account,
        engine::{Engine, IMAGE, NETWORK},
        wait_until,
    },
};

/// Longer than any of these may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One hub's containers.
struct Containers {
    engine: Arc<Engine>,
    /// The hub's state directory, and what servers get as `/control`.
    state: TempDir,
    control: TempDir,
    change: fn(&mut sections::Docker),
    /// Containers of somebody else that lie in the way.
    foreign: Mutex<Vec<String>>,
}

impl Containers {
    fn new(engine: &Arc<Engine>) -> Self {
        Self::with(engine, |_| {})
    }

    fn with(engine: &Arc<Engine>, change: fn(&mut sections::Docker)) -> Self {
        let folder =
            || tempfile::Builder::new().prefix("hub-").tempdir_in(engine.folder()).unwrap();
        let world = Self {
            engine: engine.clone(),
            state: folder(),
            control: folder(),
            change,
            foreign: Mutex::default(),
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/container.py");
        fs::copy(script, world.control.path().join("container.py")).unwrap();
        world
    }

    fn settings(&self) -> sections::Spawner {
        let mut docker = sections::Docker {
            socket: self.engine.socket().display().to_string(),
            image: IMAGE.to_owned(),
            pull_policy: PullPolicy::Never,
            network_name: NETWORK.to_owned(),
            use_internal_ip: Some(false),
            prefix: format!("t{}", self.hub()),
            cmd: vec![
                "/usr/bin/python3".to_owned(),
                "-IS".to_owned(),
                "/control/container.py".to_owned(),
            ],
            volumes: [
                ("/usr".to_owned(), "/usr:ro".to_owned()),
                (self.control.path().display().to_string(), "/control:ro".to_owned()),
            ]
            .into(),
            ..sections::Docker::default()
        };
        (self.change)(&mut docker);
        let short = Seconds::try_from(0.2).unwrap();
        sections::Spawner {
            class: SpawnerClass::Docker(docker),
            term_timeout: short,
            ..sections::Spawner::default()
        }
    }

    fn hub(&self) -> String {
        hub_id(self.state.path(), &SeededEntropy::new(seed())).unwrap()
    }

    /// What a hub has after a restart. Needs a runtime.
    fn make(&self) -> Arc<dyn Spawner> {
        self.with_settings(self.settings())
    }

    fn with_settings(&self, settings: sections::Spawner) -> Arc<dyn Spawner> {
        Arc::new(Docker::begin(
            Arc::new(ArcSwap::from_pointee(settings)),
            self.hub(),
            Outputs::open(self.state.path()).unwrap(),
            Arc::new(Expected::default()),
            Arc::new(SeededEntropy::new(seed())),
        ))
    }

    fn name(&self, order: &Order) -> String {
        let prefix = format!("t{}", self.hub());
        let holes = names::Holes { prefix: &prefix, user: &order.user, server: &order.server };
        names::container("{prefix}-{username}", &holes)
    }

    fn of(&self, order: &OrderId) -> Vec<String> {
        self.engine.containers(&format!("{}={order}", plan::ORDER))
    }

    fn one(&self, order: &OrderId) -> String {
        let all = self.of(order);
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }
}

/// Another one each time: two hubs of these tests must not be one.
fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_nanos() as u64
}

impl Drop for Containers {
    fn drop(&mut self) {
        // An engine that is gone takes them along by itself.
        let filter = format!("label={}={}", plan::HUB, self.hub());
        let ours = self.engine.try_ask(&["ps", "--all", "--quiet", "--filter", &filter]);
        let mut all = std::mem::take(&mut *self.foreign.lock().unwrap());
        all.extend(ours.unwrap_or_default().lines().map(str::to_owned));
        for id in all {
            _ = self.engine.try_ask(&["rm", "--force", "--volumes", &id]);
        }
    }
}

impl World for Containers {
    async fn spawner(&self) -> Arc<dyn Spawner> {
        self.make()
    }
    fn births(&self, order: &OrderId) -> usize {
        self.of(order).len()
    }
    fn end(&self, order: &OrderId, how: Exit) {
        let id = self.one(order);
        // Until it has said so it hears no signal, as the first process of its container.
        wait_until("it has begun", PATIENCE, || {
            self.engine.ask(&["logs", &id]).contains("last line")
        });
        let signal = match how {
            Exit::Code(code) => (libc_sigrtmin() + code).to_string(),
            Exit::Signal(signal) => signal.to_string(),
            other => panic!("{other:?}"),
        };
        self.engine.ask(&["kill", "--signal", &signal, &id]);
    }
    fn refuse(&self, id: &OrderId) {
        // Somebody else's container has its name.
        let order = (0..=u8::MAX).map(order).find(|it| it.id == *id).unwrap();
        let name = self.name(&order);
        self.foreign.lock().unwrap().push(self.engine.ask(&[
            "create",
            "--name",
            &name,
            IMAGE,
            "/bin/true",
        ]));
    }
    fn make_stubborn(&self) {
        fs::write(self.control.path().join("stubborn"), "").unwrap();
    }
}

/// As Python has it, which calls what the C library leaves to others.
fn libc_sigrtmin() -> i32 {
    34
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_keep_the_contract() {
    let Some(engine) = Engine::shared() else { return };
    contract(Containers::new(&engine)).await;
}

/// As a hub that is killed: its runtime goes, and all it had in hand.
fn in_a_hub<T>(act: impl Future<Output = T>) -> T {
    hub().block_on(act)
}

#[test]
fn a_hub_that_goes_at_any_point_of_a_start_leaves_one_container_or_none() {
    let Some(engine) = Engine::shared() else { return };
    let world = Containers::new(&engine);
    let (mut found, mut none) = (0, 0);
    for n in 0..16_u8 {
        let order = order(100 + n);
        in_a_hub(async {
            let spawner = world.make();
            let spell = Duration::from_millis(u64::from(n) * 25);
            let _ = tokio::time::timeout(spell, spawner.start(&order, quiet())).await;
        });
        in_a_hub(async {
            let next = world.make();
            match fate(&next, &order, None).await {
                Recovered::Unknown => {
                    assert!(!inventory(&next).await.contains(&order.id), "round {n}");
                    none += 1;
                }
                Recovered::Alive(born) => {
                    assert_eq!(started(&next, &order).await, born, "round {n}");
                    assert_eq!(world.births(&order.id), 1, "round {n}");
                    soon(next.stop(&order.id, &born.handle, Stop::Hard)).await.unwrap();
                    found += 1;
                }
                Recovered::Ended(exit) => panic!("round {n}: {exit:?}"),
            }
            soon(next.forget(&order.id)).await;
        });
        assert!(world.births(&order.id) <= 1, "round {n}");
    }
    assert!(found > 0 && none > 0, "{found} found, {none} not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_containers_start_at_once() {
    let Some(engine) = Engine::shared() else { return };
    let world = Containers::new(&engine);
    let spawner = world.make();
    let starts: Vec<_> = (0..20)
        .map(|n| {
            let spawner = spawner.clone();
            tokio::spawn(async move { started(&spawner, &order(200 + n)).await })
        })
        .collect();
    let mut all = Vec::new();
    for start in starts {
        all.push(start.await.unwrap());
    }
    let urls: std::collections::BTreeSet<_> = all.iter().map(|it| it.url.clone()).collect();
    assert_eq!(urls.len(), 20, "{urls:?}");
    assert_eq!(inventory(&spawner).await.len(), 20);
    for url in &urls {
        let address = url.strip_prefix("http://").unwrap().to_owned();
        wait_until("it answers", PATIENCE, || answers(&address));
    }
    let stops = (0..20).zip(all).map(|(n, it)| {
        let spawner = spawner.clone();
        tokio::spawn(async move {
            soon(spawner.stop(&order(200 + n).id, &it.handle, Stop::Hard)).await.unwrap();
            soon(spawner.forget(&order(200 + n).id)).await;
        })
    });
    for stop in stops.collect::<Vec<_>>() {
        stop.await.unwrap();
    }
    assert_eq!(inventory(&spawner).await, []);
    assert_eq!(engine.containers(&format!("{}={}", plan::HUB, world.hub())), [""; 0]);
}

fn answers(address: &str) -> bool {
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    _ = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
    let mut said = String::new();
    _ = stream.read_to_string(&mut said);
    said.contains("200 OK")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_stands_still_or_dies_ends_no_server() {
    let Some(engine) = Engine::alone() else { return };
    let world = Containers::new(&engine);
    let spawner = world.make();
    let order = order(1);
    let born = started(&spawner, &order).await;
    let (waiter, id, handle) = (spawner.clone(), order.id.clone(), born.handle.clone());
    let waiting = tokio::spawn(async move {
        loop {
            if let Ok(exit) = waiter.wait(&id, &handle).await {
                return exit;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });

    engine.signal(Signal::SIGSTOP);
    let asked =
        tokio::time::timeout(PATIENCE, spawner.recover(&order.id, Some(&born.handle))).await;
    assert!(asked.expect("in time").is_err(), "what is not known is no answer");
    engine.signal(Signal::SIGCONT);
    assert_eq!(fate(&spawner, &order, Some(&born.handle)).await, Recovered::Alive(born.clone()));
    assert!(!waiting.is_finished(), "it lives");

    // This engine takes its containers along when it dies, which nobody can know before it is back.
    engine.crash();
    for handle in [None, Some(&born.handle)] {
        assert!(soon(spawner.recover(&order.id, handle)).await.is_err());
    }
    assert!(soon(spawner.inventory()).await.is_err());
    assert!(soon(spawner.start(&self::order(2), quiet())).await.is_err());
    assert!(!waiting.is_finished(), "nobody has seen it end");
    engine.revive();
    tokio::time::timeout(PATIENCE, waiting).await.expect("its end is seen").unwrap();
    assert!(matches!(fate(&spawner, &order, None).await, Recovered::Ended(_)));
    soon(spawner.forget(&order.id)).await;
    assert_eq!(started(&spawner, &self::order(3)).await.url.split(':').count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hubs_on_one_engine_leave_each_others_containers_alone() {
    let Some(engine) = Engine::shared() else { return };
    let (one, other) = (Containers::new(&engine), Containers::new(&engine));
    let (first, second) = (one.make(), other.make());
    let order = order(60);
    let born = started(&first, &order).await;
    assert_eq!(inventory(&second).await, []);
    assert_eq!(fate(&second, &order, None).await, Recovered::Unknown);
    soon(second.stop(&order.id, &born.handle, Stop::Hard)).await.unwrap();
    soon(second.forget(&order.id)).await;
    assert_eq!(fate(&first, &order, None).await, Recovered::Alive(born));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_started_says_why_and_leaves_nothing() {
    let Some(engine) = Engine::shared() else { return };
    let folder: Failure = (
        |it| {
            it.volumes.insert("/none/there".to_owned(), "/data".to_owned());
        },
        "/none/there",
    );
    failures(&engine, &[folder]).await;
}

/// A change of the settings, and what is said to it.
type Failure = (fn(&mut sections::Docker), &'static str);

async fn failures(engine: &Arc<Engine>, more: &[Failure]) {
    let cases: [Failure; 4] = [
        (|it| it.image = "jovis-test:none".to_owned(), "the image jovis-test:none is not there"),
        (
            |it| {
                it.image = "127.0.0.1:1/x/y:2".to_owned();
                it.pull_policy = PullPolicy::IfNotPresent;
            },
            "the image 127.0.0.1:1/x/y:2 cannot be fetched",
        ),
        (|it| it.cmd = vec!["/no/program".to_owned()], "/no/program"),
        (|it| it.network_name = "nowhere".to_owned(), "nowhere"),
    ];
    for (change, words) in cases.iter().chain(more) {
        let world = Containers::with(engine, *change);
        let spawner = world.make();
        let order = order(70);
        let error = soon(spawner.start(&order, quiet())).await.unwrap_err();
        assert!(error.to_string().contains(*words), "{error}");
        assert_eq!(fate(&spawner, &order, None).await, Recovered::Unknown, "{words}");
        soon(spawner.forget(&order.id)).await;
        assert_eq!(world.births(&order.id), 0, "{words}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_and_their_breach_is_told() {
    let Some(engine) = Engine::shared() else { return };
    let world = Containers::with(&engine, |it| {
        it.mem_limit = "32M".to_owned();
        it.cpu_limit = 0.5;
        it.pids_limit = 50;
        it.use_internal_ip = None;
        it.user = "1000:100".to_owned();
        it.read_only = true;
    });
    let spawner = world.make();
    let order = order(80);
    let born = started(&spawner, &order).await;
    assert!(born.url.starts_with("http://10.213.") && born.url.ends_with(":8888"), "{}", born.url);
    let id = world.one(&order.id);
    let form = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.Config.User}} \
                {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.SecurityOpt}} {{.HostConfig.CapDrop}} {{.HostConfig.Privileged}}";
    assert_eq!(
        engine.ask(&["inspect", "--format", form, &id]),
        "33554432 500000000 50 1000:100 true [no-new-privileges] [NET_RAW] false"
    );
    wait_until("it has begun", PATIENCE, || engine.ask(&["logs", &id]).contains("last line"));
    engine.ask(&["kill", "--signal", "USR1", &id]);
    assert_eq!(soon(spawner.wait(&order.id, &born.handle)).await.unwrap(), Exit::OutOfMemory);
    soon(spawner.forget(&order.id)).await;
}

/// A change of where the engine is, by files of the engine's folder.
type Way = fn(&mut sections::Docker, &dyn Fn(&str) -> PathBuf);

/// `security: who has no certificate of its authority cannot speak with an engine elsewhere, and it not with us`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_elsewhere_is_reached_by_tls_alone() {
    let Some((engine, port)) = Engine::secured() else { return };
    let world = Containers::new(&engine);
    let file = |name: &str| engine.folder().join(name);
    let hub = |change: Way| {
        let mut settings = world.settings();
        let SpawnerClass::Docker(docker) = &mut settings.class else { unreachable!() };
        docker.socket = format!("tcp://127.0.0.1:{port}");
        (docker.tls_ca, docker.tls_cert, docker.tls_key) =
            (file("ca.pem"), file("cert.pem"), file("key.pem"));
        change(docker, &file);
        world.with_settings(settings)
    };
    let order = order(1);
    let born = started(&hub(|_, _| {}), &order).await;
    let next = hub(|_, _| {});
    assert_eq!(fate(&next, &order, Some(&born.handle)).await, Recovered::Alive(born.clone()));
    assert_eq!(inventory(&next).await, std::slice::from_ref(&order.id));

    let strangers = [
        hub(|it, _| {
            it.tls_cert = PathBuf::new();
            it.tls_key = PathBuf::new();
        }),
        hub(|it, file| it.tls_ca = file("other-ca.pem")),
        hub(|it, _| it.tls_ca = PathBuf::new()),
        hub(|it, file| it.tls_ca = file("none.pem")),
    ];
    for (nth, stranger) in strangers.iter().enumerate() {
        let found = soon(stranger.recover(&order.id, Some(&born.handle))).await;
        assert!(found.is_err(), "{nth}: {found:?}");
        assert!(soon(stranger.start(&self::order(2), quiet())).await.is_err(), "{nth}");
    }
    soon(next.stop(&order.id, &born.handle, Stop::Hard)).await.unwrap();
    soon(next.forget(&order.id)).await;
    assert_eq!(world.births(&order.id), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_of_this_machine_is_at_home_in_a_container() {
    let Some(engine) = Engine::shared() else { return };
    let account = Account::make();
    let world = Containers::with(&engine, |it| {
        it.system_users = true;
        it.extra_host_config =
            serde_json::json!({"shm_size": 33_554_432, "Sysctls": {"net.core.somaxconn": "77"}})
                .as_object()
                .unwrap()
                .clone();
    });
    let spawner = world.make();
    let mut order = order(3);
    order.user = Username::new(&account.name).unwrap();
    let born = started(&spawner, &order).await;
    let id = world.one(&order.id);
    let look =
        "id -u; id -g; pwd; echo $HOME; echo mine > ~/note; cat /proc/sys/net/core/somaxconn";
    let told = engine.ask(&["exec", &id, "/bin/sh", "-c", look]);
    let home = account.home.display().to_string();
    let wanted =
        [account.uid.to_string(), account.gid.to_string(), home.clone(), home, "77".to_owned()];
    assert_eq!(told.lines().collect::<Vec<_>>(), wanted);
    let note = fs::metadata(account.home.join("note")).unwrap();
    assert_eq!((note.uid(), note.gid()), (account.uid, account.gid), "as if at home");
    let shm = engine.ask(&["inspect", "--format", "{{.HostConfig.ShmSize}}", &id]);
    assert_eq!(shm, "33554432");
    soon(spawner.stop(&order.id, &born.handle, Stop::Hard)).await.unwrap();
    soon(spawner.forget(&order.id)).await;

    for (name, words) in
        [("root", "not a person's"), ("daemon", "not a person's"), ("jv-none", "no account")]
    {
        let mut stranger = self::order(4);
        stranger.user = Username::new(name).unwrap();
        let error = soon(spawner.start(&stranger, quiet())).await.unwrap_err().to_string();
        assert!(error.contains(words), "{name}: {error}");
        assert_eq!(world.births(&stranger.id), 0, "{name}");
    }
}

/// Podman's socket speaks the same in most things; this is what it says otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podmans_containers_keep_the_contract() {
    let Some(engine) = Engine::podman() else { return };
    contract(Containers::new(&engine)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podmans_containers_have_limits_and_outlive_hub_and_service() {
    let Some(engine) = Engine::podman() else { return };
    let world = Containers::with(&engine, |it| {
        it.mem_limit = "32M".to_owned();
        it.cpu_limit = 0.5;
        it.pids_limit = 50;
        it.use_internal_ip = None;
        it.user = "1000:100".to_owned();
        it.read_only = true;
        it.volumes.insert("work-{username}".to_owned(), "/home/jovyan".to_owned());
    });
    let order = order(80);
    let born = world.make();
    let born = started(&born, &order).await;
    assert!(born.url.starts_with("http://10.213.") && born.url.ends_with(":8888"), "{}", born.url);
    let address = born.url.strip_prefix("http://").unwrap().to_owned();
    wait_until("it answers", PATIENCE, || answers(&address));
    let id = world.one(&order.id);
    let form = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.Config.User}} \
                {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}}";
    assert_eq!(
        engine.ask(&["inspect", "--format", form, &id]),
        "33554432 500000000 50 1000:100 true false"
    );

    // The service is only a mouth: what it has started lives without it.
    engine.crash();
    let next = world.make();
    assert!(soon(next.recover(&order.id, Some(&born.handle))).await.is_err());
    assert!(answers(&address), "it lives");
    engine.revive();
    for handle in [None, Some(&born.handle)] {
        assert_eq!(fate(&next, &order, handle).await, Recovered::Alive(born.clone()));
    }
    assert_eq!(inventory(&next).await, std::slice::from_ref(&order.id));
    engine.ask(&["kill", "--signal", "USR1", &id]);
    // Nobody else kills it. (Debian's conmon leaves the word about memory where podman does not look for it.)
    let exit = soon(next.wait(&order.id, &born.handle)).await.unwrap();
    assert!(matches!(exit, Exit::OutOfMemory | Exit::Signal(9)), "{exit:?}");
    assert!(soon(next.log_tail(&order.id, 100)).await.ends_with("last line"));
    soon(next.forget(&order.id)).await;
    assert_eq!(world.births(&order.id), 0);
    assert!(soon(next.log_tail(&order.id, 100)).await.ends_with("last line"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_podman_cannot_start_says_why_and_leaves_nothing() {
    let Some(engine) = Engine::podman() else { return };
    // It makes a missing folder itself (docs/how-to/docker.md).
    failures(&engine, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_is_kept_gives_way_to_the_next_and_logs_outlive_it() {
    let Some(engine) = Engine::shared() else { return };
    for keep in [true, false] {
        let world = Containers::with(
            &engine,
            if keep { |it| it.remove = false } else { |it| it.remove = true },
        );
        let spawner = world.make();
        let (mut first, mut second) = (order(90), order(91));
        (second.server, second.prefix) = (first.server.clone(), first.prefix.clone());
        let env = |token: &str| {
            Secret::new(EnvVars([("JUPYTERHUB_API_TOKEN".to_owned(), token.to_owned())].into()))
        };
        (first.env, second.env) = (env("the-first-ones"), env("the-second-ones"));
        let born = started(&spawner, &first).await;
        wait_until("it has spoken", PATIENCE, || {
            engine.ask(&["logs", &world.one(&first.id)]).contains("last line")
        });
        soon(spawner.stop(&first.id, &born.handle, Stop::Soft)).await.unwrap();
        soon(spawner.forget(&first.id)).await;
        assert_eq!(world.births(&first.id), usize::from(keep));
        assert!(soon(spawner.log_tail(&first.id, 100)).await.ends_with("last line"), "{keep}");
        let born = started(&spawner, &second).await;
        assert_eq!(world.births(&first.id), 0, "there is one name for both");
        // With the token of this start; that of the first is worth nothing any more.
        let form = "{{range .Config.Env}}{{println .}}{{end}}";
        let env = engine.ask(&["inspect", "--format", form, &world.one(&second.id)]);
        let token = |of: &Order| {
            format!("JUPYTERHUB_API_TOKEN={}", of.env.reveal().0["JUPYTERHUB_API_TOKEN"])
        };
        assert!(env.contains(&token(&second)) && !env.contains(&token(&first)), "{env}");
        soon(spawner.stop(&second.id, &born.handle, Stop::Hard)).await.unwrap();
        soon(spawner.forget(&second.id)).await;
    }
}
