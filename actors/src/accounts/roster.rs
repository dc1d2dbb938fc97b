//! Finding users: among those one may list, in some state, by a part of the name, in some order, a page at a time.
//! (`spec/rest-api.md` 4.3.)
//!
//! There may be a hundred thousand, and programs page through them every few minutes. So what an index has in order is
//! walked, never sorted; what must be looked at whole is kept as numbers until the page is known; and where there is no
//! index (by last activity) only the page's share of it is put in order.

use std::{cmp::Ordering, sync::Arc};

use crate::{
    domain::{Server, User, UserId},
    store::Image,
};

pub mod pattern;
#[cfg(test)]
mod tests;

pub use pattern::Pattern;

/// Who may be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Among {
    /// Everybody.
    All,
    /// These. Sorted, each once; they exist.
    Only(Vec<UserId>),
}

/// What a user's servers are to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// One at least runs, or is on its way up or down.
    Active,
    /// None does.
    Inactive,
    /// One at least runs. As in JupyterHub this is looked at on the page alone: its users are taken from the active ones,
    /// who are also what is counted.
    Ready,
}

/// By what users are put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By age.
    Id,
    /// By name, byte for byte.
    Name,
    /// By a number that the caller knows of each (last use, memory): see [`search`]. Those who have none come first. Among
    /// equals the older user comes first.
    Rank,
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// Who may be found.
    pub among: Among,
    /// Only these.
    pub state: Option<State>,
    /// Only those with such a name.
    pub pattern: Option<Pattern>,
    /// In this order …
    pub order: Order,
    /// … or the other way round.
    pub backwards: bool,
    /// Without so many at the beginning.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
    /// Is it wanted how many there are? If not, nobody is looked at behind the page where that can be spared.
    pub counted: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The page.
    pub users: Vec<Arc<User>>,
    /// How many there are on all pages; where that is not wanted perhaps fewer.
    pub total: usize,
}

/// Those who fit, before they are put in order.
enum Fitting {
    /// All users.
    Everybody,
    /// Oldest first.
    ByAge(Vec<UserId>),
    /// By name.
    ByName(Vec<UserId>),
}

impl Among {
    /// Those of them who are also among these, in whatever order and however often they come.
    #[must_use]
    pub fn within(self, mut ids: Vec<UserId>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        if let Self::Only(known) = self {
            ids.retain(|id| known.binary_search(id).is_ok());
        }
        Self::Only(ids)
    }
}

/// Users with such a server, oldest first. Servers are kept by their users: it is one walk over them.
pub fn with_server(image: &Image, fits: impl Fn(&Server) -> bool) -> Vec<UserId> {
    let fitting = image.servers().filter(|server| fits(server));
    let mut ids: Vec<_> = fitting.map(|server| server.key.user).collect();
    ids.dedup();
    ids
}

/// Finds them. `rank`: the number by which users are put in order, where that is asked for.
pub fn search(image: &Image, what: &Search, rank: &dyn Fn(&User) -> Option<i64>) -> Found {
    let fitting = fitting(image, what);
    let total = match &fitting {
        Fitting::Everybody => image.user_count(),
        Fitting::ByAge(ids) | Fitting::ByName(ids) => ids.len(),
    };
    let mut users = page(image, fitting, what, rank);
    if what.state == Some(State::Ready) {
        let ready =
            |user: &Arc<User>| image.servers_of(user.id).any(|server| server.state.is_ready());
        users.retain(ready);
    }
    Found { users, total }
}

fn fitting(image: &Image, what: &Search) -> Fitting {
    let named = |name: &str| what.pattern.as_ref().is_none_or(|pattern| pattern.matches(name));
    let only = match (&what.among, what.state) {
        (Among::Only(ids), state) => {
            let fits = |id: UserId| match state {
                None => true,
                Some(State::Active | State::Ready) => is_active(image, id),
                Some(State::Inactive) => !is_active(image, id),
            };
            Some(ids.iter().copied().filter(|id| fits(*id)).collect())
        }
        (Among::All, Some(State::Active | State::Ready)) => Some(active(image)),
        (Among::All, Some(State::Inactive) | None) => None,
    };
    if let Some(mut ids) = only {
        if what.pattern.is_some() {
            ids.retain(|id| image.user(*id).is_some_and(|user| named(user.name.as_str())));
        }
        return Fitting::ByAge(ids);
    }
    let without = match what.state {
        Some(State::Inactive) => active(image),
        Some(State::Active | State::Ready) | None => Vec::new(),
    };
    let stays = |id: UserId| without.binary_search(&id).is_err();
    if what.pattern.is_none() && without.is_empty() {
        return Fitting::Everybody;
    }
    // In the order of the walk the page is whole once so many were found.
    let enough = match what.order {
        Order::Id | Order::Name if !what.counted && !what.backwards => {
            what.offset.saturating_add(what.limit)
        }
        Order::Id | Order::Name | Order::Rank => usize::MAX,
    };
    if what.order == Order::Name {
        let all = image.names().filter(|(name, id)| stays(*id) && named(name.as_str()));
        return Fitting::ByName(all.map(|(_, id)| id).take(enough).collect());
    }
    // By age users lie side by side in memory, mostly; by name they do not.
    let all = image.users().filter(|user| stays(user.id) && named(user.name.as_str()));
    Fitting::ByAge(all.map(|user| user.id).take(enough).collect())
}

/// Users with an active server, oldest first.
fn active(image: &Image) -> Vec<UserId> {
    with_server(image, |server| server.state.is_active())
}

fn is_active(image: &Image, user: UserId) -> bool {
    image.servers_of(user).any(|server| server.state.is_active())
}

fn page(
    image: &Image,
    fitting: Fitting,
    what: &Search,
    rank: &dyn Fn(&User) -> Option<i64>,
) -> Vec<Arc<User>> {
    let known = |ids: Vec<UserId>| -> Vec<Arc<User>> {
        ids.into_iter().filter_map(|id| image.user(id)).cloned().collect()
    };
    let by_name = |a: &&Arc<User>, b: &&Arc<User>| a.name.cmp(&b.name);
    match (fitting, what.order) {
        (Fitting::Everybody, Order::Id) => window(image.users(), what).cloned().collect(),
        (Fitting::Everybody, Order::Name) => {
            known(window(image.names(), what).map(|(_, id)| id).collect())
        }
        (Fitting::ByAge(ids), Order::Id) | (Fitting::ByName(ids), Order::Name) => {
            known(window(ids.into_iter(), what).collect())
        }
        (Fitting::ByName(ids), Order::Id) => known(top(ids, what, UserId::cmp)),
        (Fitting::ByAge(ids), Order::Name) => {
            let users = ids.iter().filter_map(|id| image.user(*id)).collect();
            top(users, what, by_name).into_iter().cloned().collect()
        }
        (Fitting::Everybody, Order::Rank) => by_rank(image.users(), what, rank),
        (Fitting::ByAge(ids) | Fitting::ByName(ids), Order::Rank) => {
            by_rank(ids.iter().filter_map(|id| image.user(*id)), what, rank)
        }
    }
}

fn by_rank<'a>(
    users: impl Iterator<Item = &'a Arc<User>>,
    what: &Search,
    rank: &dyn Fn(&User) -> Option<i64>,
) -> Vec<Arc<User>> {
    // Both ways round the older of two equals comes first.
    let age = |a: UserId, b: UserId| if what.backwards { b.cmp(&a) } else { a.cmp(&b) };
    let all = users.map(|user| (rank(user), user.id, user)).collect();
    let found = top(all, what, |a, b| a.0.cmp(&b.0).then(age(a.1, b.1)));
    found.into_iter().map(|(_, _, user)| user.clone()).collect()
}

/// The page of what is in order already.
fn window<'a, T>(
    all: impl DoubleEndedIterator<Item = T> + 'a,
    what: &Search,
) -> Box<dyn Iterator<Item = T> + 'a> {
    if what.backwards {
        Box::new(all.rev().skip(what.offset).take(what.limit))
    } else {
        Box::new(all.skip(what.offset).take(what.limit))
    }
}

/// The page of what is in no order yet, with no more put in order than the page and what comes before it.
fn top<T>(mut all: Vec<T>, what: &Search, order: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    if what.offset >= all.len() {
        return Vec::new();
    }
    let order = |a: &T, b: &T| if what.backwards { order(b, a) } else { order(a, b) };
    let end = what.offset.saturating_add(what.limit);
    if end < all.len() {
        all.select_nth_unstable_by(end, order);
        all.truncate(end);
    }
    if what.offset > 0 {
        all.select_nth_unstable_by(what.offset, order);
    }
    let mut page = all.split_off(what.offset);
    page.sort_unstable_by(order);
    page
}
