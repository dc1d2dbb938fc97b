//! Processes: forking one that becomes somebody else, and telling one process from the next with the same number.
//!
//! [`fork`] is for a process with a single thread: what the child then does before exec may allocate and look users up.

#![expect(
    unsafe_code,
    reason = "fork, capabilities, pidfds and raw descriptor numbers have no safe form"
)]

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Write},
    mem::ManuallyDrop,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use jovis_actors::ports::Exit;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
        signal::{
            SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
        },
    },
    unistd::{self, ForkResult, Gid, Pid, Uid},
};
use thiserror::Error;

use super::{fd, users::Account};

/// A step on the way to exec that did not work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{step}: {}", Errno::from_raw(*errno).desc())]
pub struct StepFailed {
    /// Which.
    pub step: String,
    /// The operating system's number.
    pub errno: i32,
}

impl StepFailed {
    /// This step, for this reason.
    pub fn new(step: &str, errno: Errno) -> Self {
        Self { step: step.to_owned(), errno: errno as i32 }
    }
}

/// Names what was being done when it fails.
pub fn step<T>(name: &str, outcome: nix::Result<T>) -> Result<T, StepFailed> {
    outcome.map_err(|errno| StepFailed::new(name, errno))
}

/// The same for errors of the standard library.
pub fn io_step<T>(name: &str, outcome: io::Result<T>) -> Result<T, StepFailed> {
    step(name, outcome.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))))
}

/// A child on its way to exec.
#[derive(Debug)]
pub struct Forked {
    /// Its number.
    pub pid: i32,
    /// End-of-file without a byte: it has become another program. Bytes: why it did not. Non-blocking.
    pub report: OwnedFd,
}

/// Forks. First we run `note` with the child's number, which makes the child known; only then the child runs `act`, which
/// ends in exec or returns what to report. If `note` fails, or we die before, the child ends without having done
/// anything; until exec it dies with us. It has the default signal dispositions, no blocked signal, and a session of its
/// own; all its descriptors but 0, 1, 2 close at exec.
pub fn fork<T>(
    note: impl FnOnce(i32) -> io::Result<T>,
    act: impl FnOnce() -> Vec<u8>,
) -> io::Result<(Forked, T)> {
    let (report, writer) = fd::pipe()?;
    let (go, starter) = fd::pipe()?;
    let parent = unistd::getpid();
    fd::set_nonblocking(report.as_fd(), true)?;
    let mut before = SigSet::empty();
    // No signal may reach the child while it still has our handlers, which write into our pipes.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    // SAFETY: the contract above: one thread, so the child's memory is consistent.
    let forked = unsafe { unistd::fork() };
    if let Ok(ForkResult::Child) = forked {
        drop(starter);
        let known = tie(parent).and_then(|()| unistd::read(&go, &mut [0]));
        if known != Ok(1) {
            // SAFETY: as below.
            unsafe { libc::_exit(127) }
        }
        // Silence would mean success, so whatever goes wrong says something.
        let writer = high(writer.as_fd()).unwrap_or(writer);
        let last = catch_unwind(AssertUnwindSafe(|| match prepare() {
            Ok(()) => act(),
            Err(errno) => errno.desc().as_bytes().to_vec(),
        }));
        let last = last.unwrap_or_else(|_| b"the child panicked".to_vec());
        drop(File::from(writer).write_all(&last));
        // SAFETY: ends at once; nothing of the parent's is flushed or dropped a second time.
        unsafe { libc::_exit(127) }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    match forked? {
        ForkResult::Parent { child } => {
            let noted = note(child.as_raw())?;
            unistd::write(&starter, &[1])?;
            Ok((Forked { pid: child.as_raw(), report }, noted))
        }
        ForkResult::Child => unreachable!("the child has ended above"),
    }
}

/// Dies with this parent from now on: a child that hangs in a look-up must not hold our sockets when we are gone. The
/// kernel forgets it when we become somebody else; exec does not, so [`exec`] does.
fn tie(parent: Pid) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if unistd::getppid() == parent { Ok(()) } else { Err(Errno::ESRCH) }
}

/// A copy with a number that nobody wants to have in a new program.
fn high(fd: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(10))?;
    // SAFETY: just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn prepare() -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: the default disposition runs no code of ours.
        unsafe { sigaction(signal, &default)? };
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    unistd::setsid()?;
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: only sets a flag on descriptors; nothing is closed before exec.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, flags) };
    Errno::result(outcome).map(drop)
}

/// Makes these 0, 1 and 2 (none: /dev/null; for 2: as it is). For a forked child.
pub fn stdio(
    output: Option<BorrowedFd<'_>>,
    errors: Option<BorrowedFd<'_>>,
) -> Result<(), StepFailed> {
    let null = File::options().read(true).write(true).open("/dev/null");
    let null = io_step("open /dev/null", null)?;
    step("stdin", unistd::dup2_stdin(&null))?;
    step("stdout", unistd::dup2_stdout(output.unwrap_or(null.as_fd())))?;
    errors.map_or(Ok(()), |errors| step("stderr", unistd::dup2_stderr(errors)))
}

/// Leaves this descriptor open across exec as number 3. Call it last: it replaces whatever had that number.
pub fn pass(link: BorrowedFd<'_>) -> Result<(), StepFailed> {
    let link = step("pass link", high(link))?;
    // SAFETY: by the contract above nobody uses number 3 any more; exec or _exit follows.
    let outcome = unsafe { libc::dup2(link.as_raw_fd(), 3) };
    step("pass link", Errno::result(outcome)).map(drop)
}

/// Becomes this account for good, with exactly its groups and no capability, and proves it. Any doubt is an error,
/// after which the caller must not exec.
pub fn become_account(who: &Account) -> Result<(), StepFailed> {
    let (uid, gid, parent) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid), unistd::getppid());
    let groups: Vec<Gid> = who.groups.iter().copied().map(Gid::from_raw).collect();
    step("setgroups", unistd::setgroups(&groups))?;
    step("setresgid", unistd::setresgid(gid, gid, gid))?;
    step("setresuid", unistd::setresuid(uid, uid, uid))?;
    step("tie to parent", tie(parent))?;
    step("capset", clear_capabilities())?;
    let way_back = !uid.is_root() && unistd::setuid(Uid::from_raw(0)).is_ok();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if way_back || !is_exactly(&status, who) {
        return step("verify identity", Err(Errno::EPERM));
    }
    Ok(())
}

fn clear_capabilities() -> nix::Result<()> {
    let header = [0x2008_0522u32, 0]; // version 3, this process
    let none = [0u32; 6]; // effective, permitted, inheritable, twice 32 bits each
    // SAFETY: the layouts are those of capset(2), version 3.
    let outcome = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    Errno::result(outcome).map(drop)
}

/// Does this text of /proc/PID/status describe exactly this account, without capabilities?
fn is_exactly(status: &str, who: &Account) -> bool {
    let words = |name: &str| -> Option<Vec<&str>> {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|rest| rest.split_whitespace().collect())
    };
    let numbers = |name: &str| -> Option<Vec<u32>> {
        words(name)?.into_iter().map(|word| word.parse().ok()).collect()
    };
    let sorted = |mut list: Vec<u32>| {
        list.sort_unstable();
        list.dedup();
        list
    };
    let none =
        |name: &str| words(name).is_some_and(|w| w.len() == 1 && w[0].bytes().all(|b| b == b'0'));
    numbers("Uid:") == Some(vec![who.uid; 4])
        && numbers("Gid:") == Some(vec![who.gid; 4])
        && numbers("Groups:").map(sorted) == Some(sorted(who.groups.clone()))
        && ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"].into_iter().all(none)
}

/// For roles without privilege: no set-uid program gives any back, no capability can be gained, no core is written.
/// Call it before [`become_account`].
pub fn confine() -> Result<(), StepFailed> {
    step("no_new_privs", prctl::set_no_new_privs())?;
    step("core limit", setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
    // Where we may not (no privilege, or a container without CAP_SETPCAP), no_new_privs alone must do.
    for capability in 0..64 {
        // SAFETY: takes numbers only.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if dropped != 0 {
            break;
        }
    }
    Ok(())
}

/// A role's first act: the name that `ps` shows, and no peeking into its memory by others of the same account.
pub fn settle(name: &str) {
    call(name);
    let _ = prctl::set_dumpable(false);
}

/// Becomes the program, with exactly this environment; a name without a slash is looked up in that environment's PATH.
/// Returns only if it fails.
pub fn exec(program: &str, argv: &[String], env: &[(String, String)]) -> StepFailed {
    let fail = |errno| StepFailed { step: format!("exec {program:.200}"), errno };
    let texts =
        |list: Vec<String>| list.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
    let pairs = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (Ok(args), Ok(vars)) = (texts(argv.to_vec()), texts(pairs)) else {
        return fail(libc::EINVAL);
    };
    let path = env.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or("/usr/local/bin:/usr/bin:/bin", |(_, value)| value);
    let places = if program.contains('/') {
        vec![program.to_owned()]
    } else {
        path.split(':')
            .filter(|dir| !dir.is_empty())
            .map(|dir| format!("{dir}/{program}"))
            .collect()
    };
    let mut worst = Errno::ENOENT;
    if let Err(errno) = prctl::set_pdeathsig(None) {
        return fail(errno as i32);
    }
    for place in places {
        let Ok(place) = CString::new(place) else { continue };
        let Err(errno) = unistd::execve(&place, &args, &vars);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => worst = errno,
            _ => return fail(errno as i32),
        }
    }
    fail(worst as i32)
}

/// Goes to the folder, or the nearest one above it that can be entered, or /tmp.
pub fn enter(home: &Path) {
    let there = home.is_absolute() && home.ancestors().any(|dir| unistd::chdir(dir).is_ok());
    if !there || unistd::getcwd().is_ok_and(|dir| dir == Path::new("/")) {
        let _ = unistd::chdir("/tmp");
    }
}

/// A descriptor for a process: readable when it ends, and signals through it never reach another one.
pub fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the new descriptor (close-on-exec by itself) is ours.
    let number = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let number = i32::try_from(number).expect("descriptors are small");
    // SAFETY: just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends a signal. A process that has ended is no error.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null info means "as kill(2) would".
    let outcome =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    match Errno::result(outcome) {
        Ok(_) | Err(Errno::ESRCH) => Ok(()),
        Err(other) => Err(other.into()),
    }
}

/// Kills a child of ours that was not collected yet: its number is still its own.
pub fn kill_child(pid: i32) {
    // Numbers up to 1 would mean groups, everybody, or init.
    if pid > 1 {
        // SAFETY: takes numbers only.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// The name that `ps` shows.
pub fn call(name: &str) {
    let _ = CString::new(name).map(|name| prctl::set_name(&name));
}

/// Kills the process with this number and start time; another one that has got the number meanwhile stays unharmed.
pub fn kill_same(pid: i32, since: u64) {
    // The pidfd first, then the comparison: what it then names cannot become another process any more.
    let Ok(pidfd) = pidfd(pid) else { return };
    if stat(pid).is_some_and(|stat| stat.since == since) {
        drop(signal(pidfd.as_fd(), libc::SIGKILL));
    }
}

/// Collects a child that has ended: this one, or any (-1). None: there is none now.
///
/// Not by nix, which knows no real-time signals: the child would be collected, and its end lost.
pub fn reap(which: i32) -> Option<(i32, Exit)> {
    loop {
        let mut status = 0;
        // SAFETY: writes to the one number it is given.
        let pid = Errno::result(unsafe { libc::waitpid(which, &raw mut status, libc::WNOHANG) });
        match pid {
            Err(Errno::EINTR) => {}
            Ok(0) | Err(_) => return None,
            Ok(pid) if libc::WIFEXITED(status) => {
                return Some((pid, Exit::Code(libc::WEXITSTATUS(status))));
            }
            Ok(pid) if libc::WIFSIGNALED(status) => {
                return Some((pid, Exit::Signal(libc::WTERMSIG(status))));
            }
            // Stopped or continued, for which we do not ask: it lives.
            Ok(_) => {}
        }
    }
}

/// What /proc/PID/stat tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Parent.
    pub parent: i32,
    /// Session.
    pub session: i32,
    /// Start, in clock ticks since boot: with the pid it names a process.
    pub since: u64,
    /// It has ended and waits for its parent.
    pub ended: bool,
}

/// Looks at a process; none if there is no such one.
pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses and may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        since: fields.get(19)?.parse().ok()?,
        ended: matches!(*fields.first()?, "Z" | "X"),
    })
}

/// Descriptors that connections never take: links, listeners, the store, logs, name lookups.
const NOT_FOR_CONNECTIONS: u64 = 96;

/// How many descriptors we might have, softly and hard, until now: from now on as many as may be had.
pub fn take_open_files() -> io::Result<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // What may not be had is not needed to go on.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    Ok((soft, hard))
}

/// How many descriptors we may have; takes as many as may be had.
pub fn open_files() -> u64 {
    let taken = take_open_files().and_then(|_| Ok(getrlimit(Resource::RLIMIT_NOFILE)?));
    taken.map_or(1024, |(soft, _)| soft)
}

/// For how many connections, at most `most`, so many descriptors are enough: each may need two, its own and the one of
/// whom it is carried to. With ever so few descriptors some are let in.
pub fn connections(open_files: u64, most: u64) -> usize {
    let room = (open_files.saturating_sub(NOT_FOR_CONNECTIONS) / 2).clamp(8, most);
    usize::try_from(room).unwrap_or(8)
}

/// Has it children now? Where the kernel does not tell, they are taken to be there.
pub fn has_children(pid: i32) -> bool {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    list.map_or(true, |list| !list.trim().is_empty())
}

/// Everything that runs.
pub fn all() -> Vec<(i32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

/// Whose is it (real user id)?
pub fn uid(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Opens 0, 1 and 2 on /dev/null where they are closed, so that nothing else gets these numbers.
pub fn open_standard() -> io::Result<()> {
    loop {
        let null = ManuallyDrop::new(File::options().read(true).write(true).open("/dev/null")?);
        if null.as_raw_fd() > 2 {
            drop(ManuallyDrop::into_inner(null));
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        time::{Duration, Instant},
    };

    use nix::{
        poll::{PollFd, PollFlags, poll},
        sys::{
            signal::kill,
            wait::{WaitStatus, waitpid},
        },
    };

    use super::*;

    /// Forks with nothing to note.
    fn fork(act: impl FnOnce() -> Vec<u8>) -> io::Result<Forked> {
        super::fork(|_| Ok(()), act).map(|(forked, ())| forked)
    }

    fn sleeper() -> Forked {
        let argv = ["sleep", "60"].map(str::to_owned);
        let forked = fork(|| exec("sleep", &argv, &[]).to_string().into_bytes()).unwrap();
        assert_eq!(report(&forked), b"");
        forked
    }

    /// Waits for its end.
    fn ended(pid: i32) -> Exit {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some((found, exit)) = reap(pid) {
                assert_eq!(found, pid);
                return exit;
            }
            assert!(Instant::now() < until, "{pid} lives");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The letter of /proc/PID/stat, once it is one of these.
    fn state(pid: i32, wanted: &str) -> char {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let text = fs::read_to_string(format!("/proc/{pid}/stat"));
            let letter =
                text.ok().and_then(|text| text.rsplit_once(") ")?.1.chars().next()).unwrap_or('X');
            if wanted.contains(letter) {
                return letter;
            }
            assert!(Instant::now() < until, "{pid} is {letter}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The number of a grandchild whose parent has ended.
    fn orphan(act: impl FnOnce() -> Vec<u8>, wait: bool) -> i32 {
        let middle = fork(|| {
            let inner = fork(act).unwrap();
            if wait {
                report(&inner);
            }
            inner.pid.to_string().into_bytes()
        });
        let middle = middle.unwrap();
        let pid = String::from_utf8(report(&middle)).unwrap().parse().unwrap();
        assert_eq!(ended(middle.pid), Exit::Code(127));
        pid
    }

    #[test]
    fn an_end_by_any_signal_is_told() {
        for number in [libc::SIGKILL, 34, libc::SIGRTMAX()] {
            let forked = sleeper();
            signal(pidfd(forked.pid).unwrap().as_fd(), number).unwrap();
            assert_eq!(ended(forked.pid), Exit::Signal(number));
            assert_eq!(reap(forked.pid), None);
        }
    }

    #[test]
    fn a_child_acts_only_once_it_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let (known, acted) = (dir.path().join("known"), dir.path().join("acted"));
        let mut pid = 0;
        let note = |number| {
            pid = number;
            Err::<(), _>(io::Error::other("no room"))
        };
        let failed = super::fork(note, || {
            fs::write(&acted, "").unwrap();
            Vec::new()
        });
        assert_eq!(failed.unwrap_err().to_string(), "no room");
        assert_eq!(ended(pid), Exit::Code(127));
        assert!(!acted.exists());
        let look = || known.exists().to_string().into_bytes();
        let (forked, number) = super::fork(
            |number| {
                // Time enough for a child that does not wait.
                std::thread::sleep(Duration::from_millis(50));
                fs::write(&known, "")?;
                Ok(number)
            },
            look,
        )
        .unwrap();
        assert_eq!((number, report(&forked)), (forked.pid, b"true".to_vec()));
        ended(forked.pid);
    }

    #[test]
    fn a_child_dies_with_its_parent_until_it_is_another_program() {
        let hangs = orphan(
            || {
                std::thread::sleep(Duration::from_secs(60));
                Vec::new()
            },
            false,
        );
        assert!("ZX".contains(state(hangs, "ZX")));
        let argv = ["sleep", "60"].map(str::to_owned);
        let lives = orphan(|| exec("sleep", &argv, &[]).to_string().into_bytes(), true);
        // A process that is to die stops no more.
        kill(Pid::from_raw(lives), Signal::SIGSTOP).unwrap();
        let letter = state(lives, "TZX");
        let _ = kill(Pid::from_raw(lives), Signal::SIGKILL);
        assert_eq!(letter, 'T');
    }

    #[test]
    fn a_number_that_has_passed_on_protects() {
        let forked = sleeper();
        let since = stat(forked.pid).unwrap().since;
        kill_same(forked.pid, since + 1);
        kill(Pid::from_raw(forked.pid), Signal::SIGTERM).unwrap();
        assert_eq!(ended(forked.pid), Exit::Signal(libc::SIGTERM));
        let forked = sleeper();
        kill_same(forked.pid, stat(forked.pid).unwrap().since);
        assert_eq!(ended(forked.pid), Exit::Signal(libc::SIGKILL));
    }

    fn account() -> Account {
        Account {
            name: "a".to_owned(),
            uid: 1000,
            gid: 100,
            groups: vec![4, 100, 4],
            home: "/".into(),
            shell: "/bin/sh".into(),
        }
    }

    const STATUS: &str = "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nGid:\t100\t100\t100\t100\nGroups:\t100 4 \n\
                          CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
                          CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n";

    #[test]
    fn any_trace_of_another_identity_is_noticed() {
        assert!(is_exactly(STATUS, &account()));
        for (from, to) in [
            ("Uid:\t1000\t1000\t1000\t1000", "Uid:\t1000\t1000\t0\t1000"),
            ("Gid:\t100\t100", "Gid:\t100\t0"),
            ("Groups:\t100 4", "Groups:\t100 4 0"),
            ("Groups:\t100 4", "Groups:\t100"),
            ("CapPrm:\t0000000000000000", "CapPrm:\t0000000000000080"),
            ("CapAmb:\t0000000000000000\n", ""),
            ("CapInh:\t0", "CapInh:\t1"),
        ] {
            let other = STATUS.replacen(from, to, 1);
            assert_ne!(other, STATUS);
            assert!(!is_exactly(&other, &account()), "{to}");
        }
        assert!(!is_exactly("", &account()));
    }

    #[test]
    fn a_program_name_can_hold_anything() {
        let text = "7 (a) R 1 (b)) S 1 2 3 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.parent, stat.session, stat.since, stat.ended), (1, 3, 4711, false));
        assert_eq!(parse_stat("7 (a"), None);
        assert_eq!(parse_stat(""), None);
    }

    fn report(forked: &Forked) -> Vec<u8> {
        let mut wanted = [PollFd::new(forked.report.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut wanted, 20_000u16).unwrap(), 1, "no report in time");
        let mut bytes = Vec::new();
        let outcome = File::from(forked.report.try_clone().unwrap()).read_to_end(&mut bytes);
        assert!(outcome.is_ok() || !bytes.is_empty());
        bytes
    }

    #[test]
    fn who_has_no_home_begins_as_near_to_it_as_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let (here, elsewhere) = (fs::canonicalize(dir.path()).unwrap(), Path::new("/tmp"));
        for (home, lands) in [
            (here.clone(), here.as_path()),
            (here.join("gone/deeper"), here.as_path()),
            ("/nonexistent/bob".into(), elsewhere),
            ("relative".into(), elsewhere),
            ("/".into(), elsewhere),
        ] {
            let act = || {
                enter(&home);
                unistd::getcwd().unwrap().into_os_string().into_encoded_bytes()
            };
            let forked = fork(act).unwrap();
            assert_eq!(String::from_utf8(report(&forked)).unwrap(), lands.to_str().unwrap());
            ended(forked.pid);
        }
    }

    #[test]
    fn a_child_reports_or_becomes_another_program() {
        let failed =
            fork(|| exec("no/such", &["x".to_owned()], &[]).to_string().into_bytes()).unwrap();
        let text = String::from_utf8(report(&failed)).unwrap();
        assert_eq!(text, "exec no/such: No such file or directory");
        let pid = Pid::from_raw(failed.pid);
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 127));
        let panics = fork(|| panic!("on purpose")).unwrap();
        assert_eq!(report(&panics), b"the child panicked");
        let pid = Pid::from_raw(panics.pid);
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 127));
        let good =
            fork(|| exec("true", &["true".to_owned()], &[]).to_string().into_bytes()).unwrap();
        assert_eq!(report(&good), b"");
        let pid = Pid::from_raw(good.pid);
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 0));
    }

    #[test]
    fn a_pidfd_signals_one_process_and_shows_its_end() {
        let argv = ["sleep", "60"].map(str::to_owned);
        let forked = fork(|| exec("sleep", &argv, &[]).to_string().into_bytes()).unwrap();
        let handle = pidfd(forked.pid).unwrap();
        assert_eq!(report(&forked), b"");
        let seen = stat(forked.pid).unwrap();
        assert_eq!((seen.session, seen.ended), (forked.pid, false));
        assert!(all().iter().any(|(pid, stat)| *pid == forked.pid && stat.since == seen.since));
        assert_eq!(uid(forked.pid), uid(unistd::getpid().as_raw()));
        signal(handle.as_fd(), libc::SIGTERM).unwrap();
        let mut wanted = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut wanted, 20_000u16).unwrap(), 1);
        let pid = Pid::from_raw(forked.pid);
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Signaled(pid, Signal::SIGTERM, false));
        signal(handle.as_fd(), libc::SIGKILL).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while stat(forked.pid).is_some_and(|stat| stat.since == seen.since) {
            assert!(Instant::now() < until, "it is still there");
        }
    }
}
