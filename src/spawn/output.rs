//! The output of user servers: a regular file each, `logs/ORDER` in the state directory, so that neither hub nor root
//! matters to it. Cut from the front when it grows too long, removed a week after its server's end.
//!
//! Beside it lies `logs/ORDER.url`: where the server was told to listen, written before the act, so that a server whose
//! start was never recorded can still be found.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use jovis_actors::domain::OrderId;

/// How long the output of an ended server is kept.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The folder of all outputs.
#[derive(Debug, Clone)]
pub struct Outputs(PathBuf);

impl Outputs {
    /// Below the state directory; made if missing.
    pub fn open(state: &Path) -> io::Result<Self> {
        let folder = state.join("logs");
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(Self(folder)),
        }
    }

    fn file(&self, order: &OrderId) -> PathBuf {
        self.0.join(order.as_str())
    }

    fn note(&self, order: &OrderId) -> PathBuf {
        self.0.join(format!("{order}.url"))
    }

    /// A fresh file for this order, opened for appending, with a note of where the server will listen.
    pub fn begin(&self, order: &OrderId, url: &str) -> io::Result<File> {
        // The log first: who comes second fails here, and leaves the note of the first as it is.
        let log =
            OpenOptions::new().append(true).create_new(true).mode(0o600).open(self.file(order))?;
        fs::write(self.note(order), url)?;
        Ok(log)
    }

    /// Where this order's server was told to listen.
    pub fn url(&self, order: &OrderId) -> Option<String> {
        fs::read_to_string(self.note(order)).ok()
    }

    /// The note is not needed any more.
    pub fn forget(&self, order: &OrderId) {
        _ = fs::remove_file(self.note(order));
    }

    /// The last `bytes` of what the server said, from the first whole line on; empty where there is nothing.
    pub fn tail(&self, order: &OrderId, bytes: usize) -> String {
        tail(&self.file(order), bytes).unwrap_or_default()
    }

    /// Cuts what is longer than `limit` to its last quarter, and removes what ended long ago. Called once a second
    /// from a thread that may block.
    ///
    /// # Errors
    ///
    /// The first there was; the other files are seen to all the same, since a user may get in the way of his own.
    pub fn tidy(&self, limit: u64, alive: impl Fn(&str) -> bool) -> io::Result<()> {
        self.tidy_at(SystemTime::now(), limit, alive)
    }

    fn tidy_at(&self, now: SystemTime, limit: u64, alive: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut outcome = Ok(());
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let about = match entry.metadata() {
                Ok(about) if about.is_file() => about,
                _ => continue,
            };
            let name = entry.file_name();
            let order = name.to_string_lossy();
            let order = order.strip_suffix(".url").unwrap_or(&order);
            let done = if now.duration_since(touched(&about)).is_ok_and(|age| age > KEPT)
                && !alive(order)
            {
                fs::remove_file(entry.path())
            } else if about.len() > limit.max(4096) {
                cut(&entry.path(), limit / 4)
            } else {
                Ok(())
            };
            outcome = outcome.and(done);
        }
        outcome
    }
}

/// When a file was last touched. Its owner, the user, can set the time of its content to any he likes, also to one in
/// the future, but not the time at which he did so.
fn touched(about: &fs::Metadata) -> SystemTime {
    let seconds = u64::try_from(about.ctime()).unwrap_or(0);
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    about.modified().map_or(changed, |modified| modified.min(changed))
}

fn tail(file: &Path, bytes: usize) -> io::Result<String> {
    let mut file = File::open(file)?;
    let size = file.metadata()?.len();
    let from = size.saturating_sub(bytes as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut last = Vec::new();
    file.take(bytes as u64).read_to_end(&mut last)?;
    let text = String::from_utf8_lossy(&last);
    let whole =
        if from == 0 { &text } else { text.split_once('\n').map_or(&*text, |(_, rest)| rest) };
    let whole = whole.trim_end();
    // Bytes that are no text became longer; and the first character may have been cut.
    let over = whole.len().saturating_sub(bytes);
    let from = (over..).find(|at| whole.is_char_boundary(*at)).unwrap_or(whole.len());
    Ok(whole[from..].to_owned())
}

/// The writer has the file open for appending, so after the cut it goes on right behind what is put back.
fn cut(path: &Path, keep: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(keep)))?;
    let mut last = Vec::new();
    Read::by_ref(&mut file).take(keep).read_to_end(&mut last)?;
    file.set_len(0)?;
    file.write_all(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_bounded_and_its_end_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = Outputs::open(folder.path()).unwrap();
        let order = OrderId::from_bytes([7; 16]);
        let mut writer = outputs.begin(&order, "http://127.0.0.1:20000").unwrap();
        for line in 0..10_000 {
            writeln!(writer, "line {line}").unwrap();
        }
        outputs.tidy(8192, |_| true).unwrap();
        writeln!(writer, "after the cut").unwrap();
        let size = fs::metadata(folder.path().join("logs").join(order.as_str())).unwrap().len();
        assert!(size < 8192, "{size}");
        assert_eq!(outputs.tail(&order, 40), "line 9998\nline 9999\nafter the cut");
        assert_eq!(outputs.url(&order).as_deref(), Some("http://127.0.0.1:20000"));
        outputs.forget(&order);
        assert_eq!(outputs.url(&order), None);
        assert_eq!(outputs.tail(&OrderId::from_bytes([8; 16]), 100), "");
    }

    #[test]
    fn a_time_in_the_future_does_not_keep_output_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = Outputs::open(folder.path()).unwrap();
        let (order, other) = (OrderId::from_bytes([7; 16]), OrderId::from_bytes([8; 16]));
        let day = Duration::from_secs(24 * 3600);
        let now = SystemTime::now();
        for order in [&order, &other] {
            let file = outputs.begin(order, "http://127.0.0.1:20000").unwrap();
            file.set_modified(now + 4000 * day).unwrap();
        }
        let kept = |order: &OrderId| outputs.file(order).exists();
        outputs.tidy_at(now + 6 * day, 8192, |_| false).unwrap();
        assert!(kept(&order) && kept(&other), "a week is not over");
        outputs.tidy_at(now + 8 * day, 8192, |known| known == other.as_str()).unwrap();
        assert!(!kept(&order));
        assert!(kept(&other), "its server runs");
    }

    #[test]
    fn an_order_is_begun_once() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = Outputs::open(folder.path()).unwrap();
        let order = OrderId::from_bytes([7; 16]);
        outputs.begin(&order, "first").unwrap();
        assert_eq!(outputs.begin(&order, "second").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(outputs.url(&order).as_deref(), Some("first"));
    }
}
