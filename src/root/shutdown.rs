//! The order of going: births stop, the proxy drains, the hub ends, servers stay or go, helpers end, root ends. A
//! second signal takes the hard way through the same stages.

use std::time::{Duration, Instant};

use nix::{
    sys::signal::{Signal, kill as send},
    unistd::{Pid, getpid},
};
use tracing::{info, warn};

use super::{events::Root, notify};
use crate::{
    config::sections::ShutdownServers,
    ipc::root::{RootSays, RootToProxy},
    os::process,
};

/// What a role gets on top of what it was promised.
const GRACE: Duration = Duration::from_secs(5);
/// For the hub to end its own affairs.
const HUB: Duration = Duration::from_secs(15);

/// For anything, after a second signal.
const HARD: Duration = Duration::from_secs(1);

/// How far we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not going.
    Serving,
    /// The proxy drains.
    Proxy { until: Instant, servers: bool },
    /// The hub ends.
    Hub { until: Instant, servers: bool },
    /// Servers have been asked to end.
    Servers { until: Instant },
    /// They have been killed.
    Killed { until: Instant },
}

impl Stage {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Proxy { .. } => "ending: the proxy drains",
            Self::Hub { .. } => "ending: the hub leaves",
            Self::Servers { .. } | Self::Killed { .. } => "ending: servers leave",
        }
    }
}

impl Root {
    /// SIGTERM or SIGINT: begins to go, or goes the hard way.
    pub(super) fn stop(&mut self, signal: i32, now: Instant) {
        let servers = match self.setup.config.shutdown.servers {
            Some(ShutdownServers::Stop) => true,
            Some(ShutdownServers::Keep) => false,
            None => signal == libc::SIGINT,
        };
        self.leave(servers, now);
    }

    /// Begins to go, with all user servers or without; goes the hard way if it is going already.
    pub(super) fn leave(&mut self, servers: bool, now: Instant) {
        let config = &self.setup.config;
        match &mut self.stage {
            Stage::Serving => {
                info!(servers, "jovis is ending");
                notify("STOPPING=1");
                let until = now + config.proxy.drain.duration() + GRACE;
                self.stage = Stage::Proxy { until, servers };
                self.generations.give_up("jovis is ending");
                for proxy in self.proxies_mut() {
                    proxy.say(None, RootToProxy::Stop { hard: false }, Vec::new());
                }
            }
            Stage::Proxy { until, servers } | Stage::Hub { until, servers } => {
                let servers = *servers;
                *until = now + HARD;
                self.hurry = true;
                warn!("ending at once");
                for proxy in self.proxies_mut() {
                    proxy.say(None, RootToProxy::Stop { hard: true }, Vec::new());
                }
                self.hub.say(None, RootSays::Stop { hard: true, servers }, Vec::new());
            }
            Stage::Servers { until } | Stage::Killed { until } => *until = now,
        }
    }

    /// Goes one stage further when its time has come. True: over.
    pub(super) fn shut_down(&mut self, now: Instant) -> bool {
        let before = self.stage;
        match before {
            Stage::Serving => return false,
            Stage::Proxy { until, servers } => {
                let living = self.proxies().filter_map(|role| role.process.as_ref());
                let living: Vec<_> = living.collect();
                if now >= until {
                    living.iter().for_each(|process| process.kill());
                }
                if living.is_empty() {
                    let spawner = &self.setup.config.spawner;
                    let each =
                        [spawner.interrupt_timeout, spawner.term_timeout, spawner.kill_timeout];
                    let stopping: Duration = each.iter().map(|limit| limit.duration()).sum();
                    let soft = HUB + if servers { stopping } else { Duration::ZERO };
                    let hard = self.hurry;
                    self.stage =
                        Stage::Hub { until: now + if hard { HARD } else { soft }, servers };
                    self.hub.say(None, RootSays::Stop { hard, servers }, Vec::new());
                }
            }
            Stage::Hub { until, servers } => match &self.hub.process {
                Some(process) if now >= until => process.kill(),
                Some(_) => {}
                None if servers => {
                    let servers = self.children.entries.values();
                    servers.for_each(|server| drop(server.signal(libc::SIGTERM)));
                    let soft = self.setup.config.spawner.term_timeout.duration().min(2 * GRACE);
                    let patience = if self.hurry { HARD } else { soft };
                    self.stage = Stage::Servers { until: now + patience };
                }
                None => return self.over(false),
            },
            Stage::Servers { .. } | Stage::Killed { .. } if self.children.living() == 0 => {
                return self.over(true);
            }
            Stage::Servers { until } if now >= until => {
                let living = self.children.entries.values().filter(|entry| entry.exit.is_none());
                // Looked at once, not for each: many servers would block us.
                let all = process::all();
                living.for_each(|entry| drop(entry.kill_family(&all)));
                self.stage = Stage::Killed { until: now + GRACE };
            }
            Stage::Killed { until } if now >= until => {
                warn!(living = self.children.living(), "servers do not end");
                return self.over(true);
            }
            Stage::Servers { .. } | Stage::Killed { .. } => {}
        }
        self.stage != before && self.shut_down(now)
    }

    /// The last acts: helpers, and what servers have left behind.
    fn over(&mut self, servers: bool) -> bool {
        self.checks.abandon();
        self.newcomers.abandon();
        let me = getpid().as_raw();
        for _ in 0..50 {
            self.reap();
            let orphans =
                process::all().into_iter().filter(|(_, stat)| stat.parent == me && servers);
            let orphans: Vec<_> = orphans.map(|(pid, _)| pid).collect();
            if orphans.is_empty() {
                break;
            }
            // Ours and not reaped: the numbers are still their own.
            for pid in orphans {
                let _ = send(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::requests::tests::Scene;

    #[test]
    fn servers_stay_unless_the_terminal_or_the_configuration_ends_them() {
        use ShutdownServers::{Keep, Stop};
        for (setting, signal, want) in [
            (None, libc::SIGTERM, false),
            (None, libc::SIGINT, true),
            (Some(Keep), libc::SIGINT, false),
            (Some(Stop), libc::SIGTERM, true),
        ] {
            let mut scene = Scene::greeted();
            scene.root.setup.config.shutdown.servers = setting;
            scene.root.stop(signal, Instant::now());
            let Stage::Proxy { servers, .. } = scene.root.stage else { panic!("{setting:?}") };
            assert_eq!(servers, want, "{setting:?} {signal}");
        }
    }

    #[test]
    fn the_hub_goes_after_the_proxy_and_at_once_after_a_second_signal() {
        let mut scene = Scene::greeted();
        let now = Instant::now();
        assert!(!scene.root.shut_down(now));
        scene.root.stop(libc::SIGTERM, now);
        assert!(!scene.root.shut_down(now));
        let Stage::Hub { until, servers: false } = scene.root.stage else { panic!() };
        assert_eq!(until, now + HUB);
        assert_eq!(scene.hear().0.message, RootSays::Stop { hard: false, servers: false });
        scene.root.stop(libc::SIGTERM, now);
        assert_eq!(scene.root.stage, Stage::Hub { until: now + HARD, servers: false });
        assert_eq!(scene.hear().0.message, RootSays::Stop { hard: true, servers: false });
    }
}
