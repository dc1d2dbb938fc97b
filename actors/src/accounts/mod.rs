//! Rules for changing users, groups, tokens and OAuth clients: pure decisions `(&Image, …) → writes and an answer`, run by the
//! store. Nothing here does I/O or draws random numbers; hashes and ids of secrets come in as arguments.
//!
//! | file | what it decides |
//! |---|---|
//! | [`arrivals`] | signing in: who is it, here |
//! | [`users`] | signing out; users made, changed and deleted |
//! | [`roster`] | who is found: in which state, by what name, in which order |
//! | [`groups`] | groups made, filled, described and deleted |
//! | [`tokens`] | API tokens: issue, revoke, delete what has expired |
//! | [`oauth`] | the hub as provider: give a code, exchange it once |
//! | [`access`] | what somebody holds: roles, groups, shares, tokens |
//! | [`named`] | servers at rest: made, renamed, taken out |
//! | [`notices`] | announcement and maintenance, and which servers that ends |
//! | [`shares`], [`share_codes`] | sharing servers, and the codes for it |
//! | [`services`] | services made and removed by request |
//! | [`sync`] | what the configuration wants: users, groups, administrators, services |
//! | [`servers`] | what a server's steps write, and what they mean for its token and its OAuth client |

use crate::store::Write;

pub mod access;
pub mod arrivals;
pub mod groups;
pub mod named;
pub mod notices;
pub mod oauth;
pub mod roster;
pub mod servers;
pub mod services;
pub mod share_codes;
pub mod shares;
pub mod sync;
pub mod tokens;
pub mod users;

pub use arrivals::{ArrivalRefused, Arrived, MOST_GROUPS, Outside, sign_in};
pub use groups::{
    GroupRefused, add_members, create_groups, delete_group, remove_members, set_properties,
};
pub use named::{
    Change, NewServer, ServerRefused, change_server, create_server, drop_server, need_server,
};
pub use notices::{
    LONGEST_TEXT, NewAnnouncement, NewMaintenance, NoticeRefused, announce, begin_maintenance,
    end_maintenance, of_blocked, retry_after, to_drain, withdraw,
};
pub use oauth::{
    CODE_LIFE, CodeRefused, NewCode, RedeemRefused, Redeemed, Redemption, give_code, redeem_code,
};
pub use servers::{
    Beginning, Moved, Queueing, SERVER_SCOPES, StepRefused, begin_server, move_server,
    queue_server, remove_server, server_scopes,
};
pub use services::{
    NewService, ServiceRefused, WantedClient, begin_service, create_service, delete_service,
};
pub use share_codes::{
    NewShareCode, SHARE_CODE_LIFE, WhichCodes, drop_share_codes, issue_share_code, use_share_code,
    valid_share_code, valid_share_codes, valid_share_codes_by,
};
pub use shares::{
    Grant, ShareRefused, end_of_group, end_of_server, end_of_user, end_share, grant_share,
    move_server_shares, revoke_share, revoke_shares,
};
pub use tokens::{
    LONGEST_NOTE, MOST_SCOPES, MOST_TOKENS, NewToken, TokenRefused, delete_expired, issue_token,
    revoke_token,
};
pub use users::{
    MOST_USERS, NewUser, UserChange, UserRefused, change_user, create_user, create_users,
    delete_user, sign_out,
};

/// What a decision yields: writes for the journal, and an answer for the caller.
pub type Decided<T, E> = Result<(Vec<Write>, T), E>;

#[cfg(test)]
mod tests;
