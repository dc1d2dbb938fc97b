//! All users, as far as one may list them (`spec/rest-api.md` 4.3).

use jovis_actors::{
    accounts::roster::{self, Among, Order, Pattern, Search, State},
    domain::{
        User,
        scope::{Filter, Granted, Mask},
    },
};
use serde_json::Value;

use super::view;
use crate::web::{answer::Answer, api::page::Page, call::Call, error::Error};

/// A page of them. Who cannot be seen at all is left out of it.
pub(crate) async fn list(call: &Call) -> Answer {
    let granted = &call.known()?.granted;
    let among = among(call, granted)?;
    let page = Page::of(call)?;
    let (order, backwards) = order(call.query.get("sort"))?;
    let pattern = call.query.get("name_filter").filter(|part| !part.is_empty()).map(Pattern::part);
    let noted = (order == Order::Rank).then(|| call.app.doors.notes().of_users());
    let last = |user: &User| noted.as_ref().map_or(user.last_activity, |noted| noted(user));
    let rank = |user: &User| last(user).map(|at| at.0);
    let found = roster::search(
        &call.image,
        &Search {
            among,
            state: state(call.query.get("state"))?,
            pattern,
            order,
            backwards,
            offset: page.offset,
            limit: page.limit,
            counted: page.known,
        },
        &rank,
    );
    let view = view(call, granted);
    let items = found.users.iter().filter_map(|user| view.model(&call.image, user)).collect();
    page.answer(call, Value::Array(items), found.total)
}

/// Whom the caller may list: everybody, or those its filters name, by themselves and by groups.
pub(crate) fn among(call: &Call, granted: &Granted) -> Result<Among, Error> {
    const LIST: Mask = Mask::of(&["list:users"]);
    if granted.whole().meets(LIST) {
        return Ok(Among::All);
    }
    let (mut ids, mut fits) = (Vec::new(), false);
    for (filter, _) in granted.parts().filter(|(_, mask)| mask.meets(LIST)) {
        match filter {
            Filter::User(name) => {
                fits = true;
                ids.extend(call.image.user_named(name).map(|user| user.id));
            }
            Filter::Group(name) => {
                fits = true;
                let members = call.image.group_named(name).map(|it| call.image.members_of(it.id));
                ids.extend(members.into_iter().flatten().map(|user| user.id));
            }
            // Neither says anything about users.
            Filter::Server(_) | Filter::Service(_) => {}
        }
    }
    if !fits {
        return Err(Error { message: None, ..Error::forbidden("") });
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(Among::Only(ids))
}

fn state(asked: Option<&str>) -> Result<Option<State>, Error> {
    match asked {
        None | Some("") => Ok(None),
        Some("active") => Ok(Some(State::Active)),
        Some("inactive") => Ok(Some(State::Inactive)),
        Some("ready") => Ok(Some(State::Ready)),
        Some(_) => Err(Error::bad("state must be active, inactive or ready")),
    }
}

/// By what, and is it the other way round?
fn order(asked: Option<&str>) -> Result<(Order, bool), Error> {
    let asked = asked.unwrap_or("id");
    let (by, backwards) = asked.strip_prefix('-').map_or((asked, false), |by| (by, true));
    let by = match by {
        "id" => Order::Id,
        "name" => Order::Name,
        "last_activity" => Order::Rank,
        _ => {
            return Err(Error::bad(
                "sort must be id, name or last_activity, with - before it or not",
            ));
        }
    };
    Ok((by, backwards))
}
