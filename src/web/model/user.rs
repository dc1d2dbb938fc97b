//! The user model (`spec/rest-api.md` 2.1): each field only for callers who hold a scope for it.

use std::sync::Arc;

use jovis_actors::{
    activity::Notes,
    domain::{
        Facts, GroupName, Policy, Role, Server, ServerKey, ServerName, User,
        scope::{Granted, Mask, Resource},
    },
    store::Image,
};
use serde_json::{Map, Value, json};

use super::{
    server,
    time::{wire, wire_or_null},
};

/// Everything but servers and what the authenticator keeps.
const READ: Mask = Mask::of(&["read:users"]);
const NAME: Mask = Mask::of(&["read:users", "read:users:name", "read:servers"]);
const ADMIN: Mask = NAME.or(Mask::of(&["read:roles:users"]));
const ROLES: Mask = Mask::of(&["read:users", "read:roles:users"]);
const GROUPS: Mask = Mask::of(&["read:users", "read:users:groups"]);
const ACTIVITY: Mask = Mask::of(&["read:users", "read:users:activity"]);
const SERVERS: Mask = Mask::of(&["read:servers"]);
const SERVER_STATE: Mask = Mask::of(&["admin:server_state"]);
const AUTH_STATE: Mask = Mask::of(&["admin:auth_state"]);

/// Who looks, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    /// Where servers are.
    pub(crate) facts: &'a Facts,
    /// What the caller holds.
    pub(crate) granted: &'a Granted,
    /// Who has which role.
    pub(crate) policy: &'a Policy,
    /// Uses that are not recorded yet.
    pub(crate) notes: &'a Notes,
    /// Servers that do not run, too?
    pub(crate) stopped_too: bool,
}

impl View<'_> {
    /// The model; nothing if no field is visible.
    pub(crate) fn model(&self, image: &Image, user: &User) -> Option<Value> {
        let held = self.granted.on(Resource::User(user.name.as_str()), image);
        let default =
            image.server(&ServerKey { user: user.id, name: ServerName::default_server() });
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
        if held.meets(ADMIN) {
            put("admin", json!(user.admin));
        }
        if held.meets(NAME) {
            put("user_info", user.user_info.clone().unwrap_or_default());
        }
        if held.meets(ROLES) {
            put("roles", json!(role_names(self.policy.of_user(&user.name, user.admin))));
        }
        if held.meets(GROUPS) {
            let names = image.groups_of(user.id).map(|group| &group.name);
            put("groups", json!(names.map(GroupName::as_str).collect::<Vec<_>>()));
        }
        if held.meets(READ) {
            let ready = default.filter(|server| server.state.is_ready());
            put("server", json!(ready.map(|_| server::url(self.facts, user, ""))));
            put("pending", json!(default.and_then(|server| server.state.pending())));
            put("created", json!(wire(user.created)));
        }
        if held.meets(ACTIVITY) {
            put("last_activity", wire_or_null(self.notes.of_user(user)));
        }
        let visible = self.servers(image, user, held);
        if held.meets(SERVERS) || !visible.is_empty() {
            put("servers", Value::Object(visible));
        }
        if held.meets(AUTH_STATE) {
            put("auth_state", Value::Null);
        }
        if out.is_empty() {
            return None;
        }
        out.insert("kind".to_owned(), json!("user"));
        out.insert("name".to_owned(), json!(user.name.as_str()));
        Some(Value::Object(out))
    }

    /// `held`: on the user. Some servers may be visible where not all are.
    fn servers(&self, image: &Image, user: &User, held: Mask) -> Map<String, Value> {
        if !self.granted.any().meets(SERVERS) {
            return Map::new();
        }
        let default = ServerKey { user: user.id, name: ServerName::default_server() };
        let fresh = (self.stopped_too && image.server(&default).is_none())
            .then(|| Arc::new(Server::new(default)));
        let on = |server: &Server| {
            let (user, name) = (user.name.as_str(), server.key.name.as_str());
            held.or(self.granted.on(Resource::Server(user, name), image))
        };
        image
            .servers_of(user.id)
            .chain(fresh.as_ref())
            .filter(|it| self.stopped_too || it.state.is_active())
            .map(|it| (it, on(it)))
            .filter(|(_, on)| on.meets(SERVERS))
            .map(|(it, on)| {
                let model = server::model(self.facts, self.notes, user, it, on.meets(SERVER_STATE));
                (it.key.name.as_str().to_owned(), model)
            })
            .collect()
    }
}

/// As they are listed in models.
pub(crate) fn role_names<'a>(roles: impl Iterator<Item = &'a Arc<Role>>) -> Vec<&'a str> {
    roles.map(|role| &*role.name).collect()
}

#[cfg(test)]
mod tests {
    use jovis_actors::{
        accounts::access,
        domain::{
            Moment, OrderId, Scope, ServerState, UserId, Username,
            scope::{Grants, Holder},
            server::Handle,
        },
        store::Write,
    };

    use super::*;

    fn bob(image: &mut Image) -> Arc<User> {
        let user = Arc::new(User {
            id: UserId(1),
            name: Username::new("b@b").unwrap(),
            admin: false,
            created: Moment(1_000_000),
            last_activity: None,
            cookie_id: "c".into(),
            user_info: None,
        });
        image.apply(&Write::User(user.clone()));
        user
    }

    fn keys(value: &Value) -> Vec<&str> {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_user_sees_oneself_whole() {
        let mut image = Image::default();
        let user = bob(&mut image);
        let mut server =
            Server::new(ServerKey { user: user.id, name: ServerName::default_server() });
        server.state = ServerState::Running {
            order: OrderId::from_bytes([1; 16]),
            handle: Handle("1".into()),
            url: "http://127.0.0.1:20001".into(),
        };
        server.started = Some(Moment(2_500_000));
        image.apply(&Write::Server(Arc::new(server)));
        let policy = Policy::default();
        let granted = access::of_user(&image, &policy, &user);
        let view = View {
            facts: &Facts { base_url: "/".into(), ..Facts::default() },
            granted: &granted,
            policy: &policy,
            notes: &Notes::default(),
            stopped_too: false,
        };
        let model = view.model(&image, &user).unwrap();
        assert_eq!(
            keys(&model),
            [
                "admin",
                "created",
                "groups",
                "kind",
                "last_activity",
                "name",
                "pending",
                "roles",
                "server",
                "servers",
                "user_info"
            ]
        );
        assert_eq!(model["server"], "/user/b@b/");
        assert_eq!(model["created"], "1970-01-01T00:00:01Z");
        assert_eq!(
            model["servers"][""],
            json!({
                "name": "", "display_name": "", "full_name": "b@b/", "last_activity": null,
                "started": "1970-01-01T00:00:02.500000Z", "pending": null, "ready": true,
                "stopped": false, "url": "/user/b@b/", "user_options": null,
                "progress_url": "/hub/api/users/b@b/server/progress",
                "full_url": null, "full_progress_url": null
            })
        );
    }

    #[test]
    fn others_see_only_what_their_scopes_show() {
        let mut image = Image::default();
        let user = bob(&mut image);
        let model = |scopes: &[&str], stopped_too| {
            let scopes: Vec<_> = scopes.iter().map(|it| Scope::new(it)).collect();
            let policy = Policy::default();
            let granted = Grants::of(policy.vocabulary(), &scopes).to(&Holder::default());
            View {
                facts: &Facts { base_url: "/b/".into(), ..Facts::default() },
                granted: &granted,
                policy: &policy,
                notes: &Notes::default(),
                stopped_too,
            }
            .model(&image, &user)
        };
        assert_eq!(model(&["read:users!user=eve", "tokens"], false), None);
        let named = model(&["read:users:name!user=b@b"], false).unwrap();
        assert_eq!(keys(&named), ["admin", "kind", "name", "user_info"]);
        let servers = model(&["read:servers"], false).unwrap();
        assert_eq!(keys(&servers), ["admin", "kind", "name", "servers", "user_info"]);
        assert_eq!(servers["servers"], json!({}));
        let all = model(&["read:servers", "admin:server_state"], true).unwrap();
        assert_eq!(all["servers"][""]["stopped"], true);
        assert_eq!(all["servers"][""]["state"], Value::Null);
        assert_eq!(all["servers"][""]["url"], "/b/user/b@b/");
        let admin = model(&["read:users", "admin:auth_state"], false).unwrap();
        assert!(admin.get("auth_state").is_some() && admin.get("servers").is_none());
    }
}
