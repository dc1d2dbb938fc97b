//! Many records at once: whoever has their bytes goes on reading while others decode.

use std::{io, mem, sync::mpsc, thread, vec};

use jovis_actors::store::Write;

use super::{
    records::{BadRecord, Reader},
    segment,
};

/// Threads that decode. More than two gain nothing: one reader does not keep them busy.
const DECODERS: usize = 2;
/// Bytes handed over at once.
const BATCH: usize = 256 * 1024;
/// Batches that may wait for each.
const AHEAD: usize = 2;

/// Records on their way to a decoder: `length u32 | bytes`, one after the other.
type Batch = Vec<u8>;

/// Decodes all that `feed` hands over, in this order. What `feed` returns comes back beside it.
pub(super) fn all<T>(
    feed: impl FnOnce(&mut dyn FnMut(&[u8])) -> T,
) -> io::Result<(T, Result<Decoded, BadRecord>)> {
    thread::scope(|scope| {
        let (mut decoders, mut threads) = (Vec::new(), Vec::new());
        for _ in 0..DECODERS {
            let (decoder, inbox) = mpsc::sync_channel(AHEAD);
            decoders.push(decoder);
            let thread = thread::Builder::new().name("decoder".to_owned());
            threads.push(thread.spawn_scoped(scope, move || work(&inbox))?);
        }
        let (mut batch, mut batches) = (Batch::new(), 0);
        // One that met a record it cannot read takes no more, and says so at the end.
        let mut hand_over = |batch: &mut Batch| {
            let _ = decoders[batches % DECODERS].send(mem::take(batch));
            batches += 1;
        };
        let fed = feed(&mut |record| {
            batch.extend(u32::try_from(record.len()).unwrap_or(u32::MAX).to_be_bytes());
            batch.extend(record);
            if batch.len() >= BATCH {
                hand_over(&mut batch);
            }
        });
        hand_over(&mut batch);
        drop(decoders);
        let panicked = |_| Err(BadRecord::Unreadable("its reader panicked".to_owned()));
        let decoded: Result<Vec<_>, _> =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect();
        let decoded = decoded.map(|of_each| Decoded {
            of_each: of_each.into_iter().map(Vec::into_iter).collect(),
            turn: 0,
            batch: Vec::new().into_iter(),
        });
        Ok((fed, decoded))
    })
}

/// All batches as they come, until no more do.
fn work(inbox: &mpsc::Receiver<Batch>) -> Result<Vec<Vec<Write>>, BadRecord> {
    let mut reader = Reader::default();
    let decode = |batch: Batch| {
        segment::records(&batch)
            .map(|record| reader.decode(record.expect("its length was just put before it")))
            .collect()
    };
    inbox.iter().map(decode).collect()
}

/// What was decoded, in the order in which it was handed over.
#[derive(Debug)]
pub(super) struct Decoded {
    /// The batches of each decoder: they took turns.
    of_each: Vec<vec::IntoIter<Vec<Write>>>,
    turn: usize,
    batch: vec::IntoIter<Write>,
}

impl Iterator for Decoded {
    type Item = Write;

    fn next(&mut self) -> Option<Write> {
        loop {
            if let Some(write) = self.batch.next() {
                return Some(write);
            }
            self.batch = self.of_each[self.turn % DECODERS].next()?.into_iter();
            self.turn += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{records, tests::user};

    #[test]
    fn what_is_decoded_is_in_order() {
        for count in [0, 1, 20_000] {
            let writes: Vec<Write> = (0..count).map(|id| user(id, &format!("user{id}"))).collect();
            let (fed, decoded) = all(|take| {
                for write in &writes {
                    take(&records::encode(write).unwrap());
                }
                7
            })
            .unwrap();
            assert_eq!(fed, 7);
            assert!(decoded.unwrap().eq(writes));
        }
    }

    #[test]
    fn one_that_cannot_be_read_spoils_all() {
        let good = records::encode(&user(1, "ada")).unwrap();
        let (_, decoded) = all(|take| {
            for n in 0..50_000 {
                take(if n == 3 { b"\xff" } else { &good });
            }
        })
        .unwrap();
        assert_eq!(decoded.unwrap_err(), BadRecord::Newer(0xff));
    }
}
