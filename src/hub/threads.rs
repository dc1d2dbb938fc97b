//! Where actors run: one actix system with one arbiter, on threads of its own beside the web's runtime. (One is enough:
//! actors decide and wait; what takes time is done elsewhere.)

use std::{io, sync::mpsc, thread};

use actix::{Arbiter, ArbiterHandle, System};

/// The running system.
#[derive(Debug)]
pub struct ActorThreads {
    system: System,
    arbiter: ArbiterHandle,
    main: thread::JoinHandle<()>,
}

impl ActorThreads {
    /// Starts the system and its arbiter.
    pub fn start() -> io::Result<Self> {
        let (tell, told) = mpsc::channel();
        let main = thread::Builder::new().name("actors".to_owned()).spawn(move || {
            let system = System::new();
            system.block_on(async {
                _ = tell.send((System::current(), Arbiter::new().handle()));
            });
            _ = system.run();
        })?;
        let (system, arbiter) =
            told.recv().map_err(|_| io::Error::other("the actors' thread did not start"))?;
        Ok(Self { system, arbiter, main })
    }

    /// Where to start actors.
    pub fn arbiter(&self) -> ArbiterHandle {
        self.arbiter.clone()
    }

    /// Ends the arbiter and the system, and waits for them.
    pub fn stop(self) {
        _ = self.arbiter.stop();
        self.system.stop();
        _ = self.main.join();
    }
}
