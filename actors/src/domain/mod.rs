//! Values and pure rules. No actix, no async, no serde names of the web; once a value exists it is valid.

pub mod group;
pub mod name;
pub mod notice;
pub mod oauth;
pub mod options;
pub mod order;
pub mod profile;
pub mod quote;
pub mod role;
pub mod route;
pub mod scope;
pub mod secret;
pub mod server;
pub mod service;
pub mod share;
pub mod slug;
pub mod time;
pub mod token;
pub mod user;
pub mod wire;

pub use group::{Group, GroupId};
pub use name::{GroupName, InvalidName, ServerName, ServiceName, Username};
pub use notice::{Announcement, Maintenance};
pub use oauth::{ClientId, OAuthClient, OAuthCode};
pub use order::OrderId;
pub use role::{Policy, Role};
pub use route::{Route, RouteSpec};
pub use scope::Scope;
pub use secret::Secret;
pub use server::{Cause, Server, ServerKey, ServerState, Stopper};
pub use service::Service;
pub use share::{Share, ShareCode, ShareCodeId, ShareKey, SharedWith};
pub use time::{Moment, Seconds};
pub use token::{Owner, Token, TokenHash, TokenId};
pub use user::{User, UserId};
