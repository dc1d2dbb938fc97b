//! The table: one row per endpoint, with its paths below `{hub}`, who may come, and a handler for each method.
//!
//! `{name}` in a path is one segment, `{name?}` one that may be empty (an empty server name is the default server's),
//! `{*rest}` all that is left. There is no other tolerance: a slash more is another path.

use axum::{Router, routing::MethodRouter};
use http::Method;
use jovis_actors::{
    domain::scope::{Mask, Resource},
    ports::Boxed,
};

use super::{answer::Answer, api, app::App, call::Call, error::Error, oauth, pages, statics};

/// What an endpoint does, given the names in its path.
pub(crate) type Handler = for<'a> fn(&'a mut Call, &'a Names) -> Boxed<'a, Answer>;

/// The names in a path by their places, decoded. They need not exist.
#[derive(Debug, Default)]
pub(crate) struct Names(pub(crate) Vec<(String, String)>);

impl Names {
    /// The name at this place; empty where the path has none.
    pub(crate) fn get(&self, place: &str) -> &str {
        let found = self.0.iter().find(|(at, _)| at == place);
        found.map_or("", |(_, name)| name)
    }
}

/// Who may come to an endpoint, and what is checked before its handler is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// A page for everybody; nobody is asked who they are.
    Open,
    /// A page; who it is counts, if it is known.
    Anybody,
    /// A page for people who are signed in; others are sent to sign in first.
    Person,
    /// The address of a user server: by cookie or token.
    Server,
    /// The REST API.
    Api,
    /// Its root: for everybody.
    ApiRoot,
    /// The REST API, where a `POST` checks the form token itself: the caller may prove who it is in the body.
    ApiLate,
    /// The REST API for OAuth clients, who prove who they are in the body. Cookies say nothing there.
    ApiClient,
}

impl Door {
    /// Is it the API, with its own order of checks and errors in JSON?
    pub(crate) fn is_api(self) -> bool {
        match self {
            Self::Open | Self::Anybody | Self::Person | Self::Server => false,
            Self::Api | Self::ApiRoot | Self::ApiLate | Self::ApiClient => true,
        }
    }
}

/// What an endpoint is about, by the names in its path. (`spec/rest-api.md` 1.4.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Nothing in particular.
    Hub,
    /// `{user}`.
    User,
    /// `{server}` of `{user}`, the default one where there is no such place.
    Server,
    /// `{group}`.
    Group,
    /// `{service}`.
    Service,
}

impl Of {
    /// The thing itself.
    pub(crate) fn resource(self, names: &Names) -> Resource<'_> {
        match self {
            Self::Hub => Resource::Hub,
            Self::User => Resource::User(names.get("user")),
            Self::Server => Resource::Server(names.get("user"), names.get("server")),
            Self::Group => Resource::Group(names.get("group")),
            Self::Service => Resource::Service(names.get("service")),
        }
    }
}

/// Which scopes a method wants; any of them will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// None: everybody may, or everybody who is known; what is needed the handler says.
    Nothing,
    /// One that covers what it is about. Looked at before the handler is asked.
    Covering(Mask),
    /// One in any form; the handler leaves out what it does not cover.
    Listing(Mask),
    /// One that covers what it is about, with refusals of the handler's own.
    Asking(Mask),
}

/// One method of an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    pub(crate) method: Method,
    pub(crate) needs: Needs,
    pub(crate) handler: Handler,
}

impl Deed {
    /// Passes those it wants, else 403 or 404.
    pub(crate) fn admits(&self, call: &Call, of: Of, names: &Names) -> Result<(), Error> {
        match self.needs {
            Needs::Covering(scopes) => call.may(scopes, of.resource(names)),
            Needs::Listing(scopes) => call.may_list(scopes),
            Needs::Nothing | Needs::Asking(_) => Ok(()),
        }
    }
}

/// One endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its paths; the first is its usual one.
    pub(crate) paths: Vec<&'static str>,
    pub(crate) door: Door,
    pub(crate) of: Of,
    pub(crate) deeds: Vec<Deed>,
}

impl Row {
    /// What answers this method; nothing: 405.
    pub(crate) fn deed(&self, method: &Method) -> Option<&Deed> {
        self.deeds.iter().find(|deed| deed.method == *method)
    }

    fn also(mut self, path: &'static str) -> Self {
        self.paths.push(path);
        self
    }

    fn of(mut self, of: Of) -> Self {
        self.of = of;
        self
    }

    fn on(mut self, method: Method, handler: Handler) -> Self {
        self.deeds.push(Deed { method, needs: Needs::Nothing, handler });
        self
    }

    /// The method before this takes whoever has one of these scopes for what the row is about.
    fn needs(self, scopes: &[&str]) -> Self {
        self.wants(Needs::Covering(Mask::of(scopes)))
    }

    /// The method before this takes whoever has one of these scopes, for anything.
    fn lists(self, scopes: &[&str]) -> Self {
        self.wants(Needs::Listing(Mask::of(scopes)))
    }

    /// The method before this looks for one of these scopes itself.
    fn asks(self, scopes: &[&str]) -> Self {
        self.wants(Needs::Asking(Mask::of(scopes)))
    }

    fn wants(mut self, needs: Needs) -> Self {
        self.deeds.last_mut().expect("a method stands before its scopes").needs = needs;
        self
    }

    /// Only `GET`: a `HEAD` has to be asked for by [`Row::peek`].
    fn get(self, handler: Handler) -> Self {
        self.on(Method::GET, handler)
    }

    fn peek(self, handler: Handler) -> Self {
        self.on(Method::GET, handler).on(Method::HEAD, handler)
    }

    fn post(self, handler: Handler) -> Self {
        self.on(Method::POST, handler)
    }

    fn put(self, handler: Handler) -> Self {
        self.on(Method::PUT, handler)
    }

    fn delete(self, handler: Handler) -> Self {
        self.on(Method::DELETE, handler)
    }
}

fn row(door: Door, path: &'static str) -> Row {
    Row { paths: vec![path], door, of: Of::Hub, deeds: Vec::new() }
}

/// Any of these opens a user's model.
const VISIBLE: &[&str] = &[
    "read:users",
    "read:users:name",
    "read:servers",
    "read:users:groups",
    "read:users:activity",
    "read:roles:users",
];

/// Any of these opens a group's model.
const GROUP: &[&str] = &["read:groups", "read:groups:name", "read:roles:groups"];

/// A handler, and the places of the names it takes.
macro_rules! to {
    ($handler:path) => { |call, _| Box::pin($handler(call)) };
    ($handler:path, $($place:literal),+) => { |call, at| Box::pin($handler(call, $(at.get($place)),+)) };
}

/// All of them.
#[rustfmt::skip]
pub(crate) fn rows() -> Vec<Row> {
    use Door::{Anybody, Api, ApiClient, ApiLate, ApiRoot, Open, Person, Server};
    vec![
        // Pages (`spec/pages.md`).
        row(Anybody, "/").get(to!(pages::login::root)),
        row(Anybody, "/login").get(to!(pages::login::form)).post(to!(pages::login::submit)),
        row(Anybody, "/logout").get(to!(pages::login::logout)),
        row(Anybody, "/oauth_login").get(to!(pages::elsewhere::depart)),
        row(Anybody, "/oauth_callback").get(to!(pages::elsewhere::arrive)),
        row(Person, "/home").get(to!(pages::home::show)).post(to!(pages::home::act)),
        row(Person, "/spawn").get(to!(pages::spawn::own)).post(to!(pages::spawn::own)),
        row(Person, "/spawn/{user?}").also("/spawn/{user?}/{server?}")
            .get(to!(pages::spawn::of, "user", "server")).post(to!(pages::spawn::of, "user", "server")),
        row(Person, "/spawn-pending/{user?}").also("/spawn-pending/{user?}/{server?}")
            .get(to!(pages::pending::show, "user", "server"))
            .post(to!(pages::pending::cancel, "user", "server")),
        row(Person, "/spawn-follow/{user?}").also("/spawn-follow/{user?}/{server?}")
            .get(to!(pages::follow::stream, "user", "server")),
        row(Server, "/user/{user}").also("/user/{user}/{first?}").also("/user/{user}/{first?}/{*rest?}")
            .get(to!(pages::user::serve, "user", "first")).post(to!(pages::user::refuse, "user"))
            .on(Method::PATCH, to!(pages::user::refuse, "user")).delete(to!(pages::user::refuse, "user")),
        row(Person, "/user-redirect/{*rest?}").get(to!(pages::user::redirect)),
        row(Person, "/token").get(to!(pages::tokens::show)).post(to!(pages::tokens::act)),
        row(Person, "/shares").get(to!(pages::shares::show)).post(to!(pages::shares::act)),
        row(Person, "/admin").get(to!(pages::admin::users::show)),
        row(Person, "/admin/servers").post(to!(pages::admin::users::act)),
        row(Person, "/admin/matching").get(to!(pages::admin::users::matching)),
        row(Person, "/admin/events").get(to!(pages::admin::live::stream)),
        row(Person, "/admin/add-users")
            .get(to!(pages::admin::user::add)).post(to!(pages::admin::user::make)),
        row(Person, "/admin/users/{user}")
            .get(to!(pages::admin::user::show, "user")).post(to!(pages::admin::user::act, "user")),
        row(Person, "/admin/groups")
            .get(to!(pages::admin::groups::show)).post(to!(pages::admin::groups::make)),
        row(Person, "/admin/groups/{group}")
            .get(to!(pages::admin::groups::one, "group")).post(to!(pages::admin::groups::act, "group")),
        row(Person, "/admin/services").get(to!(pages::admin::services::show)),
        row(Person, "/admin/hub")
            .get(to!(pages::admin::hub::show)).post(to!(pages::admin::hub::act)),
        row(Person, "/accept-share").get(to!(pages::accept::show)).post(to!(pages::accept::take)),
        row(Person, "/api/oauth2/authorize")
            .get(to!(oauth::authorize::serve)).post(to!(oauth::authorize::serve)),
        row(Person, "/security/csp-report").post(to!(pages::outside::report)),
        row(Open, "/error/{code?}").get(to!(pages::error::proxy, "code")),
        row(Open, "/health").also("/api/health").peek(to!(pages::outside::health)),
        row(Server, "/metrics").also("/api/metrics").get(to!(api::metrics::show)),
        row(Anybody, "/api-docs").get(to!(pages::api_docs::show)),
        row(Open, "/logo").peek(to!(statics::logo)),
        row(Open, "/theme.css").peek(to!(statics::theme)),
        row(Open, "/static/{file?}").also("/static/{version}/{file}").peek(to!(statics::file, "version", "file")),
        // The REST API (`spec/rest-api.md`).
        row(ApiRoot, "/api").also("/api/").get(to!(api::hub::root)),
        row(ApiRoot, "/api/openapi.json").get(to!(api::describe::serve)),
        row(Api, "/api/info").get(to!(api::hub::info)).needs(&["read:hub"]),
        row(Api, "/api/user").get(to!(api::users::who_am_i)),
        row(Api, "/api/users")
            .get(to!(api::users::list::list)).lists(&["list:users"])
            .post(to!(api::users::change::create_several)).needs(&["admin:users"]),
        row(Api, "/api/users/{user}").of(Of::User)
            .get(to!(api::users::show, "user")).needs(VISIBLE)
            .post(to!(api::users::change::create, "user")).needs(&["admin:users"])
            .on(Method::PATCH, to!(api::users::change::change, "user")).needs(&["admin:users"])
            .delete(to!(api::users::change::delete, "user")).needs(&["delete:users"]),
        row(Api, "/api/users/{user}/activity").of(Of::User)
            .post(to!(api::activity::note, "user")).needs(&["users:activity"]),
        row(ApiLate, "/api/users/{user}/tokens").of(Of::User)
            .get(to!(api::tokens::list, "user")).needs(&["read:tokens"])
            .post(to!(api::tokens::make, "user")).asks(&["tokens"]),
        row(Api, "/api/users/{user}/tokens/{id?}").of(Of::User)
            .get(to!(api::tokens::show, "user", "id")).needs(&["read:tokens"])
            .delete(to!(api::tokens::revoke, "user", "id")).needs(&["tokens"]),
        row(Api, "/api/users/{user}/server").also("/api/users/{user}/servers/{server?}").of(Of::Server)
            .get(to!(api::servers::show, "user", "server")).needs(&["read:servers"])
            .put(to!(api::named::create, "user", "server")).needs(&["start:servers"])
            .on(Method::PATCH, to!(api::named::change, "user", "server")).needs(&["start:servers"])
            .post(to!(api::servers::start, "user", "server")).needs(&["start:servers"])
            .delete(to!(api::servers::stop, "user", "server")).needs(&["delete:servers"]),
        row(Api, "/api/users/{user}/server/progress").also("/api/users/{user}/servers/{server?}/progress")
            .of(Of::Server).get(to!(api::progress::stream, "user", "server")).needs(&["read:servers"]),
        row(Api, "/api/users/{user}/admin-access").of(Of::User)
            .post(to!(api::servers::admin_access, "user")).needs(&["servers"]),
        row(Api, "/api/proxy")
            .get(to!(api::proxy::show)).needs(&["proxy"])
            .post(to!(api::proxy::check)).needs(&["proxy"])
            .on(Method::PATCH, to!(api::proxy::update)).needs(&["proxy"]),
        row(Api, "/api/announcement")
            .get(to!(api::notices::announced))
            .put(to!(api::notices::announce)).needs(&["admin:users"])
            .delete(to!(api::notices::withdraw)).needs(&["admin:users"]),
        row(Api, "/api/maintenance")
            .get(to!(api::notices::maintenance))
            .put(to!(api::notices::begin)).needs(&["shutdown"])
            .delete(to!(api::notices::end)).needs(&["shutdown"]),
        row(Api, "/api/shutdown").post(to!(api::shutdown::begin)).needs(&["shutdown"]),
        row(ApiLate, "/api/authorizations/token/{token?}")
            .get(to!(api::authorizations::token, "token")).post(to!(api::authorizations::moved)),
        row(ApiLate, "/api/authorizations/token").post(to!(api::authorizations::moved))
            .get(to!(api::authorizations::token, "token")),
        row(Api, "/api/authorizations/cookie/{name}").also("/api/authorizations/cookie/{name}/{value}")
            .get(to!(api::authorizations::cookie, "name", "value")),
        row(Api, "/api/shares/{user}").of(Of::User)
            .get(to!(api::shares::by_owner, "user")).needs(&["read:shares"]),
        row(Api, "/api/shares/{user}/{server?}").of(Of::Server)
            .get(to!(api::shares::of_server, "user", "server")).needs(&["read:shares"])
            .post(to!(api::shares::grant, "user", "server")).needs(&["shares"])
            .on(Method::PATCH, to!(api::shares::revoke, "user", "server")).needs(&["shares"])
            .delete(to!(api::shares::revoke_all, "user", "server")).needs(&["shares"]),
        row(Api, "/api/share-codes/{user}").of(Of::User)
            .get(to!(api::share_codes::by_owner, "user")).needs(&["read:shares"]),
        row(Api, "/api/share-codes/{user}/{server?}").of(Of::Server)
            .get(to!(api::share_codes::of_server, "user", "server")).needs(&["read:shares"])
            .post(to!(api::share_codes::make, "user", "server")).needs(&["shares"])
            .delete(to!(api::share_codes::delete, "user", "server")).needs(&["shares"]),
        // What is shared with somebody: they are what it is about, not the server's owner.
        row(Api, "/api/users/{user}/shared").of(Of::User)
            .get(to!(api::shares::with_user, "user")).needs(&["read:users:shares"]),
        row(Api, "/api/users/{user}/shared/{owner}/{its?}").of(Of::User)
            .get(to!(api::shares::one_with_user, "user", "owner", "its")).needs(&["read:users:shares"])
            .delete(to!(api::shares::leave_as_user, "user", "owner", "its")).needs(&["users:shares"]),
        row(Api, "/api/groups/{group}/shared").of(Of::Group)
            .get(to!(api::shares::with_group, "group")).needs(&["read:groups:shares"]),
        row(Api, "/api/groups/{group}/shared/{owner}/{its?}").of(Of::Group)
            .get(to!(api::shares::one_with_group, "group", "owner", "its")).needs(&["read:groups:shares"])
            .delete(to!(api::shares::leave_as_group, "group", "owner", "its")).needs(&["groups:shares"]),
        row(Api, "/api/services").get(to!(api::services::list)).lists(&["list:services"]),
        row(Api, "/api/services/{service}").of(Of::Service)
            .get(to!(api::services::show, "service"))
            .needs(&["read:services", "read:services:name", "read:roles:services"])
            .post(to!(api::services::make, "service")).needs(&["admin:services"])
            .delete(to!(api::services::remove, "service")).needs(&["admin:services"]),
        row(Api, "/api/groups")
            .get(to!(api::groups::list)).lists(&["list:groups"])
            .post(to!(api::groups::create_several)).needs(&["admin:groups"]),
        row(Api, "/api/groups/{group}").of(Of::Group)
            .get(to!(api::groups::show, "group")).needs(GROUP)
            .post(to!(api::groups::create, "group")).needs(&["admin:groups"])
            .delete(to!(api::groups::delete, "group")).needs(&["delete:groups"]),
        row(Api, "/api/groups/{group}/users").of(Of::Group)
            .post(to!(api::groups::add, "group")).needs(&["groups"])
            .delete(to!(api::groups::remove, "group")).needs(&["groups"]),
        row(Api, "/api/groups/{group}/properties").of(Of::Group)
            .on(Method::PUT, to!(api::groups::describe, "group")).needs(&["groups"]),
        row(ApiClient, "/api/oauth2/token").post(to!(oauth::token::serve)),
    ]
}

/// A router of these rows.
pub(crate) fn mount(
    rows: Vec<Row>,
    serve: impl Fn(Row) -> MethodRouter<std::sync::Arc<App>>,
) -> Router<std::sync::Arc<App>> {
    let mut router = Router::new();
    for row in rows {
        let serve = serve(row.clone());
        for path in row.paths.iter().flat_map(|path| spellings(path)) {
            router = router.route(&path, serve.clone());
        }
    }
    router
}

/// A path with and without each name that may be empty: axum's places take one character at least.
fn spellings(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once("?}") else { return vec![path.to_owned()] };
    let open = before.rfind('{').expect("a place begins with a brace");
    let with = format!("{before}}}");
    let ends = spellings(rest);
    [with.as_str(), &before[..open]]
        .iter()
        .flat_map(|begin| ends.iter().map(move |end| format!("{begin}{end}")))
        .collect()
}
