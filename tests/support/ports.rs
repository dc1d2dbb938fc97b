//! Ports of this machine that nobody has, and nobody gets by accident.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below those the kernel draws for whoever asks for any port, and for outgoing connections: one of those can be somebody
/// else's a moment later.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// The first of so many ports in a row. This process gives each of them out again only after all others.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let size = u32::from(RANGE.end - RANGE.start);
    // Another test program, at the same time, begins elsewhere.
    let start = std::process::id().wrapping_mul(997) % size;
    for _ in 0..size / u32::from(count) {
        let at = (start + NEXT.fetch_add(u32::from(count), Ordering::Relaxed)) % size;
        let base = RANGE.start + u16::try_from(at).expect("it is below the size");
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if base <= RANGE.end - count && (base..base + count).all(free) {
            return base;
        }
    }
    panic!("no {count} free ports in a row");
}
