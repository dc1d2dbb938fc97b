use std::{
    fs,
    io::{Read as _, Seek as _},
    os::fd::OwnedFd,
    time::Instant,
};

use serde_json::Value;
use tracing::{debug, info, info_span, warn};

use super::*;
use crate::config::sections::LogFormat;

const LONG: Duration = Duration::from_secs(10);

/// Logs of a process of its own, as far as this thread sees.
fn logs(format: LogFormat, threaded: bool, file: File) -> (Dispatch, LogHandle) {
    let log = Log { format, ..Log::default() };
    let sink = if threaded {
        Sink::Queue(Queue::begin(file, notice("hub", &log)).unwrap())
    } else {
        Sink::Direct(Direct::new(file, notice("hub", &log)))
    };
    build("hub", &log, sink).unwrap()
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
    }
}
