//! What stands between a child and its disk (`shim.c`): it writes down every change in its order, notes of ours among
//! them, and lets the k-th call fail. The child is this program again, running one test that is none (see `child_main`
//! of who uses it).

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A folder for the store's files: in memory where there is such a place, since thousands of images are made.
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let built = tempfile::Builder::new().prefix("jovis-disk-").tempdir_in(memory);
    built.or_else(|_| tempfile::tempdir()).expect("a folder for a test")
}

/// The library, compiled.
pub(crate) struct Shim {
    folder: TempDir,
}

impl Shim {
    /// Compiles it.
    pub(crate) fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder for a test");
        let source = folder.path().join("shim.c");
        fs::write(&source, include_str!("shim.c")).expect("the folder is ours");
        let done = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .arg(folder.path().join("shim.so"))
            .arg(&source)
            .output()
            .expect("a C compiler, which linking needs too");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Self { folder }
    }

    /// This program, to run one test under the shim.
    pub(crate) fn child(&self, test: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("we run"));
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        command.env("LD_PRELOAD", self.folder.path().join("shim.so"));
        command.stdin(Stdio::null());
        command
    }
}

/// Tells the shim something; only in a child.
fn tell(word: &str) {
    // Opened by nobody: the shim takes it for itself.
    assert!(File::open(format!("/jovis-shim/{word}")).is_err());
}

/// From now on the shim looks at this folder only.
pub(crate) fn look_at(folder: &Path) {
    tell(&format!("under={}", folder.display()));
}

/// From now on everything is written down.
pub(crate) fn record_to(file: &Path) {
    tell(&format!("record={}", file.display()));
}

/// A word of ours between what is written down.
pub(crate) fn note(text: &str) {
    tell(&format!("note={text}"));
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Which one, counted from now; 0: none.
    pub(crate) call: u64,
    /// With this error.
    pub(crate) errno: i32,
    /// And all later ones.
    pub(crate) for_ever: bool,
    /// The first write from there on writes half and says so; the call after it fails.
    pub(crate) short: bool,
    /// Reading and opening to read count as well.
    pub(crate) reads: bool,
}

impl Fault {
    pub(crate) const NONE: Self =
        Self { call: 0, errno: 0, for_ever: false, short: false, reads: false };

    /// Lets it happen. Calls are counted anew.
    pub(crate) fn arm(self) {
        let Self { call, errno, for_ever, short, reads } = self;
        let (for_ever, short, reads) = (u8::from(for_ever), u8::from(short), u8::from(reads));
        tell(&format!("fail={call},{errno},{for_ever},{short},{reads}"));
    }
}

/// How many calls there were since the last fault was armed.
pub(crate) fn calls(scratch: &Path) -> u64 {
    let file = scratch.join("calls");
    tell(&format!("count={}", file.display()));
    fs::read_to_string(file).expect("the shim wrote it").parse().expect("a number")
}

/// One line of a record.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Created { inode: u64, path: PathBuf },
    Folder { inode: u64, path: PathBuf },
    Written { inode: u64, at: usize, bytes: Vec<u8> },
    Cut { inode: u64, length: usize },
    Synced { inode: u64 },
    Renamed { from: PathBuf, to: PathBuf },
    Removed { path: PathBuf },
    Note(String),
}

/// Reads a record.
pub(crate) fn read(file: &Path) -> Vec<Step> {
    let bytes = fs::read(file).expect("the child made it");
    let (mut rest, mut steps) = (&bytes[..], Vec::new());
    while let Some((head, tail)) = rest.split_at_checked(21) {
        let number = |range: std::ops::Range<usize>| {
            u64::from_ne_bytes(head[range].try_into().expect("eight bytes"))
        };
        let length = u32::from_ne_bytes(head[17..21].try_into().expect("four bytes")) as usize;
        let (inode, at) = (number(1..9), usize::try_from(number(9..17)).expect("64 bits"));
        let (body, next) = tail.split_at(length);
        let text = || String::from_utf8(body.to_vec()).expect("a path of ours");
        steps.push(match head[0] {
            b'c' => Step::Created { inode, path: text().into() },
            b'm' => Step::Folder { inode, path: text().into() },
            b'w' => Step::Written { inode, at, bytes: body.to_vec() },
            b't' => Step::Cut { inode, length: at },
            b's' => Step::Synced { inode },
            b'n' => {
                let both = text();
                let (from, to) = both.split_once('\0').expect("two names");
                Step::Renamed { from: from.into(), to: to.into() }
            }
            b'u' => Step::Removed { path: text().into() },
            b'!' => Step::Note(text()),
            other => panic!("{other}"),
        });
        rest = next;
    }
    steps
}
