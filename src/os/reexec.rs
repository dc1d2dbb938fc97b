//! Becoming another program in place: the number, the children and the named descriptors stay. And a way back for the
//! moments in which the new program does not yet know what it is.

#![expect(
    unsafe_code,
    reason = "signal handlers, and descriptors known by number across exec, have no safe form"
)]

use std::{
    ffi::{CString, c_char, c_int},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr::{self, null_mut},
    sync::atomic::{AtomicPtr, Ordering::SeqCst},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::{
        SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
    },
};

use super::process::{self, StepFailed};

/// What a program dies of, and the alarm.
const DEATHS: [Signal; 5] =
    [Signal::SIGALRM, Signal::SIGABRT, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL];

/// The program behind a descriptor, as a path: it stays the same whatever becomes of the file's name.
pub fn path(program: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", program.as_raw_fd())
}

/// Leaves these open at the next exec, or closes them then.
pub fn keep_open(numbers: &[RawFd], on: bool) {
    for &number in numbers {
        // SAFETY: the flag of an open descriptor; where it is none, nothing happens.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let flag = if on { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
        let _ = fcntl(fd, FcntlArg::F_SETFD(flag));
    }
}

/// Becomes this program, with these descriptors open and every signal blocked ([`unblock`] takes them up again, none is
/// lost). Returns only if it fails; then nothing has changed.
pub fn become_program(
    program: BorrowedFd<'_>,
    argv: &[String],
    env: &[(String, String)],
    keep: &[RawFd],
) -> StepFailed {
    let mut before = SigSet::empty();
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before));
    keep_open(keep, true);
    let failed = process::exec(&path(program), argv, env);
    keep_open(keep, false);
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    failed
}

/// Takes signals again, also those that came since they were blocked.
pub fn unblock() {
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// A copy of a descriptor that was left open across exec, close-on-exec. The first one stays for whoever is next, until
/// [`close`].
pub fn copy(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only makes a new number; an unused one yields EBADF.
    let copy = Errno::result(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Closes descriptors that were left open across exec and are copied.
pub fn close(numbers: &[RawFd]) {
    for &number in numbers.iter().filter(|number| **number > 2) {
        // SAFETY: by the contract of `copy` nobody has them as their own.
        unsafe { libc::close(number) };
    }
}

/// What the handler needs; made before, since nothing may be allocated in it.
struct Way {
    path: CString,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// What the pointers lead to.
    _texts: (Vec<CString>, Vec<CString>),
}

static WAY: AtomicPtr<Way> = AtomicPtr::new(null_mut());

/// If we die of ourselves, or have not called [`disarm`] after so many seconds, we become this program again.
pub fn arm(program: RawFd, argv: &[String], env: Vec<(String, String)>, seconds: u32) {
    let texts = |list: Vec<String>| -> Vec<CString> {
        list.into_iter().filter_map(|text| CString::new(text).ok()).collect()
    };
    let argv = texts(argv.to_vec());
    let env = texts(env.into_iter().map(|(name, value)| format!("{name}={value}")).collect());
    let pointers = |list: &[CString]| {
        list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>()
    };
    let path = CString::new(format!("/proc/self/fd/{program}")).expect("there is no zero in it");
    let way = Way { path, argv: pointers(&argv), env: pointers(&env), _texts: (argv, env) };
    // Never given back: a handler may be reading it.
    WAY.store(Box::into_raw(Box::new(way)), SeqCst);
    let handler = SigHandler::Handler(go_back);
    let action = SigAction::new(handler, SaFlags::SA_ONSTACK, SigSet::all());
    for signal in DEATHS {
        // SAFETY: the handler only reads what was made before, and calls what may be called in one.
        let _ = unsafe { sigaction(signal, &action) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&DEATHS.into_iter().collect()), None);
    // SAFETY: takes a number.
    unsafe { libc::alarm(seconds) };
}

/// There is no need of the way back any more.
pub fn disarm() {
    // SAFETY: takes a number.
    unsafe { libc::alarm(0) };
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in DEATHS {
        // SAFETY: the default disposition runs no code of ours.
        let _ = unsafe { sigaction(signal, &default) };
    }
    WAY.store(null_mut(), SeqCst);
}

extern "C" fn go_back(_: c_int) {
    let way = WAY.load(SeqCst);
    // SAFETY: what is stored is never freed. `alarm`, `execve` and `_exit` may be called in a handler.
    unsafe {
        // It would outlive the exec.
        libc::alarm(0);
        if let Some(way) = way.as_ref() {
            libc::execve(way.path.as_ptr(), way.argv.as_ptr(), way.env.as_ptr());
        }
        libc::_exit(70)
    }
}

/// The program that runs, whatever becomes of its file's name.
pub fn itself() -> io::Result<OwnedFd> {
    Ok(std::fs::File::open("/proc/self/exe")?.into())
}

/// Is this a listening socket?
pub fn listens(fd: &OwnedFd) -> bool {
    nix::sys::socket::getsockopt(&fd.as_fd(), nix::sys::socket::sockopt::AcceptConn)
        .unwrap_or(false)
}
