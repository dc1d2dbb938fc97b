//! The journal's files: reading all of them, appending to the newest, removing the oldest.
//!
//! Every opening begins a new segment with its first append, as does every failed append and a segment that has grown
//! long. A new segment's header names the place it continues from; what stands behind that place in older segments is
//! void. So nothing that counts is ever overwritten. Only the frame of a failed append is cut off: its callers are told
//! that it failed, and there may be no room for the segment that would make it void.
//!
//! A frame that is read need not be on the medium: when a sync fails the kernel shows the pages all the same, as clean
//! ones, and forgets that they were never written. So what an opening finds behind the last place that is known to have
//! been synced is written once more, into a new segment, before it counts ([`Journal::secure`]).

use std::{
    borrow::Cow,
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use jovis_actors::ports::StoreError;

use super::{
    disk::{self, Disk, failed},
    records::Sum,
    segment::{self, BadHeader, Header, Point},
};

/// A frame of the journal.
#[derive(Debug)]
pub(super) struct Entry {
    /// Number of its first write.
    pub(super) first: u64,
    /// Sum of the frame before.
    pub(super) before: Sum,
    /// The place where it ends.
    pub(super) end: Point,
    segment: usize,
    /// Where its bytes stand in the segment, its head included.
    frame: Range<usize>,
}

/// Everything the journal's files hold.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// All frames that count, in order.
    pub(super) entries: Vec<Entry>,
    /// Furthest place a segment continues from: so far at least went what was acknowledged.
    pub(super) reaches: u64,
    /// What is wrong with the files, for people.
    pub(super) notes: Vec<String>,
    /// How many segments there are.
    pub(super) segments: usize,
    /// Those that hold nothing a base needs are let go: see [`read`].
    bytes: Vec<Option<Vec<u8>>>,
    /// Bytes of frames that the next snapshot takes in.
    grown: u64,
    files: Vec<Segment>,
    next: u64,
}

#[derive(Debug, Clone)]
struct Segment {
    path: PathBuf,
    /// Unknown where nothing in the file tells.
    from: Option<u64>,
}

impl Found {
    /// How far it goes.
    pub(super) fn end(&self) -> u64 {
        self.reaches.max(self.entries.last().map_or(0, |last| last.end.sequence))
    }

    /// The bytes of a frame with its head, as they were when they were checked.
    pub(super) fn frame(&self, entry: &Entry) -> Result<Cow<'_, [u8]>, StoreError> {
        if let Some(bytes) = &self.bytes[entry.segment] {
            return Ok(Cow::Borrowed(&bytes[entry.frame.clone()]));
        }
        let path = &self.files[entry.segment].path;
        let mut bytes = vec![0; entry.frame.len()];
        File::open(path)
            .and_then(|file| file.read_exact_at(&mut bytes, entry.frame.start as u64))
            .map_err(failed("read the journal"))?;
        if segment::chain(&bytes) != Some(entry.end.chain) {
            return Err(StoreError::Disk {
                doing: "read the journal",
                error: format!("{} changes while it is read", path.display()),
            });
        }
        Ok(Cow::Owned(bytes))
    }
}

/// Reads all segments. `acknowledged`: nothing behind this write counts, where that is known. What ends with `settled` or
/// earlier is checked like the rest, but not kept in memory: a snapshot seems to hold it.
pub(super) fn read(
    folder: &Path,
    acknowledged: Option<u64>,
    settled: u64,
) -> Result<Found, StoreError> {
    let reading = failed("read the journal");
    let mut found = Found { next: 1, ..Found::default() };
    let mut scans = Vec::new();
    for (number, path) in disk::numbered(folder, "log").map_err(&reading)? {
        let bytes = fs::read(&path).map_err(&reading)?;
        let scan = segment::scan(&bytes);
        let from = match scan.header {
            Ok(header) => Some(header.from),
            Err(BadHeader::Newer(version)) => {
                return Err(StoreError::Damaged(format!(
                    "{} has version {version}: it was written by a newer release; run that one, or restore a backup \
                     made by this one",
                    path.display()
                )));
            }
            // The first frame tells the same.
            Err(BadHeader::Broken) => scan
                .frames
                .first()
                .filter(|it| it.records.start == segment::HEADER + segment::FRAME_HEAD)
                .map(|it| Point { sequence: it.first.saturating_sub(1), chain: it.before }),
        };
        if scan.header.is_err() {
            found.notes.push(format!("the journal's segment {number} has no readable header"));
        }
        found.reaches = found.reaches.max(from.map_or(0, |from| from.sequence));
        found.next = found.next.max(number + 1);
        found.files.push(Segment { path, from: from.map(|it| it.sequence) });
        let needed = scan.frames.iter().any(|frame| frame.end.sequence > settled);
        found.bytes.push(needed.then_some(bytes));
        scans.push(scan);
    }
    found.segments = scans.len();
    let mut limits = vec![acknowledged.unwrap_or(u64::MAX); scans.len()];
    for index in (1..scans.len()).rev() {
        limits[index - 1] = found.files[index].from.unwrap_or(limits[index]).min(limits[index]);
    }
    let last = scans.len();
    for (index, scan) in scans.into_iter().enumerate() {
        let limit = limits[index];
        let reached = scan.frames.iter().any(|frame| frame.end.sequence == limit);
        if let Some((offset, behind)) = scan.bad
            && (!reached || behind)
        {
            let name = found.files[index].path.display().to_string();
            found.notes.push(if behind || index + 1 < last {
                format!("{name} is damaged at byte {offset}")
            } else {
                format!("{name} ended with an unfinished frame at byte {offset}, left out")
            });
        }
        found.entries.extend(
            scan.frames.into_iter().filter(|frame| frame.end.sequence <= limit).map(|frame| {
                Entry {
                    first: frame.first,
                    before: frame.before,
                    end: frame.end,
                    segment: index,
                    frame: frame.records.start - segment::FRAME_HEAD..frame.records.end,
                }
            }),
        );
    }
    let behind = found.entries.iter().filter(|entry| entry.end.sequence > settled);
    found.grown = behind.map(|entry| entry.frame.len() as u64).sum();
    Ok(found)
}

/// Where new frames go.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) disk: Disk,
    folder: PathBuf,
    open: Option<Open>,
    files: Vec<Segment>,
    next: u64,
    limit: u64,
    /// End of what was acknowledged.
    pub(super) at: Point,
    /// Bytes appended since the last snapshot began.
    pub(super) grown: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
}

impl Journal {
    /// Continues from `at`, in a new segment of at most about `limit` bytes that is made when first needed.
    pub(super) fn new(disk: Disk, folder: PathBuf, found: &Found, at: Point, limit: u64) -> Self {
        let (files, next, grown) = (found.files.clone(), found.next, found.grown);
        Self { disk, folder, open: None, files, next, limit, at, grown }
    }

    /// Makes one group durable. After an error nothing more can be appended.
    pub(super) fn append(&mut self, records: &[Vec<u8>]) -> Result<(), StoreError> {
        let (bytes, end) = segment::frame(self.at, records).ok_or(StoreError::Disk {
            doing: "append to the journal",
            error: format!("a group is longer than {} bytes", segment::FRAME_LIMIT),
        })?;
        if self.open.as_ref().is_none_or(|it| it.bytes >= self.limit) {
            self.begin()?;
        }
        let open = self.open.as_mut().expect("a segment was just begun");
        // A file without a name would take our writes and keep none.
        let metadata = open.file.metadata().map_err(failed("look at the journal"))?;
        if metadata.nlink() == 0 {
            return Err(StoreError::Disk {
                doing: "append to the journal",
                error: "its file was deleted while in use".to_owned(),
            });
        }
        self.disk.write(&mut open.file, &bytes).map_err(failed("append to the journal"))?;
        self.disk.sync(&open.file).map_err(failed("sync the journal"))?;
        open.bytes += bytes.len() as u64;
        self.grown += bytes.len() as u64;
        self.at = end;
        Ok(())
    }

    /// Begins a new segment now.
    pub(super) fn begin(&mut self) -> Result<(), StoreError> {
        self.open = None;
        let making = failed("begin a segment of the journal");
        let path = self.folder.join(format!("{:010}.log", self.next));
        let header = Header { number: self.next, from: self.at };
        self.next += 1;
        let mut file = self.disk.create(&path).map_err(&making)?;
        let begun = self
            .disk
            .write(&mut file, &header.encode())
            .and_then(|()| self.disk.sync(&file))
            .and_then(|()| self.disk.sync_folder(&self.folder));
        if let Err(error) = begun {
            // Or a disk that stays full collects an empty file with each attempt.
            if self.disk.remove(&path).is_err() {
                self.files.push(Segment { path, from: Some(self.at.sequence) });
            }
            return Err(making(error));
        }
        self.files.push(Segment { path, from: Some(self.at.sequence) });
        self.open = Some(Open { file, bytes: segment::HEADER as u64 });
        Ok(())
    }

    /// Writes the frames behind this change once more, in one new segment, and waits until they are on the medium.
    /// Tells how many there were. The segment gets its name when it is whole: its header makes the older copies void.
    pub(super) fn secure(&mut self, found: &Found, durable: u64) -> Result<usize, StoreError> {
        let securing = failed("write the journal's end once more");
        let uncertain = found
            .entries
            .iter()
            .filter(|it| it.end.sequence > durable && it.end.sequence <= self.at.sequence);
        let uncertain: Vec<&Entry> = uncertain.collect();
        let Some(first) = uncertain.first() else { return Ok(0) };
        let from = Point { sequence: first.first - 1, chain: first.before };
        let path = self.folder.join(format!("{:010}.log", self.next));
        let beside = path.with_extension("tmp");
        self.disk.remove(&beside).map_err(&securing)?;
        let mut file = self.disk.create(&beside).map_err(&securing)?;
        let mut bytes = Header { number: self.next, from }.encode();
        for entry in &uncertain {
            bytes.extend(&*found.frame(entry)?);
        }
        self.disk.write(&mut file, &bytes).map_err(&securing)?;
        self.disk.sync(&file).map_err(&securing)?;
        self.disk.rename(&beside, &path).map_err(&securing)?;
        self.next += 1;
        self.files.push(Segment { path, from: Some(from.sequence) });
        self.disk.sync_folder(&self.folder).map_err(&securing)?;
        self.open = Some(Open { file, bytes: bytes.len() as u64 });
        Ok(uncertain.len())
    }

    /// One of its files that cannot be reached by its name any more, and why.
    pub(super) fn out_of_reach(&self) -> Option<(&Path, String)> {
        let deleted = || "it was deleted while in use".to_owned();
        let in_use = self.open.as_ref().and_then(|open| open.file.metadata().ok());
        if in_use.is_some_and(|it| it.nlink() == 0) {
            return self.files.last().map(|it| (it.path.as_path(), deleted()));
        }
        self.files.iter().find_map(|it| match fs::symlink_metadata(&it.path) {
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some((&*it.path, deleted())),
            Err(error) => Some((&*it.path, error.to_string())),
        })
    }

    /// The segment in use, and where in it ends what was acknowledged.
    pub(super) fn into_tail(self) -> Option<(File, u64)> {
        self.open.map(|open| (open.file, open.bytes))
    }

    /// The next append begins a new segment, so that the present one can go once snapshots cover it.
    pub(super) fn rotate(&mut self) {
        self.open = None;
        self.grown = 0;
    }

    /// Removes segments that hold nothing behind this write. The oldest goes first: a crash in between leaves no gap.
    pub(super) fn forget(&mut self, up_to: u64) -> io::Result<usize> {
        let mut removed = 0;
        // A segment ends where a later one continues; the newest one always stays.
        while self.files.iter().skip(1).find_map(|it| it.from).is_some_and(|from| from <= up_to) {
            self.disk.remove(&self.files[0].path)?;
            self.files.remove(0);
            removed += 1;
        }
        if removed > 0 {
            self.disk.sync_folder(&self.folder)?;
        }
        Ok(removed)
    }
}
