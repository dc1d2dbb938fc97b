//! Which part of a table is asked for. All of it stands in the address, so that a view can be kept, sent and gone back to.
//! What is no such thing there is passed over: addresses are typed and kept for years.

use serde_json::{Value, json};

use crate::web::{call::Call, form};

/// In which state users' servers are to be.
pub(super) const STATES: &[&str] = &["active", "ready", "inactive", "failed"];
/// By what the table is put in order; with `-` before it the other way round. Else: by age.
const SORTS: &[&str] = &["name", "last_activity", "started", "memory"];

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// A part of the name.
    pub(super) name_filter: String,
    /// One of [`STATES`]; empty: any.
    pub(super) state: String,
    /// Only members of this group.
    pub(super) group: String,
    /// Only those with a server of this profile.
    pub(super) profile: String,
    /// One of [`SORTS`], perhaps with `-`; empty: by age.
    pub(super) sort: String,
    /// How many come before.
    pub(super) offset: usize,
    /// How many at the most; none: as configured.
    pub(super) limit: Option<usize>,
}

impl Asked {
    /// As the address has it.
    pub(super) fn of(call: &Call) -> Self {
        Self::read(|name| call.query.get(name))
    }

    /// As these fields have it.
    pub(super) fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let text = |name: &str| get(name).unwrap_or_default().trim().to_owned();
        let number = |name: &str| get(name).and_then(|text| text.parse::<usize>().ok());
        let known = |text: String, all: &[&str]| {
            let plain = text.strip_prefix('-').unwrap_or(&text);
            if all.contains(&plain) { text } else { String::new() }
        };
        Self {
            name_filter: text("name_filter"),
            state: known(text("state"), STATES),
            group: text("group"),
            profile: text("profile"),
            sort: known(text("sort"), SORTS),
            offset: number("offset").unwrap_or(0),
            limit: number("limit").filter(|limit| *limit > 0),
        }
    }

    /// How many are shown at the most.
    pub(super) fn most(&self, call: &Call) -> usize {
        let hub = &call.settings.hub;
        let number = |most: u32| usize::try_from(most.max(1)).unwrap_or(usize::MAX);
        let limit = self.limit.unwrap_or_else(|| number(hub.api_page_default_limit));
        limit.min(number(hub.api_page_max_limit))
    }

    /// By what, and is it the other way round?
    pub(super) fn order(&self) -> (&str, bool) {
        self.sort.strip_prefix('-').map_or((&self.sort, false), |by| (by, true))
    }

    /// As a query again.
    pub(super) fn query(&self) -> String {
        let (offset, limit) = (self.offset.to_string(), self.limit.map(|it| it.to_string()));
        let all = [
            ("name_filter", &*self.name_filter),
            ("state", &self.state),
            ("group", &self.group),
            ("profile", &self.profile),
            ("sort", &self.sort),
            ("offset", if self.offset == 0 { "" } else { &offset }),
            ("limit", limit.as_deref().unwrap_or_default()),
        ];
        form::encode(all.into_iter().filter(|(_, value)| !value.is_empty()))
    }

    /// The address of this view.
    pub(super) fn href(&self, address: &str) -> String {
        form::with_query(address, &self.query())
    }

    /// What a click on this column's head leads to: in its order, then the other way round, then as if nothing were
    /// wanted. Of times and sizes the greatest come first.
    pub(super) fn sorted(&self, column: &str) -> Self {
        let (down, up) = (format!("-{column}"), column.to_owned());
        let (first, second) = if column == "name" { (up, down) } else { (down, up) };
        let sort = match &self.sort {
            now if *now == first => second,
            now if *now == second => String::new(),
            _ => first,
        };
        Self { sort, offset: 0, ..self.clone() }
    }

    /// Heads of columns by which one can sort.
    pub(super) fn heads(&self, address: &str) -> Value {
        let (by, backwards) = self.order();
        let head = |column: &&'static str| {
            let column = *column;
            let way = match (by == column, backwards) {
                (false, _) => "",
                (true, false) => "ascending",
                (true, true) => "descending",
            };
            (column.to_owned(), json!({"href": self.sorted(column).href(address), "way": way}))
        };
        Value::Object(SORTS.iter().map(head).collect())
    }

    /// Where this page lies in `total`, and the addresses around it.
    pub(super) fn pager(&self, address: &str, limit: usize, shown: usize, total: usize) -> Value {
        let at = |offset: usize| Self { offset, ..self.clone() }.href(address);
        let next = self.offset.saturating_add(limit);
        json!({
            "first": if shown == 0 { 0 } else { self.offset + 1 },
            "last": self.offset + shown,
            "total": total,
            "limit": limit,
            "previous": (self.offset > 0).then(|| at(self.offset.saturating_sub(limit))),
            "next": (next < total).then(|| at(next)),
        })
    }

    /// For the form above the table.
    pub(super) fn values(&self) -> Value {
        json!({
            "name_filter": self.name_filter,
            "state": self.state,
            "group": self.group,
            "profile": self.profile,
            "sort": self.sort,
            "limit": self.limit,
            "query": self.query(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::form::Form;

    fn asked(query: &str) -> Asked {
        let form = Form::parse(query).unwrap();
        Asked::read(|name| form.get(name))
    }

    #[test]
    fn an_address_says_what_is_asked_for_and_back() {
        for query in [
            "",
            "name_filter=a%26b&state=active&group=g&profile=p&sort=-name&offset=50&limit=25",
            "sort=last_activity",
        ] {
            assert_eq!(asked(query).query(), query);
        }
        for (query, tidy) in [
            ("state=odd&sort=colour&offset=-1&limit=x", ""),
            ("sort=--name", ""),
            ("name_filter=+a+&limit=0", "name_filter=a"),
        ] {
            assert_eq!(asked(query).query(), tidy, "{query}");
        }
    }

    #[test]
    fn a_head_sorts_one_way_then_the_other_then_not() {
        let clicks = |column: &str| {
            let mut now = asked("offset=50");
            let click = |_| {
                now = now.sorted(column);
                now.query()
            };
            (0..3).map(click).collect::<Vec<_>>()
        };
        assert_eq!(clicks("name"), ["sort=name", "sort=-name", ""]);
        assert_eq!(clicks("memory"), ["sort=-memory", "sort=memory", ""]);
    }

    #[test]
    fn a_pager_stays_within_the_list() {
        let pager = asked("offset=50&sort=name").pager("/a", 50, 20, 70);
        assert_eq!((&pager["first"], &pager["last"]), (&json!(51), &json!(70)));
        assert_eq!(pager["previous"], "/a?sort=name");
        assert_eq!(pager["next"], Value::Null);
        let pager = asked("").pager("/a", 50, 50, 70);
        assert_eq!((&pager["previous"], &pager["next"]), (&Value::Null, &json!("/a?offset=50")));
    }
}
