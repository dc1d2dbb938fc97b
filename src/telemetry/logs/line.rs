//! One event as one line, for people or for machines.
//!
//! ```text
//! 2026-11-21T22:08:19.123456Z INFO hub jovis_actors::spawner: server started user=ada server="" order=0abc…
//! {"time":"2026-…Z","level":"INFO","role":"hub","target":"jovis_actors::spawner","event":"server started","user":"ada",…}
//! ```
//!
//! Fields of the spans around an event come with it, outermost first; the event's own win. A field that has the name
//! of one of the first five gets a `_` behind it.

use std::{
    error::Error,
    fmt::{self, Write as _},
};

use serde::Serialize;
use serde_json::Value;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::{Form, chain, journal, sink::Sink, tap::Taps};
use crate::config::sections::LogFormat;

/// Longest value, in bytes; more is cut off.
const LONGEST: usize = 4_096;
const RESERVED: &[&str] = &["time", "level", "role", "target", "event"];

/// Turns events into lines and hands them on.
pub(super) struct Lines {
    pub(super) role: &'static str,
    pub(super) form: Form,
    pub(super) sink: Sink,
    pub(super) taps: Taps,
}

/// What a sink takes.
#[derive(Debug)]
pub(super) struct Line {
    /// With its end.
    pub(super) text: Vec<u8>,
    /// The same for the journal, if that is where it goes.
    pub(super) datagram: Option<Vec<u8>>,
}

/// Fields in the order in which they were given.
#[derive(Debug, Default, Clone)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(outer) = span.extensions().get::<Fields>() {
                outer.0.iter().for_each(|(name, value)| fields.put(name, value.clone()));
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        self.taps.tell(self.role, *metadata.level(), metadata.target(), &fields);
        self.sink.write(whole(
            **self.form.load(),
            self.role,
            *metadata.level(),
            metadata.target(),
            &fields,
        ));
    }
}

/// Says that lines are missing.
pub(super) fn dropped(role: &str, format: LogFormat, count: u64) -> Line {
    let fields = Fields(vec![("message", "log lines dropped".into()), ("count", count.into())]);
    whole(format, role, Level::WARN, module_path!(), &fields)
}

/// An event for a sink.
fn whole(format: LogFormat, role: &str, level: Level, target: &str, fields: &Fields) -> Line {
    let text = render(format, role, level, target, fields);
    let datagram = match format {
        LogFormat::Journald => Some(journal::encode(role, level, target, fields)),
        LogFormat::Json | LogFormat::Text => None,
    };
    Line { text, datagram }
}

/// An event as a line with its end.
pub(super) fn render(
    format: LogFormat,
    role: &str,
    level: Level,
    target: &str,
    fields: &Fields,
) -> Vec<u8> {
    let time = format!("{:.6}", jiff::Timestamp::now());
    let mut out = String::new();
    match format {
        LogFormat::Json => {
            let first =
                [("time", &*time), ("level", level.as_str()), ("role", role), ("target", target)];
            let mut json = Vec::with_capacity(256);
            json.push(b'{');
            for (name, value) in first.into_iter().chain([("event", fields.event())]) {
                pair(&mut json, name, "", value);
            }
            for (name, value) in fields.rest() {
                let more = if RESERVED.contains(&name) { "_" } else { "" };
                pair(&mut json, name, more, value);
            }
            json.pop();
            json.extend_from_slice(b"}\n");
            return json;
        }
        LogFormat::Text | LogFormat::Journald => {
            put(&mut out, format_args!("{time} {level} {role} {target}: {}", words(fields)));
        }
    }
    out.push('\n');
    out.into_bytes()
}

/// `"name":value,`. Names are Rust's: nothing in them is escaped.
fn pair<T: Serialize + ?Sized>(out: &mut Vec<u8>, name: &str, more: &str, value: &T) {
    for part in ["\"", name, more, "\":"] {
        out.extend_from_slice(part.as_bytes());
    }
    serde_json::to_writer(&mut *out, value).expect("a vector takes everything");
    out.push(b',');
}

/// What happened, as people read it: the event and its fields.
pub(super) fn words(fields: &Fields) -> String {
    let mut out = String::with_capacity(128);
    escape(&mut out, fields.event());
    for (name, value) in fields.rest() {
        put(&mut out, format_args!(" {name}="));
        match value {
            Value::String(text) => quote(&mut out, text),
            other => put(&mut out, format_args!("{other}")),
        }
    }
    out
}

fn put(out: &mut String, what: fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a string takes everything");
}

/// A value as one word, or in quotes.
fn quote(out: &mut String, text: &str) {
    if !text.is_empty() && !text.contains([' ', '"', '=']) {
        return escape(out, text);
    }
    out.push('"');
    escape(out, &text.replace('"', "\\\""));
    out.push('"');
}

/// Nothing that moves a cursor, ends a line or turns the direction of reading gets to a terminal.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

impl Fields {
    /// The event's name.
    pub(super) fn event(&self) -> &str {
        self.value("message").and_then(Value::as_str).unwrap_or_default()
    }

    /// All but the name.
    pub(super) fn rest(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        let rest = self.0.iter().filter(|(name, _)| *name != "message");
        rest.map(|(name, value)| (*name, value))
    }

    /// The value of a field. The event's name is `message`.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(there, _)| *there == name).map(|(_, value)| value)
    }

    fn put(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(there, _)| *there == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    fn text(&mut self, field: &Field, mut text: String) {
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push('…');
        }
        self.put(field.name(), text.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.text(field, chain(value).to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }
}
