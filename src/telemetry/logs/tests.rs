use std::{
    fs,
    io::{Read as _, Seek as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
    time::Instant,
};

use serde_json::Value;
use tracing::{debug, info, info_span, warn};

use super::*;
use crate::config::sections::LogFormat;

const LONG: Duration = Duration::from_secs(10);

/// Logs of a process of its own, as far as this thread sees.
fn logs(format: LogFormat, threaded: bool, file: File) -> (Dispatch, LogHandle) {
    let journal = Journal::at(Path::new("/nobody/listens")).unwrap();
    logs_to(format, threaded, Out { file, journal })
}

fn logs_to(format: LogFormat, threaded: bool, out: Out) -> (Dispatch, LogHandle) {
    let log = Log { format, ..Log::default() };
    let form = form(&log);
    let sink = if threaded {
        Sink::Queue(Queue::begin(out, notice("hub", &form)).unwrap())
    } else {
        Sink::Direct(Direct::new(out, notice("hub", &form)))
    };
    build("hub", &log, form, sink).unwrap()
}

fn written(format: LogFormat, act: impl FnOnce(&LogHandle)) -> Vec<String> {
    let mut file = tempfile::tempfile().unwrap();
    let (dispatch, handle) = logs(format, true, file.try_clone().unwrap());
    tracing::dispatcher::with_default(&dispatch, || act(&handle));
    assert!(handle.flush(LONG));
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A pipe's two ends.
fn pipe() -> (File, File) {
    let (read, write): (OwnedFd, OwnedFd) = nix::unistd::pipe().unwrap();
    (read.into(), write.into())
}

#[derive(Debug, Error)]
#[error("no supper")]
struct Outer(#[source] io::Error);

#[test]
fn a_json_line_parses_and_has_its_role() {
    let lines = written(LogFormat::Json, |_| {
        let _inside = info_span!("work", request = 7, user = "old").entered();
        let error = Outer(io::Error::other("no bread"));
        warn!(user = %"a\"da\n", role = "proxy", ok = true, error = &error as &dyn Error, "server ended");
    });
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let line: Value = serde_json::from_str(line).unwrap();
    let moment: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
    assert!(moment.as_second() > 1_700_000_000 && line["time"].as_str().unwrap().ends_with('Z'));
    for (name, value) in [
        ("level", "WARN"),
        ("role", "hub"),
        ("role_", "proxy"),
        ("event", "server ended"),
        ("user", "a\"da\n"),
        ("error", "no supper: no bread"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!((&line["ok"], &line["request"]), (&Value::from(true), &Value::from(7)));
}

#[test]
fn a_text_line_is_one_line_whatever_is_in_it() {
    let lines = written(LogFormat::Text, |_| {
        info!(user = %"eve\nINFO root: all is well\u{1b}[2J\u{202e}", empty = "", n = 3, "sign in");
    });
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let (time, rest) = line.split_once(' ').unwrap();
    time.parse::<jiff::Timestamp>().unwrap();
    assert_eq!(
        rest,
        format!(
            "INFO hub {}: sign in user=\"eve\\nINFO root: all is well\\u{{1b}}[2J\\u{{202e}}\" empty=\"\" n=3",
            module_path!()
        )
    );
}

#[test]
fn a_level_changes_at_once() {
    let lines = written(LogFormat::Text, |handle| {
        debug!("not yet");
        handle.set_level("debug").unwrap();
        debug!("now");
        assert!(handle.set_level("verbose").is_err());
        debug!("still");
        handle.set_level("error,somewhere::else=trace").unwrap();
        warn!("no more");
    });
    let events: Vec<_> = lines.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(events, ["now", "still"]);
}

#[test]
fn the_form_of_lines_changes_at_once() {
    for threaded in [true, false] {
        let (_folder, there, file, dispatch, handle) = journal(threaded);
        let all = |format| Log { format, level: "info".to_owned(), ..Log::default() };
        tracing::dispatcher::with_default(&dispatch, || {
            handle.follow(&all(LogFormat::Text)).unwrap();
            info!("for people");
            handle.follow(&all(LogFormat::Json)).unwrap();
            info!("for machines");
            assert!(handle.follow(&Log { level: "verbose".to_owned(), ..Log::default() }).is_err());
            info!("still for machines");
            handle.follow(&all(LogFormat::Journald)).unwrap();
            info!("for the journal");
        });
        assert!(handle.flush(LONG));
        let text = text_of(&file);
        let [first, rest @ ..] = &text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert!(first.ends_with("for people"), "{first}");
        let rest: Vec<Value> = rest.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
        let events: Vec<_> = rest.iter().map(|it| it["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["for machines", "still for machines"]);
        let mut datagram = [0; 4_096];
        let length = there.recv(&mut datagram).unwrap();
        assert_eq!(fields(&datagram[..length])["EVENT"], "for the journal");
    }
}

#[test]
fn levels_are_checked() {
    for good in ["info", "WARN", "off", "info,jovis::proxy=debug", "jovis[span]=trace"] {
        assert_eq!(check_level(good), Ok(()), "{good}");
    }
    for bad in ["", " ", "inof", "info,loud", "jovis=loud", "="] {
        assert!(check_level(bad).is_err(), "{bad}");
    }
}

/// Reads until this many lines are counted as arrived or dropped.
fn account(mut read: File, total: usize, mut more: impl FnMut()) -> (usize, usize) {
    let (mut arrived, mut dropped, mut text) = (0, 0, String::new());
    let begun = Instant::now();
    while arrived + dropped < total {
        assert!(begun.elapsed() < LONG, "{arrived} arrived, {dropped} dropped of {total}");
        more();
        let mut some = [0; 65_536];
        let length = read.read(&mut some).unwrap();
        text.push_str(std::str::from_utf8(&some[..length]).unwrap());
        while let Some((line, rest)) = text.split_once('\n') {
            match line.split_once("log lines dropped count=") {
                Some((_, count)) => dropped += count.parse::<usize>().unwrap(),
                None if line.contains("many words") => arrived += 1,
                None => {}
            }
            text = rest.to_owned();
        }
    }
    (arrived, dropped)
}

#[test]
fn a_full_queue_drops_and_counts_and_never_blocks() {
    let (read, write) = pipe();
    let (dispatch, _handle) = logs(LogFormat::Text, true, write);
    tracing::dispatcher::with_default(&dispatch, || {
        for number in 0..10_000 {
            info!(number, "many words");
        }
    });
    let (arrived, dropped) = account(read, 10_000, || ());
    assert_eq!(arrived + dropped, 10_000);
    assert!(arrived > 0 && dropped > 0, "{arrived} {dropped}");
}

#[test]
fn root_drops_and_counts_and_never_blocks() {
    let (read, write) = pipe();
    let (dispatch, _handle) = logs(LogFormat::Text, false, write);
    tracing::dispatcher::with_default(&dispatch, || {
        for number in 0..10_000 {
            info!(number, long = %"x".repeat(number % 300 * 20), "many words");
        }
        // The count is said with the next line.
        let (arrived, dropped) = account(read, 10_000, || info!("next"));
        assert!(arrived > 0 && dropped > 0, "{arrived} {dropped}");
    });
}

#[test]
fn a_reader_that_is_gone_harms_nobody() {
    for threaded in [true, false] {
        let (read, write) = pipe();
        let (dispatch, handle) = logs(LogFormat::Text, threaded, write);
        drop(read);
        let file = tempfile::NamedTempFile::new().unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            info!("lost");
            assert!(handle.flush(LONG));
            handle.set_output(file.reopen().unwrap());
            info!("found");
        });
        assert!(handle.flush(LONG));
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(text.contains("found") && !text.contains(": lost"), "{text}");
    }
}

/// Says how the child of the test below is to begin.
const CHILD: &str = "JOVIS_LOGS_CHILD";

/// Not a test: logs belong to a whole process, so the test below needs one.
#[test]
fn child() {
    let Some(how) = std::env::var_os(CHILD) else {
        return;
    };
    let log = Log { format: LogFormat::Json, ..Log::default() };
    let handle = match how.to_str() {
        Some("root") => init_root(&log, Output::Stderr).unwrap(),
        _ => init("proxy", &log, Output::Stderr).unwrap(),
    };
    info!("up and running");
    assert!(std::panic::catch_unwind(|| panic!("on purpose")).is_err());
    assert!(matches!(init_root(&log, Output::Stderr), Err(LogsError::Twice)));
    assert!(handle.flush(LONG));
}

#[test]
fn a_process_logs_to_its_standard_error() {
    for role in ["root", "proxy"] {
        let done = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "telemetry::logs::tests::child", "--nocapture"])
            .env(CHILD, role)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
        let line = said.lines().find(|line| line.contains("up and running")).unwrap();
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["role"], role);
        let line = said.lines().find(|line| line.contains("on purpose")).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&line["event"], &line["error"]),
            (&"code panicked".into(), &"on purpose".into())
        );
        assert!(line["place"].as_str().unwrap().starts_with(file!()), "{line}");
    }
}

/// A pair as `jovis events` has it.
fn pair() -> (OwnedFd, OwnedFd) {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    let kind = SockType::SeqPacket;
    socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).unwrap()
}

/// What has arrived so far.
fn heard(end: &OwnedFd) -> Vec<Value> {
    use nix::sys::socket::{MsgFlags, recv};
    let mut some = vec![0; 65_536];
    let mut out = Vec::new();
    while let Ok(length @ 1..) = recv(end.as_raw_fd(), &mut some, MsgFlags::MSG_DONTWAIT) {
        out.push(serde_json::from_slice(&some[..length]).unwrap());
    }
    out
}

#[test]
fn a_tap_hears_what_its_filter_lets_through() {
    let (all, to_all) = pair();
    let (some, to_some) = pair();
    let written = written(LogFormat::Text, |handle| {
        info!(user = "ada", "before");
        handle.tap(to_all, TapFilter::default()).unwrap();
        let filter = TapFilter {
            level: Some("warn".to_owned()),
            events: vec!["server ended".to_owned(), "role ended".to_owned()],
            fields: [("user", "ada"), ("code", "1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        handle.tap(to_some, filter).unwrap();
        warn!(user = "ada", code = 1, "server ended");
        warn!(user = "bob", code = 1, "server ended");
        warn!(code = 1, "role ended");
        info!(user = "ada", code = 1, "server ended");
        warn!(user = "ada", code = 1, "server lost");
        debug!("not logged, not told");
    });
    assert_eq!(written.len(), 6);
    let (all, some) = (heard(&all), heard(&some));
    assert_eq!(all.len(), 5, "{all:?}");
    assert_eq!((&all[1]["event"], &all[1]["user"]), (&"server ended".into(), &"bob".into()));
    assert_eq!(some, all[..1]);
}

#[test]
fn a_tap_that_does_not_read_loses_events_and_is_told_how_many() {
    let (end, to) = pair();
    let mut told = Vec::new();
    written(LogFormat::Text, |handle| {
        handle.tap(to, TapFilter::default()).unwrap();
        for number in 0..5_000 {
            info!(number, "many words");
        }
        told = heard(&end);
        info!("next");
        told.extend(heard(&end));
    });
    let dropped: u64 = told.iter().filter_map(|event| event["count"].as_u64()).sum();
    assert!(dropped > 0, "{}", told.len());
    assert_eq!(told.len() as u64 + dropped, 5_000 + 2, "{dropped}");
    assert_eq!(told.last().unwrap()["event"], "next");
}

#[test]
fn who_hangs_up_makes_room_for_another() {
    let (_, handle) = logs(LogFormat::Text, true, tempfile::tempfile().unwrap());
    let mut ends = Vec::new();
    for _ in 0..TAPS {
        let (end, to) = pair();
        handle.tap(to, TapFilter::default()).unwrap();
        ends.push(end);
    }
    assert_eq!(handle.tap(pair().1, TapFilter::default()), Err(TapError::Full));
    ends.pop();
    let (_end, to) = pair();
    handle.tap(to, TapFilter::default()).unwrap();
    let loud = TapFilter { level: Some("loud".to_owned()), ..TapFilter::default() };
    assert_eq!(handle.tap(pair().1, loud), Err(TapError::Level("loud".to_owned())));
}

#[test]
fn who_hangs_up_is_forgotten_at_the_next_event() {
    let (end, to) = pair();
    written(LogFormat::Text, |handle| {
        handle.tap(to, TapFilter::default()).unwrap();
        drop(end);
        info!("one");
        assert_eq!(format!("{:?}", handle.taps), "0 taps");
    });
}

/// A datagram of the journal, read as journald reads it.
fn fields(mut datagram: &[u8]) -> std::collections::BTreeMap<String, String> {
    let mut out = std::collections::BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    while !datagram.is_empty() {
        let end = datagram.iter().position(|byte| *byte == b'\n').unwrap();
        let (line, rest) = (&datagram[..end], &datagram[end + 1..]);
        datagram = match line.iter().position(|byte| *byte == b'=') {
            Some(at) => {
                out.insert(text(&line[..at]), text(&line[at + 1..]));
                rest
            }
            None => {
                let (length, rest) = rest.split_at(8);
                let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
                out.insert(text(line), text(&rest[..length]));
                assert_eq!(rest[length], b'\n');
                &rest[length + 1..]
            }
        };
    }
    out
}

/// A stand-in for journald, and logs that go to it.
fn journal(threaded: bool) -> (tempfile::TempDir, UnixDatagram, File, Dispatch, LogHandle) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let there = UnixDatagram::bind(&path).unwrap();
    there.set_read_timeout(Some(LONG)).unwrap();
    let file = tempfile::tempfile().unwrap();
    let journal = Journal::at(&path).unwrap();
    let out = Out { file: file.try_clone().unwrap(), journal };
    let (dispatch, handle) = logs_to(LogFormat::Journald, threaded, out);
    (folder, there, file, dispatch, handle)
}

fn text_of(mut file: &File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_journal_gets_every_field_by_its_name() {
    for threaded in [true, false] {
        let (_folder, there, file, dispatch, handle) = journal(threaded);
        tracing::dispatcher::with_default(&dispatch, || {
            warn!(user = "ada", error = "one\ntwo=2", pid = 7, event = "mine", "server ended");
            tracing::error!("role not started");
        });
        assert!(handle.flush(LONG));
        let mut some = vec![0; 65_536];
        let length = there.recv(&mut some).unwrap();
        let one = fields(&some[..length]);
        for (name, value) in [
            ("MESSAGE", "server ended user=ada error=\"one\\ntwo=2\" pid=7 event=mine"),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "jovis"),
            ("EVENT", "server ended"),
            ("EVENT_", "mine"),
            ("ROLE", "hub"),
            ("TARGET", module_path!()),
            ("USER", "ada"),
            ("ERROR", "one\ntwo=2"),
            ("PID", "7"),
        ] {
            assert_eq!(one.get(name).map(String::as_str), Some(value), "{name}: {one:?}");
        }
        let length = there.recv(&mut some).unwrap();
        assert_eq!(fields(&some[..length])["PRIORITY"], "3");
        assert_eq!(text_of(&file), "");
    }
}

#[test]
fn without_a_journal_lines_go_where_they_go_otherwise() {
    for threaded in [true, false] {
        let (folder, there, file, dispatch, handle) = journal(threaded);
        tracing::dispatcher::with_default(&dispatch, || {
            info!("to the journal");
            assert!(handle.flush(LONG));
            drop(there);
            info!("nobody listens");
            assert!(handle.flush(LONG));
            let again = UnixDatagram::bind(folder.path().join("new")).unwrap();
            fs::rename(folder.path().join("new"), folder.path().join("socket")).unwrap();
            info!("to the next journal");
            assert!(handle.flush(LONG));
            again.set_read_timeout(Some(LONG)).unwrap();
            let mut some = vec![0; 65_536];
            let length = again.recv(&mut some).unwrap();
            assert_eq!(fields(&some[..length])["EVENT"], "to the next journal");
        });
        let text = text_of(&file);
        assert!(text.ends_with("nobody listens\n") && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn a_journal_that_does_not_read_blocks_nobody() {
    for threaded in [true, false] {
        let (_folder, there, _file, dispatch, _handle) = journal(threaded);
        let begun = Instant::now();
        tracing::dispatcher::with_default(&dispatch, || {
            for number in 0..10_000 {
                info!(number, "many words");
            }
            assert!(begun.elapsed() < LONG);
            let (mut arrived, mut dropped, mut some) = (0, 0, vec![0; 65_536]);
            while arrived + dropped < 10_000 {
                if !threaded {
                    // The count is said with the next line.
                    info!("next");
                }
                let length = there.recv(&mut some).unwrap();
                let event = fields(&some[..length]);
                match event["EVENT"].as_str() {
                    "log lines dropped" => dropped += event["COUNT"].parse::<usize>().unwrap(),
                    "many words" => arrived += 1,
                    _ => {}
                }
            }
            assert!(arrived > 0 && dropped > 0, "{arrived} {dropped}");
        });
    }
}

#[test]
fn what_the_log_hides_is_counted_all_the_same() {
    let counted = |line: &str| {
        let text = crate::telemetry::metrics::encode(&[]);
        let found = text.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0, |number| number.parse::<u64>().unwrap())
    };
    let (ends, events, spawned) = (
        r#"jovis_server_ends_total{cause="of a test"}"#,
        r#"jovis_events_total{event="server ended",level="INFO"}"#,
        r#"jupyterhub_server_spawn_duration_seconds_count{status="failure"}"#,
    );
    let before = [counted(ends), counted(events), counted(spawned)];
    let lines = written(LogFormat::Text, |handle| {
        handle.set_level("off").unwrap();
        info!(order = "of a test", "server starting");
        info!(order = "of a test", kind = "of a test", "server ended");
        debug!(kind = "of a test", "server ended");
    });
    assert!(lines.is_empty());
    assert_eq!([counted(ends), counted(events), counted(spawned)], before.map(|count| count + 1));
}
