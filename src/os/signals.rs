//! Signals as readable descriptors, for a poll loop. Handlers vanish at exec, so children begin with a clean slate.

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use signal_hook::low_level::{pipe, unregister};

/// Some signals, caught for as long as this lives.
#[derive(Debug)]
pub struct Signals(Vec<(i32, UnixStream, signal_hook::SigId)>);

impl Signals {
    /// Catches these signals from now on.
    pub fn catch(signals: &[i32]) -> io::Result<Self> {
        let one = |&signal: &i32| {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            let id = pipe::register(signal, writer)?;
            Ok((signal, reader, id))
        };
        signals.iter().map(one).collect::<io::Result<_>>().map(Self)
    }

    /// What to poll for reading.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|(_, reader, _)| reader.as_fd())
    }

    /// Which have arrived since the last call; each once, however often it came.
    pub fn take(&mut self) -> Vec<i32> {
        let mut bytes = [0; 64];
        let came = |entry: &mut (i32, UnixStream, _)| {
            let mut any = false;
            while matches!(entry.1.read(&mut bytes), Ok(size) if size > 0) {
                any = true;
            }
            any.then_some(entry.0)
        };
        self.0.iter_mut().filter_map(came).collect()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (_, _, id) in &self.0 {
            unregister(*id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_told_once() {
        let mut signals = Signals::catch(&[libc::SIGURG, libc::SIGWINCH]).unwrap();
        assert!(signals.take().is_empty());
        for _ in 0..3 {
            signal_hook::low_level::raise(libc::SIGURG).unwrap();
        }
        assert_eq!(signals.take(), [libc::SIGURG]);
        assert!(signals.take().is_empty());
    }
}
