//! One proxy after the other without a gap: the next one is started beside the one that serves, with the same listening
//! sockets and a link to the hub of its own. Once it serves (it has all routes), it takes the place, and the one before
//! retires: it lets nobody in, and stays for those it carries until they leave.
//!
//! ```text
//!   next ── ready ──▶ the proxy ── Retire ──▶ leaving ── its last connection ends, or its time ──▶ gone
//!     └── ends, or is late: killed, the proxy stays
//! ```

use std::{
    io,
    mem::replace,
    time::{Duration, Instant},
};

use tracing::{error, info, warn};

use super::{
    baggage::{Packer, RoleAway},
    events::Root,
    roles::{Kind, Role},
};
use crate::{
    ipc::root::{RootSays, RootToProxy},
    os::fd,
};

/// How long the next proxy may take to serve.
const PATIENCE: Duration = Duration::from_secs(6);
/// Why a next one was given up on that may have had bad luck.
pub(super) const ENDED: &str = "it ended";
/// Most that retire at once; with one more, the oldest must hurry.
const MOST_LEAVING: usize = 64;

/// Proxies beside the one that serves.
#[derive(Debug, Default)]
pub(super) struct Generations {
    next: Option<(Role, Instant)>,
    leaving: Vec<Role>,
    /// What became of the last replacement.
    pub(super) outcome: Option<Result<(), String>>,
}

impl Generations {
    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Role> {
        self.next.iter().map(|(role, _)| role).chain(&self.leaving)
    }

    /// All of them, to change.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Role> {
        self.next.iter_mut().map(|(role, _)| role).chain(&mut self.leaving)
    }

    /// Those that retire, for the next root of this process. (The next one's link ends with us, and so does it.)
    pub(super) fn away(&self, packer: &mut Packer, now: Instant) -> Vec<RoleAway> {
        self.leaving.iter().filter_map(|role| role.away(packer, now)).collect()
    }

    /// As an earlier root of this process left it.
    pub(super) fn bring_back(&mut self, away: RoleAway, now: Instant) -> io::Result<()> {
        let mut role = Role::new(Kind::Proxy, now);
        role.bring_back(away, now)?;
        self.leaving.push(role);
        Ok(())
    }

    /// When the next one is late.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next.as_ref().map(|(_, until)| *until)
    }

    /// Whoever came to replace the proxy has no more time.
    pub(super) fn give_up(&mut self, why: &str) {
        let Some((role, _)) = self.next.take() else { return };
        let pid = role.process.as_ref().map(|process| process.pid);
        error!(pid, why, "proxy not replaced");
        if let Some(process) = &role.process {
            process.kill();
            // It is still to be collected.
            self.leaving.push(role);
        }
        self.outcome = Some(Err(why.to_owned()));
    }
}

impl Root {
    /// Starts a proxy that is to take over from the one that serves. Nothing if one has been started already.
    pub(super) fn replace_proxy(&mut self, now: Instant) -> io::Result<()> {
        if self.generations.next.is_some() {
            return Ok(());
        }
        self.generations.outcome = None;
        let mut role = Role::new(Kind::Proxy, now);
        role.process = Some(self.launch(Kind::Proxy, now)?);
        introduce(&mut self.hub, &mut role)?;
        self.generations.next = Some((role, now + PATIENCE));
        Ok(())
    }

    /// The next proxy's turn, or its end; signs of life of all that are not the one that serves.
    pub(super) fn tend_generations(&mut self, now: Instant) {
        let patience = self.setup.config.root.watchdog.duration();
        for role in self.generations.iter_mut() {
            role.watch(now, patience, RootToProxy::Ping);
        }
        let ready = |(role, _): &mut (Role, Instant)| role.is_ready();
        if let Some((role, _)) = self.generations.next.take_if(ready) {
            let pid = role.process.as_ref().map(|process| process.pid);
            let mut before = replace(&mut self.proxy, role);
            let old = before.process.as_ref().map(|process| process.pid);
            info!(pid, before = old, "proxy replaced");
            before.say(None, RootToProxy::Retire, Vec::new());
            self.generations.leaving.extend(before.process.is_some().then_some(before));
            self.generations.outcome = Some(Ok(()));
        }
        let next = self.generations.next.as_ref();
        if next.is_some_and(|(role, _)| role.process.is_none()) {
            self.generations.give_up(ENDED);
        } else if next.is_some_and(|(_, until)| now >= *until) {
            self.generations.give_up("it did not serve in time");
        }
        self.generations.leaving.retain(|role| role.process.is_some());
        if self.generations.leaving.len() > MOST_LEAVING {
            let mut oldest = self.generations.leaving.remove(0);
            warn!(count = MOST_LEAVING, "too many proxies retire");
            oldest.say(None, RootToProxy::Stop { hard: false }, Vec::new());
            // Told once, it is the youngest of them.
            self.generations.leaving.push(oldest);
        }
    }

    /// All proxies there are.
    pub(super) fn proxies(&self) -> impl Iterator<Item = &Role> {
        std::iter::once(&self.proxy).chain(self.generations.iter())
    }

    /// All proxies there are, to speak to.
    pub(super) fn proxies_mut(&mut self) -> impl Iterator<Item = &mut Role> {
        std::iter::once(&mut self.proxy).chain(self.generations.iter_mut())
    }
}

/// Gives hub and proxy a fresh link to each other, where both are there.
pub(super) fn introduce(hub: &mut Role, proxy: &mut Role) -> io::Result<()> {
    if hub.process.is_some() && proxy.process.is_some() {
        let (one, other) = fd::pair()?;
        hub.say(None, RootSays::Proxy, vec![one]);
        proxy.say(None, RootToProxy::Peer, vec![other]);
    }
    Ok(())
}
