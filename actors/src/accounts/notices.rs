//! Announcement and maintenance: set, taken back, and what follows for servers. There is one of each at the most.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use thiserror::Error;

use super::Decided;
use crate::{
    domain::{
        Moment, Server, ServerKey, Username,
        notice::{Announcement, Drain, Drained, Level, Maintenance},
    },
    store::{Image, Write},
};

/// Longest text of either, in characters.
pub const LONGEST_TEXT: usize = 1_000;

/// What clients wait before they try to start a server again, where nobody said how long it takes.
const LATER: Duration = Duration::from_secs(300);
/// They wait no longer than this, and no shorter than the least.
const LATEST: Duration = Duration::from_secs(3_600);
const LEAST: Duration = Duration::from_secs(30);

/// Why there is no such announcement or maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoticeRefused {
    /// Nothing to read.
    #[error("the text is empty")]
    Empty,
    /// Longer than [`LONGEST_TEXT`].
    #[error("the text has more than {LONGEST_TEXT} characters")]
    Long,
    /// Nobody could read it.
    #[error("the text has control characters")]
    Control,
    /// It would be over before it begins.
    #[error("the end lies in the past")]
    Over,
}

/// What is to be announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAnnouncement {
    /// The text.
    pub text: String,
    /// How much it matters.
    pub level: Level,
    /// Until when.
    pub until: Option<Moment>,
    /// By whom.
    pub by: String,
}

/// Puts it in the place of the one there may be.
pub fn announce(
    image: &Image,
    new: NewAnnouncement,
    now: Moment,
) -> Decided<Arc<Announcement>, NoticeRefused> {
    let NewAnnouncement { text, level, until, by } = new;
    let text = tidy(&text)?;
    if text.is_empty() {
        return Err(NoticeRefused::Empty);
    }
    ends_later(until, now)?;
    let same =
        |old: &&Arc<Announcement>| (&old.text, old.level, old.until) == (&text, level, until);
    if let Some(known) = image.announcement().filter(same) {
        return Ok((Vec::new(), known.clone()));
    }
    let new = Arc::new(Announcement { text, level, until, by, since: now });
    Ok((vec![Write::Announcement(new.clone())], new))
}

/// Takes it back. That there is none does not matter.
pub fn withdraw(image: &Image) -> Decided<(), NoticeRefused> {
    Ok((image.announcement().map(|_| Write::AnnouncementGone).into_iter().collect(), ()))
}

/// Maintenance that is to begin, or to go on otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMaintenance {
    /// What people read.
    pub message: String,
    /// When it is expected to be over.
    pub until: Option<Moment>,
    /// Which servers are stopped.
    pub drain: Option<Drain>,
    /// By whom.
    pub by: String,
}

/// Begins it, or changes what there is: then it has begun when it did.
pub fn begin_maintenance(
    image: &Image,
    new: NewMaintenance,
    now: Moment,
) -> Decided<Arc<Maintenance>, NoticeRefused> {
    let NewMaintenance { message, until, drain, by } = new;
    let message = tidy(&message)?;
    ends_later(until, now)?;
    let since = image.maintenance().map_or(now, |known| known.since);
    let new = Arc::new(Maintenance { message, until, drain, by, since });
    if let Some(known) = image.maintenance().filter(|known| ***known == *new) {
        return Ok((Vec::new(), known.clone()));
    }
    Ok((vec![Write::Maintenance(new.clone())], new))
}

/// Ends it. That there is none does not matter.
pub fn end_maintenance(image: &Image) -> Decided<(), NoticeRefused> {
    Ok((image.maintenance().map(|_| Write::MaintenanceGone).into_iter().collect(), ()))
}

/// When somebody who may not start a server now should try again.
pub fn retry_after(maintenance: &Maintenance, now: Moment) -> Duration {
    let left = maintenance.until.map(|until| until.since(now)).filter(|left| !left.is_zero());
    left.unwrap_or(LATER).clamp(LEAST, LATEST)
}

/// The servers that are to be stopped at this moment. `last`: when one was last used, as far as anybody knows.
pub fn to_drain(
    image: &Image,
    now: Moment,
    last: &dyn Fn(&Server) -> Option<Moment>,
) -> Vec<ServerKey> {
    let drain = image.maintenance().and_then(|it| it.drain).filter(|drain| drain.from <= now);
    let Some(drain) = drain else { return Vec::new() };
    let due = |server: &&Arc<Server>| match drain.whom {
        Drained::All => true,
        // One on its way is waited for; whoever has started one and not used it yet has used it then.
        Drained::Idle(seconds) => {
            let idle = |at| now.since(at) >= Duration::from_secs(seconds.into());
            server.state.is_ready() && last(server).max(server.started).is_none_or(idle)
        }
    };
    let running = image
        .servers()
        .filter(|server| server.state.is_active() && server.state.pending() != Some("stop"));
    running.filter(due).map(|server| server.key.clone()).collect()
}

/// Servers that run although their users are blocked.
pub fn of_blocked(image: &Image, blocked: &BTreeSet<Username>) -> Vec<ServerKey> {
    let users = blocked.iter().filter_map(|name| image.user_named(name.as_str()));
    let running = users
        .flat_map(|user| image.servers_of(user.id))
        .filter(|server| server.state.is_active() && server.state.pending() != Some("stop"));
    running.map(|server| server.key.clone()).collect()
}

/// Without blanks at the ends; it has lines, and nothing else that cannot be seen.
fn tidy(text: &str) -> Result<String, NoticeRefused> {
    let text = text.replace("\r\n", "\n");
    let text = text.trim();
    if text.chars().count() > LONGEST_TEXT {
        return Err(NoticeRefused::Long);
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(NoticeRefused::Control);
    }
    Ok(text.to_owned())
}

fn ends_later(until: Option<Moment>, now: Moment) -> Result<(), NoticeRefused> {
    if until.is_some_and(|until| until <= now) { Err(NoticeRefused::Over) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cause, OrderId, ServerName, ServerState, UserId, server::Handle};

    const NOW: Moment = Moment(1_000_000_000);

    fn later(seconds: u64) -> Moment {
        NOW.plus(Duration::from_secs(seconds))
    }

    fn wish(text: &str) -> NewAnnouncement {
        let by = "root".to_owned();
        NewAnnouncement { text: text.to_owned(), level: Level::Info, until: None, by }
    }

    fn apply<T>(image: &mut Image, decided: Decided<T, NoticeRefused>) -> (usize, T) {
        let (writes, answer) = decided.unwrap();
        writes.iter().for_each(|write| image.apply(write));
        (writes.len(), answer)
    }

    #[test]
    fn an_announcement_is_tidied_replaced_and_taken_back() {
        let mut image = Image::default();
        let decided = announce(&image, wish(" Hello\r\nthere \n"), NOW);
        let (_, first) = apply(&mut image, decided);
        assert_eq!((&*first.text, first.since), ("Hello\nthere", NOW));
        let again = announce(&image, wish("Hello\nthere"), later(9));
        assert_eq!(apply(&mut image, again).0, 0, "the same is not written again");
        let other = NewAnnouncement { until: Some(later(60)), ..wish("Bye") };
        let other = announce(&image, other, later(9));
        let (_, second) = apply(&mut image, other);
        assert!(second.is_shown(later(59)) && !second.is_shown(later(60)));
        assert_eq!(image.announcement(), Some(&second));
        let withdrawn = withdraw(&image);
        assert_eq!(apply(&mut image, withdrawn).0, 1);
        assert_eq!((image.announcement(), withdraw(&image).unwrap().0.len()), (None, 0));
    }

    #[test]
    fn what_nobody_can_read_is_refused() {
        let image = Image::default();
        let refused = |new| announce(&image, new, NOW).unwrap_err();
        assert_eq!(refused(wish(" \n ")), NoticeRefused::Empty);
        assert_eq!(refused(wish("a\u{1b}[31m")), NoticeRefused::Control);
        assert_eq!(refused(wish(&"ü".repeat(LONGEST_TEXT + 1))), NoticeRefused::Long);
        assert!(announce(&image, wish(&"ü".repeat(LONGEST_TEXT)), NOW).is_ok());
        let over = NewAnnouncement { until: Some(NOW), ..wish("a") };
        assert_eq!(refused(over), NoticeRefused::Over);
    }

    fn maintenance(drain: Option<Drain>) -> NewMaintenance {
        NewMaintenance { message: String::new(), until: None, drain, by: "root".to_owned() }
    }

    #[test]
    fn maintenance_that_is_changed_has_begun_when_it_did() {
        let mut image = Image::default();
        let begun = begin_maintenance(&image, maintenance(None), NOW);
        assert_eq!(apply(&mut image, begun).0, 1);
        let new = NewMaintenance { until: Some(later(600)), ..maintenance(None) };
        let changed = begin_maintenance(&image, new, later(60));
        let (_, changed) = apply(&mut image, changed);
        assert_eq!((changed.since, changed.until), (NOW, Some(later(600))));
        for (now, seconds) in [(0, 600), (590, 30), (700, 300)] {
            assert_eq!(retry_after(&changed, later(now)).as_secs(), seconds, "after {now} s");
        }
        let ended = end_maintenance(&image);
        assert_eq!(apply(&mut image, ended).0, 1);
        assert_eq!(image.maintenance(), None);
    }

    #[test]
    fn servers_are_drained_when_it_is_time_and_the_idle_ones_alone_if_so_wished() {
        let mut image = Image::default();
        let order = || OrderId::from_bytes([1; 16]);
        let (handle, url) = (Handle("1".into()), "http://127.0.0.1:1".to_owned());
        let running = ServerState::Running { order: order(), handle, url };
        let stopping = ServerState::Stopping {
            order: order(),
            handle: None,
            cause: Cause::Stopped,
            remove: false,
        };
        let states = [
            (1, running.clone(), Some(later(0))),
            (2, running.clone(), Some(later(90))),
            (3, stopping, None),
            (4, ServerState::Stopped(None), None),
            (5, ServerState::Starting { order: order() }, None),
            // Started before anything was noted of its use.
            (6, running, None),
        ];
        for (id, state, last_activity) in states {
            let key = ServerKey { user: UserId(id), name: ServerName::default_server() };
            let started = (id == 6).then(|| later(80));
            let server = Server { state, last_activity, started, ..Server::new(key) };
            image.apply(&Write::Server(Arc::new(server)));
        }
        let mut due = |whom, now| {
            let new = maintenance(Some(Drain { whom, from: later(60) }));
            let begun = begin_maintenance(&image, new, NOW);
            apply(&mut image, begun);
            let due = to_drain(&image, later(now), &|server| server.last_activity);
            due.into_iter().map(|key| key.user.0).collect::<Vec<_>>()
        };
        assert_eq!(due(Drained::All, 59), [] as [u64; 0]);
        assert_eq!(due(Drained::All, 60), [1, 2, 5, 6]);
        assert_eq!(due(Drained::Idle(100), 100), [1]);
        assert_eq!(due(Drained::Idle(100), 200), [1, 2, 6]);
    }
}
