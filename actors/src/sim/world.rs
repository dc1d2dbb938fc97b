//! What is outside of the hub: servers that live, die, come late or never.

use std::collections::BTreeMap;

use super::Ms;
use crate::{
    domain::{OrderId, ServerKey, server::Handle},
    ports::{Exit, Recovered, Started},
};

/// What becomes of an order. Depends on seed and order only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    /// It is born after so long; never.
    pub(super) born: Option<Ms>,
    /// The start is answered after so long, well or badly; never.
    pub(super) answer: Option<(Ms, Result<(), ()>)>,
    /// Silent for ever (true), or a stranger has its port (false).
    pub(super) probe: Option<bool>,
}

#[derive(Debug)]
enum Life {
    Due(Ms),
    Alive,
    Ended(Exit),
}

#[derive(Debug)]
struct Known {
    key: ServerKey,
    life: Option<Life>,
    births: u32,
}

/// All of it.
pub(super) struct World {
    seed: u64,
    known: BTreeMap<OrderId, Known>,
    /// Until then nobody can say anything.
    pub(super) away_until: Ms,
    /// It says "never heard of it" where it should say nothing: to see whether that is noticed.
    pub(super) guesses: bool,
}

/// A number that depends on these two only.
fn mix(seed: u64, what: u64) -> u64 {
    let mut x = seed ^ what.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, known: BTreeMap::new(), away_until: 0, guesses: false }
    }

    /// Below `below`.
    pub(super) fn chance(&self, what: u64, below: u64) -> u64 {
        mix(self.seed, what) % below
    }

    pub(super) fn fate(&self, order: &OrderId) -> Fate {
        let number = order.as_str().bytes().fold(0u64, |sum, byte| mix(sum, u64::from(byte)));
        let draw = mix(self.seed, number);
        let good =
            |after| Fate { born: Some(after), answer: Some((after + 5, Ok(()))), probe: None };
        match draw % 16 {
            0 => Fate { born: None, answer: Some((300, Err(()))), probe: None },
            1 => Fate { born: Some(200), answer: Some((400, Err(()))), probe: None },
            2 => Fate { born: None, answer: None, probe: None },
            3 => Fate { born: Some(300), answer: None, probe: None },
            4 => good(super::START_TIMEOUT + 20_000),
            5 => Fate { probe: Some(true), ..good(500) },
            6 => Fate { probe: Some(false), ..good(100) },
            7 => good(20_000),
            _ => good(100 + draw / 16 % 3_000),
        }
    }

    pub(super) fn started(order: &OrderId) -> Started {
        let port =
            20_000 + order.as_str().bytes().fold(0u64, |sum, it| mix(sum, u64::from(it))) % 10_000;
        Started { handle: Handle(format!("of {order}")), url: format!("http://127.0.0.1:{port}") }
    }

    /// The order has arrived: it does the act, whatever becomes of the hub.
    pub(super) fn order(&mut self, key: ServerKey, order: OrderId, born: Option<Ms>) {
        let life = born.map(Life::Due);
        self.known.insert(order, Known { key, life, births: 0 });
    }

    pub(super) fn next(&self) -> Option<Ms> {
        let due = self.known.values().filter_map(|it| match it.life {
            Some(Life::Due(at)) => Some(at),
            _ => None,
        });
        due.min()
    }

    pub(super) fn births(&mut self, now: Ms) -> Vec<OrderId> {
        let mut born = Vec::new();
        for (order, known) in &mut self.known {
            if matches!(known.life, Some(Life::Due(at)) if at <= now) {
                known.life = Some(Life::Alive);
                known.births += 1;
                born.push(order.clone());
            }
        }
        born
    }

    pub(super) fn births_of(&self, order: &OrderId) -> u32 {
        self.known.get(order).map_or(0, |known| known.births)
    }

    pub(super) fn owner(&self, order: &OrderId) -> Option<ServerKey> {
        self.known.get(order).map(|known| known.key.clone())
    }

    pub(super) fn lives(&self, order: &OrderId) -> bool {
        matches!(self.known.get(order), Some(Known { life: Some(Life::Alive), .. }))
    }

    pub(super) fn alive(&self) -> Vec<OrderId> {
        self.known.keys().filter(|order| self.lives(order)).cloned().collect()
    }

    pub(super) fn ended(&self, order: &OrderId) -> Option<Exit> {
        match self.known.get(order) {
            Some(Known { life: Some(Life::Ended(exit)), .. }) => Some(*exit),
            _ => None,
        }
    }

    pub(super) fn die(&mut self, order: &OrderId, exit: Exit) {
        if let Some(known) = self.known.get_mut(order)
            && matches!(known.life, Some(Life::Alive))
        {
            known.life = Some(Life::Ended(exit));
        }
    }

    pub(super) fn kill(&mut self, order: &OrderId) {
        self.die(order, Exit::Signal(15));
    }

    pub(super) fn forget(&mut self, order: &OrderId) {
        if self.ended(order).is_some() {
            self.known.remove(order);
        }
    }

    /// Root has no exit codes of what ended without it.
    pub(super) fn new_root(&mut self) {
        for known in self.known.values_mut() {
            if let Some(Life::Ended(exit)) = &mut known.life {
                *exit = Exit::Unknown;
            }
        }
    }

    /// Nothing: nobody can say.
    pub(super) fn recover(&self, order: &OrderId, now: Ms) -> Option<Recovered> {
        if now < self.away_until {
            return self.guesses.then_some(Recovered::Unknown);
        }
        Some(match self.known.get(order).and_then(|known| known.life.as_ref()) {
            None | Some(Life::Due(_)) => Recovered::Unknown,
            Some(Life::Alive) => Recovered::Alive(Self::started(order)),
            Some(Life::Ended(exit)) => Recovered::Ended(*exit),
        })
    }

    pub(super) fn inventory(&self, now: Ms) -> Option<Vec<OrderId>> {
        (now >= self.away_until).then(|| self.alive())
    }
}
