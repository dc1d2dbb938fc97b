//! Lists that come a page at a time. (`spec/rest-api.md` 1.11.)
//!
//! A list is bare, and cut off at its limit, unless the client says by its `Accept` header that it knows pages: then it
//! stands in an object beside what is needed to go on. Some lists stand in that object in any case.

use http::StatusCode;
use serde_json::{Value, json};

use crate::web::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    form::Form,
};

/// The media type by which a client says that it knows pages.
const PAGES: &str = "application/jupyterhub-pagination+json";

/// How long pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// For clients that know pages.
    default: usize,
    /// For all others, and at the most.
    most: usize,
}

/// Which part of a list is asked for, and in which shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// How many come before it.
    pub(crate) offset: usize,
    /// How many it has at the most; never 0.
    pub(crate) limit: usize,
    /// Does the client know pages?
    pub(crate) known: bool,
}

impl Page {
    /// As the request has it; 400 if that is no number.
    pub(crate) fn of(call: &Call) -> Result<Self, Error> {
        let accept = call.headers.get_all("accept").iter().filter_map(|value| value.to_str().ok());
        let hub = &call.settings.hub;
        let pages = |most: u32| usize::try_from(most.max(1)).unwrap_or(usize::MAX);
        let limits = Limits {
            default: pages(hub.api_page_default_limit),
            most: pages(hub.api_page_max_limit),
        };
        // Of several the last one counts, as in the reference.
        let last = |name| call.query.all(name).last();
        Self::read(accept, last("offset"), last("limit"), limits)
    }

    fn read<'a>(
        accept: impl IntoIterator<Item = &'a str>,
        offset: Option<&str>,
        limit: Option<&str>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let mut items = accept.into_iter().flat_map(|list| list.split(','));
        let known = items.any(|item| item.trim().eq_ignore_ascii_case(PAGES));
        let offset = offset.map(|text| number("offset", text)).transpose()?;
        let limit = limit.map(|text| number("limit", text)).transpose()?;
        let usual = if known { limits.default } else { limits.most };
        let limit = limit.unwrap_or(usual).clamp(1, limits.most.max(1));
        Ok(Self { offset: offset.unwrap_or(0), limit, known })
    }

    /// This page of a list, and how long the whole is. For lists that are short, or must be walked anyway.
    pub(crate) fn cut<T>(&self, all: impl Iterator<Item = T>) -> (Vec<T>, usize) {
        let (mut page, mut total) = (Vec::new(), 0);
        for item in all {
            if total >= self.offset && page.len() < self.limit {
                page.push(item);
            }
            total += 1;
        }
        (page, total)
    }

    /// This page of `total` items, a list or an object: bare for clients that do not know pages.
    pub(crate) fn answer(&self, call: &Call, items: Value, total: usize) -> Answer {
        if self.known {
            return self.always(call, items, total);
        }
        Ok(answer::json(StatusCode::OK, &items))
    }

    /// The same, in the shape of a page for every client.
    pub(crate) fn always(&self, call: &Call, items: Value, total: usize) -> Answer {
        let path = format!("{}{}", call.origin, call.path);
        let body =
            json!({ "items": items, "_pagination": self.pagination(&path, &call.query, total) });
        Ok(answer::json(StatusCode::OK, &body))
    }

    /// Where this page is in a list of `total`, and where it goes on. `path`: the address asked for, without its query.
    fn pagination(&self, path: &str, query: &Form, total: usize) -> Value {
        let Self { offset, limit, .. } = *self;
        let next = offset.saturating_add(limit);
        let next = (next < total).then(|| {
            let (offset, size) = (next.to_string(), limit.to_string());
            let query = query.with(&[("limit", &size), ("offset", &offset)]);
            json!({ "offset": next, "limit": limit, "url": format!("{path}?{query}") })
        });
        json!({ "offset": offset, "limit": limit, "total": total, "next": next })
    }
}

/// A whole number, made positive. One that is too great for us is still one.
fn number(what: &str, text: &str) -> Result<usize, Error> {
    let digits = text.trim();
    let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::bad(format!("{what} must be an integer")));
    }
    Ok(digits.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { default: 50, most: 200 };

    fn read(accept: &str, offset: Option<&str>, limit: Option<&str>) -> Result<Page, u16> {
        Page::read([accept], offset, limit, LIMITS).map_err(|error| error.status.as_u16())
    }

    #[test]
    fn only_the_exact_accept_item_asks_for_pages() {
        for (accept, known) in [
            (PAGES, true),
            ("application/JupyterHub-Pagination+JSON", true),
            ("text/html, application/jupyterhub-pagination+json ,*/*", true),
            ("application/jupyterhub-pagination+json;q=0.9", false),
            ("application/json", false),
            ("", false),
        ] {
            let page = read(accept, None, None).unwrap();
            let limit = if known { 50 } else { 200 };
            assert_eq!(page, Page { offset: 0, limit, known }, "{accept}");
        }
        let none = Page::read([], None, None, LIMITS).unwrap();
        assert_eq!((none.known, none.limit), (false, 200));
        let set = Page::read([PAGES], None, None, Limits { default: 7, most: 3 }).unwrap();
        assert_eq!(set.limit, 3, "never more than the most");
    }

    #[test]
    fn numbers_are_made_positive_and_kept_within_bounds() {
        for (text, limit, offset) in [
            ("0", 1, 0),
            ("-2", 2, 2),
            ("+3", 3, 3),
            (" 4 ", 4, 4),
            ("201", 200, 201),
            ("99999999999999999999999", 200, usize::MAX),
        ] {
            let page = read("", Some(text), Some(text)).unwrap();
            assert_eq!((page.limit, page.offset), (limit, offset), "{text}");
        }
        for bad in ["", "a", "1.0", "1e2", "--1", "-", "0x1", "١"] {
            assert_eq!(read("", None, Some(bad)), Err(400), "{bad}");
            assert_eq!(read("", Some(bad), None), Err(400), "{bad}");
        }
    }

    #[test]
    fn the_next_page_is_named_until_there_is_none() {
        let query = Form::parse("state=active&limit=9&a=%26+b&offset=1").unwrap();
        let page = |offset| Page { offset, limit: 2, known: true };
        let url = "https://h:1/hub/api/users?state=active&limit=2&a=%26%20b&offset=4";
        assert_eq!(
            page(2).pagination("https://h:1/hub/api/users", &query, 5),
            json!({"offset": 2, "limit": 2, "total": 5, "next": {"offset": 4, "limit": 2, "url": url}})
        );
        for last in [3, 4, 5, usize::MAX] {
            assert_eq!(page(last).pagination("/", &query, 5)["next"], Value::Null, "{last}");
        }
        let bare = page(0).pagination("/x", &Form::default(), 3);
        assert_eq!(bare["next"]["url"], "/x?limit=2&offset=2");
    }

    #[test]
    fn a_list_is_cut_and_counted_whole() {
        let page = Page { offset: 2, limit: 3, known: false };
        assert_eq!(page.cut(0..10), (vec![2, 3, 4], 10));
        assert_eq!(page.cut(0..3), (vec![2], 3));
        assert_eq!(page.cut(0..1), (vec![], 1));
    }
}
