//! No memory left (RELIABILITY.md, row 27): the process ends, and what it had acknowledged is there.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use jovis::store::DiskJournal;
use jovis_actors::ports::Journal as _;

use super::{
    shim::scratch,
    store::{GROUP, after, group},
};
use crate::support::scale;

/// Names the folder in which the child of the test below writes.
const CHILD: &str = "JOVIS_CONTRACT_MEMORY_CHILD";

/// Groups the child writes if nothing stops it.
const GROUPS: u64 = 200;

/// Not a test: what the child does until it has no memory. It takes more and more, besides what the store takes.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let dir = Path::new(&dir);
    let mut acknowledged =
        OpenOptions::new().append(true).create(true).open(dir.join("acknowledged")).unwrap();
    let mut journal = DiskJournal::new(dir.join("state")).hasty();
    let mut image = journal.load().unwrap().image;
    let mut ballast = Vec::new();
    for n in 0..GROUPS {
        let group = group(n);
        journal.append(n * GROUP + 1, &group).unwrap();
        acknowledged.write_all(&(n + 1).to_be_bytes()).unwrap();
        group.iter().for_each(|write| image.apply(write));
        if n % 4 == 3 {
            journal.idle(&Arc::new(image.clone()), (n + 1) * GROUP).unwrap();
        }
        ballast.push(vec![1_u8; 256 * 1024]);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    fs::write(dir.join("peak"), status).unwrap();
    assert_eq!(ballast.len() as u64, GROUPS);
}

/// Runs the child with so many KiB of address space at most; groups it acknowledged, and whether it came to its end.
fn run(dir: &Path, limit: Option<u64>) -> (u64, bool) {
    fs::create_dir(dir.join("state")).unwrap();
    let limit = limit.map_or("unlimited".to_owned(), |kib| kib.to_string());
    let status = Command::new("sh")
        // No core files of what ends as it should.
        .args(["-c", &format!("ulimit -c 0; ulimit -v {limit}; exec \"$@\""), "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "memory::child", "--test-threads=1"])
        .env(CHILD, dir)
        // Looking for names without memory takes seconds.
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let bytes = fs::read(dir.join("acknowledged")).unwrap_or_default();
    let last = bytes.chunks_exact(8).last();
    let groups = last.map_or(0, |last| u64::from_be_bytes(last.try_into().unwrap()));
    (groups, status.success())
}

#[test]
fn row_27_without_memory_it_ends_and_loses_nothing() {
    let free = scratch();
    assert_eq!(run(free.path(), None), (GROUPS, true));
    let status = fs::read_to_string(free.path().join("peak")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    let ballast = GROUPS * 256;
    // How much is enough differs from run to run, and address space is reserved far beyond what is needed. So limits are
    // looked for between one that let nothing be written and one that let everything, and both ends move.
    let (mut low, mut high) = (ballast, peak);
    let wanted = scale::scaled(8, 100);
    let (mut runs, mut ended, mut middle) = (0, 0, 0);
    while middle < wanted && runs < 40 + 4 * wanted {
        let limit = low + (high - low) * (1 + runs * 7 % 10) / 11;
        let dir = scratch();
        let (groups, success) = run(dir.path(), Some(limit));
        runs += 1;
        ended += u64::from(!success);
        middle += u64::from(!success && groups > 0);
        match (groups, success) {
            (_, true) => high = limit,
            (0, false) => low = limit,
            (_, false) => {}
        }
        if high - low < ballast / 8 {
            (low, high) = (low.saturating_sub(ballast / 4), high + ballast / 4);
        }
        let mut journal = DiskJournal::new(dir.path().join("state")).hasty();
        let loaded = journal.load().unwrap_or_else(|error| panic!("{limit} KiB: {error}"));
        let found = loaded.sequence / GROUP;
        assert_eq!(loaded.sequence % GROUP, 0, "{limit} KiB: half a group");
        assert!((groups..=groups + 1).contains(&found), "{limit} KiB: {found} of {groups}");
        assert!(loaded.image == after(found), "{limit} KiB: other records");
        journal.append(loaded.sequence + 1, &group(found)).unwrap();
    }
    println!(
        "row 27: {runs} limits of memory: {ended} ended it, {middle} of them while it wrote; nothing was lost"
    );
    assert!(middle >= wanted, "{middle} of {runs}");
}
