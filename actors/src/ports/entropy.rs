//! Random bytes.

/// The operating system's random source. Does not fail: without it the process must not run.
pub trait Entropy: Send + Sync {
    /// Fills the whole slice.
    fn fill(&self, bytes: &mut [u8]);

    /// SHA-256 of a secret: how tokens and codes are kept. (Here because it comes from the same library as the random
    /// bytes, and the deciders need no other cryptography.)
    fn digest(&self, secret: &str) -> crate::domain::TokenHash;

    /// `n` random bytes as lower-case hex (2·n characters).
    fn hex(&self, n: usize) -> String {
        let mut bytes = vec![0; n];
        self.fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A number in `0..below` (for jitter and ports; slightly biased, which does not matter there).
    fn below(&self, below: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes) % below.max(1)
    }
}
