//! What may be used once and is over by itself after a while: what was used is remembered for so long, and no longer.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

/// Most that is remembered; then the oldest is forgotten.
const MOST: usize = 100_000;

/// What was used.
#[derive(Debug, Default)]
pub(crate) struct Spent(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    known: HashSet<String>,
    /// With the second at which it is over, oldest first.
    order: VecDeque<(i64, String)>,
}

impl Spent {
    /// Uses it. False: it was used before. `until`: the second from which it is over anyway.
    pub(crate) fn spend(&self, what: &str, now: i64, until: i64) -> bool {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while inner.order.front().is_some_and(|(end, _)| *end <= now) || inner.order.len() >= MOST {
            let Some((_, old)) = inner.order.pop_front() else { break };
            inner.known.remove(&old);
        }
        let new = inner.known.insert(what.to_owned());
        if new {
            inner.order.push_back((until, what.to_owned()));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_used_once_until_it_is_over() {
        let spent = Spent::default();
        assert!(spent.spend("a", 0, 10) && !spent.spend("a", 9, 19) && spent.spend("b", 9, 19));
        assert!(spent.spend("a", 10, 20), "over, and so forgotten");
        assert!(!spent.spend("b", 10, 20));
    }

    #[test]
    fn it_is_bounded() {
        let spent = Spent::default();
        for n in 0..MOST + 10 {
            assert!(spent.spend(&n.to_string(), 0, 10));
        }
        assert_eq!(spent.0.lock().unwrap().known.len(), MOST);
    }
}
