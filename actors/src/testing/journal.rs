//! A journal in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    ports::{Journal, Loaded, StoreError},
    store::{Image, Write},
};

/// What was appended, kept by all clones; and what is to go wrong.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    groups: Vec<Vec<Write>>,
    appends: u64,
    loads: u64,
    idles: u64,
    fail_append: Option<(u64, StoreError)>,
    full: bool,
    load_error: Option<StoreError>,
    panic_next: bool,
    fail_idle: Option<StoreError>,
    must_load: bool,
    longest: Option<usize>,
}

impl MemoryJournal {
    /// With these records in it.
    pub fn holding(writes: Vec<Write>) -> Self {
        let journal = Self::default();
        journal.memory().groups.push(writes);
        journal
    }

    /// The `k`-th append from now on (1 is the next) fails with this error, once.
    pub fn fail_append(&self, k: u64, error: StoreError) {
        let mut memory = self.memory();
        memory.fail_append = Some((memory.appends + k, error));
    }

    /// From now on every append fails with [`StoreError::Full`], or no longer.
    pub fn set_full(&self, full: bool) {
        self.memory().full = full;
    }

    /// From now on every load fails with this error, or no longer.
    pub fn set_load_error(&self, error: Option<StoreError>) {
        self.memory().load_error = error;
    }

    /// The next housekeeping fails with this error, once.
    pub fn fail_next_idle(&self, error: StoreError) {
        self.memory().fail_idle = Some(error);
    }

    /// The last acknowledged group vanishes, as no disk should let it.
    pub fn lose_last_group(&self) {
        self.memory().groups.pop();
    }

    /// The next append panics.
    pub fn panic_at_next_append(&self) {
        self.memory().panic_next = true;
    }

    /// From now on writes that take more bytes than this as JSON do not fit.
    pub fn set_longest(&self, bytes: usize) {
        self.memory().longest = Some(bytes);
    }

    /// Every group that was acknowledged, in order.
    pub fn groups(&self) -> Vec<Vec<Write>> {
        self.memory().groups.clone()
    }

    /// What a restart would find.
    pub fn image(&self) -> Image {
        let mut image = Image::default();
        self.memory().groups.iter().flatten().for_each(|write| image.apply(write));
        image
    }

    /// How often it was appended to (with success or not), loaded, and left idle.
    pub fn counts(&self) -> (u64, u64, u64) {
        let memory = self.memory();
        (memory.appends, memory.loads, memory.idles)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn fits(&self, write: &Write) -> Result<(), String> {
        let length = serde_json::to_vec(write).map_or(usize::MAX, |json| json.len());
        match self.memory().longest {
            Some(longest) if length > longest => Err(format!("{length} bytes")),
            _ => Ok(()),
        }
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        let mut memory = self.memory();
        memory.loads += 1;
        if let Some(error) = &memory.load_error {
            return Err(error.clone());
        }
        memory.must_load = false;
        let sequence = memory.groups.iter().map(|group| group.len() as u64).sum();
        drop(memory);
        Ok(Loaded { image: self.image(), sequence, repairs: Vec::new() })
    }

    fn append(&mut self, first: u64, group: &[Write]) -> Result<(), StoreError> {
        let mut memory = self.memory();
        memory.appends += 1;
        assert!(!memory.must_load, "appended to after an error without loading");
        assert!(!group.is_empty(), "an empty group needs no sync");
        let next = 1 + memory.groups.iter().map(|group| group.len() as u64).sum::<u64>();
        assert_eq!(first, next, "a gap in the sequence");
        if std::mem::take(&mut memory.panic_next) {
            memory.must_load = true;
            drop(memory);
            panic!("the journal panics as it was told to");
        }
        let appends = memory.appends;
        let due = memory.fail_append.take_if(|(k, _)| *k <= appends);
        let error = due.map(|(_, error)| error).or(memory.full.then_some(StoreError::Full));
        if let Some(error) = error {
            memory.must_load = true;
            return Err(error);
        }
        memory.groups.push(group.to_vec());
        Ok(())
    }

    fn idle(&mut self, image: &Arc<Image>, sequence: u64) -> Result<(), StoreError> {
        let stored = self.memory().groups.iter().map(|group| group.len() as u64).sum::<u64>();
        assert_eq!(stored, sequence, "an image that is not what is stored");
        assert_eq!(**image, self.image());
        let mut memory = self.memory();
        assert!(!memory.must_load, "left idle after an error without loading");
        memory.idles += 1;
        match memory.fail_idle.take() {
            None => Ok(()),
            Some(error) => {
                memory.must_load = !matches!(error, StoreError::Full);
                Err(error)
            }
        }
    }
}
