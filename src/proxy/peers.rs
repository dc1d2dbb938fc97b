//! Shares: no one address takes everything. What is shared (connections, places at the hub) is the caller's.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::Semaphore;

/// With fewer addresses than this nothing is swept.
const FEW: usize = 64;

/// One share per address in use. Bounded: at most twice the addresses in use, and [`FEW`].
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    shares: HashMap<IpAddr, Weak<Semaphore>>,
    /// Shares that nobody uses are swept out when there are so many in all.
    sweep_at: usize,
}

impl Shares {
    /// The share of an address, which has `size` places when it comes into use. It stays the same as long as anybody
    /// holds it, or a permit of it.
    pub(super) fn of(&self, address: IpAddr, size: usize) -> Arc<Semaphore> {
        let key = holder(address);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = table.shares.get(&key).and_then(Weak::upgrade) {
            return share;
        }
        if table.shares.len() >= table.sweep_at {
            table.shares.retain(|_, share| share.strong_count() > 0);
            table.sweep_at = (table.shares.len() * 2).max(FEW);
        }
        let share = Arc::new(Semaphore::new(size));
        table.shares.insert(key, Arc::downgrade(&share));
        share
    }
}

/// What one visitor has for himself: an IPv4 address, or the network of 64 bits that an IPv6 address is in.
fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_belongs_to_an_address_or_a_network_of_64_bits() {
        let shares = Shares::default();
        let full = |address: &str| {
            let share = shares.of(address.parse().unwrap(), 1);
            share.try_acquire_owned().is_err()
        };
        let _v4 = shares.of("192.0.2.1".parse().unwrap(), 1).try_acquire_owned().unwrap();
        let _v6 = shares.of("2001:db8:0:1::1".parse().unwrap(), 1).try_acquire_owned().unwrap();
        for address in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8:0:1::1", "2001:db8:0:1:2:3:4:5"]
        {
            assert!(full(address), "{address}");
        }
        for address in ["192.0.2.2", "2001:db8:0:2::1", "::1"] {
            assert!(!full(address), "{address}");
        }
    }

    #[test]
    fn a_place_given_back_is_free_again() {
        let shares = Shares::default();
        let address = "192.0.2.1".parse().unwrap();
        let take = || shares.of(address, 2).try_acquire_owned().ok();
        let (first, second) = (take(), take());
        assert!(first.is_some() && second.is_some() && take().is_none());
        drop(first);
        assert!(take().is_some());
    }

    #[test]
    fn addresses_that_left_are_forgotten() {
        let shares = Shares::default();
        let address = |i: u32| IpAddr::from(i.to_be_bytes());
        let held: Vec<_> =
            (0..100).map(|i| shares.of(address(i), 1).try_acquire_owned().unwrap()).collect();
        for i in 100..100_000 {
            drop(shares.of(address(i), 1));
            assert!(shares.0.lock().unwrap().shares.len() <= 2 * (held.len() + 1));
        }
        assert!((0..100).all(|i| shares.of(address(i), 1).try_acquire_owned().is_err()));
    }
}
