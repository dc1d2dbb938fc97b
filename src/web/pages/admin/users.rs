//! The table of users and their servers: searched, filtered, sorted and cut here, never in the browser.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use http::{Method, StatusCode};
use jovis_actors::{
    accounts::roster::{self, Among, Order, Pattern, Search, State},
    domain::{
        Server, User, UserId, quote,
        scope::{Mask, Resource},
    },
};
use serde_json::{Value, json};

use super::{act, asked::Asked, enter, is_fragment, rows};
use crate::web::{
    answer::{self, Answer},
    api::users::list::among,
    call::Call,
    error::Error,
    form::Form,
    model::user::View,
};

/// What shows who is in a group.
const MEMBERS: Mask = Mask::of(&["read:groups"]);
/// Most profiles and groups that are offered as filters.
const OFFERED: usize = 200;
/// Most users whose names are told at once, for what is done to all that match.
const MATCHING: usize = 5_000;
/// The row of the API for a server.
const SERVER: &str = "/api/users/{user}/server";

/// The number by which somebody is put in order, if there is one.
type Rank<'a> = Box<dyn Fn(&User) -> Option<i64> + 'a>;

/// The page, or its table alone.
pub(crate) async fn show(call: &mut Call) -> Answer {
    enter(call)?;
    table(call, StatusCode::OK, None)
}

fn table(call: &mut Call, status: StatusCode, problem: Option<Value>) -> Answer {
    let mut asked = Asked::of(call);
    let held = call.known()?.granted.any();
    let mut own = json!({ "asked": asked.values(), "problem": problem, "may_list": false });
    if held.meets(super::LIST_USERS) {
        let limit = asked.most(call);
        let (mut users, mut total) = found(call, &asked, limit)?;
        if users.is_empty() && asked.offset > 0 {
            // What was there has gone since.
            asked.offset = 0;
            (users, total) = found(call, &asked, limit)?;
        }
        let models = models(call, &users)?;
        let address = format!("{}admin", call.hub());
        super::merge(
            &mut own,
            json!({
                "may_list": true,
                "asked": asked.values(),
                "rows": rows::rows(call, &models),
                "heads": asked.heads(&address),
                "pager": asked.pager(&address, limit, users.len(), total),
                "searched": asked != Asked { sort: asked.sort.clone(), offset: asked.offset,
                    limit: asked.limit, ..Asked::default() },
            }),
        );
    }
    if is_fragment(call) {
        return super::show(call, "admin_users.html", "users", status, own);
    }
    super::merge(&mut own, json!({"profiles": profiles(call)?, "groups": groups(call)?}));
    super::show(call, "admin.html", "users", status, own)
}

/// The users of this page, and how many there are on all pages.
fn found(call: &Call, asked: &Asked, limit: usize) -> Result<(Vec<Arc<User>>, usize), Error> {
    let (order, backwards) = asked.order();
    let ranks = ranks(call, order);
    let pattern = Some(&*asked.name_filter).filter(|part| !part.is_empty()).map(Pattern::part);
    let search = Search {
        among: narrowed(call, asked)?,
        state: match &*asked.state {
            "active" => Some(State::Active),
            "inactive" => Some(State::Inactive),
            _ => None,
        },
        pattern,
        order: match order {
            "" => Order::Id,
            "name" => Order::Name,
            _ => Order::Rank,
        },
        backwards,
        offset: asked.offset,
        limit,
        counted: true,
    };
    let found = roster::search(&call.image, &search, &*ranks);
    Ok((found.users, found.total))
}

/// Whom the visitor may list, of whom what is asked for is true. What the visitor does not see is true of nobody.
fn narrowed(call: &Call, asked: &Asked) -> Result<Among, Error> {
    let granted = &call.known()?.granted;
    let mut all = among(call, granted)?;
    let seen = |server: &Server| {
        granted.whole().meets(rows::SEE)
            || call.image.user(server.key.user).is_some_and(|user| {
                let about = Resource::Server(user.name.as_str(), server.key.name.as_str());
                call.covers(rows::SEE, about)
            })
    };
    let with = |fits: &dyn Fn(&Server) -> bool| {
        roster::with_server(&call.image, |server| fits(server) && seen(server))
    };
    match &*asked.state {
        "ready" => all = all.within(with(&|server| server.state.is_ready())),
        "failed" => all = all.within(with(&|server| rows::state(server) == "failed")),
        _ => {}
    }
    if !asked.profile.is_empty() {
        let wanted = Some(&*asked.profile);
        all = all
            .within(with(&|server| server.user_options.as_ref().and_then(rows::profile) == wanted));
    }
    if !asked.group.is_empty() {
        let group = call.image.group_named(&asked.group);
        let group = group.filter(|it| call.covers(MEMBERS, Resource::Group(it.name.as_str())));
        let members = group.into_iter().flat_map(|group| call.image.members_of(group.id));
        all = all.within(members.map(|user| user.id).collect());
    }
    Ok(all)
}

/// The number by which users are put in order.
fn ranks<'a>(call: &'a Call, order: &str) -> Rank<'a> {
    match order {
        "last_activity" => {
            let last = call.app.doors.notes().of_users();
            Box::new(move |user| last(user).map(|at| at.0))
        }
        "started" => by_server(call, |server| server.started.map(|at| at.0)),
        "memory" => by_server(call, |server| memory(call, server)),
        _ => Box::new(|_| None),
    }
}

/// The greatest number of somebody's active servers.
fn by_server<'a>(call: &'a Call, number: impl Fn(&Server) -> Option<i64>) -> Rank<'a> {
    let mut all: HashMap<UserId, i64> = HashMap::new();
    for server in call.image.servers().filter(|server| server.state.is_active()) {
        if let Some(number) = number(server) {
            let most = all.entry(server.key.user).or_insert(number);
            *most = number.max(*most);
        }
    }
    Box::new(move |user| all.get(&user.id).copied())
}

/// What a server has of memory, in bytes.
fn memory(call: &Call, server: &Server) -> Option<i64> {
    let usage = call.app.doors.usage(&server.key)?;
    Some(i64::try_from(usage.memory).unwrap_or(i64::MAX))
}

/// The API's models, as the visitor sees them.
fn models<'a>(call: &Call, users: &'a [Arc<User>]) -> Result<Vec<rows::Seen<'a>>, Error> {
    let granted = &call.known()?.granted;
    let view = View {
        facts: call.facts(),
        granted,
        policy: &call.policy,
        notes: call.app.doors.notes(),
        stopped_too: true,
    };
    let model = |user: &'a Arc<User>| match view.model(&call.image, user)? {
        Value::Object(fields) => Some((&**user, fields)),
        _ => None,
    };
    Ok(users.iter().filter_map(model).collect())
}

/// Profiles of servers the visitor sees, for the filter.
fn profiles(call: &Call) -> Result<Vec<String>, Error> {
    let mut all = BTreeSet::new();
    if call.known()?.granted.whole().meets(rows::SEE) {
        let options = call.image.servers().filter_map(|it| it.user_options.as_ref());
        for profile in options.filter_map(rows::profile) {
            if all.len() < OFFERED && !all.contains(profile) {
                all.insert(profile.to_owned());
            }
        }
    }
    Ok(all.into_iter().collect())
}

/// Groups whose members the visitor sees, for the filter.
fn groups(call: &Call) -> Result<Vec<String>, Error> {
    let granted = &call.known()?.granted;
    if !granted.any().meets(MEMBERS) {
        return Ok(Vec::new());
    }
    let seen = |name: &str| call.covers(MEMBERS, Resource::Group(name));
    let names = call.image.groups().map(|group| group.name.as_str()).filter(|name| seen(name));
    let mut names: Vec<_> = names.take(OFFERED).map(ToOwned::to_owned).collect();
    names.sort_unstable();
    Ok(names)
}

/// A button of the table: `start`, `stop` or `delete`, with the server as it stands in addresses.
pub(crate) async fn act(call: &mut Call) -> Answer {
    let form = act::form(call).await?;
    enter(call)?;
    let query = Asked::read(|name| call.query.get(name)).query();
    match done(call, &form).await {
        Ok(()) => super::back(call, "admin", &query),
        Err(error) => {
            let (status, problem) = super::told(&error);
            Ok(answer::with_retry(table(call, status, Some(problem))?, &error))
        }
    }
}

async fn done(call: &mut Call, form: &Form) -> Result<(), Error> {
    let known = ["start", "stop", "delete"];
    let asked = known.iter().find_map(|deed| Some((*deed, form.get(deed)?)));
    let (deed, which) = asked.ok_or_else(|| Error::bad("the form says nothing to be done"))?;
    let (user, server) = which.split_once('/').unwrap_or((which, ""));
    let plain = |part| quote::unquote(part).ok_or_else(|| Error::bad("the form is not UTF-8"));
    let (user, server) = (plain(user)?, plain(server)?);
    let (method, body) = match deed {
        "start" => (Method::POST, None),
        "stop" => (Method::DELETE, None),
        _ => (Method::DELETE, Some(json!({"remove": true}))),
    };
    let names = [("user", &*user), ("server", &*server)];
    act::api(call, method, SERVER, &names, body).await.map(drop)
}

/// All that match, for what is done to each of them: users, and their servers as far as they are visible.
pub(crate) async fn matching(call: &mut Call) -> Answer {
    enter(call)?;
    call.may_list(super::LIST_USERS)?;
    let asked = Asked { offset: 0, limit: None, ..Asked::of(call) };
    let (users, total) = found(call, &asked, MATCHING)?;
    let all = rows::rows(call, &models(call, &users)?);
    let row = |row: &Value| json!({"key": row["key"], "user": row["user"], "server": row["server"], "api": row["api"], "active": row["active"]});
    let rows: Vec<_> = all.iter().map(row).collect();
    Ok(answer::json(StatusCode::OK, &json!({ "rows": rows, "users": users.len(), "total": total })))
}
