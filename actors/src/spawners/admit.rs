//! May one more server be started? Pure. (`spec/auth-and-spawn.md` 10.1.)

use std::time::Duration;

use super::{
    messages::{Ask, StartRefused},
    queue::Full,
};
use crate::{
    accounts,
    domain::{Moment, ServerKey, ServerState},
    store::Image,
};

/// How many servers there may be; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Being started at once.
    pub starting: u32,
    /// Being started, running or being stopped at once.
    pub active: u32,
    /// Waiting for room. (Of these 0 means none: nobody waits, all are refused.)
    pub waiting: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { starting: 100, active: 0, waiting: 1000 }
    }
}

/// How many servers there are, all users together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Being started.
    pub starting: u32,
    /// Being started, running or being stopped.
    pub active: u32,
}

impl Load {
    /// What the records say, and what has been admitted since and isn't recorded yet.
    pub fn count<'a>(image: &Image, admitted: impl Iterator<Item = &'a ServerKey>) -> Self {
        let mut load = Self::default();
        for server in image.servers() {
            // Who only waits takes no place.
            let counts = !server.state.is_queued();
            load.starting += u32::from(counts && server.state.pending() == Some("spawn"));
            load.active += u32::from(counts && server.state.is_active());
        }
        let counted = |state: &ServerState| state.is_active() && !state.is_queued();
        let idle = |key: &&ServerKey| !image.server(key).is_some_and(|it| counted(&it.state));
        let more = u32::try_from(admitted.filter(idle).count()).unwrap_or(u32::MAX);
        Self {
            starting: load.starting.saturating_add(more),
            active: load.active.saturating_add(more),
        }
    }
}

/// What becomes of a start that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// It begins.
    Now,
    /// There is no room: it waits for that.
    Waits,
}

/// The same of a start that may wait for room, and while others do: who comes later stands behind them. `waiting`: is
/// there anybody; `room`: may one more of this user wait (not asked of those who do not wait).
pub fn admit_or_queue(
    limits: Limits,
    load: Load,
    waiting: bool,
    room: Option<Result<(), Full>>,
    draw: u64,
) -> Result<Admitted, StartRefused> {
    let full = match admit(limits, load, draw) {
        Ok(()) if !waiting => return Ok(Admitted::Now),
        // They will be started in a moment, and then there is no room.
        Ok(()) if limits.starting == 0 => StartRefused::TooManyActive { limit: limits.active },
        Ok(()) => {
            StartRefused::TooManyStarting { limit: limits.starting, retry_after: later(draw) }
        }
        Err(refused) => refused,
    };
    let retry_after = later(draw);
    match room {
        Some(Ok(())) => Ok(Admitted::Waits),
        Some(Err(Full::All(limit))) if limit > 0 => {
            Err(StartRefused::QueueFull { limit, retry_after })
        }
        Some(Err(Full::OfOne(waiting))) => Err(StartRefused::QueuedEnough { waiting, retry_after }),
        Some(Err(Full::All(_))) | None => Err(full),
    }
}

/// The refused come back at different moments.
fn later(draw: u64) -> Duration {
    Duration::from_secs(30 + draw % 31)
}

/// Admits one more, or says why not. `draw` is random: the refused come back at different moments.
pub fn admit(limits: Limits, load: Load, draw: u64) -> Result<(), StartRefused> {
    if limits.starting != 0 && load.starting >= limits.starting {
        let retry_after = later(draw);
        return Err(StartRefused::TooManyStarting { limit: limits.starting, retry_after });
    }
    if limits.active != 0 && load.active >= limits.active {
        return Err(StartRefused::TooManyActive { limit: limits.active });
    }
    Ok(())
}

/// Lets one pass while there is no maintenance, and those who may end it always.
pub fn admit_in(image: &Image, ask: &Ask, now: Moment) -> Result<(), StartRefused> {
    let maintenance = image.maintenance().filter(|_| !ask.in_maintenance);
    maintenance.map_or(Ok(()), |it| {
        let retry_after = accounts::retry_after(it, now);
        Err(StartRefused::Maintenance { message: it.message.clone(), retry_after })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        domain::{OrderId, Server, ServerName, ServerState, UserId},
        store::Write,
    };

    #[test]
    fn limits_are_kept_and_zero_is_none() {
        let load = Load { starting: 2, active: 5 };
        let says = |starting, active| match admit(Limits { starting, active, waiting: 0 }, load, 61)
        {
            Ok(()) => "yes",
            Err(StartRefused::TooManyStarting { limit: 2, retry_after }) => {
                assert!((30..=60).contains(&retry_after.as_secs()));
                "starting"
            }
            Err(StartRefused::TooManyActive { limit: 5 }) => "active",
            Err(other) => panic!("{other}"),
        };
        assert_eq!(says(0, 0), "yes");
        assert_eq!(says(3, 6), "yes");
        assert_eq!(says(2, 6), "starting");
        assert_eq!(says(3, 5), "active");
    }

    #[test]
    fn during_maintenance_only_those_pass_who_may_end_it() {
        let (now, mut image) = (Moment(1), Image::default());
        let (plain, other) = (Ask::default(), Ask { in_maintenance: true, ..Ask::default() });
        assert!(admit_in(&image, &plain, now).is_ok());
        let new = accounts::NewMaintenance {
            message: "New disks".to_owned(),
            until: None,
            drain: None,
            by: "root".to_owned(),
        };
        let (writes, _) = accounts::begin_maintenance(&image, new, now).unwrap();
        writes.iter().for_each(|write| image.apply(write));
        let refused = admit_in(&image, &plain, now).unwrap_err().to_string();
        assert_eq!(refused, "no server is started during maintenance: New disks");
        assert!(admit_in(&image, &other, now).is_ok());
    }

    #[test]
    fn who_may_wait_does_and_nobody_overtakes_those_who_do() {
        let limits = Limits { starting: 1, active: 0, waiting: 9 };
        let (idle, busy) = (Load::default(), Load { starting: 1, active: 1 });
        let says = |load, waiting, room| match admit_or_queue(limits, load, waiting, room, 0) {
            Ok(Admitted::Now) => "now",
            Ok(Admitted::Waits) => "waits",
            Err(StartRefused::TooManyStarting { .. }) => "429",
            Err(StartRefused::QueueFull { limit: 9, .. }) => "full",
            Err(StartRefused::QueuedEnough { waiting: 3, .. }) => "enough",
            Err(other) => panic!("{other}"),
        };
        assert_eq!(says(idle, false, None), "now");
        assert_eq!(says(idle, false, Some(Ok(()))), "now");
        assert_eq!(says(busy, false, None), "429");
        assert_eq!(says(busy, false, Some(Ok(()))), "waits");
        assert_eq!(says(idle, true, None), "429", "others were there first");
        assert_eq!(says(idle, true, Some(Ok(()))), "waits");
        assert_eq!(says(busy, true, Some(Err(Full::All(9)))), "full");
        assert_eq!(says(busy, true, Some(Err(Full::OfOne(3)))), "enough");
        assert_eq!(says(busy, false, Some(Err(Full::All(0)))), "429", "there is no queue");
    }

    #[test]
    fn who_waits_takes_no_place() {
        let key = ServerKey { user: UserId(1), name: ServerName::default_server() };
        let mut server = Server::new(key.clone());
        server.state = ServerState::Queued { since: crate::domain::Moment(1) };
        let mut image = Image::default();
        image.apply(&Write::Server(Arc::new(server)));
        assert_eq!(Load::count(&image, std::iter::empty()), Load::default());
        assert_eq!(Load::count(&image, [key].iter()), Load { starting: 1, active: 1 });
    }

    #[test]
    fn what_was_admitted_counts_once() {
        let key = |user| ServerKey { user: UserId(user), name: ServerName::default_server() };
        let mut image = Image::default();
        let mut server = Server::new(key(1));
        server.state = ServerState::Starting { order: OrderId::from_bytes([0; 16]) };
        image.apply(&Write::Server(Arc::new(server)));
        let admitted = [key(1), key(2)];
        let load = Load::count(&image, admitted.iter());
        assert_eq!(load, Load { starting: 2, active: 2 });
    }
}
