//! The hub's log lines (JSON, one object a line) as they come.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    /// As written.
    pub raw: String,
    json: Value,
}

impl Line {
    fn parse(raw: String) -> Self {
        let json = serde_json::from_str(&raw).unwrap_or(Value::Null);
        Self { raw, json }
    }

    /// A field, wherever the formatter puts it; nothing if it is not there.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.json.get(name).or_else(|| self.json.get("fields")?.get(name))
    }

    /// A field as text (numbers too).
    pub fn text(&self, name: &str) -> Option<String> {
        match self.field(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Is it this event?
    pub fn is(&self, event: &str) -> bool {
        self.field("event").and_then(Value::as_str) == Some(event)
    }
}

#[derive(Default)]
struct Book {
    lines: Vec<Line>,
    /// Streams that are still read.
    open: usize,
}

/// All lines so far. Clones share them.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<Book>, Condvar)>);

impl Log {
    /// Reads `stream` to its end, on a thread of its own.
    pub fn read(&self, stream: impl Read + Send + 'static) {
        let log = self.clone();
        log.0.0.lock().expect("no reader panics").open += 1;
        std::thread::spawn(move || {
            for raw in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = Line::parse(String::from_utf8_lossy(&raw).into_owned());
                log.0.0.lock().expect("no reader panics").lines.push(line);
                log.0.1.notify_all();
            }
            log.0.0.lock().expect("no reader panics").open -= 1;
            log.0.1.notify_all();
        });
    }

    /// How many lines there are: the place from which to look for what comes next.
    pub fn mark(&self) -> usize {
        self.0.0.lock().expect("no reader panics").lines.len()
    }

    /// The lines from `mark` on.
    pub fn since(&self, mark: usize) -> Vec<Line> {
        self.0.0.lock().expect("no reader panics").lines[mark..].to_vec()
    }

    /// The first line from `mark` on that `fits`; nothing after `limit` or at the end of the stream.
    pub fn find(
        &self,
        mut mark: usize,
        limit: Duration,
        fits: impl Fn(&Line) -> bool,
    ) -> Option<Line> {
        let until = Instant::now() + limit;
        let mut book = self.0.0.lock().expect("no reader panics");
        loop {
            if let Some(line) = book.lines[mark..].iter().find(|line| fits(line)) {
                return Some(line.clone());
            }
            mark = book.lines.len();
            let left = until.saturating_duration_since(Instant::now());
            if book.open == 0 || left.is_zero() {
                return None;
            }
            book = self.0.1.wait_timeout(book, left).expect("no reader panics").0;
        }
    }

    /// The first line from `mark` on that tells of `event`. Panics after `limit`.
    pub fn event(&self, mark: usize, event: &str, limit: Duration) -> Line {
        self.find(mark, limit, |line| line.is(event))
            .unwrap_or_else(|| panic!("no {event:?} in the log within {limit:?}"))
    }

    /// The newest lines, for a person.
    pub fn tail(&self, count: usize) -> String {
        let book = self.0.0.lock().expect("no reader panics");
        let mut newest: VecDeque<&str> = VecDeque::new();
        for line in book.lines.iter().rev().take(count) {
            newest.push_front(&line.raw);
        }
        Vec::from(newest).join("\n")
    }
}
