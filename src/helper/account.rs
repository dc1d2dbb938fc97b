//! Role account helper: lives for one question about one account of this machine. It looks the account up (which may ask a
//! directory and load foreign code), has it made where root says how, and looks at what was made. No shell; the program
//! gets no more than its arguments.

use std::{
    fs::{File, Permissions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use nix::sys::stat::{Mode, umask};

use super::{hear, say};
use crate::{
    ipc::account::{AccountQuestion, Finding, Make},
    os::{
        fd, process,
        users::{self, Account},
    },
};

/// Most that is kept of what the program prints, in bytes.
const OUTPUT: u64 = 2_000;

/// `@account`: the link is descriptor 3. Runs to its end; root kills it when that takes too long.
pub fn main() -> ExitCode {
    process::settle("jovis-account");
    let Ok(link) = fd::inherited(3) else { return ExitCode::from(2) };
    let finding = match hear::<AccountQuestion>(&link) {
        Ok((question, _)) => find(&question, users::by_name, run),
        Err(_) => failed("the helper got no question"),
    };
    say(&link, &finding)
}

fn failed(text: impl Into<String>) -> Finding {
    Finding::Failed { text: text.into() }
}

/// The whole of it, with what looks accounts up and what makes them.
fn find(
    question: &AccountQuestion,
    look_up: impl Fn(&str) -> io::Result<Option<Account>>,
    run: impl FnOnce(&[String]) -> Result<(), String>,
) -> Finding {
    let AccountQuestion { name, min_uid, make } = question;
    let look_up = || {
        let found = look_up(name).map_err(|error| format!("{name} was not looked up: {error}"));
        found.map(|found| found.map(|account| (account.uid, account)))
    };
    match (look_up(), make) {
        (Err(text), _) => failed(text),
        (Ok(Some((uid, _))), _) if uid < *min_uid => systems(name, uid, *min_uid),
        (Ok(Some((uid, _))), _) => Finding::Exists { uid },
        (Ok(None), None) => Finding::Missing,
        (Ok(None), Some(make)) => match run(&make.argv).and_then(|()| look_up()) {
            Err(text) => failed(text),
            Ok(None) => failed(format!("{} made no account {name}", make.argv[0])),
            Ok(Some((uid, _))) if uid < *min_uid => systems(name, uid, *min_uid),
            Ok(Some((uid, _))) if make.uid.is_some_and(|wanted| wanted != uid) => {
                failed(format!("{name} got the number {uid} and not that of auth.uids"))
            }
            Ok(Some((uid, account))) => {
                let flaw = close(&account.home, uid, make).err();
                Finding::Made { uid, flaw }
            }
        },
    }
}

fn systems(name: &str, uid: u32, min_uid: u32) -> Finding {
    let text = format!("{name} is an account of the system: its number {uid} is below {min_uid}");
    Finding::Refused { text }
}

/// Runs the program, with nothing of ours but a path to find its own helpers. What it printed, where it fails.
fn run(argv: &[String]) -> Result<(), String> {
    let Some((program, args)) = argv.split_first() else { return Err("no command".to_owned()) };
    // As at a terminal of root's: what it writes to /etc/passwd others must be able to read.
    umask(Mode::from_bits_truncate(0o022));
    let outcome = (|| {
        let (output, theirs) = io::pipe()?;
        let mut command = Command::new(program);
        command.args(args).env_clear().current_dir("/");
        command.envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C.UTF-8")]);
        command.stdin(Stdio::null()).stdout(theirs.try_clone()?).stderr(theirs);
        let mut child = command.spawn()?;
        // It holds the other ends of the pipe.
        drop(command);
        let mut said = Vec::new();
        (&output).take(OUTPUT).read_to_end(&mut said)?;
        io::copy(&mut &output, &mut io::sink())?;
        Ok::<_, io::Error>((child.wait()?, said))
    })();
    match outcome {
        Ok((status, _)) if status.success() => Ok(()),
        Ok((status, said)) => {
            let said = String::from_utf8_lossy(&said);
            Err(format!("{program}: {status}: {}", said.trim().escape_debug()))
        }
        Err(error) => Err(format!("{program} was not run: {error}")),
    }
}

/// Its home folder gets its permissions. It must be a folder, and the account's own.
fn close(home: &Path, uid: u32, make: &Make) -> Result<(), String> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW);
    let wrong = |error: io::Error| format!("its home {}: {error}", home.display());
    let folder = options.open(home).map_err(wrong)?;
    let owner = folder.metadata().map_err(wrong)?.uid();
    if owner != uid {
        return Err(format!("its home {} belongs to user {owner}, not to {uid}", home.display()));
    }
    folder.set_permissions(Permissions::from_mode(make.home_mode)).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn question(make: bool) -> AccountQuestion {
        let argv = ["/bin/x", "bob"].map(str::to_owned).into();
        let make = make.then_some(Make { argv, uid: Some(2005), home_mode: 0o700 });
        AccountQuestion { name: "bob".to_owned(), min_uid: 1000, make }
    }

    fn account(uid: u32, home: &Path) -> Account {
        let (name, home) = ("bob".to_owned(), home.to_owned());
        Account { name, uid, gid: uid, groups: vec![uid], home, shell: "/bin/sh".into() }
    }

    /// What is found before and after the program has run.
    fn ask(make: bool, before: Option<u32>, after: Option<u32>, ran: Result<(), &str>) -> Finding {
        let made = Cell::new(false);
        let look_up = |_: &str| {
            let uid = if made.get() { after } else { before };
            Ok(uid.map(|uid| account(uid, Path::new("/nonexistent/bob"))))
        };
        find(&question(make), look_up, |argv| {
            assert!(make && argv == ["/bin/x", "bob"]);
            made.set(true);
            ran.map_err(ToOwned::to_owned)
        })
    }

    #[test]
    fn what_is_there_is_left_alone_and_the_systems_is_nobodys() {
        assert_eq!(ask(false, Some(1000), None, Ok(())), Finding::Exists { uid: 1000 });
        assert_eq!(ask(true, Some(1000), None, Err("not run")), Finding::Exists { uid: 1000 });
        assert_eq!(ask(false, None, None, Ok(())), Finding::Missing);
        for make in [false, true] {
            let found = ask(make, Some(999), None, Err("not run"));
            assert!(matches!(found, Finding::Refused { .. }), "{found:?}");
        }
    }

    #[test]
    fn what_was_made_is_looked_at() {
        let made = ask(true, None, Some(2005), Ok(()));
        let Finding::Made { uid: 2005, flaw: Some(flaw) } = made else { panic!("{made:?}") };
        assert!(flaw.contains("/nonexistent/bob"), "{flaw}");
        for (after, ran, word) in [
            (None, Ok(()), "no account"),
            (Some(2006), Ok(()), "not that of auth.uids"),
            (None, Err("/bin/x: exit status: 9: bad"), "bad"),
        ] {
            let found = ask(true, None, after, ran);
            let Finding::Failed { text } = &found else { panic!("{found:?}") };
            assert!(text.contains(word), "{text}");
        }
        let found = ask(true, None, Some(0), Ok(()));
        assert!(matches!(found, Finding::Refused { .. }), "{found:?}");
    }

    #[test]
    fn a_home_is_closed_only_if_it_is_a_folder_of_ones_own() {
        let dir = tempfile::tempdir().unwrap();
        let (home, link) = (dir.path().join("home"), dir.path().join("link"));
        std::fs::create_dir(&home).unwrap();
        std::os::unix::fs::symlink(&home, &link).unwrap();
        let uid = std::fs::metadata(&home).unwrap().uid();
        let make = Make { argv: Vec::new(), uid: None, home_mode: 0o750 };
        close(&home, uid, &make).unwrap();
        assert_eq!(std::fs::metadata(&home).unwrap().mode() & 0o7777, 0o750);
        let make = Make { home_mode: 0o700, ..make };
        assert!(close(&home, uid + 1, &make).unwrap_err().contains("belongs to user"));
        assert!(
            close(&link, uid, &make).is_err() && close(&dir.path().join("x"), uid, &make).is_err()
        );
        assert_eq!(std::fs::metadata(&home).unwrap().mode() & 0o7777, 0o750);
    }

    #[test]
    fn a_program_gets_its_arguments_and_no_shell_and_no_environment() {
        let argv = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        assert_eq!(run(&argv(&["/bin/true", "$(touch /tmp/x)"])), Ok(()));
        let said = run(&argv(&["/bin/sh", "-c", "env; echo \"$1\" >&2; exit 3", "x", "$HOME; a"]));
        let said = said.unwrap_err();
        assert!(said.contains("exit status: 3") && said.contains("$HOME; a"), "{said}");
        assert!(said.contains("LC_ALL=C.UTF-8") && !said.contains("CARGO"), "{said}");
        assert!(run(&argv(&["/nonexistent/x"])).unwrap_err().contains("not run"));
        let long = run(&argv(&["/bin/sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x; exit 1"]));
        assert!(long.unwrap_err().len() < 3_000);
    }
}
