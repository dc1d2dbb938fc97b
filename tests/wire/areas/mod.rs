//! The exchanges, in the order they are sent. A file is about one kind of thing, with people of its own, so that what
//! one does is seen in another only where that is the point.
//!
//! | people | |
//! |---|---|
//! | `boss` | admin by configuration |
//! | `ann`, `bob` | a user, and a stranger to whatever is hers |
//! | others | an area's own |

use super::exchange::Area;

mod activity;
mod bad_input;
mod conventions;
mod cookies;
mod groups;
mod hub;
mod login;
mod names;
mod oauth;
mod pages;
mod pagination;
mod progress;
mod rbac;
mod servers;
mod services;
mod shares;
mod tokens;
mod users;

/// All of them.
pub(crate) fn all() -> Vec<Area> {
    vec![
        conventions::area(),
        cookies::area(),
        login::area(),
        hub::area(),
        users::area(),
        pagination::area(),
        activity::area(),
        tokens::area(),
        rbac::area(),
        servers::area(),
        progress::area(),
        groups::area(),
        services::area(),
        shares::area(),
        oauth::area(),
        pages::area(),
        names::area(),
        bad_input::area(),
    ]
}
