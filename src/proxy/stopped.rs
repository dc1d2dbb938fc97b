//! Requests of programs for a user server that does not run: answered here, without troubling the hub. A page left open
//! in a browser asks its dead server again and again, some times a second.
//!
//! Browsers that look at an address go to the hub, which has a page for them; calls of the server's own API and
//! WebSockets are told `424`, which notebooks understand (`spec/oauth-and-cookies.md` 8). Whether there is such a user,
//! and who asks, is not looked at: the answer is the same for all.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::StatusCode;
use jovis_actors::domain::quote;
use tracing::info;

/// One line in the log a user in so long.
const QUIET: Duration = Duration::from_secs(60);
/// So many users are kept in mind for that.
const MOST: usize = 4_096;

/// Whose server a program asks for, by the decoded path; nothing: it is for the hub to answer.
pub(super) fn owner<'a>(path: &'a str, base: &str, websocket: bool) -> Option<&'a str> {
    let mut parts = path.strip_prefix(base)?.strip_prefix("user/")?.split('/');
    let name = parts.next().filter(|name| !name.is_empty())?;
    (websocket || parts.any(|part| part == "api")).then_some(name)
}

/// What they are told.
pub(super) fn message(path: &str, base: &str, name: &str) -> String {
    // As it was asked for, without what could be taken for markup or another line.
    let path: String = path.chars().filter(|c| !c.is_control()).take(500).collect();
    format!(
        "No server is running at {path} any more. It can be started again at {base}hub/spawn/{}",
        quote::segment(name)
    )
}

/// The status they get.
pub(super) fn status(legacy: bool) -> StatusCode {
    if legacy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::FAILED_DEPENDENCY }
}

/// Who was told, so that the log need not say each time.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashMap<String, (Instant, u64)>>);

impl Told {
    /// Notes one answer; at most one a minute and user gets into the log, with the number of those since the last.
    pub(super) fn note(&self, user: &str) {
        if let Some(count) = self.due(user, Instant::now()) {
            info!(user, count, "server not running");
        }
    }

    /// How many there were, if it is time to say so.
    fn due(&self, user: &str, now: Instant) -> Option<u64> {
        // Names are at most 255 bytes; what is longer is none.
        let user: String = user.chars().take(255).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, count)) = all.get_mut(&user) {
            *count += 1;
            if now.saturating_duration_since(*since) < QUIET {
                return None;
            }
            let told = *count;
            (*since, *count) = (now, 0);
            return Some(told);
        }
        if all.len() >= MOST {
            all.retain(|_, (since, _)| now.saturating_duration_since(*since) < QUIET);
        }
        // Still full: names somebody makes up. They are answered, and not worth a line each.
        if all.len() >= MOST {
            return None;
        }
        all.insert(user, (now, 0));
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_apart_from_people() {
        for (path, base, websocket, wanted) in [
            ("/user/bob/api/contents", "/", false, Some("bob")),
            ("/user/bob/lab/api/x", "/", false, Some("bob")),
            ("/user/bob/", "/", true, Some("bob")),
            ("/user/bob/lab", "/", false, None),
            ("/user/bob/apis", "/", false, None),
            ("/user/api", "/", false, None),
            ("/user/api/lab", "/", false, None),
            ("/user//api", "/", false, None),
            ("/hub/api/users", "/", true, None),
            ("/lab/user/bob/api", "/lab/", false, Some("bob")),
            ("/user/bob/api", "/lab/", false, None),
            ("/users/bob/api", "/", false, None),
        ] {
            assert_eq!(owner(path, base, websocket), wanted, "{path} {base} {websocket}");
        }
        let told = message("/user/b c/api\n", "/lab/", "b c");
        assert!(
            told.contains("/user/b c/api ") && told.ends_with("/lab/hub/spawn/b%20c"),
            "{told}"
        );
        assert_eq!((status(false).as_u16(), status(true).as_u16()), (424, 503));
    }

    #[test]
    fn the_log_hears_of_a_user_once_a_minute() {
        let told = Told::default();
        let start = Instant::now();
        assert_eq!(told.due("bob", start), Some(1));
        for second in 1..60 {
            assert_eq!(told.due("bob", start + Duration::from_secs(second)), None);
        }
        assert_eq!(told.due("eve", start), Some(1));
        assert_eq!(told.due("bob", start + QUIET), Some(60));
        for n in 0..2 * MOST {
            told.due(&format!("made up {n}"), start);
        }
        assert!(told.0.lock().unwrap().len() <= MOST);
        assert_eq!(told.due("another", start + 3 * QUIET), Some(1), "the old ones made room");
    }
}
