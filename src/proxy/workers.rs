//! Workers: a thread and a runtime each, with its share of the listening sockets. Sockets and workers may become more or
//! fewer while visitors are there: a socket moves to another worker with its queue, one that is given up lets in who
//! waits in it, and a worker without sockets stays until its last visitor has left.

use std::{
    io,
    net::TcpListener as StdListener,
    pin::pin,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::stat::fstat;
use tokio::{
    net::TcpListener,
    runtime,
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use super::{
    drain::{Crowd, Phase, reached},
    listen::{Leave, Room, accept, empty},
    pool,
    shared::Shared,
};

/// How often pools are swept.
const SWEEP: Duration = Duration::from_secs(2);

/// All workers, and who listens where.
pub(super) struct Workers {
    shared: Arc<Shared>,
    room: Room,
    workers: Vec<Worker>,
    doors: Vec<Door>,
    born: usize,
}

struct Worker {
    thread: JoinHandle<()>,
    jobs: mpsc::UnboundedSender<Job>,
}

/// A listener to serve, until told otherwise.
struct Job {
    listener: StdListener,
    leave: oneshot::Receiver<Leave>,
}

/// A listener that is served.
struct Door {
    /// Its number in the kernel, which all its copies have.
    inode: u64,
    worker: usize,
    leave: oneshot::Sender<Leave>,
}

impl Workers {
    /// None so far. All together will serve at most `room` connections at once.
    pub(super) fn new(shared: &Arc<Shared>, room: usize) -> Self {
        let (workers, doors) = (Vec::new(), Vec::new());
        Self { shared: shared.clone(), room: Room::new(room), workers, doors, born: 0 }
    }

    /// These listeners and no others from now on, served by so many workers (fewer, where there are fewer listeners).
    pub(super) fn arrange(&mut self, listeners: Vec<StdListener>, count: usize) -> io::Result<()> {
        let count = count.clamp(1, listeners.len().max(1));
        while self.workers.len() < count {
            let worker = self.begin()?;
            self.workers.push(worker);
        }
        let mut doors = Vec::new();
        for (k, listener) in listeners.into_iter().enumerate() {
            let (inode, worker) = (fstat(&listener)?.st_ino, k % count);
            let held = self.doors.iter().position(|door| door.inode == inode);
            let held = held.map(|at| self.doors.swap_remove(at));
            match held {
                Some(door) if door.worker == worker => doors.push(door),
                held => {
                    listener.set_nonblocking(true)?;
                    let (leave, told) = oneshot::channel();
                    // Its channel ends with its thread, which our owner looks after.
                    let _ = self.workers[worker].jobs.send(Job { listener, leave: told });
                    doors.push(Door { inode, worker, leave });
                    if let Some(door) = held {
                        let _ = door.leave.send(Leave::ToAnother);
                    }
                }
            }
        }
        for door in std::mem::replace(&mut self.doors, doors) {
            let _ = door.leave.send(Leave::Empty);
        }
        // Without jobs to come each ends after its last visitor.
        self.workers.truncate(count);
        info!(workers = count, listeners = self.doors.len(), "proxy listens");
        Ok(())
    }

    /// How many serve listeners.
    pub(super) fn count(&self) -> usize {
        self.workers.len()
    }

    /// Has one ended that should not have?
    pub(super) fn any_ended(&self) -> bool {
        self.workers.iter().any(|worker| worker.thread.is_finished())
    }

    /// Waits for their ends, which the phase `Gone` brings about.
    pub(super) fn join(self) {
        for worker in self.workers {
            // Each returns at once; a panic in one has been printed by then.
            let _ = worker.thread.join();
        }
    }

    fn begin(&mut self) -> io::Result<Worker> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (shared, room) = (self.shared.clone(), self.room.clone());
        let (jobs, orders) = mpsc::unbounded_channel();
        let run = move || runtime.block_on(work(shared, orders, room));
        let name = format!("worker-{}", self.born);
        self.born += 1;
        Ok(Worker { thread: thread::Builder::new().name(name).spawn(run)?, jobs })
    }
}

/// A worker's life, until the proxy is gone, or nothing is left to do for it.
async fn work(shared: Arc<Shared>, mut jobs: mpsc::UnboundedReceiver<Job>, room: Room) {
    let mut phase = shared.phase.subscribe();
    reached(&mut phase, Phase::Open).await;
    let crowd = Crowd::default();
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gone = pin!(reached(&mut phase, Phase::Gone));
    let mut more = true;
    loop {
        tokio::select! {
            () = &mut gone => return,
            _ = sweep.tick() => {
                pool::sweep();
                if !more && crowd.count() == 0 {
                    return;
                }
            }
            job = jobs.recv(), if more => match job {
                Some(job) => drop(tokio::spawn(serve(shared.clone(), job, room.clone(), crowd.clone()))),
                None => more = false,
            },
        }
    }
}

async fn serve(shared: Arc<Shared>, job: Job, room: Room, crowd: Crowd) {
    let _present = crowd.enter();
    let listener = match TcpListener::from_std(job.listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "listener unusable"),
    };
    if accept(&shared, &listener, &room, &crowd, job.leave).await == Leave::Empty {
        match listener.into_std() {
            Ok(listener) => empty(&shared, &listener, &room, &crowd).await,
            Err(error) => warn!(%error, "listener not emptied"),
        }
    }
}
