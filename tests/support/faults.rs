//! Faults in a running hub (feature `faults`): see `src/hub/faults.rs` for what can be armed.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf};

use super::{PATIENCE, Site, wait_until};

impl Site {
    /// Its state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.file.parent().expect("hub.ron stands in a folder").join("state")
    }

    /// Has the hub arm this (`"effect:after:Spawn kill 1"`); returns once it has. Several lines are several faults.
    pub fn arm(&self, faults: &str) {
        self.leave_armed(faults);
        let file = self.state_dir().join("faults");
        wait_until("the hub has armed the faults", PATIENCE, || !file.exists());
    }

    /// Leaves this for the hub to find: for one that is not there yet.
    pub fn leave_armed(&self, faults: &str) {
        let (new, file) = (self.state_dir().join("faults.new"), self.state_dir().join("faults"));
        fs::write(&new, faults).expect("the state directory is there");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).expect("it is ours");
        fs::rename(new, file).expect("one folder");
    }

    /// The points the hub has passed since it began, and how often.
    pub fn passed(&self) -> BTreeMap<String, u64> {
        let text = fs::read_to_string(self.state_dir().join("faults.passed")).unwrap_or_default();
        let words = text.lines().filter_map(|line| line.split_once(' '));
        words.filter_map(|(point, times)| Some((point.to_owned(), times.parse().ok()?))).collect()
    }
}
