//! Power loss (RELIABILITY.md, row 16). A child writes a story to a store while every change of its files is written
//! down in order. Then disks are built as a power cut at any place of that record could have left them: what was synced
//! is there; of what was written, created, renamed or removed and not synced since, anything may be missing or in part.
//! Each must open, hold all that had been acknowledged there, and nothing in half.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::sync_channel,
    },
    thread,
    time::{Duration, Instant},
};

use jovis::store::DiskJournal;
use jovis_actors::ports::Journal as _;

use super::{
    shim::{self, Shim, Step, scratch},
    store::{GROUP, after, group},
};
use crate::support::scale;

const CHILD: &str = "JOVIS_CONTRACT_POWER_CHILD";

/// Groups of the story.
const GROUPS: u64 = 66;

/// Not a test: what the child writes.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let dir = Path::new(&dir);
    let state = dir.join("state");
    fs::create_dir(&state).unwrap();
    shim::look_at(&state);
    shim::record_to(&dir.join("record"));
    let open = || DiskJournal::new(state.clone()).hasty();
    let mut journal = open();
    journal.load().unwrap();
    for n in 0..GROUPS {
        shim::note(&format!("sent {}", n + 1));
        journal.append(n * GROUP + 1, &group(n)).unwrap();
        shim::note(&format!("acknowledged {}", n + 1));
        // Snapshots are written beside; each idling takes in one that is ready.
        if n % 4 == 3 {
            journal.idle(&Arc::new(after(n + 1)), (n + 1) * GROUP).unwrap();
        }
        // With and without a reload, with and without housekeeping before the end.
        match n % 22 {
            9 => {
                journal = {
                    drop(journal);
                    open()
                }
            }
            20 => {}
            _ => continue,
        }
        assert_eq!(journal.load().unwrap().sequence, (n + 1) * GROUP);
    }
    journal.idle(&Arc::new(after(GROUPS)), GROUPS * GROUP).unwrap();
}

/// A change of one file that is not yet synced.
#[derive(Clone)]
enum Change {
    Written(usize, Arc<Vec<u8>>),
    Cut(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>, upto: usize) {
        match self {
            Self::Cut(length) => content.resize(*length, 0),
            Self::Written(at, bytes) => {
                let bytes = &bytes[..upto.min(bytes.len())];
                content.resize(content.len().max(at + bytes.len()), 0);
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

/// A change of one folder that is not yet synced: these names then mean these.
type Naming = Vec<(String, Option<u64>)>;

/// What is on the medium, and what is on its way there.
#[derive(Clone)]
struct Inode<T, C> {
    safe: T,
    pending: Vec<C>,
}

impl<T: Default, C> Default for Inode<T, C> {
    fn default() -> Self {
        Self { safe: T::default(), pending: Vec::new() }
    }
}

type Folder = Inode<BTreeMap<String, u64>, Naming>;

/// A disk in the making.
#[derive(Clone, Default)]
struct Medium {
    files: BTreeMap<u64, Inode<Vec<u8>, Change>>,
    folders: BTreeMap<u64, Folder>,
    /// Paths as the running system sees them.
    now: BTreeMap<PathBuf, u64>,
}

const TOP: u64 = 0;

impl Medium {
    fn new() -> Self {
        let mut medium = Self::default();
        medium.folders.insert(TOP, Folder::default());
        medium.now.insert(PathBuf::new(), TOP);
        medium
    }

    fn name(&mut self, path: &Path, inode: Option<u64>) -> (u64, (String, Option<u64>)) {
        let parent = self.now[path.parent().expect("below the top")];
        let name = path.file_name().expect("a name").to_str().expect("ours").to_owned();
        match inode {
            Some(inode) => self.now.insert(path.to_owned(), inode),
            None => self.now.remove(path),
        };
        (parent, (name, inode))
    }

    fn rename(&mut self, naming: &[(&Path, Option<u64>)]) {
        let mut changes = Naming::new();
        let mut parents = HashSet::new();
        for (path, inode) in naming {
            let (parent, change) = self.name(path, *inode);
            parents.insert(parent);
            changes.push(change);
        }
        assert_eq!(parents.len(), 1, "a store renames within one folder");
        let parent = parents.into_iter().next().expect("one");
        self.folders.get_mut(&parent).expect("known").pending.push(changes);
    }

    /// What the running system did next.
    fn step(&mut self, step: &Step) {
        match step {
            Step::Note(_) => {}
            Step::Created { inode, path } => {
                self.files.insert(*inode, Inode::default());
                self.rename(&[(path, Some(*inode))]);
            }
            Step::Folder { inode, path } => {
                self.folders.insert(*inode, Folder::default());
                self.rename(&[(path, Some(*inode))]);
            }
            Step::Written { inode, at, bytes } => {
                let file = self.files.get_mut(inode).expect("it was created");
                file.pending.push(Change::Written(*at, Arc::new(bytes.clone())));
            }
            Step::Cut { inode, length } => {
                self.files.get_mut(inode).expect("known").pending.push(Change::Cut(*length));
            }
            Step::Renamed { from, to } => {
                let inode = self.now[from];
                let moved: Vec<(PathBuf, u64)> = self
                    .now
                    .iter()
                    .filter_map(|(path, it)| Some((to.join(path.strip_prefix(from).ok()?), *it)))
                    .collect();
                self.now.retain(|path, _| !path.starts_with(from));
                self.rename(&[(from, None), (to, Some(inode))]);
                for (path, inode) in moved {
                    // Joining nothing leaves a slash.
                    self.now.insert(path.components().collect(), inode);
                }
            }
            Step::Removed { path } => self.rename(&[(path, None)]),
            Step::Synced { inode } => {
                if let Some(file) = self.files.get_mut(inode) {
                    for change in std::mem::take(&mut file.pending) {
                        change.apply(&mut file.safe, usize::MAX);
                    }
                } else {
                    // The top was made before the record began.
                    let inode = if self.folders.contains_key(inode) { *inode } else { TOP };
                    let folder = self.folders.get_mut(&inode).expect("a known folder");
                    for change in std::mem::take(&mut folder.pending) {
                        name_all(&mut folder.safe, &change);
                    }
                }
            }
        }
    }

    /// A disk that a power cut may leave now; `keep` says which pending change came through, and how much of it.
    fn image(&self, keep: &mut impl FnMut() -> Kept) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut image = BTreeMap::new();
        let mut folders = vec![(PathBuf::new(), TOP)];
        while let Some((path, inode)) = folders.pop() {
            let folder = &self.folders[&inode];
            let mut names = folder.safe.clone();
            for change in &folder.pending {
                if !matches!(keep(), Kept::Nothing) {
                    name_all(&mut names, change);
                }
            }
            for (name, inode) in names {
                let path = path.join(name);
                if self.folders.contains_key(&inode) {
                    image.insert(path.clone(), None);
                    folders.push((path, inode));
                } else {
                    let file = &self.files[&inode];
                    let mut content = file.safe.clone();
                    for change in &file.pending {
                        match keep() {
                            Kept::All => change.apply(&mut content, usize::MAX),
                            Kept::Sectors(some) => change.apply(&mut content, some * 512),
                            Kept::Nothing => {}
                        }
                    }
                    image.insert(path, Some(content));
                }
            }
        }
        image
    }
}

fn name_all(names: &mut BTreeMap<String, u64>, changes: &Naming) {
    for (name, inode) in changes {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

enum Kept {
    All,
    /// A write that was torn behind so many sectors.
    Sectors(usize),
    Nothing,
}

/// Random numbers that can be repeated.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (it ^ (it >> 31)) % limit
    }
}

/// A disk to open, and what it must hold.
struct Case {
    what: String,
    image: BTreeMap<PathBuf, Option<Vec<u8>>>,
    acknowledged: u64,
    sent: u64,
}

impl Case {
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.image, self.acknowledged, self.sent).hash(&mut hasher);
        hasher.finish()
    }

    /// Opens it, checks it, goes on with it, opens it again.
    fn check(self) {
        let dir = scratch();
        for (path, content) in &self.image {
            let path = dir.path().join(path);
            match content {
                None => fs::create_dir(path).unwrap(),
                Some(content) => fs::write(path, content).unwrap(),
            }
        }
        let what = &self.what;
        let mut journal = DiskJournal::new(dir.path().to_owned()).hasty();
        let loaded = journal.load().unwrap_or_else(|error| panic!("{what}: {error}"));
        let groups = loaded.sequence / GROUP;
        assert_eq!(loaded.sequence % GROUP, 0, "{what}: half a group");
        assert!(
            (self.acknowledged..=self.sent).contains(&groups),
            "{what}: {groups} groups, {} acknowledged, {} sent",
            self.acknowledged,
            self.sent
        );
        assert!(loaded.image == after(groups), "{what}: other records");
        journal
            .append(loaded.sequence + 1, &group(groups))
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        drop(journal);
        let again = DiskJournal::new(dir.path().to_owned()).hasty().load().unwrap();
        assert!(again.image == after(groups + 1), "{what}: not what was appended after");
    }
}

/// Cases of one pass over the record: at each step what is safe alone, and some of what is not; one in `share` of them.
/// Ends when `take` has enough.
fn cases(steps: &[Step], random: &mut Seeded, share: u64, mut take: impl FnMut(Case) -> bool) {
    let mut medium = Medium::new();
    let (mut acknowledged, mut sent) = (0, 0);
    let mut begun = false;
    for (place, step) in steps.iter().enumerate() {
        if let Step::Note(text) = step {
            begun = true;
            match text.split_once(' ').expect("two words") {
                ("sent", n) => sent = n.parse().unwrap(),
                (_, n) => acknowledged = n.parse().unwrap(),
            }
        } else {
            medium.step(step);
        }
        if !begun {
            continue;
        }
        // Each place where something was answered, and one in so many others.
        if random.below(share) == 0 {
            let image = medium.image(&mut || Kept::Nothing);
            let what = format!("step {place}, only what is safe");
            if !take(Case { what, image, acknowledged, sent }) {
                return;
            }
        }
        for _ in 0..2 {
            let seed = random.below(u64::MAX);
            if !seed.is_multiple_of(share) {
                continue;
            }
            let mut dice = Seeded(seed);
            let likely = [1, 5, 9][usize::try_from(dice.below(3)).expect("small")];
            let image = medium.image(&mut || match dice.below(10) {
                n if n < likely && dice.below(4) == 0 => {
                    Kept::Sectors(usize::try_from(dice.below(8)).expect("small"))
                }
                n if n < likely => Kept::All,
                _ => Kept::Nothing,
            });
            let what = format!("step {place}, some of the rest by {seed:#x}");
            if !take(Case { what, image, acknowledged, sent }) {
                return;
            }
        }
    }
}

/// What a run of the child wrote down.
fn recorded() -> Vec<Step> {
    let dir = scratch();
    let done = Shim::make()
        .child("power::child")
        .env(CHILD, dir.path())
        .output()
        .expect("this program can run itself");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}\n{said}", String::from_utf8_lossy(&done.stdout));
    shim::read(&dir.path().join("record"))
}

/// Cuts the power at random places until there were so many different disks, the time is over, or one did not open as it
/// should. How many were checked, and which failed.
fn cut_power(
    steps: &[Step],
    seed: u64,
    wanted: usize,
    limit: Duration,
    share: u64,
) -> (usize, Vec<String>) {
    let begun = Instant::now();
    let (queue, inbox) = sync_channel::<Case>(8);
    let inbox = Mutex::new(inbox);
    let (checked, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = inbox.lock().expect("no holder panics").recv();
                    let Ok(case) = next else { break };
                    let what = case.what.clone();
                    if catch_unwind(AssertUnwindSafe(|| case.check())).is_err() {
                        failures.lock().expect("no holder panics").push(what);
                    }
                    checked.fetch_add(1, Relaxed);
                }
            });
        }
        let mut random = Seeded(seed);
        let mut seen = HashSet::new();
        let mut go_on = true;
        while go_on {
            cases(steps, &mut random, share, |case| {
                if seen.insert(case.hash()) {
                    queue.send(case).expect("the inbox outlives this");
                }
                go_on = seen.len() < wanted
                    && begun.elapsed() < limit
                    && failures.lock().expect("no holder panics").is_empty();
                go_on
            });
        }
        drop(queue);
    });
    (checked.into_inner(), failures.into_inner().expect("no holder panics"))
}

#[test]
fn row_16_power_loss_at_any_write_loses_nothing_acknowledged() {
    let steps = recorded();
    let syncs = steps.iter().filter(|step| matches!(step, Step::Synced { .. })).count();
    assert!(syncs > 2 * usize::try_from(GROUPS).unwrap(), "{syncs} syncs were recorded");
    let answers =
        steps.iter().filter(|it| matches!(it, Step::Note(text) if text.starts_with("ack"))).count();
    assert_eq!(answers as u64, GROUPS);

    let seed = std::env::var("SEED").ok().and_then(|it| it.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | steps.len() as u64);
    println!("row 16: SEED={seed}");
    let (wanted, share) = (scale::scaled(3_000, 10_000), scale::scaled(15, 3));
    let limit = Duration::from_secs(scale::scaled(18, 1_500));
    let begun = Instant::now();
    let (checked, failures) = cut_power(&steps, seed, wanted, limit, share);
    println!(
        "row 16: {checked} different disks after power cuts in {} recorded steps ({syncs} syncs): opened, nothing \
         acknowledged lost, nothing in half; {:?}",
        steps.len(),
        begun.elapsed()
    );
    assert!(failures.is_empty(), "{failures:?}");
    assert!(checked >= scale::scaled(200, 10_000), "only {checked} disks in {limit:?}");
}

#[test]
fn a_store_that_did_not_sync_its_journal_would_be_found_out() {
    let mut steps = recorded();
    let journals: HashSet<u64> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Created { inode, path } if path.starts_with("journal") => Some(*inode),
            _ => None,
        })
        .collect();
    // From the middle on: as if these calls had not been made.
    let mut place = 0;
    let half = steps.len() / 2;
    steps.retain(|step| {
        place += 1;
        place < half || !matches!(step, Step::Synced { inode } if journals.contains(inode))
    });
    let (checked, failures) = cut_power(&steps, 1, 3_000, Duration::from_secs(20), 6);
    println!("row 16: without syncs of the journal, disk {checked} or so was a loss: {failures:?}");
    assert!(!failures.is_empty(), "{checked} disks and no loss: the test above shows nothing");
}
