//! Points where a test makes the hub fail on purpose (feature `faults`; without it every function here is empty).
//!
//! Code passes a named point: [`point`]`("routes", "Set")` is `routes:Set`. What a test has armed there happens: a
//! panic, the end of the process, or a thread that stands still. Every message of every actor passes one, since
//! `handles!` is the only way to take one ([`super::message`]); so does every effect of a server's machine, before and
//! after, and every append of the store. [`passed`] tells which points there are, so that a test can visit them all.
//!
//! | point | where |
//! |---|---|
//! | `ACTOR:MESSAGE` | first thing in the handler (`routes:Set`); [`crate::tree::messages`] lists them all |
//! | `ACTOR:started` | first thing in an actor's life |
//! | `spawner:event:EVENT` | before a server's machine steps |
//! | `effect:before:EFFECT`, `effect:after:EFFECT` | around what the machine wants done |
//! | `store:before:append`, `store:after:append` | in the writer, around a group |
//!
//! What is armed counts for the whole process, but for threads that have a list of their own ([`Faults::isolated`]):
//! tests that run side by side in one process do not meet.

use std::time::Duration;

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A panic there.
    Panic,
    /// The process ends at once, as by SIGKILL (what [`set_kill`] was given does it).
    Kill,
    /// The thread stands still so long, and with it all that lives on it.
    Stall(Duration),
}

#[cfg(feature = "faults")]
mod armed {
    use std::{
        cell::RefCell,
        collections::BTreeMap,
        sync::{Arc, Mutex, OnceLock, PoisonError},
    };

    use super::Act;

    #[derive(Debug, Default)]
    struct List {
        armed: Vec<Armed>,
        passed: BTreeMap<String, u64>,
    }

    #[derive(Debug)]
    struct Armed {
        point: String,
        act: Act,
        /// Passings still to come, this one included; zero: every one.
        left: u32,
    }

    /// What is armed, and what was passed. Clones share it.
    #[derive(Debug, Clone, Default)]
    pub struct Faults(Arc<Mutex<List>>);

    static EVERYBODY: OnceLock<Faults> = OnceLock::new();
    static KILL: OnceLock<fn()> = OnceLock::new();

    thread_local! {
        static OWN: RefCell<Option<Faults>> = const { RefCell::new(None) };
    }

    impl Faults {
        /// What counts for this thread.
        pub fn here() -> Self {
            let own = OWN.with(|own| own.borrow().clone());
            own.unwrap_or_else(|| EVERYBODY.get_or_init(Self::default).clone())
        }

        /// A list for this thread alone, and for those it hands it on to.
        pub fn isolated() -> Self {
            let own = Self::default();
            own.enter();
            own
        }

        /// Counts for this thread from now on.
        pub fn enter(&self) {
            OWN.with(|own| own.replace(Some(self.clone())));
        }

        fn with<T>(&self, act: impl FnOnce(&mut List) -> T) -> T {
            act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }

    /// At its `nth` passing from now on (1 is the next) this happens at this point, once; 0: at each.
    pub fn arm(point: &str, act: Act, nth: u32) {
        let armed = Armed { point: point.to_owned(), act, left: nth };
        Faults::here().with(|list| list.armed.push(armed));
    }

    /// Nothing happens any more.
    pub fn disarm_all() {
        Faults::here().with(|list| list.armed.clear());
    }

    /// Is anything still to happen?
    pub fn is_armed() -> bool {
        Faults::here().with(|list| !list.armed.is_empty())
    }

    /// Every point that was passed so far, and how often.
    pub fn passed() -> Vec<(String, u64)> {
        Faults::here()
            .with(|list| list.passed.iter().map(|(point, times)| (point.clone(), *times)).collect())
    }

    /// What [`Act::Kill`] does. The first one given stays.
    pub fn set_kill(kill: fn()) {
        let _ = KILL.set(kill);
    }

    /// Execution has come to this point.
    pub fn point(what: &str, name: &str) {
        let point = format!("{what}:{name}");
        let act = Faults::here().with(|list| {
            *list.passed.entry(point.clone()).or_default() += 1;
            let mut due = None;
            list.armed.retain_mut(|armed| match (armed.point == point, armed.left) {
                (false, _) => true,
                (true, 0) => {
                    due = due.or(Some(armed.act));
                    true
                }
                (true, 1) if due.is_none() => {
                    due = Some(armed.act);
                    false
                }
                (true, left) => {
                    armed.left = left.saturating_sub(1).max(1);
                    true
                }
            });
            due
        });
        match act {
            None => {}
            Some(Act::Panic) => panic!("fault at {point}"),
            Some(Act::Kill) => KILL.get().expect("a process that can be killed says how")(),
            #[expect(clippy::disallowed_methods, reason = "to stand still is what is wanted")]
            Some(Act::Stall(how_long)) => std::thread::sleep(how_long),
        }
    }
}

#[cfg(feature = "faults")]
pub use armed::{Faults, arm, disarm_all, is_armed, passed, point, set_kill};

/// Nothing can be armed.
#[cfg(not(feature = "faults"))]
#[derive(Debug, Clone, Copy)]
pub struct Faults;

#[cfg(not(feature = "faults"))]
impl Faults {
    /// What counts for this thread.
    #[inline(always)]
    pub fn here() -> Self {
        Self
    }

    /// Counts for this thread from now on.
    #[inline(always)]
    pub fn enter(&self) {}
}

/// Execution has come to this point.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn point(_what: &str, _name: &str) {}

/// Passes the points before and after doing this.
pub async fn around<T>(name: &'static str, doing: impl Future<Output = T>) -> T {
    point("effect:before", name);
    let done = doing.await;
    point("effect:after", name);
    done
}

#[cfg(all(test, feature = "faults"))]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn panics() -> bool {
        catch_unwind(|| point("actor", "Message")).is_err()
    }

    #[test]
    fn a_fault_comes_at_the_passing_it_was_armed_for_and_once() {
        let _own = Faults::isolated();
        arm("actor:Message", Act::Panic, 2);
        arm("other:Message", Act::Panic, 1);
        assert_eq!([(); 4].map(|()| panics()), [false, true, false, false]);
        assert!(is_armed(), "the other one");
        assert_eq!(passed(), [("actor:Message".to_owned(), 4)]);
    }

    #[test]
    fn a_fault_for_every_passing_lasts_until_it_is_disarmed() {
        let _own = Faults::isolated();
        arm("actor:Message", Act::Panic, 0);
        assert!(panics() && panics());
        disarm_all();
        assert!(!panics());
    }

    #[test]
    fn two_faults_at_one_point_come_one_after_the_other() {
        let _own = Faults::isolated();
        arm("actor:Message", Act::Panic, 1);
        arm("actor:Message", Act::Panic, 1);
        assert_eq!([(); 3].map(|()| panics()), [true, true, false]);
    }

    #[test]
    fn threads_with_a_list_of_their_own_do_not_meet() {
        let own = Faults::isolated();
        arm("actor:Message", Act::Panic, 0);
        let beside = std::thread::scope(|scope| scope.spawn(panics).join().unwrap());
        let heir = std::thread::scope(|scope| {
            let heir = || {
                own.enter();
                panics()
            };
            scope.spawn(heir).join().unwrap()
        });
        assert!(!beside && heir && panics());
    }
}
