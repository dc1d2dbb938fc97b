use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{Pid, geteuid},
};

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// As it is on this machine: with privilege if the tests have it.
fn setting() -> Setting {
    let uid = geteuid().as_raw();
    Setting {
        we: Ourselves { privileged: uid == 0, uid, hub: uid, proxy: uid },
        hub_gid: 12_345,
        env: map(&[("PATH", "/nowhere:/usr/bin:/bin"), ("SECRET", "x"), ("LANG", "C")]),
        umask: Mode::from_bits_truncate(0o027),
        open_files: (100, 100),
        servers_oom: 0,
    }
}

fn plan(run_as: RunAs, script: &str) -> Plan {
    Plan {
        run_as,
        user: "alice".to_owned(),
        argv: ["sh", "-c", script].map(str::to_owned).into(),
        given: map(&[("JUPYTERHUB_USER", "alice"), ("MINE", "hub")]),
        configured: map(&[("MINE", "configuration")]),
        open_files: 64,
    }
}

fn simple(home: &Path) -> RunAs {
    let account = geteuid().is_root().then(|| "nobody".to_owned());
    RunAs::Simple { account, home: home.to_owned() }
}

/// Runs it to its end: what the birth's report said, and the exit status.
fn run(plan: &Plan, setting: &Setting, log: &OwnedFd) -> (Result<(), RootSays>, WaitStatus) {
    let keep = ["PATH".to_owned(), "LANG".to_owned()];
    let (forked, ()) = fork(|_| Ok(()), || server(plan, 0, setting, &keep, log.as_fd())).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let outcome = loop {
        assert!(Instant::now() < until, "no report");
        match outcome(&forked.report) {
            Some(outcome) => break outcome,
            None => sleep(Duration::from_millis(2)),
        }
    };
    (outcome, waitpid(Pid::from_raw(forked.pid), None).unwrap())
}

fn log(dir: &Path) -> (std::path::PathBuf, OwnedFd) {
    let path = dir.join("log");
    let file = File::options().append(true).create_new(true).open(&path).unwrap();
    (path, file.into())
}

#[test]
fn a_server_is_exactly_who_and_what_it_should_be() {
    let dir = tempfile::tempdir().unwrap();
    let home = std::env::temp_dir().join(format!("jovis-birth-{}", std::process::id()));
    let (path, log) = log(dir.path());
    let script = "cat /proc/self/status; ls /proc/$$/fd | sed 's/^/fd /'; env; umask; pwd; ulimit -n; \
                  readlink /proc/$$/fd/0; cut -d' ' -f6 /proc/$$/stat; echo pid $$";
    let setting = setting();
    let (report, status) = run(&plan(simple(&home), script), &setting, &log);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(report, Ok(()));
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}\n{text}");
    let has = |line: &str| text.lines().any(|l| l == line);
    for line in [
        "fd 0",
        "fd 1",
        "fd 2",
        "JUPYTERHUB_USER=alice",
        "MINE=configuration",
        "USER=alice",
        "SHELL=/bin/bash",
        "LANG=C",
        "0027",
        "64",
        "/dev/null",
        &home.display().to_string(),
        &format!("HOME={}", home.display()),
    ] {
        assert!(has(line), "{line}\n{text}");
    }
    assert_eq!(text.lines().filter(|line| line.starts_with("fd ")).count(), 3, "{text}");
    assert!(!text.contains("SECRET"), "{text}");
    let pid = text.lines().last().unwrap().strip_prefix("pid ").unwrap();
    assert!(has(pid), "a session of its own\n{text}");
    if setting.we.privileged {
        let owner = fs::metadata(&path).unwrap();
        assert_eq!((owner.uid(), owner.gid(), owner.mode() & 0o7777), (65_534, 12_345, 0o660));
        for line in [
            "Uid:\t65534\t65534\t65534\t65534",
            "CapEff:\t0000000000000000",
            "SigBlk:\t0000000000000000",
        ] {
            assert!(has(line), "{line}\n{text}");
        }
        assert!(text.lines().any(|l| l.starts_with("Groups:\t65534")), "{text}");
    }
    fs::remove_dir(&home).unwrap();
}

#[test]
fn what_cannot_be_is_reported_and_nothing_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (path, log) = log(dir.path());
    let setting = setting();
    let mut lost = plan(simple(Path::new("/tmp")), "");
    lost.argv = vec!["no-such-program".to_owned()];
    let want = RootSays::Failed { step: "exec no-such-program".to_owned(), errno: libc::ENOENT };
    assert_eq!(run(&lost, &setting, &log).0, Err(want));
    let nobody = RunAs::Local("no-such-account".to_owned());
    let Err(RootSays::Denied { why }) = run(&plan(nobody, "echo ran"), &setting, &log).0 else {
        panic!("nobody ran")
    };
    assert!(why.contains("no account no-such-account") && why.contains("create_system_users"));
    let root = RunAs::Local("root".to_owned());
    assert!(matches!(run(&plan(root, "echo ran"), &setting, &log).0, Err(RootSays::Denied { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn logs_that_are_not_the_hubs_own_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, log) = log(dir.path());
    let setting = setting();
    let denied = |setting: &Setting, log: &OwnedFd| {
        let outcome = run(&plan(simple(Path::new("/tmp")), "echo ran"), setting, log).0;
        matches!(outcome, Err(RootSays::Denied { .. }))
    };
    let mut other = setting.clone();
    other.we.hub = 54_321;
    assert!(denied(&other, &log));
    fs::hard_link(&path, dir.path().join("second")).unwrap();
    assert!(denied(&setting, &log));
    assert!(denied(&setting, &File::options().write(true).open("/dev/null").unwrap().into()));
    assert_eq!(fs::read(&path).unwrap(), b"");
}
