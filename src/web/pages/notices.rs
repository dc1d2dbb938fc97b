//! The banners that administrators put on all pages while the hub runs: maintenance, and an announcement. What they write
//! is text; only addresses in it are made links.

use jovis_actors::domain::notice::Level;
use serde_json::{Value, json};

use crate::web::{call::Call, model::time::wire};

/// Banners for the page's head, the weightier first.
pub(super) fn shown(call: &Call) -> Vec<Value> {
    let maintenance = call.image.maintenance().map(|it| {
        json!({
            "kind": "maintenance", "level": "warn", "html": linked(&it.message),
            "until": it.until.filter(|until| *until > call.now).map(wire),
        })
    });
    let announced = call.image.announcement().filter(|it| it.is_shown(call.now)).map(|it| {
        let level = match it.level {
            Level::Info => "",
            Level::Warning => "warn",
        };
        json!({"kind": "announcement", "level": level, "html": linked(&it.text)})
    });
    maintenance.into_iter().chain(announced).collect()
}

/// Text as HTML: escaped, its lines apart, its addresses as links.
fn linked(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some(at) = next_address(rest) {
        let (before, from) = rest.split_at(at);
        escape(before, &mut out);
        let end = from.find(|c: char| c.is_whitespace() || "<>\"'`{}|\\^".contains(c));
        let address = &from[..end.unwrap_or(from.len())];
        // What ends a sentence, and a bracket around it, is none of it.
        let mut address = address.trim_end_matches(['.', ',', ';', ':', '!', '?']);
        while address.ends_with(')') && address.matches(')').count() > address.matches('(').count()
        {
            address = &address[..address.len() - 1];
        }
        out.push_str("<a rel=\"noopener noreferrer\" href=\"");
        escape(address, &mut out);
        out.push_str("\">");
        escape(address, &mut out);
        out.push_str("</a>");
        rest = &from[address.len()..];
    }
    escape(rest, &mut out);
    out
}

/// Where the next address begins: it has something behind its slashes, and no letter before it.
fn next_address(text: &str) -> Option<usize> {
    let begins = |scheme: &'static str| {
        text.match_indices(scheme).map(|(at, _)| at).find(|at| {
            let before = text[..*at].chars().next_back();
            let behind = text[at + scheme.len()..].chars().next();
            !before.is_some_and(char::is_alphanumeric) && behind.is_some_and(char::is_alphanumeric)
        })
    };
    ["http://", "https://"].into_iter().filter_map(begins).min()
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push_str("<br>"),
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_links_and_nothing_else_becomes_markup() {
        let link = |address: &str| {
            format!("<a rel=\"noopener noreferrer\" href=\"{address}\">{address}</a>")
        };
        for (text, html) in [
            ("plain", "plain".to_owned()),
            (
                "<b>a</b> & \"c\"\n'd'",
                "&lt;b&gt;a&lt;/b&gt; &amp; &#34;c&#34;<br>&#39;d&#39;".to_owned(),
            ),
            ("see https://a.org/b?c=d.", format!("see {}.", link("https://a.org/b?c=d"))),
            ("(http://a.org/x_(y))", format!("({})", link("http://a.org/x_(y)"))),
            ("https://a.org/?a=1&b=2", link("https://a.org/?a=1&amp;b=2")),
            ("javascript:alert(1) ftp://a.org", "javascript:alert(1) ftp://a.org".to_owned()),
            ("http:// https://", "http:// https://".to_owned()),
            ("http://a\"onclick=x", format!("{}&#34;onclick=x", link("http://a"))),
            ("xhttp://a.org", "xhttp://a.org".to_owned()),
            ("http://a http://b", format!("{} {}", link("http://a"), link("http://b"))),
            ("http://a<script>", format!("{}&lt;script&gt;", link("http://a"))),
        ] {
            assert_eq!(linked(text), html, "{text}");
        }
    }
}
