//! Root as the hub sees it, inside a test: it speaks `ipc/root.rs`, starts children that live, end and resist as told,
//! and answers for PAM by script or by the real helper. It changes no uid and refuses only what it is told to.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixListener, process::ExitStatusExt as _},
    },
    process::{Child as Process, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use jovis::{
    config::{
        Config,
        slice::{HubSlice, ToWire as _},
    },
    ipc::{
        Envelope, Hello, VERSION,
        frame::{self, FrameError},
        helper::{Question, Verdict},
        root::{Child, Given, HubSays, RootSays, SignalKind},
    },
    link::root::Root,
    os::fd,
};
use jovis_actors::{
    domain::{OrderId, Secret},
    ports::Exit,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// What a child says before it waits for its end.
const CHATTER: &str =
    "n=0; while [ $n -lt 300 ]; do echo \"zeile $n äöü\"; n=$((n+1)); done; echo äöü last line";

/// What root makes of a question for PAM.
#[derive(Debug, Clone)]
pub(crate) enum Pam {
    /// Every question gets this answer.
    Says(RootSays),
    /// No answer ever.
    Silent,
    /// Names and passwords that are right; the name PAM knows them by.
    Knows(BTreeMap<(String, String), String>),
    /// A fresh helper process each, with this PAM service.
    Helper(String),
}

#[derive(Debug)]
struct Born {
    process: Process,
    exit: Option<Exit>,
    forgotten: bool,
}

#[derive(Debug)]
struct Book {
    born: BTreeMap<OrderId, Born>,
    births: Vec<OrderId>,
    stubborn: bool,
    refuse: HashSet<OrderId>,
    pam: Pam,
    new_links: Vec<OwnedFd>,
}

/// The process table of a machine, with links to as many hubs as come. Ends all it started when dropped.
pub(crate) struct TestRoot {
    book: Arc<Mutex<Book>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    folder: TempDir,
}

impl TestRoot {
    pub(crate) fn new(pam: Pam) -> Self {
        let book = Arc::new(Mutex::new(Book {
            born: BTreeMap::new(),
            births: Vec::new(),
            stubborn: false,
            refuse: HashSet::new(),
            pam,
            new_links: Vec::new(),
        }));
        let over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (book, over) = (book.clone(), over.clone());
            move || serve(&book, &over)
        });
        Self { book, over, thread: Some(thread), folder: tempfile::tempdir().unwrap() }
    }

    /// The state directory, the same for every hub.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A hub comes: its end of the link, shaken hands with.
    pub(crate) async fn connect(&self) -> Arc<Root> {
        let (ours, theirs) = fd::pair().unwrap();
        self.greet(&ours);
        self.book().new_links.push(ours);
        Root::connect(theirs).await.unwrap().0
    }

    fn greet(&self, link: &OwnedFd) {
        let slice = HubSlice::new(
            &Config::default(),
            Secret::new(vec![0; 32]),
            "http://127.0.0.1:1/hub/api".to_owned(),
            false,
        );
        let inner = self.folder.path().join("inner");
        // Another hub may have come before.
        let _ = std::fs::remove_file(&inner);
        let fds: [OwnedFd; 4] = [
            fd::sealed(&slice.to_wire()).unwrap(),
            File::open(self.folder.path()).unwrap().into(),
            TcpListener::bind("127.0.0.1:0").unwrap().into(),
            UnixListener::bind(inner).unwrap().into(),
        ];
        let given = vec![Given::Config, Given::State, Given::HubApi, Given::HubInner];
        let hello = Hello { version: VERSION, role: "root".into(), build: "test".into() };
        let message = Envelope { id: None, message: RootSays::Hello { hello, given } };
        frame::send(link.as_fd(), &message, &frame::borrow(&fds)).unwrap();
    }

    /// How many processes were really started for it.
    pub(crate) fn births(&self, order: &OrderId) -> usize {
        self.book().births.iter().filter(|born| *born == order).count()
    }

    /// Children that are started from now on hear only SIGKILL.
    pub(crate) fn make_stubborn(&self) {
        self.book().stubborn = true;
    }

    /// This order will not be carried out.
    pub(crate) fn refuse(&self, order: &OrderId) {
        self.book().refuse.insert(order.clone());
    }

    /// The child ends: by itself, or by a signal from elsewhere.
    pub(crate) fn end(&self, order: &OrderId, how: Exit) {
        let mut book = self.book();
        let born = book.born.get_mut(order).expect("it was started");
        match how {
            Exit::Code(code) => {
                let mut ear = born.process.stdin.take().expect("it is asked to end once");
                writeln!(ear, "{code}").unwrap();
            }
            Exit::Signal(number) => {
                let signal = Signal::try_from(number).unwrap();
                kill(pid(&born.process), signal).unwrap();
            }
            Exit::OutOfMemory | Exit::Unknown => panic!("a child ends by itself or a signal"),
        }
    }

    /// What root makes of questions for PAM from now on.
    pub(crate) fn set_pam(&self, pam: Pam) {
        self.book().pam = pam;
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }
}

impl Drop for TestRoot {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the root of the test has panicked");
        }
        let mut book = self.book.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for born in book.born.values_mut() {
            let _ = born.process.kill();
            let _ = born.process.wait();
        }
    }
}

fn pid(process: &Process) -> Pid {
    Pid::from_raw(i32::try_from(process.id()).unwrap())
}

/// A password check that a helper process is at.
struct Check {
    link: usize,
    id: Option<u64>,
    helper: Process,
    answer: OwnedFd,
}

impl Drop for Check {
    fn drop(&mut self) {
        let _ = self.helper.kill();
        let _ = self.helper.wait();
    }
}

/// One thread for all links, older ones first: what a hub said before it went is heard before its successor.
fn serve(book: &Mutex<Book>, over: &AtomicBool) {
    let mut links: Vec<Option<OwnedFd>> = Vec::new();
    let mut checks: Vec<Check> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        links.extend(book.lock().unwrap().new_links.drain(..).map(Some));
        {
            let mut wanted: Vec<_> = links
                .iter()
                .flatten()
                .chain(checks.iter().map(|check| &check.answer))
                .map(|link| PollFd::new(link.as_fd(), PollFlags::POLLIN))
                .collect();
            let nap = PollTimeout::try_from(Duration::from_millis(5)).unwrap();
            let _ = poll(&mut wanted, nap);
        }
        reap(book, &links);
        checks.retain(|check| match frame::recv::<Verdict>(check.answer.as_fd()) {
            Err(FrameError::WouldBlock) => true,
            heard => {
                let failed = |_| Verdict::Failed { text: "no word from the helper".to_owned() };
                let verdict = heard.map_or_else(failed, |(verdict, _)| verdict);
                say(&links[check.link], check.id, RootSays::PamVerdict(verdict), &[]);
                false
            }
        });
        for n in 0..links.len() {
            while let Some(link) = &links[n] {
                match frame::recv::<Envelope<HubSays>>(link.as_fd()) {
                    Ok((Envelope { id, message }, fds)) => {
                        checks.extend(obey(book, &links, n, id, message, fds));
                    }
                    Err(FrameError::WouldBlock) => break,
                    Err(_) => links[n] = None,
                }
            }
        }
    }
}

/// Says it, unless the hub is gone.
fn say(link: &Option<OwnedFd>, id: Option<u64>, message: RootSays, fds: &[OwnedFd]) {
    let Some(link) = link else { return };
    let envelope = Envelope { id, message };
    while let Err(FrameError::WouldBlock) =
        frame::send(link.as_fd(), &envelope, &frame::borrow(fds))
    {
        thread::yield_now();
    }
}

fn reap(book: &Mutex<Book>, links: &[Option<OwnedFd>]) {
    for (order, born) in &mut book.lock().unwrap().born {
        if born.exit.is_some() {
            continue;
        }
        let Some(status) = born.process.try_wait().unwrap() else { continue };
        let exit = status
            .code()
            .map_or_else(|| status.signal().map_or(Exit::Unknown, Exit::Signal), Exit::Code);
        born.exit = Some(exit);
        for link in links {
            say(link, None, RootSays::Exited { order: order.clone(), exit }, &[]);
        }
    }
}

fn obey(
    book: &Mutex<Book>,
    links: &[Option<OwnedFd>],
    link: usize,
    id: Option<u64>,
    message: HubSays,
    fds: Vec<OwnedFd>,
) -> Option<Check> {
    let mut book = book.lock().unwrap();
    let answer = |message, fds: &[OwnedFd]| say(&links[link], id, message, fds);
    let denied = |why: &str| RootSays::Denied { why: why.to_owned() };
    match message {
        HubSays::Hello(_) | HubSays::Ready | HubSays::Pong | HubSays::Reloaded(_) => {}
        HubSays::Children => {
            let known = book.born.iter().filter(|(_, born)| !born.forgotten);
            let children: Vec<Child> = known
                .map(|(order, born)| Child {
                    order: order.clone(),
                    pid: pid(&born.process).as_raw(),
                    since: 0,
                    exit: born.exit,
                    service: None,
                })
                .collect();
            answer(RootSays::Children, &[frame::seal(&children).unwrap()]);
        }
        HubSays::Serve { .. } => answer(denied("there are no services here"), &[]),
        HubSays::Spawn { order, .. } if book.refuse.contains(&order) => {
            answer(denied("not this one"), &[]);
        }
        HubSays::Spawn { order, env, .. } => {
            assert!(
                env.contains_key("JUPYTERHUB_SERVICE_URL"),
                "no address among {:?}",
                env.keys()
            );
            if !book.born.contains_key(&order) {
                let log = fds.into_iter().next().expect("a log file comes along");
                let process = bear(log, book.stubborn);
                book.births.push(order.clone());
                book.born.insert(order.clone(), Born { process, exit: None, forgotten: false });
            }
            let pid = pid(&book.born[&order].process).as_raw();
            answer(RootSays::Spawned { order, pid }, &[]);
        }
        HubSays::Signal { order, how } => match book.born.get(&order) {
            Some(Born { process, exit: None, .. }) => {
                let signal = match how {
                    SignalKind::Interrupt => Signal::SIGINT,
                    SignalKind::Terminate => Signal::SIGTERM,
                    SignalKind::Kill => Signal::SIGKILL,
                };
                // Not waited for yet, so the number is still its own.
                let _ = kill(pid(process), signal);
                answer(RootSays::Done, &[]);
            }
            _ => answer(denied("it does not run"), &[]),
        },
        HubSays::Stop { .. } => answer(denied("nothing ends here"), &[]),
        HubSays::Forget { order } => {
            if let Some(born) = book.born.get_mut(&order) {
                born.forgotten = born.exit.is_some();
            }
            answer(RootSays::Done, &[]);
        }
        HubSays::Account { .. } => answer(denied("there are no accounts here"), &[]),
        HubSays::Pam { user, rhost } => {
            let pipe = fds.into_iter().next().expect("the password's pipe comes along");
            match book.pam.clone() {
                Pam::Says(word) => answer(word, &[]),
                Pam::Silent => {}
                Pam::Knows(people) => {
                    let mut password = String::new();
                    File::from(pipe).read_to_string(&mut password).unwrap();
                    let verdict = match people.get(&(user, password)) {
                        Some(name) => Verdict::Accepted { user: name.clone(), groups: Vec::new() },
                        None => Verdict::Refused {
                            step: "authenticate".to_owned(),
                            code: 7,
                            text: "no".to_owned(),
                        },
                    };
                    answer(RootSays::PamVerdict(verdict), &[]);
                }
                Pam::Helper(service) => {
                    return Some(check(&service, user, rhost, pipe, link, id));
                }
            }
        }
    }
    None
}

/// A server that says much, then waits to be told how to end.
fn bear(log: OwnedFd, stubborn: bool) -> Process {
    let trap = if stubborn { "trap '' INT TERM; " } else { "" };
    Command::new("sh")
        .args(["-c", &format!("{trap}{CHATTER}; read code; exit $code")])
        .stdin(Stdio::piped())
        .stderr(Stdio::from(log.try_clone().unwrap()))
        .stdout(Stdio::from(log))
        .spawn()
        .unwrap()
}

/// The real helper, with one question.
fn check(
    service: &str,
    user: String,
    rhost: Option<String>,
    pipe: OwnedFd,
    link: usize,
    id: Option<u64>,
) -> Check {
    let (answer, theirs) = fd::pair().unwrap();
    let question = Question {
        service: service.to_owned(),
        user,
        rhost,
        min_uid: 1000,
        groups: Vec::new(),
        canonical: false,
        otp: false,
    };
    frame::send(answer.as_fd(), &question, &[pipe.as_fd()]).unwrap();
    let helper = role("@helper", theirs);
    Check { link, id, helper, answer }
}

/// Starts the binary in a role, its link as descriptor 3.
pub(crate) fn role(role: &str, link: OwnedFd) -> Process {
    Command::new("sh")
        .args(["-c", "exec \"$0\" \"$1\" 3<&0 0</dev/null", env!("CARGO_BIN_EXE_jovis"), role])
        .stdin(Stdio::from(link))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
