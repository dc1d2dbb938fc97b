//! What is said of each method of the API (`spec/rest-api.md` 3 and 4).

use super::{
    Gives::{Events, Json, Nothing},
    Operation,
};

/// A method with nothing in its query or body.
const fn plain(
    method: &'static str,
    path: &'static str,
    does: &'static str,
    gives: &'static [(u16, super::Gives)],
) -> Operation {
    Operation { method, path, does, query: &[], takes: None, gives, refuses: &[] }
}

impl Operation {
    const fn query(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }

    const fn takes(mut self, schema: &'static str) -> Self {
        self.takes = Some(schema);
        self
    }

    const fn refuses(mut self, statuses: &'static [u16]) -> Self {
        self.refuses = statuses;
        self
    }
}

const PAGE: &[&str] = &["offset", "limit"];
const USER: &[&str] = &["include_stopped_servers"];
const SERVER: &str = "/api/users/{user}/server";
const ONE_SHARED: &str = "/api/users/{user}/shared/{owner}/{its?}";
const ONE_OF_GROUP: &str = "/api/groups/{group}/shared/{owner}/{its?}";

/// All of them, in the order of the table.
#[rustfmt::skip]
pub(crate) const OPERATIONS: &[Operation] = &[
    plain("GET", "/api", "The version, for everybody.", &[(200, Json("version"))]),
    plain("GET", "/api/openapi.json", "This description, for everybody.", &[(200, Json("anything"))]),
    plain("GET", "/api/info", "What the hub is made of.", &[(200, Json("info"))]),
    plain("GET", "/api/user", "Whoever asks, with the scopes that count.", &[(200, Json("who"))]),
    plain("GET", "/api/users", "Users one may list, each with the fields one may see.", &[(200, Json("users"))])
        .query(&["state", "name_filter", "sort", "include_stopped_servers", "offset", "limit"]),
    plain("POST", "/api/users", "Make several users. Those there are are passed over.", &[(201, Json("user_list"))])
        .takes("new_users").refuses(&[409]),
    plain("GET", "/api/users/{user}", "One user.", &[(200, Json("user"))]).query(USER),
    plain("POST", "/api/users/{user}", "Make a user.", &[(201, Json("user"))])
        .takes("new_user").refuses(&[409]),
    plain("PATCH", "/api/users/{user}", "Rename a user, make an administrator or none.", &[(200, Json("user"))])
        .takes("user_change").refuses(&[409]),
    plain("DELETE", "/api/users/{user}", "Stop a user's servers and delete all that is the user's.", &[(204, Nothing)]),
    plain("POST", "/api/users/{user}/activity", "Note when user and servers were last active.", &[(200, Nothing)])
        .takes("activity"),
    plain("GET", "/api/users/{user}/tokens", "A user's tokens, the longest unused first.", &[(200, Json("tokens"))]),
    plain("POST", "/api/users/{user}/tokens", "Make a token. Its secret is shown this once.", &[(201, Json("new_token"))])
        .takes("token_wish").refuses(&[429]),
    plain("GET", "/api/users/{user}/tokens/{id?}", "One token.", &[(200, Json("token"))]),
    plain("DELETE", "/api/users/{user}/tokens/{id?}", "End a token; one of an application takes that one's others along.", &[(204, Nothing)]),
    plain("GET", SERVER, "A server, running or not.", &[(200, Json("server"))]),
    plain("PUT", SERVER, "Make a server that is not started.", &[(201, Json("server"))])
        .takes("server_wish").refuses(&[409]),
    plain("PATCH", SERVER, "Rename a server at rest, or change its options.", &[(200, Json("server"))])
        .takes("server_change").refuses(&[409]),
    plain("POST", SERVER, "Start a server. 202: it is still on its way.", &[(201, Nothing), (202, Nothing)])
        .takes("server_wish").refuses(&[429, 500]),
    plain("DELETE", SERVER, "Stop a server, or remove it. 202: it is still on its way.", &[(202, Nothing), (204, Nothing)])
        .takes("server_end"),
    plain("GET", "/api/users/{user}/server/progress", "How a start goes on, live.", &[(200, Events("progress"))])
        .query(&["_xsrf"]).refuses(&[429]),
    plain("POST", "/api/users/{user}/admin-access", "Of old: may administrators enter? Give access:servers instead.", &[(200, Nothing)]),
    plain("GET", "/api/users/{user}/shared", "What is shared with a user, also through groups.", &[(200, Json("shares"))]).query(PAGE),
    plain("GET", ONE_SHARED, "What of this server is shared with the user.", &[(200, Json("share"))]),
    plain("DELETE", ONE_SHARED, "Leave a share.", &[(204, Nothing)]),
    plain("GET", "/api/groups", "Groups one may list, each with the fields one may see.", &[(200, Json("groups"))]).query(PAGE),
    plain("POST", "/api/groups", "Make several groups.", &[(201, Json("group_list"))]).takes("new_groups").refuses(&[409]),
    plain("GET", "/api/groups/{group}", "One group.", &[(200, Json("group"))]),
    plain("POST", "/api/groups/{group}", "Make a group.", &[(201, Json("group"))]).takes("members").refuses(&[409]),
    plain("DELETE", "/api/groups/{group}", "Delete a group.", &[(204, Nothing)]),
    plain("POST", "/api/groups/{group}/users", "Take users into a group.", &[(200, Json("group"))]).takes("members"),
    plain("DELETE", "/api/groups/{group}/users", "Take users out of a group.", &[(200, Json("group"))]).takes("members"),
    plain("PUT", "/api/groups/{group}/properties", "Replace a group's properties.", &[(200, Json("group"))]).takes("properties"),
    plain("GET", "/api/groups/{group}/shared", "What is shared with a group.", &[(200, Json("shares"))]).query(PAGE),
    plain("GET", ONE_OF_GROUP, "What of this server is shared with the group.", &[(200, Json("share"))]),
    plain("DELETE", ONE_OF_GROUP, "End a group's share.", &[(204, Nothing)]),
    plain("GET", "/api/services", "Services one may list, by name.", &[(200, Json("services"))]),
    plain("GET", "/api/services/{service}", "One service.", &[(200, Json("service"))]),
    plain("POST", "/api/services/{service}", "Make a service that somebody else runs.", &[(201, Json("service"))])
        .takes("new_service").refuses(&[409]),
    plain("DELETE", "/api/services/{service}", "Delete a service that was made here.", &[(200, Nothing)]).refuses(&[405]),
    plain("GET", "/api/shares/{user}", "With whom a user's servers are shared.", &[(200, Json("shares"))]).query(PAGE),
    plain("GET", "/api/shares/{user}/{server?}", "With whom a server is shared.", &[(200, Json("shares"))]).query(PAGE),
    plain("POST", "/api/shares/{user}/{server?}", "Share a server with a user or a group.", &[(200, Json("share"))]).takes("share_wish"),
    plain("PATCH", "/api/shares/{user}/{server?}", "Take back some of what is shared, or all.", &[(200, Json("anything"))]).takes("share_wish"),
    plain("DELETE", "/api/shares/{user}/{server?}", "End all shares of a server.", &[(204, Nothing)]),
    plain("GET", "/api/share-codes/{user}", "Codes for a user's servers.", &[(200, Json("share_codes"))]).query(PAGE),
    plain("GET", "/api/share-codes/{user}/{server?}", "Codes for a server.", &[(200, Json("share_codes"))]).query(PAGE),
    plain("POST", "/api/share-codes/{user}/{server?}", "Make a code by which a server is shared. It is shown this once.", &[(200, Json("share_code"))])
        .takes("share_code_wish"),
    plain("DELETE", "/api/share-codes/{user}/{server?}", "Delete a code, or all of a server's.", &[(204, Nothing)]).query(&["code", "id"]),
    plain("GET", "/api/proxy", "The proxy's routes.", &[(200, Json("anything"))]).query(PAGE),
    plain("POST", "/api/proxy", "Have the proxy's routes checked.", &[(200, Nothing)]),
    plain("PATCH", "/api/proxy", "The proxy is part of jovis: its address and token cannot be changed.", &[(200, Nothing)]).takes("proxy"),
    plain("GET", "/api/announcement", "What is announced on all pages; empty text: nothing.", &[(200, Json("announcement"))]),
    plain("PUT", "/api/announcement", "Announce something on all pages.", &[(200, Json("announcement"))]).takes("announcement_wish"),
    plain("DELETE", "/api/announcement", "Take the announcement back.", &[(204, Nothing)]),
    plain("GET", "/api/maintenance", "Is there maintenance? Then no server is started.", &[(200, Json("maintenance"))]),
    plain("PUT", "/api/maintenance", "Begin maintenance, or change it: no server is started, and some are stopped if that is wanted.", &[(200, Json("maintenance"))])
        .takes("maintenance_wish"),
    plain("DELETE", "/api/maintenance", "End maintenance.", &[(204, Nothing)]),
    plain("POST", "/api/shutdown", "End the hub, and user servers if that is wanted.", &[(202, Json("message"))]).takes("shutdown"),
    plain("GET", "/api/authorizations/token/{token?}", "Of old: whose token is this?", &[(200, Json("anything"))]),
    plain("POST", "/api/authorizations/token/{token?}", "Of old: says where tokens are made.", &[]),
    plain("GET", "/api/authorizations/token", "Of old: whose token is this?", &[]).refuses(&[404]),
    plain("POST", "/api/authorizations/token", "Of old: says where tokens are made.", &[]).refuses(&[404]),
    plain("GET", "/api/authorizations/cookie/{name}", "Of old: whose login cookie is this?", &[(200, Json("user"))]).refuses(&[413]),
    plain("POST", "/api/oauth2/token", "An application's code for a token.", &[(200, Json("access_token"))])
        .takes("code").refuses(&[401, 413]),
];
