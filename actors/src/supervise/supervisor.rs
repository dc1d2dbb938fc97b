//! Keeps a fixed list of children alive: starts them in order, restarts those that end, stops them in reverse.
//!
//! A plain task, not an actor: it must not die of what it watches. Each child is alone with its exits (one for one):
//! who needs another asks for it by name, with patience. A child that exceeds its limits ends the supervisor with
//! [`Escalated`], after the other children were stopped; what stands above decides (in the end: the process leaves,
//! root starts it again).
//!
//! ```text
//!            start                     ended, and may be restarted
//!   Down ───────────▶ Starting ──▶ Up ─────────────────────────────▶ Down, due later ──▶ Starting …
//!                         └── failed, too late ──────────────────────────▲
//! ```
//!
//! Nothing is slept inline, so one child's delay holds up no other. Each start has a number, its generation; what is
//! heard of an older generation is ignored.

use std::sync::Arc;

use thiserror::Error;
use tokio::{
    task::{AbortHandle, JoinHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{debug, error, info, warn};

use super::{
    Chart, Ended, Quit, QuitSignal,
    spec::{Alive, ChildSpec},
    start::quit,
    window::{Verdict, Window},
};
use crate::ports::Entropy;

/// A child died more often than its limits allow.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{supervisor}: {child} {how} too often")]
pub struct Escalated {
    /// Who gives up.
    pub supervisor: &'static str,
    /// On whom.
    pub child: &'static str,
    /// How it ended last.
    pub how: Ended,
}

/// A list of children, not started yet.
pub struct Supervisor {
    name: &'static str,
    entropy: Arc<dyn Entropy>,
    children: Vec<Child>,
}

struct Child {
    spec: ChildSpec,
    window: Window,
    chart: Chart,
    generation: u64,
    state: State,
}

enum State {
    /// Before its first start, between two lives, or for good.
    Down,
    Starting,
    Up {
        quit: Quit,
        abort: Option<AbortHandle>,
    },
    /// Asked to stop.
    Leaving,
}

/// What the supervisor hears, always of one child and one generation.
enum News {
    Due,
    Started(Result<Alive, Ended>),
    Ended(Ended),
}

type Heard = JoinSet<(usize, u64, News)>;

impl Supervisor {
    /// A supervisor without children. Entropy is for jitter.
    pub fn new(name: &'static str, entropy: Arc<dyn Entropy>) -> Self {
        Self { name, entropy, children: Vec::new() }
    }

    /// One more child, started after those before it and stopped before them.
    #[must_use]
    pub fn child(mut self, spec: ChildSpec) -> Self {
        if !spec.limits.can_give_up() {
            warn!(supervisor = self.name, actor = spec.name, "limits never escalate");
        }
        let (window, state, chart) = (Window::default(), State::Down, Chart::new(spec.name));
        self.children.push(Child { spec, window, chart, generation: 0, state });
        self
    }

    /// Starts the supervisor as a task of the current runtime.
    pub fn start(self) -> Supervision {
        let (quit, signal) = quit();
        let charts = self.children.iter().map(|child| child.chart.clone()).collect();
        Supervision { quit: Some(quit), charts, task: tokio::spawn(self.run(signal)) }
    }

    /// Runs until asked to stop (then `Ok`) or until a child exceeds its limits. If every child is down for good
    /// (temporary or transient, and ended), that is `Ok` as well.
    pub async fn run(mut self, mut signal: QuitSignal) -> Result<(), Escalated> {
        let mut heard = Heard::new();
        let outcome = tokio::select! {
            biased;
            () = signal.asked() => Ok(()),
            outcome = self.supervise(&mut heard) => outcome,
        };
        self.stop(heard).await;
        outcome
    }

    async fn supervise(&mut self, heard: &mut Heard) -> Result<(), Escalated> {
        for index in 0..self.children.len() {
            self.begin(index, heard);
            // Those after it may count on it: wait until it is up, or has to be tried again later.
            while matches!(self.children[index].state, State::Starting) {
                self.hear(heard).await?;
            }
        }
        while !heard.is_empty() {
            self.hear(heard).await?;
        }
        Ok(())
    }

    /// Waits for the next news and acts on it.
    async fn hear(&mut self, heard: &mut Heard) -> Result<(), Escalated> {
        let Some(Ok((index, generation, news))) = heard.join_next().await else {
            return Ok(()); // a forwarder cannot panic; if one is cut off the runtime is going down
        };
        let child = &mut self.children[index];
        if generation != child.generation {
            return Ok(());
        }
        match news {
            News::Due => self.begin(index, heard),
            News::Started(Ok(Alive { quit, abort, ended })) => {
                debug!(supervisor = self.name, actor = child.spec.name, generation, "actor is up");
                child.state = State::Up { quit, abort };
                child.chart.up();
                heard.spawn(async move { (index, generation, News::Ended(ended.await)) });
            }
            News::Started(Err(how)) | News::Ended(how) => self.ended(index, how, heard)?,
        }
        Ok(())
    }

    /// Begins a new life of a child, without waiting for it.
    fn begin(&mut self, index: usize, heard: &mut Heard) {
        let child = &mut self.children[index];
        child.generation += 1;
        child.state = State::Starting;
        child.chart.begins();
        let (generation, limit) = (child.generation, child.spec.start_limit);
        let started = (child.spec.start)();
        heard.spawn(async move {
            let outcome = timeout(limit, started).await.unwrap_or_else(|_| {
                Err(Ended::Failed(format!("did not start within {} s", limit.as_secs_f32())))
            });
            (index, generation, News::Started(outcome))
        });
    }

    /// Decides what follows an end.
    fn ended(&mut self, index: usize, how: Ended, heard: &mut Heard) -> Result<(), Escalated> {
        let child = &mut self.children[index];
        let (supervisor, actor) = (self.name, child.spec.name);
        child.state = State::Down;
        let again = child.spec.restart.applies(&how);
        child.chart.ended(&how, again);
        if !again {
            info!(supervisor, actor, error = %how, "actor ended");
            return Ok(());
        }
        let random = self.entropy.below(u64::MAX);
        match child.window.exit(&child.spec.limits, Instant::now().into_std(), random) {
            Verdict::Now => {
                warn!(supervisor, actor, error = %how, "actor restarting");
                self.begin(index, heard);
            }
            Verdict::After(delay) => {
                let delay_ms = delay.as_millis() as u64;
                warn!(supervisor, actor, error = %how, delay_ms, "actor restarting later");
                let generation = child.generation;
                heard.spawn(async move {
                    sleep(delay).await;
                    (index, generation, News::Due)
                });
            }
            Verdict::GiveUp => {
                child.chart.ended(&how, false);
                error!(supervisor, actor, error = %how, "actor given up");
                return Err(Escalated { supervisor, child: actor, how });
            }
        }
        Ok(())
    }

    /// Stops what is up, last first, each within its limit.
    async fn stop(mut self, mut heard: Heard) {
        for index in (0..self.children.len()).rev() {
            let limit = self.children[index].spec.stop_limit;
            let deadline = Instant::now() + limit;
            let mut cut = None;
            loop {
                let child = &mut self.children[index];
                match std::mem::replace(&mut child.state, State::Leaving) {
                    State::Down => {
                        child.state = State::Down;
                        break;
                    }
                    State::Up { quit, abort } => {
                        quit.ask();
                        cut = abort;
                    }
                    // Starting: asked as soon as it is up.
                    State::Starting | State::Leaving => {}
                }
                match timeout_at(deadline, heard.join_next()).await {
                    Ok(Some(Ok((at, generation, news)))) => {
                        self.note(at, generation, news, &mut heard);
                    }
                    Ok(Some(Err(_))) => {}
                    Ok(None) => break,
                    Err(_) => {
                        let (supervisor, actor) = (self.name, self.children[index].spec.name);
                        let limit_ms = limit.as_millis() as u64;
                        error!(supervisor, actor, limit_ms, "actor did not stop");
                        if let Some(abort) = cut {
                            abort.abort();
                        }
                        break;
                    }
                }
            }
            debug!(supervisor = self.name, actor = self.children[index].spec.name, "actor stopped");
        }
    }

    /// News while stopping: nobody is restarted any more.
    fn note(&mut self, index: usize, generation: u64, news: News, heard: &mut Heard) {
        let child = &mut self.children[index];
        if generation != child.generation {
            return;
        }
        match news {
            News::Started(Ok(Alive { quit, abort, ended })) => {
                child.state = State::Up { quit, abort };
                heard.spawn(async move { (index, generation, News::Ended(ended.await)) });
            }
            News::Due | News::Started(Err(_)) | News::Ended(_) => child.state = State::Down,
        }
    }
}

/// A supervisor at work. Dropping it asks it to stop, without waiting.
pub struct Supervision {
    quit: Option<Quit>,
    charts: Vec<Chart>,
    task: JoinHandle<Result<(), Escalated>>,
}

impl Supervision {
    /// Resolves when the supervisor has ended: by escalation, or because all children ended for good.
    pub async fn ended(&mut self) -> Result<(), Escalated> {
        match (&mut self.task).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Ok(()), // the runtime goes down, and everything with it
        }
    }

    /// How each child is doing, in the order they were started.
    pub fn charts(&self) -> &[Chart] {
        &self.charts
    }

    /// Stops the children in reverse order and waits for that, as long as their limits allow in sum.
    pub async fn stop(mut self) -> Result<(), Escalated> {
        self.ask();
        self.ended().await
    }

    fn ask(&mut self) {
        if let Some(quit) = self.quit.take() {
            quit.ask();
        }
    }
}

impl Drop for Supervision {
    fn drop(&mut self) {
        self.ask();
    }
}

#[cfg(test)]
mod tests;
