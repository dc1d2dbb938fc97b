//! A route table in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    domain::{Route, RouteSpec},
    ports::{Boxed, RouteSink, SinkError},
};

/// The table; clones share it.
#[derive(Debug, Clone)]
pub struct MemoryRoutes {
    name: &'static str,
    table: Arc<Mutex<Table>>,
}

impl Default for MemoryRoutes {
    fn default() -> Self {
        Self::named("memory")
    }
}

#[derive(Debug, Default)]
struct Table {
    routes: BTreeMap<RouteSpec, Route>,
    failing: bool,
    hanging: bool,
    fail_next: u32,
    synced: u32,
    calls: Vec<&'static str>,
}

impl MemoryRoutes {
    /// An empty table of a proxy of this name.
    pub fn named(name: &'static str) -> Self {
        Self { name, table: Arc::default() }
    }

    /// No call is answered from now on, or all are again (those in between never).
    pub fn set_hanging(&self, hanging: bool) {
        self.table(|it| it.hanging = hanging);
    }

    /// Every call fails from now on, or no longer.
    pub fn set_failing(&self, failing: bool) {
        self.table(|it| it.failing = failing);
    }

    /// The next so many calls fail.
    pub fn fail_next(&self, calls: u32) {
        self.table(|it| it.fail_next = calls);
    }

    /// All routes are gone, as after a restart of a proxy.
    pub fn forget_all(&self) {
        self.table(|it| it.routes.clear());
    }

    /// Puts a route in behind everybody's back.
    pub fn plant(&self, route: Route) {
        self.table(|it| it.routes.insert(route.spec.clone(), route));
    }

    /// What is there now, by prefix.
    pub fn routes(&self) -> Vec<Route> {
        self.table(|it| it.routes.values().cloned().collect())
    }

    /// How often it was told that its table is complete.
    pub fn synced_count(&self) -> u32 {
        self.table(|it| it.synced)
    }

    /// The calls so far, failed ones included.
    pub fn calls(&self) -> Vec<&'static str> {
        self.table(|it| it.calls.clone())
    }

    fn table<T>(&self, edit: impl FnOnce(&mut Table) -> T) -> T {
        edit(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn call<T: Send + 'static>(
        &self,
        doing: &'static str,
        act: impl FnOnce(&mut Table) -> T,
    ) -> Boxed<'_, Result<T, SinkError>> {
        let outcome = self.table(|it| {
            it.calls.push(doing);
            if it.hanging {
                return None;
            }
            if it.failing || it.fail_next > 0 {
                it.fail_next = it.fail_next.saturating_sub(1);
                return Some(Err(SinkError { doing, error: "told to fail".to_owned() }));
            }
            Some(Ok(act(it)))
        });
        match outcome {
            Some(outcome) => Box::pin(std::future::ready(outcome)),
            None => Box::pin(std::future::pending()),
        }
    }
}

impl RouteSink for MemoryRoutes {
    fn name(&self) -> &str {
        self.name
    }

    fn list(&self) -> Boxed<'_, Result<Vec<Route>, SinkError>> {
        self.call("list", |it| it.routes.values().cloned().collect())
    }

    fn set(&self, routes: Vec<Route>) -> Boxed<'_, Result<(), SinkError>> {
        self.call("set", |it| it.routes.extend(routes.into_iter().map(|it| (it.spec.clone(), it))))
    }

    fn remove(&self, specs: Vec<RouteSpec>) -> Boxed<'_, Result<(), SinkError>> {
        self.call("remove", move |it| {
            for spec in &specs {
                it.routes.remove(spec);
            }
        })
    }

    fn synced(&self) -> Boxed<'_, Result<(), SinkError>> {
        self.call("synced", |it| it.synced += 1)
    }
}
