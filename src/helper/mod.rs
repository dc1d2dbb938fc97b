//! Role helper: lives for one question, holds one password, answers one verdict, ends. Root starts it anew for every
//! attempt, because PAM modules run foreign code, block, crash and change the process they live in.

pub mod account;

use std::{
    fs::File,
    io::Read,
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{
    ipc::{
        frame::{self, FrameError},
        helper::{Question, Verdict},
    },
    os::{fd, process},
};
#[cfg(feature = "pam")]
use {
    crate::os::users::{self, Account},
    std::io,
};

/// How long a helper that has answered waits for its end.
const LINGER: Duration = Duration::from_secs(10);
/// Longest password, in bytes.
const LONGEST: u64 = 4096;

/// `@helper`: the link is descriptor 3. Runs to its end; root kills it when that takes too long.
pub fn main() -> ExitCode {
    process::settle("jovis-helper");
    let Ok(link) = fd::inherited(3) else { return ExitCode::from(2) };
    let verdict = match listen(&link) {
        Ok((question, password)) => answer(&question, password),
        Err(_) => Verdict::Failed { text: "the helper got no question".to_owned() },
    };
    say(&link, &verdict)
}

/// Answers, and waits for the end.
fn say(link: &OwnedFd, verdict: &impl Serialize) -> ExitCode {
    match frame::send(link.as_fd(), verdict, &[]) {
        Ok(()) => {
            // Root ends us as soon as it has heard. Until then our children, if a module made any, can be told from others.
            let mut end = [PollFd::new(link.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut end, PollTimeout::try_from(LINGER).expect("ten seconds fit"));
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// The one question.
fn hear<Q: DeserializeOwned>(link: &OwnedFd) -> Result<(Q, Vec<OwnedFd>), FrameError> {
    let mut wanted = [PollFd::new(link.as_fd(), PollFlags::POLLIN)];
    poll(&mut wanted, PollTimeout::try_from(Duration::from_secs(10)).expect("ten seconds fit"))
        .map_err(|errno| FrameError::Os(errno.into()))?;
    frame::recv(link.as_fd())
}

fn listen(link: &OwnedFd) -> Result<(Question, File), FrameError> {
    let (question, fds) = hear(link)?;
    let pipe = fds.into_iter().next().ok_or(FrameError::Closed)?;
    Ok((question, File::from(pipe)))
}

fn answer(question: &Question, pipe: File) -> Verdict {
    // With room from the start: a buffer that grows leaves copies behind.
    let mut password = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 2));
    match pipe.take(LONGEST + 1).read_to_end(&mut password) {
        Ok(size) if size as u64 > LONGEST => refused("the password is too long"),
        Ok(_) if password.contains(&0) => refused("the password holds a NUL byte"),
        Ok(_) => check(question, password),
        Err(error) => Verdict::Failed { text: format!("the password did not arrive: {error}") },
    }
}

fn refused(text: &str) -> Verdict {
    Verdict::Refused { step: "authenticate".to_owned(), code: 0, text: text.to_owned() }
}

#[cfg(feature = "pam")]
fn check(question: &Question, mut password: Zeroizing<Vec<u8>>) -> Verdict {
    use std::ffi::{CStr, CString};

    use crate::{
        config::{pam_stack, world::Machine},
        os::pam,
    };

    // Such a module asks whether we are root, not whether the password is right; and we are root.
    let stack = pam_stack::read(&Machine, &question.service);
    if let Some(file) = stack.lets_root_in() {
        let text = format!("the PAM service {file} has pam_rootok, which lets everybody in here");
        return Verdict::Failed { text };
    }
    password.push(0);
    let text = |text: &str| CString::new(text).ok();
    let (Some(service), Some(user), Ok(password)) =
        (text(&question.service), text(&question.user), CStr::from_bytes_with_nul(&password))
    else {
        return refused("a NUL byte in the name");
    };
    let rhost = question.rhost.as_deref().and_then(text);
    match pam::check(&service, &user, rhost.as_deref(), password) {
        Ok(user) => admit(user, question.min_uid, users::by_name),
        // 1-5, 9, 26: a module is missing, misconfigured or cannot reach its directory. Not "wrong password".
        Err(no) if matches!(no.step, "start" | "user") || matches!(no.code, 1..=5 | 9 | 26) => {
            Verdict::Failed { text: format!("{}: {} ({})", no.step, no.text, no.code) }
        }
        Err(no) => Verdict::Refused { step: no.step.to_owned(), code: no.code, text: no.text },
    }
}

/// PAM is content. Is the account one that may sign in? A name without account is the spawner's business.
///
/// The hub knows names in lower case only: whoever proves to be `Bob` becomes its user `bob`, and gets a server as that
/// account. So both names must mean the same one.
#[cfg(feature = "pam")]
fn admit(
    user: String,
    min_uid: u32,
    find: impl Fn(&str) -> io::Result<Option<Account>>,
) -> Verdict {
    let refuse = |text: String| Verdict::Refused { step: "account".to_owned(), code: 0, text };
    let lower = user.trim().to_lowercase();
    let found = match find(&user).and_then(|own| Ok([own, find(&lower)?])) {
        Ok(found) => found,
        Err(error) => {
            return Verdict::Failed { text: format!("the account was not looked up: {error}") };
        }
    };
    let mut accounts = found.iter().flatten();
    if let Some(account) = accounts.clone().find(|account| account.uid < min_uid) {
        return refuse(format!("the account's number {} is below {min_uid}", account.uid));
    }
    let first = accounts.next().map(|account| account.uid);
    if accounts.any(|account| Some(account.uid) != first) {
        return refuse(format!("{user:?} and {lower:?} are two accounts, but one name here"));
    }
    Verdict::Accepted { user }
}

#[cfg(not(feature = "pam"))]
fn check(_: &Question, _: Zeroizing<Vec<u8>>) -> Verdict {
    Verdict::Failed { text: "this program was built without PAM".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn ask(service: &str, user: &str, password: &[u8]) -> Verdict {
        let (reader, writer) = fd::pipe().unwrap();
        File::from(writer).write_all(password).unwrap();
        let (service, user) = (service.to_owned(), user.to_owned());
        answer(
            &Question { service, user, rhost: Some("127.0.0.1".to_owned()), min_uid: 1 },
            reader.into(),
        )
    }

    #[test]
    fn passwords_that_pam_could_not_see_whole_are_refused() {
        for bad in [&b"a\0b"[..], &[b'x'; LONGEST as usize + 1]] {
            assert!(matches!(ask("login", "nobody", bad), Verdict::Refused { .. }));
        }
        assert!(matches!(
            ask("login", "no\0body", b"x"),
            Verdict::Refused { .. } | Verdict::Failed { .. }
        ));
    }

    #[cfg(feature = "pam")]
    #[test]
    fn who_would_get_anothers_server_is_refused() {
        let find = |name: &str| {
            let uid = match name {
                "bob" => 1006,
                "Bob" => 1005,
                "eve" | "Eve" => 1007,
                "root" => 0,
                "broken" => return Err(io::Error::other("no directory")),
                _ => return Ok(None),
            };
            let (home, shell) = ("/".into(), "/bin/sh".into());
            let name = name.to_owned();
            Ok(Some(Account { name, uid, gid: uid, groups: vec![uid], home, shell }))
        };
        for (name, accepted) in [
            ("bob", true),
            ("eve", true),
            ("Eve", true),
            ("Nobody-Here", true),
            ("Bob", false),
            ("root", false),
            ("ROOT", false),
            ("Broken", false),
        ] {
            let verdict = admit(name.to_owned(), 1000, find);
            let user = name.to_owned();
            assert_eq!(verdict == Verdict::Accepted { user }, accepted, "{name}: {verdict:?}");
        }
    }

    #[test]
    fn a_service_that_lets_root_in_is_not_asked() {
        if !std::path::Path::new("/etc/pam.d/su").exists() {
            return;
        }
        let verdict = ask("su", "root", b"x");
        let Verdict::Failed { text } = verdict else { panic!("{verdict:?}") };
        assert!(text.contains("pam_rootok"), "{text}");
    }

    #[test]
    fn nobody_is_let_in_by_a_service_that_is_not_there() {
        let verdict = ask("jovis-no-such-service", "no-such-account", b"x");
        assert!(matches!(verdict, Verdict::Refused { .. } | Verdict::Failed { .. }), "{verdict:?}");
    }
}
