//! A small volume of its own, to be filled up.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tempfile::TempDir;

/// A tmpfs. Make it before the [`Site`](super::Site) that uses it: it must go after that.
pub struct Volume {
    folder: TempDir,
}

impl Volume {
    /// Mounts one with these options, such as `size=64m`. Needs root.
    pub fn mount(options: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("jovis-volume-")
            .tempdir_in("/tmp")
            .expect("/tmp is writable");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("nodev,nosuid,{options}"), "tmpfs"]);
        let mounted = mount.arg(folder.path()).status().expect("mount is installed");
        assert!(mounted.success(), "root may mount");
        Self { folder }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Bytes and files that still fit.
    pub fn room(&self) -> (u64, u64) {
        let facts = nix::sys::statvfs::statvfs(self.path()).expect("it is mounted");
        (facts.blocks_available() * facts.fragment_size(), facts.files_available())
    }

    /// Takes all room there is, and what becomes free, until the answer is dropped. Comes back when it is full.
    pub fn fill(&self) -> Full {
        let full = self.take(|folder, stop| {
            let mut file = File::create(folder.join("filler")).ok();
            let block = vec![b'x'; 1 << 20];
            let mut size = block.len();
            while !stop.load(Ordering::Acquire) {
                match file.as_mut().map(|file| file.write(&block[..size])) {
                    Some(Ok(_)) => size = block.len(),
                    _ if size > 512 => size /= 2,
                    _ => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        super::wait_until("the volume is full", super::PATIENCE, || self.room().0 == 0);
        full
    }

    /// The same with files: no further one can be made.
    pub fn fill_with_files(&self) -> Full {
        let full = self.take(|folder, stop| {
            let many = folder.join("filler");
            let _ = fs::create_dir(&many);
            let mut made = 0_u64;
            while !stop.load(Ordering::Acquire) {
                match File::create_new(many.join(made.to_string())) {
                    Ok(_) => made += 1,
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        super::wait_until("no file can be made", super::PATIENCE, || self.room().1 == 0);
        full
    }

    fn take(&self, work: impl FnOnce(&Path, &AtomicBool) + Send + 'static) -> Full {
        let (folder, stop) = (self.path().to_owned(), Arc::new(AtomicBool::new(false)));
        let (place, told) = (folder.join("filler"), stop.clone());
        Full { place, stop, thread: Some(thread::spawn(move || work(&folder, &told))) }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

/// There is no room while this lives.
pub struct Full {
    place: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Full {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.place);
        let _ = fs::remove_dir_all(&self.place);
    }
}
