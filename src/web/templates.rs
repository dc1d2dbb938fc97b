//! Pages are Jinja templates: ours are built in, an operator's folders go before them (`spec/pages.md` 14). Values are
//! escaped by default. `templates/NAME` always means ours, so that a replacement can extend what it replaces.

use std::{collections::BTreeMap, path::PathBuf};

use minijinja::{
    AutoEscape, Environment, Output, State, UndefinedBehavior, Value, escape_formatter,
    value::Kwargs,
};

use super::{statics, words};
use crate::config::templates::{TemplateError, broken, read};

macro_rules! built_in {
    ($($name:literal),*) => { &[$(($name, include_str!(concat!("templates/", $name)))),*] };
}

/// Names and texts of ours.
const OURS: &[(&str, &str)] = built_in![
    "404.html",
    "api_docs.html",
    "accept-share.html",
    "admin.html",
    "admin_add.html",
    "admin_fields.html",
    "admin_group.html",
    "admin_groups.html",
    "admin_groups_table.html",
    "admin_hub.html",
    "admin_members.html",
    "admin_pager.html",
    "admin_services.html",
    "admin_tabs.html",
    "admin_user.html",
    "admin_users.html",
    "error.html",
    "home.html",
    "home_servers.html",
    "login.html",
    "logout.html",
    "not_running.html",
    "oauth.html",
    "page.html",
    "spawn.html",
    "shares.html",
    "spawn_pending.html",
    "stop_pending.html",
    "token.html"
];

/// All templates, parsed.
pub(crate) struct Templates(Environment<'static>);

impl Templates {
    /// Ours, and those of these folders (the first folder wins).
    pub(crate) fn load(folders: &[PathBuf]) -> Result<Self, TemplateError> {
        let mut env = Environment::new();
        env.set_formatter(escaped);
        // What a page was not given is empty, also inside: an operator's template must not break a page over it.
        env.set_undefined_behavior(UndefinedBehavior::Chainable);
        env.add_function("static_file", |path: String| statics::lasting(&path));
        // As JupyterHub's templates say it.
        env.add_function("static_url", |state: &State<'_, '_>, path: String| {
            let hub = state.lookup("base_url").unwrap_or_default();
            format!("{hub}{}", statics::lasting(&path))
        });
        env.add_function("_", said);
        env.add_filter("strong", |value: &Value| tagged("strong", value));
        env.add_filter("code", |value: &Value| tagged("code", value));
        let mut add = |name: String, path: PathBuf, text: String| {
            env.add_template_owned(name, text).map_err(|error| broken(path, &error))
        };
        for (name, text) in OURS {
            add(format!("templates/{name}"), PathBuf::from(name), (*text).to_owned())?;
            add((*name).to_owned(), PathBuf::from(name), (*text).to_owned())?;
        }
        for folder in folders.iter().rev() {
            for (name, path, text) in read(folder)? {
                add(name, path, text)?;
            }
        }
        Ok(Self(env))
    }

    /// Is there one of this name?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.get_template(name).is_ok()
    }

    /// A template that stands in the settings; its values are escaped as in pages.
    pub(crate) fn render_text(
        &self,
        text: &str,
        values: serde_json::Value,
    ) -> Result<String, minijinja::Error> {
        self.0.render_named_str("settings.html", text, value(values))
    }

    /// The page.
    pub(crate) fn render(
        &self,
        name: &str,
        values: serde_json::Value,
    ) -> Result<String, minijinja::Error> {
        self.0.get_template(name)?.render(value(values))
    }
}

/// `_("Server {name} runs.", name=…)`: the text in the page's language. It and plain values are escaped, safe values stay.
fn said(state: &State<'_, '_>, english: &str, values: Kwargs) -> Result<Value, minijinja::Error> {
    let language = state.lookup("language").unwrap_or_default();
    let text = words::of(language.as_str().unwrap_or("en")).say(english);
    let mut safe = String::new();
    escape(text, &mut |part| safe.push_str(part));
    let filled = words::fill(&safe, |name| {
        let value: Value = values.get(name).ok()?;
        Some(html(&value))
    });
    values.args().for_each(|name| drop(values.get::<Value>(name)));
    values.assert_all_used()?;
    Ok(Value::from_safe_string(filled))
}

/// The value inside a tag.
fn tagged(tag: &str, value: &Value) -> Value {
    Value::from_safe_string(format!("<{tag}>{}</{tag}>", html(value)))
}

/// A value as it can stand in HTML.
fn html(value: &Value) -> String {
    let text = value.to_string();
    if value.is_safe() {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    escape(&text, &mut |part| out.push_str(part));
    out
}

/// Escapes text in HTML as Jinja does: addresses keep their slashes, and stay readable for simple clients.
fn escaped(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    let text = match (state.auto_escape(), value.as_str()) {
        (AutoEscape::Html, Some(text)) if !value.is_safe() => text,
        _ => return escape_formatter(out, state, value),
    };
    let mut safe = String::with_capacity(text.len());
    escape(text, &mut |part| safe.push_str(part));
    Ok(out.write_str(&safe)?)
}

fn escape(text: &str, push: &mut dyn FnMut(&str)) {
    for part in text.split_inclusive(['&', '<', '>', '"', '\'']) {
        let end = part.len() - 1;
        let code = match part.as_bytes()[end] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&#34;",
            b'\'' => "&#39;",
            _ => {
                push(part);
                continue;
            }
        };
        push(&part[..end]);
        push(code);
    }
}

/// JSON as a value of the template language.
fn value(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(yes) => Value::from(yes),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::from(whole),
            None => Value::from(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::from(text),
        Json::Array(items) => Value::from(items.into_iter().map(value).collect::<Vec<_>>()),
        Json::Object(fields) => Value::from(
            fields.into_iter().map(|(key, it)| (key, value(it))).collect::<BTreeMap<_, _>>(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_operators_template_extends_ours_and_is_escaped() {
        let folder = tempfile::tempdir().unwrap();
        let text = "{% extends 'templates/error.html' %}{% block main %}<b>{{ message }}</b>{% endblock %}";
        std::fs::write(folder.path().join("error.html"), text).unwrap();
        let templates = Templates::load(&[folder.path().to_owned()]).unwrap();
        let page = templates.render("error.html", json!({"message": "<i>"})).unwrap();
        assert!(page.contains("<b>&lt;i&gt;</b>"), "{page}");
        assert!(page.contains("<!DOCTYPE html>"), "{page}");
    }

    #[test]
    fn texts_are_in_the_pages_language_and_values_cannot_be_markup() {
        let folder = tempfile::tempdir().unwrap();
        let text =
            "{{ _('Close') }}|{{ _(\"a < {b} {c}\", b=name, c=name|strong) }}|{{ name|code }}";
        std::fs::write(folder.path().join("x.html"), text).unwrap();
        let templates = Templates::load(&[folder.path().to_owned()]).unwrap();
        let page = templates.render("x.html", json!({"language": "de", "name": "<i>{c}"})).unwrap();
        let name = "&lt;i&gt;{c}";
        assert_eq!(
            page,
            format!("Schließen|a &lt; {name} <strong>{name}</strong>|<code>{name}</code>")
        );
        assert!(templates.render("x.html", json!({})).unwrap().starts_with("Close|"));
    }

    #[test]
    fn a_broken_template_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("home.html");
        std::fs::write(&file, "<p>\n{% if %}\n").unwrap();
        let error = Templates::load(&[folder.path().to_owned()]).err().unwrap().to_string();
        let place = format!("{}, line 2: syntax error: ", file.display());
        assert!(error.starts_with(&place), "{error}");
        let missing = folder.path().join("none");
        assert!(matches!(Templates::load(&[missing]), Err(TemplateError::Read { .. })));
    }

    #[test]
    fn all_of_ours_parse_and_render_from_nothing() {
        let templates = Templates::load(&[]).unwrap();
        for (name, _) in OURS {
            templates.render(name, json!({})).unwrap();
        }
    }
}
