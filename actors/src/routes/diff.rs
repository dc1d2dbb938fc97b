//! Wanted routes against actual ones: pure.

use std::collections::BTreeMap;

use crate::domain::{Route, RouteSpec};

/// A route table.
pub type Table = BTreeMap<RouteSpec, Route>;

/// What makes the actual table the wanted one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// To be added or replaced.
    pub set: Vec<Route>,
    /// To be taken out.
    pub remove: Vec<RouteSpec>,
}

impl Diff {
    /// Nothing to do?
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// Compares.
pub fn diff(wanted: &Table, actual: &Table) -> Diff {
    let differs = |route: &&Route| actual.get(&route.spec) != Some(*route);
    Diff {
        set: wanted.values().filter(differs).cloned().collect(),
        remove: actual.keys().filter(|spec| !wanted.contains_key(*spec)).cloned().collect(),
    }
}

/// What was asked for by name and isn't in the records yet: a route (a server that is about to be recorded as
/// running) or none (one that is about to be recorded as ended).
pub type Asked = BTreeMap<RouteSpec, Option<Route>>;

/// The records' routes with what was asked for on top. What the records say by now is no longer asked for.
pub fn wanted(mut recorded: Table, asked: &mut Asked) -> Table {
    asked.retain(|spec, route| recorded.get(spec) != route.as_ref());
    for (spec, route) in asked.iter() {
        match route {
            Some(route) => recorded.insert(spec.clone(), route.clone()),
            None => recorded.remove(spec),
        };
    }
    recorded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(entries: &[(u8, u8)]) -> Table {
        let route = |(path, port): &(u8, u8)| Route {
            spec: RouteSpec::new(&format!("/user/{path}")),
            target: format!("http://127.0.0.1:{port}"),
            server: None,
        };
        entries.iter().map(route).map(|route| (route.spec.clone(), route)).collect()
    }

    proptest! {
        #[test]
        fn applying_a_diff_gives_the_wanted_table(
            wanted in prop::collection::vec((0u8..12, 0u8..3), 0..12),
            actual in prop::collection::vec((0u8..12, 0u8..3), 0..12),
        ) {
            let (wanted, mut actual) = (table(&wanted), table(&actual));
            let change = diff(&wanted, &actual);
            for spec in &change.remove {
                prop_assert!(actual.remove(spec).is_some(), "nothing needless");
            }
            for route in change.set {
                prop_assert!(actual.get(&route.spec) != Some(&route), "nothing needless");
                actual.insert(route.spec.clone(), route);
            }
            prop_assert_eq!(&actual, &wanted);
            prop_assert!(diff(&wanted, &actual).is_empty());
        }
    }

    #[test]
    fn what_was_asked_holds_until_the_records_say_so() {
        let (one, none) = (table(&[(1, 1)]), table(&[]));
        let spec = RouteSpec::new("/user/1");
        let mut asked = Asked::from([(spec.clone(), one.get(&spec).cloned())]);
        assert_eq!(wanted(none.clone(), &mut asked), one);
        assert_eq!(wanted(one.clone(), &mut asked), one);
        assert!(asked.is_empty(), "recorded by now");
        asked.insert(spec, None);
        assert_eq!(wanted(one, &mut asked), none);
        assert_eq!(wanted(none.clone(), &mut asked), none);
        assert!(asked.is_empty());
    }
}
