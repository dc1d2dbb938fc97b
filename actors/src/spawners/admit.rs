//! May one more server be started? Pure. (`spec/auth-and-spawn.md` 10.1.)

use std::time::Duration;

use super::messages::{Ask, StartRefused};
use crate::{
    accounts,
    domain::{Moment, ServerKey},
    store::Image,
};

/// How many servers there may be; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Being started at once.
    pub starting: u32,
    /// Being started, running or being stopped at once.
    pub active: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { starting: 100, active: 0 }
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
            load.starting += u32::from(server.state.pending() == Some("spawn"));
            load.active += u32::from(server.state.is_active());
        }
        let idle = |key: &&ServerKey| !image.server(key).is_some_and(|it| it.state.is_active());
        let more = u32::try_from(admitted.filter(idle).count()).unwrap_or(u32::MAX);
        Self {
            starting: load.starting.saturating_add(more),
            active: load.active.saturating_add(more),
        }
    }
}

/// Admits one more, or says why not. `draw` is random: the refused come back at different moments.
pub fn admit(limits: Limits, load: Load, draw: u64) -> Result<(), StartRefused> {
    if limits.starting != 0 && load.starting >= limits.starting {
        let retry_after = Duration::from_secs(30 + draw % 31);
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
        let says = |starting, active| match admit(Limits { starting, active }, load, 61) {
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
