//! Births: what happens between fork and exec, in the child. A failed step is reported and the child ends; it never
//! executes anything as somebody it has not become beyond doubt.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    path::PathBuf,
};

use nix::{
    errno::Errno,
    sys::{
        resource::{Resource, setrlimit},
        stat::{Mode, SFlag, fchmod, fstat, mode_t, umask},
    },
    unistd::{self, Gid, SysconfVar, Uid, sysconf},
};

use super::policy::{self, Ourselves, Plan, Refusal, RunAs};
use crate::{
    broken,
    ipc::root::RootSays,
    os::{
        process::{self, Forked, StepFailed, io_step, step},
        reexec,
        users::{self, Account},
    },
};

/// What the running binary is called, wherever it lies and even if that has been replaced.
const SELF: &str = "/proc/self/exe";

/// What a birth needs to know of root; noted before root changed it for itself.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// Who we are.
    pub(super) we: Ourselves,
    /// The hub's group, which may read and cut logs.
    pub(super) hub_gid: u32,
    /// Root's environment.
    pub(super) env: BTreeMap<String, String>,
    /// As root was started with.
    pub(super) umask: Mode,
    /// Open files, soft and hard, as root was started with.
    pub(super) open_files: (u64, u64),
    /// How soon the kernel shall kill a user server for want of memory.
    pub(super) servers_oom: i32,
}

/// What is in the pipe: nothing yet, success (end-of-file), or why the child did not become what it should, as an answer
/// to whoever asked for it.
pub(super) fn outcome(report: &OwnedFd) -> Option<Result<(), RootSays>> {
    // One read: the pipe passes up to 4096 bytes in one piece, and "not now" may follow what has come.
    let mut bytes = [0; libc::PIPE_BUF];
    let unread = |errno| Err(StepFailed::new("read the report", errno).into());
    match unistd::read(report, &mut bytes) {
        Ok(0) => Some(Ok(())),
        Ok(size) => {
            Some(serde_json::from_slice(&bytes[..size]).map_or_else(|_| unread(Errno::EPROTO), Err))
        }
        Err(Errno::EAGAIN | Errno::EINTR) => None,
        Err(errno) => Some(unread(errno)),
    }
}

/// Forks a child that does this, once it has been noted.
pub(super) fn fork<T>(
    note: impl FnOnce(i32) -> io::Result<T>,
    act: impl FnOnce() -> Result<Infallible, RootSays>,
) -> io::Result<(Forked, T)> {
    process::fork(note, || {
        let Err(report) = act();
        serde_json::to_vec(&report).expect("a message is plain data")
    })
}

/// Becomes a user server.
pub(super) fn server(
    plan: &Plan,
    min_uid: u32,
    setting: &Setting,
    env_keep: &[String],
    log: BorrowedFd<'_>,
) -> Result<Infallible, RootSays> {
    let who = find(plan)?;
    policy::account(&plan.run_as, min_uid, &setting.we, &who)?;
    hand_over(log, &who, setting)?;
    process::stdio(Some(log), Some(log))?;
    umask(setting.umask);
    limit_files(plan.open_files, setting.open_files)?;
    drop(fs::write("/proc/self/oom_score_adj", setting.servers_oom.to_string()));
    if setting.we.privileged {
        process::become_account(&who)?;
    }
    let (name, home, shell) = match &plan.run_as {
        RunAs::Local(_) | RunAs::Service { .. } => (who.name, who.home, who.shell),
        RunAs::Simple { home, .. } => {
            let made = fs::DirBuilder::new().create(home);
            if made.is_err() && !home.is_dir() {
                io_step("make the home folder", made)?;
            }
            (plan.user.clone(), home.clone(), PathBuf::from("/bin/bash"))
        }
    };
    match &plan.run_as {
        RunAs::Service { cwd: Some(folder), .. } => step("enter folder", unistd::chdir(folder))?,
        _ => process::enter(&home),
    }
    let mut env: BTreeMap<String, String> = setting.env.clone();
    env.retain(|name, _| env_keep.contains(name));
    env.extend(plan.given.clone());
    let shell = if shell.as_os_str().is_empty() { "/bin/sh".into() } else { shell };
    // An account that many share is nobody's home.
    let at_home = !matches!(plan.run_as, RunAs::Service { own: false, .. });
    let own = [
        ("HOME".to_owned(), home.to_string_lossy().into_owned()),
        ("SHELL".to_owned(), shell.to_string_lossy().into_owned()),
        ("USER".to_owned(), name),
    ];
    env.extend(own.into_iter().filter(|_| at_home));
    env.extend(plan.configured.clone());
    let env: Vec<_> = env.into_iter().collect();
    Err(process::exec(&plan.argv[0], &plan.argv, &env).into())
}

fn find(plan: &Plan) -> Result<Account, RootSays> {
    let name = match &plan.run_as {
        RunAs::Local(name)
        | RunAs::Simple { account: Some(name), .. }
        | RunAs::Service { account: Some(name), .. } => name,
        RunAs::Simple { account: None, .. } | RunAs::Service { account: None, .. } => {
            return Ok(users::own());
        }
    };
    let found = io_step("look up user", users::by_name(name))?;
    Ok(found.ok_or_else(|| {
        Refusal(format!(
            "there is no account {name} on this machine: make it, or set auth.create_system_users"
        ))
    })?)
}

/// Gives the log to the server's account. Only a plain file that the hub alone has, under one name: else root would give
/// away what the hub can merely open.
fn hand_over(log: BorrowedFd<'_>, who: &Account, setting: &Setting) -> Result<(), RootSays> {
    let stat = step("look at the log file", fstat(log))?;
    let regular = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
    if !regular || stat.st_uid != setting.we.hub || stat.st_nlink != 1 {
        return Err(Refusal("the log is not a plain file of the hub's own".to_owned()).into());
    }
    if setting.we.privileged {
        let (uid, gid) = (Uid::from_raw(who.uid), Gid::from_raw(setting.hub_gid));
        step("give the log file", unistd::fchown(log, Some(uid), Some(gid)))?;
        step("open the log file", fchmod(log, Mode::from_bits_truncate(0o660 as mode_t)))?;
    }
    Ok(())
}

fn limit_files(wanted: u64, (soft, hard): (u64, u64)) -> Result<(), StepFailed> {
    let set = |soft, hard| setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
    match wanted {
        0 => step("limit open files", set(soft, hard)),
        _ => step("limit open files", set(wanted, wanted).or_else(|_| set(wanted.min(hard), hard))),
    }
}

/// What each role may ask for, in bytes.
pub(super) fn memory(wanted: u64) -> u64 {
    const LEAST: u64 = 1 << 30;
    let half = || {
        let pages = sysconf(SysconfVar::_PHYS_PAGES).ok().flatten().unwrap_or(0);
        let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
        u64::try_from(pages.saturating_mul(size) / 2).unwrap_or(0).max(LEAST)
    };
    if wanted == 0 { half() } else { wanted }
}

/// Becomes hub, proxy or helper: ourselves again, under another name, with the link as descriptor 3 and no environment,
/// and so much memory at most. Without an account it stays who we are, and unconfined: PAM's modules need that.
pub(super) fn role(
    name: &str,
    who: Option<&Account>,
    privileged: bool,
    cwd: Option<BorrowedFd<'_>>,
    link: &OwnedFd,
    memory: u64,
) -> Result<Infallible, RootSays> {
    // A helper's modules may print; nobody shall take that for our word.
    let output = (name != "@helper").then(io::stdout);
    process::stdio(output.as_ref().map(AsFd::as_fd), None)?;
    umask(Mode::from_bits_truncate(0o077));
    step("limit memory", setrlimit(Resource::RLIMIT_DATA, memory, memory))?;
    step("enter folder", cwd.map_or_else(|| unistd::chdir("/"), unistd::fchdir))?;
    if let Some(who) = who {
        process::confine()?;
        if privileged {
            process::become_account(who)?;
        }
    }
    process::pass(link.as_fd())?;
    let argv = ["jovis".to_owned(), name.to_owned()];
    Err(process::exec(SELF, &argv, &broken::environment()).into())
}

/// Becomes another program that tries whether it could be root in our place: with what we have, and nothing to change.
pub(super) fn rehearsal(
    program: &str,
    argv: &[String],
    env: &[(String, String)],
    keep: &[RawFd],
    output: &OwnedFd,
) -> Result<Infallible, RootSays> {
    process::stdio(Some(output.as_fd()), Some(output.as_fd()))?;
    reexec::keep_open(keep, true);
    Err(process::exec(program, argv, env).into())
}

/// Becomes another program that looks whether it understands the hub's store, as the hub's account and in its folder.
pub(super) fn trial(
    program: BorrowedFd<'_>,
    (who, privileged): (&Account, bool),
    state: BorrowedFd<'_>,
    output: &OwnedFd,
) -> Result<Infallible, RootSays> {
    process::stdio(Some(output.as_fd()), Some(output.as_fd()))?;
    step("enter folder", unistd::fchdir(state))?;
    process::confine()?;
    if privileged {
        process::become_account(who)?;
    }
    reexec::keep_open(&[program.as_raw_fd()], true);
    let argv = ["jovis", "@trial"].map(str::to_owned);
    Err(process::exec(&reexec::path(program), &argv, &[]).into())
}

#[cfg(test)]
mod tests;
