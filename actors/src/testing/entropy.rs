//! Random bytes that are the same in every run.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{domain::TokenHash, ports::Entropy};

/// A seeded generator (splitmix64) and a digest that is good enough to tell texts apart. Not for anything secret.
#[derive(Debug, Clone)]
pub struct SeededEntropy(Arc<AtomicU64>);

impl SeededEntropy {
    /// The same seed gives the same bytes.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }
}

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
            chunk.copy_from_slice(&mix(state).to_le_bytes()[..chunk.len()]);
        }
    }

    fn digest(&self, secret: &str) -> TokenHash {
        // FNV-1a, then spread over the 32 bytes.
        let seed = secret
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
        let mut hash = [0; 32];
        for (n, chunk) in (1u64..).zip(hash.chunks_mut(8)) {
            chunk.copy_from_slice(&mix(seed.wrapping_add(STEP.wrapping_mul(n))).to_le_bytes());
        }
        TokenHash(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_bytes_and_a_text_its_digest() {
        let (a, b, c) = (SeededEntropy::new(1), SeededEntropy::new(1), SeededEntropy::new(2));
        let first = a.hex(16);
        assert_eq!(first, b.hex(16));
        assert_ne!(first, a.hex(16));
        assert_ne!(first, c.hex(16));
        assert_eq!(a.digest("x"), c.digest("x"));
        assert_ne!(a.digest("x"), a.digest("y"));
    }
}
