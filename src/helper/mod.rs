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
        Ok(_) if password.iter().filter(|byte| **byte == 0).count() > usize::from(question.otp) => {
            refused("the password holds a NUL byte")
        }
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
    // Without a code an empty one: it answers nothing.
    if question.otp {
        password.push(0);
    }
    let text = |text: &str| CString::new(text).ok();
    let (Some(service), Some(user), Ok(secret)) =
        (text(&question.service), text(&question.user), CStr::from_bytes_until_nul(&password))
    else {
        return refused("a NUL byte in the name");
    };
    let behind = password.get(secret.count_bytes() + 1..).filter(|_| question.otp);
    let code = behind.and_then(|bytes| CStr::from_bytes_until_nul(bytes).ok());
    let rhost = question.rhost.as_deref().and_then(text);
    match pam::check(&service, &user, rhost.as_deref(), secret, code) {
        Ok(user) => admit(user, question, &Passwd),
        // 1-5, 9, 26: a module is missing, misconfigured or cannot reach its directory. Not "wrong password".
        Err(no) if matches!(no.step, "start" | "user") || matches!(no.code, 1..=5 | 9 | 26) => {
            Verdict::Failed { text: format!("{}: {} ({})", no.step, no.text, no.code) }
        }
        Err(no) => {
            let own = users::own();
            let text = explained(no.text, &question.user, &own, &users::by_name);
            Verdict::Refused { step: no.step.to_owned(), code: no.code, text }
        }
    }
}

/// A refusal, and what it may be worth. Not run by root, we read no other account's password, and PAM calls each wrong.
/// (unix_chkpwd(8).)
#[cfg(feature = "pam")]
fn explained(
    text: String,
    user: &str,
    own: &Account,
    find: &impl Fn(&str) -> io::Result<Option<Account>>,
) -> String {
    let others = || find(user).ok().flatten().is_some_and(|account| account.uid != own.uid);
    if own.uid == 0 || !others() {
        return text;
    }
    let name = &own.name;
    format!("{text}; jovis is not run by root and can check no password but that of {name}")
}

/// What is asked about accounts.
#[cfg(feature = "pam")]
trait Directory {
    fn by_name(&self, name: &str) -> io::Result<Option<Account>>;
    fn by_uid(&self, uid: u32) -> io::Result<Option<Account>>;
    fn groups_among(&self, account: &Account, names: &[String]) -> io::Result<Vec<String>>;
}

/// This machine's.
#[cfg(feature = "pam")]
struct Passwd;

#[cfg(feature = "pam")]
impl Directory for Passwd {
    fn by_name(&self, name: &str) -> io::Result<Option<Account>> {
        users::by_name(name)
    }

    fn by_uid(&self, uid: u32) -> io::Result<Option<Account>> {
        users::by_uid(uid)
    }

    fn groups_among(&self, account: &Account, names: &[String]) -> io::Result<Vec<String>> {
        users::groups_among(account, names)
    }
}

/// PAM is content. Is the account one that may sign in? A name without account is the spawner's business.
///
/// The hub knows names in lower case only: whoever proves to be `Bob` becomes its user `bob`, and gets a server as that
/// account. So both names must mean the same one.
#[cfg(feature = "pam")]
fn admit(user: String, question: &Question, directory: &impl Directory) -> Verdict {
    let judged = judge(user, question, directory);
    judged.unwrap_or_else(|error| Verdict::Failed {
        text: format!("the account was not looked up: {error}"),
    })
}

#[cfg(feature = "pam")]
fn judge(user: String, question: &Question, directory: &impl Directory) -> io::Result<Verdict> {
    let refuse = |text: String| Ok(Verdict::Refused { step: "account".to_owned(), code: 0, text });
    let user = if question.canonical {
        let account = directory.by_name(&user)?;
        match account.map(|account| directory.by_uid(account.uid)).transpose()?.flatten() {
            Some(account) => account.name,
            None => return refuse(format!("{user:?} has no account whose name could be taken")),
        }
    } else {
        user
    };
    let lower = user.trim().to_lowercase();
    let found = [directory.by_name(&user)?, directory.by_name(&lower)?];
    let mut accounts = found.iter().flatten();
    let min_uid = question.min_uid;
    if let Some(account) = accounts.clone().find(|account| account.uid < min_uid) {
        return refuse(format!("the account's number {} is below {min_uid}", account.uid));
    }
    let first = accounts.next();
    if accounts.any(|account| Some(account.uid) != first.map(|first| first.uid)) {
        return refuse(format!("{user:?} and {lower:?} are two accounts, but one name here"));
    }
    let groups = first.map(|account| directory.groups_among(account, &question.groups));
    Ok(Verdict::Accepted { user, groups: groups.transpose()?.unwrap_or_default() })
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
            &Question {
                service,
                user,
                rhost: Some("127.0.0.1".to_owned()),
                min_uid: 1,
                groups: Vec::new(),
                canonical: false,
                otp: false,
            },
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

    /// Accounts of a test.
    #[cfg(feature = "pam")]
    struct Few;

    #[cfg(feature = "pam")]
    fn account(uid: u32, name: &str) -> Account {
        let (home, shell) = ("/".into(), "/bin/sh".into());
        Account { name: name.to_owned(), uid, gid: uid, groups: vec![uid, 100], home, shell }
    }

    #[cfg(feature = "pam")]
    impl Directory for Few {
        fn by_name(&self, name: &str) -> io::Result<Option<Account>> {
            let uid = match name {
                "bob" => 1006,
                "Bob" => 1005,
                "eve" | "Eve" | "eve@school" => 1007,
                "root" => 0,
                "broken" => return Err(io::Error::other("no directory")),
                _ => return Ok(None),
            };
            Ok(Some(account(uid, name)))
        }

        fn by_uid(&self, uid: u32) -> io::Result<Option<Account>> {
            Ok((uid == 1007).then(|| account(uid, "eve")))
        }

        fn groups_among(&self, _: &Account, names: &[String]) -> io::Result<Vec<String>> {
            if names.iter().any(|name| name == "broken") {
                return Err(io::Error::other("no directory"));
            }
            Ok(names.iter().filter(|name| *name == "staff").cloned().collect())
        }
    }

    #[cfg(feature = "pam")]
    fn question(groups: &[&str], canonical: bool) -> Question {
        Question {
            service: String::new(),
            user: String::new(),
            rhost: None,
            min_uid: 1000,
            groups: groups.iter().map(|it| (*it).to_owned()).collect(),
            canonical,
            otp: false,
        }
    }

    #[cfg(feature = "pam")]
    #[test]
    fn who_would_get_anothers_server_is_refused() {
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
            let verdict = admit(name.to_owned(), &question(&[], false), &Few);
            let (user, groups) = (name.to_owned(), Vec::new());
            let wanted = Verdict::Accepted { user, groups };
            assert_eq!(verdict == wanted, accepted, "{name}: {verdict:?}");
        }
    }

    #[cfg(feature = "pam")]
    #[test]
    fn of_the_groups_that_are_asked_for_those_of_the_account_are_told() {
        let ask =
            |name: &str, groups: &[&str]| admit(name.to_owned(), &question(groups, false), &Few);
        let told = |user: &str, groups: &[&str]| Verdict::Accepted {
            user: user.to_owned(),
            groups: groups.iter().map(|it| (*it).to_owned()).collect(),
        };
        assert_eq!(ask("bob", &["staff", "wheel"]), told("bob", &["staff"]));
        assert_eq!(
            ask("nobody-here", &["staff"]),
            told("nobody-here", &[]),
            "no account, no groups"
        );
        let failed = ask("bob", &["broken"]);
        assert!(matches!(failed, Verdict::Failed { .. }), "not known is not outside: {failed:?}");
    }

    #[cfg(feature = "pam")]
    #[test]
    fn a_name_can_be_made_that_of_the_account() {
        let ask = |name: &str| admit(name.to_owned(), &question(&[], true), &Few);
        for typed in ["eve", "Eve", "eve@school"] {
            let told = Verdict::Accepted { user: "eve".to_owned(), groups: Vec::new() };
            assert_eq!(ask(typed), told, "{typed}");
        }
        for without in ["nobody-here", "bob"] {
            let refused = ask(without);
            assert!(matches!(refused, Verdict::Refused { .. }), "{without}: {refused:?}");
        }
        assert!(matches!(ask("broken"), Verdict::Failed { .. }));
    }

    #[cfg(feature = "pam")]
    #[test]
    fn that_a_password_could_not_be_checked_is_said() {
        let find = |name: &str| Few.by_name(name);
        let say = |own: &Account, user: &str| explained("wrong".to_owned(), user, own, &find);
        let bob = account(1006, "bob");
        assert_eq!(say(&bob, "bob"), "wrong", "one's own can be");
        assert_eq!(say(&bob, "nobody-here"), "wrong");
        assert_eq!(say(&account(0, "root"), "eve"), "wrong");
        let other = say(&bob, "eve");
        assert!(other.contains("not run by root") && other.contains("of bob"), "{other}");
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
