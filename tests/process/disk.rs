//! A disk that fails, is slow, or loses the store under a running hub (RELIABILITY.md, rows 14, 15 and 19).

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, chown},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    as_root,
    support::{
        Answer, PATIENCE, Plan, Site,
        crowd::Crowd,
        process::Process,
        scale::{promise, scaled},
        wait_for, wait_until,
    },
};

/// A change: a token with this note. The status of the answer.
fn add(crowd: &Crowd, note: &str) -> u16 {
    add_for(crowd, "boss", note).status
}

fn add_for(crowd: &Crowd, name: &str, note: &str) -> Answer {
    let body = format!(r#"{{"note": {note:?}}}"#);
    crowd.api("POST", &format!("/users/{name}/tokens"), &body).expect("an answer")
}

/// The notes of all tokens of all of them, and of the boss.
fn notes(crowd: &Crowd) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for name in crowd.names.iter().map(String::as_str).chain(["boss"]) {
        let path = format!("/users/{name}/tokens");
        let ask = || crowd.api("GET", &path, "").ok().filter(|it| it.status == 200);
        let (answer, _) = wait_for("an answer", PATIENCE, ask);
        let list = answer.json()["api_tokens"].take();
        let list = list.as_array().expect("a list of tokens");
        all.extend(list.iter().filter_map(|token| Some(token["note"].as_str()?.to_owned())));
    }
    all
}

/// strace on all threads of a process, letting system calls fail.
struct Strace(Child);

impl Strace {
    /// The `nth` of these calls of each thread fails with EIO.
    fn fail(process: Process, calls: &str, nth: usize) -> Self {
        let child = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:error=EIO:when={nth}")])
            .args(["-p", &process.pid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is installed (.ci/install)");
        let strace = Self(child);
        wait_until("strace looks at every thread", PATIENCE, || {
            let tasks = fs::read_dir(format!("/proc/{}/task", process.pid)).into_iter().flatten();
            let mut status =
                tasks.flatten().map(|task| fs::read_to_string(task.path().join("status")));
            status.all(|text| text.is_ok_and(|text| !text.contains("TracerPid:\t0\n")))
        });
        strace
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Asked to leave it lets the process go; killed it would too, but not before a stopped thread is noticed.
        if let Ok(pid) = i32::try_from(self.0.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
        let _ = self.0.wait();
    }
}

#[test]
fn row_14_a_sync_or_write_that_fails_is_not_acknowledged_and_left_behind() {
    as_root!();
    let site = Plan::crowd().start();
    // Nobody may have more than a thousand tokens.
    let crowd = Crowd::of(&site, "writer", scaled(1, 40));
    let hub = site.hub();
    let (mut made, mut refused, mut unsure) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut count = 0;
    let mut slowest = Duration::ZERO;
    let mut change = || {
        count += 1;
        let name = format!("row14-{count}");
        let status = add_for(&crowd, &crowd.names[count / 900], &name).status;
        (name, status)
    };
    let few = [1, 2, 3, 5];
    let nths = |most: usize| -> Vec<usize> {
        scaled(few.iter().copied().filter(|nth| *nth <= most).collect(), (1..=most).collect())
    };
    // The journal syncs by fdatasync; sled writes by pwrite64 and sync_file_range, and syncs by both.
    for (calls, nth) in nths(200).into_iter().map(|nth| ("fdatasync", nth)).chain(
        ["fsync", "pwrite64", "sync_file_range"]
            .into_iter()
            .flat_map(|calls| nths(scaled(2, 200)).into_iter().map(move |nth| (calls, nth))),
    ) {
        let strace = Strace::fail(hub, calls, nth);
        let mark = site.log.mark();
        let mut broken = None;
        // What only sled does may fail without anybody's notice; the journal's syncs may not.
        let most = if calls == "fdatasync" { nth + 60 } else { 12.min(nth + 2) };
        for _ in 0..most {
            let (name, status) = change();
            match (status, broken) {
                (201, None) => drop(made.insert(name)),
                (201, Some(since)) => {
                    let since: Instant = since;
                    made.insert(name);
                    slowest = slowest.max(since.elapsed());
                    break;
                }
                (503, _) => {
                    let told = site.log.find(mark, Duration::ZERO, |line| {
                        line.text("error").is_some_and(|it| it.contains("not known yet"))
                    });
                    if told.is_some() {
                        unsure.insert(name)
                    } else {
                        refused.insert(name)
                    };
                    broken = broken.or(Some(Instant::now()));
                    let limit = promise(Duration::from_secs(2));
                    assert!(broken.is_some_and(|since| since.elapsed() < limit), "{calls} {nth}");
                    thread::sleep(Duration::from_millis(20));
                }
                (other, _) => panic!("{calls} {nth}: {other}"),
            }
        }
        drop(strace);
        match broken {
            Some(_) if calls == "fdatasync" => {
                site.log.event(mark, "store refuses changes", PATIENCE);
                site.log.event(mark, "store takes changes again", PATIENCE);
            }
            // It may have been the sync of how far the store has been, which is made up for in silence, but told.
            None if calls == "fdatasync" => {
                site.log.event(mark, "store mark not written", PATIENCE);
            }
            Some(_) | None => {}
        }
    }
    assert_eq!(site.hub(), hub, "the hub's process lives on");
    let (name, status) = change();
    assert_eq!(status, 201);
    made.insert(name);
    hub.kill();
    wait_until("another hub", PATIENCE, || site.role("@hub").is_some_and(|now| now != hub));
    let there = notes(&crowd);
    for name in &made {
        assert!(there.contains(name), "{name} was acknowledged and is lost");
    }
    for name in &refused {
        assert!(!there.contains(name), "{name} was refused and is there");
    }
    println!(
        "row 14: {} acknowledged and kept, {} refused and absent, {} of unknown fate; changes were taken again after at \
         most {slowest:?} (promise 2 s)",
        made.len(),
        refused.len(),
        unsure.len()
    );
    assert!(slowest < promise(Duration::from_secs(2)), "{slowest:?}");
    assert!(!refused.is_empty());
}

#[test]
fn row_15_a_slow_disk_slows_no_read_and_bounds_what_waits() {
    as_root!();
    let site = Plan::crowd().start();
    // Nobody may have more than a thousand tokens.
    let crowd = Crowd::of(&site, "reader", 12);
    let whose = |writer: usize| crowd.names[writer % crowd.names.len()].clone();
    site.arm("store:before:append stall:500 0");
    let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let writers = 400;
    let time = scaled(Duration::from_secs(5), Duration::from_secs(20));
    let mut times = Vec::new();
    let mut rate = 0.0;
    thread::scope(|scope| {
        for writer in 0..writers {
            let (stop, made, crowd, name) = (&stop, &made, &crowd, whose(writer));
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    let status = add_for(crowd, &name, "one of many").status;
                    assert_eq!(status, 201, "a queue of {writers} is within its bound");
                    made.fetch_add(1, Relaxed);
                }
            });
        }
        // Once they are all under way.
        wait_until("the first are answered", PATIENCE, || made.load(Relaxed) > writers / 2);
        let (begun, before) = (Instant::now(), made.load(Relaxed));
        while begun.elapsed() < time {
            let asked = Instant::now();
            let status = crowd.api("GET", "/users/reader-1", "").expect("an answer").status;
            assert_eq!(status, 200);
            times.push(asked.elapsed());
            thread::sleep(Duration::from_millis(10));
        }
        rate = (made.load(Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
        stop.store(true, Relaxed);
    });
    times.sort();
    let p99 = times[times.len() * 99 / 100];
    println!(
        "row 15: syncs of 500 ms: {} reads, p50 {:?}, p99 {p99:?} (promise 50 ms); {rate:.0} changes a second (promise \
         200)",
        times.len(),
        times[times.len() / 2]
    );
    assert!(p99 < promise(Duration::from_millis(50)), "{p99:?}");
    let least = 200.0 / promise(Duration::from_secs(1)).as_secs_f64();
    assert!(rate >= least, "{rate}");

    // More than may wait.
    site.arm("disarm");
    site.arm("store:before:append stall:8000 1");
    let (made, busy) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for writer in 0..1_400 {
            let (made, busy, crowd, name) = (&made, &busy, &crowd, whose(writer));
            scope.spawn(move || {
                let answer = add_for(crowd, &name, "one too many");
                match answer.status {
                    201 => made.fetch_add(1, Relaxed),
                    503 => {
                        assert!(answer.header("retry-after").is_some(), "{}", answer.text());
                        busy.fetch_add(1, Relaxed)
                    }
                    other => panic!("{other}"),
                };
            });
        }
    });
    let (made, busy) = (made.into_inner(), busy.into_inner());
    println!(
        "row 15: of 1,400 changes at once {made} were made, {busy} heard 503 and when to come again"
    );
    assert!(made >= 500 && busy > 0, "{made} {busy}");
}

/// The hub goes on with what it has: reading is fine, changing is not.
fn reads_only(site: &Site, crowd: &Crowd, hub: Process, name: &str) {
    wait_until("changes are refused", PATIENCE, || add(crowd, name) == 503);
    assert!(notes(crowd).contains("kept"), "it reads what it has");
    assert_eq!(site.visitor().get("/hub/login").status, 200);
    assert_eq!(site.hub(), hub, "the hub's process lives on");
}

/// Killed, it does not come back, and its log says why in these words.
fn stays_away(site: &Site, hub: Process, why: &str) {
    let mark = site.log.mark();
    hub.kill();
    let told = site.log.find(mark, PATIENCE, |line| line.raw.contains(why));
    let told = told.unwrap_or_else(|| panic!("no word of {why:?}: {}", site.log.tail(20)));
    println!("row 19: after a restart: {}", told.raw.chars().take(400).collect::<String>());
}

#[test]
fn row_19_a_store_deleted_in_use_is_noticed_and_never_begun_anew() {
    as_root!();
    let site = Plan::crowd().start();
    let crowd = Crowd::of(&site, "nobody", 0);
    assert_eq!(add(&crowd, "kept"), 201);
    let hub = site.hub();
    let (mark, begun) = (site.log.mark(), Instant::now());
    let state = site.state_dir();
    for part in ["journal", "sled", "snapshots"] {
        fs::remove_dir_all(state.join(part)).expect("it is there");
    }
    let _ = fs::remove_file(state.join("store.mark"));
    // Nobody changes anything, and still it is noticed.
    let line = site.log.event(mark, "store refuses changes", PATIENCE);
    let noticed = begun.elapsed();
    println!(
        "row 19: a deleted store was noticed after {noticed:?}: {}",
        line.text("error").unwrap()
    );
    assert!(noticed < Duration::from_secs(20), "{noticed:?}");
    reads_only(&site, &crowd, hub, "late");
    stays_away(&site, hub, "jovis restore");
}

#[test]
fn row_19_a_store_that_became_another_s_is_read_only_until_it_is_given_back() {
    as_root!();
    let site = Plan::crowd().start();
    let crowd = Crowd::of(&site, "nobody", 0);
    assert_eq!(add(&crowd, "kept"), 201);
    let hub = site.hub();
    let state = site.state_dir();
    let owner = fs::metadata(&state).expect("it is there");
    let ids = {
        use std::os::unix::fs::MetadataExt;
        (owner.uid(), owner.gid())
    };
    let give = |path: &std::path::Path, ids: (u32, u32), mode: u32| {
        chown(path, Some(ids.0), Some(ids.1)).expect("the tests run as root");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is there");
    };
    // Its owner, then only its mode.
    let taken: [(&str, (u32, u32), u32); 2] =
        [("another's", (0, 0), 0o700), ("read-only", ids, 0o500)];
    for (what, to, mode) in taken {
        let mark = site.log.mark();
        give(&state.join("journal"), to, mode);
        give(&state, to, mode);
        if what == "another's" {
            let line = site.log.event(mark, "store refuses changes", PATIENCE);
            println!("row 19: {what}: {}", line.text("error").unwrap());
            reads_only(&site, &crowd, hub, &format!("late-{mode:o}"));
        } else {
            // What is open can be written on; what needs a new file cannot, and the log says so.
            assert_eq!(add(&crowd, "written-on"), 201);
            let line = site.log.event(mark, "store mark not written", PATIENCE);
            println!("row 19: {what}: {}", line.text("error").unwrap());
            assert_eq!(site.hub(), hub);
        }
        give(&state, ids, owner.permissions().mode() & 0o7777);
        give(&state.join("journal"), ids, 0o700);
        let name = format!("again-{mode:o}");
        wait_until("it recovers by itself", PATIENCE, || add(&crowd, &name) == 201);
    }
    give(&state.join("store.lock"), (0, 0), 0o600);
    give(&state.join("journal"), (0, 0), 0o700);
    stays_away(&site, hub, "Permission denied");
}
