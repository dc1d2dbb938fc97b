//! Counts what the log tells, for [`metrics`]: every event from `info` up, also one that `log.level` hides.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use serde_json::Value;
use tracing::{Event, Subscriber};
use tracing_subscriber::{Layer, layer::Context};

use super::line::Fields;
use crate::telemetry::metrics::{self, COUNTED, EVENTS, Label, SPAWNS};

/// How many starts are timed at once.
const STARTS: usize = 10_000;

/// The counting layer.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// When orders were given that are neither in service nor over.
    starts: Mutex<HashMap<String, Instant>>,
}

impl<S: Subscriber> Layer<S> for Counts {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Libraries log, too; what they say is in no catalogue.
        if !event.metadata().target().starts_with("jovis") {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level().as_str();
        let name = fields.event();
        metrics::count(&EVENTS, &[("event", name), ("level", level)], 1);
        for (_, family, labels) in COUNTED.iter().filter(|(event, _, _)| *event == name) {
            let labels: Vec<_> = labels
                .iter()
                .map(|(label, value)| match value {
                    Label::Is(value) => (*label, *value),
                    Label::Field(field) => {
                        (*label, fields.value(field).and_then(Value::as_str).unwrap_or_default())
                    }
                })
                .collect();
            metrics::count(family, &labels, 1);
        }
        if let Some(order) = fields.value("order").and_then(Value::as_str) {
            self.time(name, order);
        }
    }
}

impl Counts {
    fn time(&self, event: &str, order: &str) {
        let status = match event {
            "server starting" => None,
            "server in service" => Some("success"),
            "server ended" => Some("failure"),
            _ => return,
        };
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(status) = status else {
            if starts.len() < STARTS {
                starts.insert(order.to_owned(), Instant::now());
            }
            return;
        };
        // Later events of the same order find nothing.
        if let Some(begun) = starts.remove(order) {
            metrics::observe(&SPAWNS, &[("status", status)], begun.elapsed());
        }
    }
}
