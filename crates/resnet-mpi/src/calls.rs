//! Calls in which every rank takes part, on slices of any length.

use std::sync::Arc;

use crate::error::MpiError;
use crate::mpi::{Mpi, SMALL, is_asleep};
use crate::shared::Shared;

/// Most numbers of one call. MPI counts in 32 bits, and not every one counts right beyond 2 GiB.
const MOST: usize = 1 << 28;
/// Bytes of a rank that travel with their length.
const SHORT: usize = 504;
/// From this many bytes on, ranks ask each other for room before they send.
const LARGE: u64 = 1 << 20;

/// What work on the thread of communication may do.
pub struct Calls {
    shared: Arc<Shared>,
    most: usize,
    send: Vec<f32>,
    recv: Vec<f32>,
}

impl Calls {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, most: MOST, send: Vec::new(), recv: Vec::new() }
    }

    /// Cuts calls at fewer numbers, so that tests need not send gigabytes.
    #[doc(hidden)]
    pub fn cut_at(&mut self, most: usize) {
        self.most = most.max(1);
    }

    /// Part r of `send` goes to rank r; part r of `recv` came from rank r.
    ///
    /// # Errors
    /// A rank is lost, or MPI failed.
    ///
    /// # Panics
    /// If the slices do not hold one part of the same length for each rank.
    pub fn all_to_all(&mut self, send: &[f32], recv: &mut [f32]) -> Result<(), MpiError> {
        let ranks = self.shared.count();
        assert!(send.len() == recv.len() && send.len().is_multiple_of(ranks), "a part for each");
        let part = send.len() / ranks;
        if size_of_val(recv) > SMALL {
            self.shared.call(|mpi| mpi.come_together())?;
        }
        for (at, len) in self.pieces(part) {
            if len == part {
                return self.shared.call(|mpi| mpi.all_to_all(send, recv, ranks));
            }
            self.send.clear();
            let parts = send.chunks_exact(part);
            parts.for_each(|part| self.send.extend_from_slice(&part[at..at + len]));
            self.recv.resize(ranks * len, 0.0);
            self.shared.call(|mpi| mpi.all_to_all(&self.send, &mut self.recv, ranks))?;
            for (into, from) in recv.chunks_exact_mut(part).zip(self.recv.chunks_exact(len)) {
                into[at..at + len].copy_from_slice(from);
            }
        }
        Ok(())
    }

    /// Part r of `recv` is what rank r sent.
    ///
    /// # Errors
    /// A rank is lost, or MPI failed.
    ///
    /// # Panics
    /// If `recv` does not hold a part of the length of `send` for each rank.
    pub fn all_gather(&mut self, send: &[f32], recv: &mut [f32]) -> Result<(), MpiError> {
        let ranks = self.shared.count();
        assert_eq!(Some(recv.len()), send.len().checked_mul(ranks), "a part for each");
        let part = send.len();
        for (at, len) in self.pieces(part) {
            if len == part {
                return self.shared.call(|mpi| mpi.all_gather(send, recv, ranks));
            }
            self.recv.resize(ranks * len, 0.0);
            let piece = &send[at..at + len];
            self.shared.call(|mpi| mpi.all_gather(piece, &mut self.recv, ranks))?;
            for (into, from) in recv.chunks_exact_mut(part).zip(self.recv.chunks_exact(len)) {
                into[at..at + len].copy_from_slice(from);
            }
        }
        Ok(())
    }

    /// What every rank sent, by rank; lengths may differ.
    ///
    /// # Errors
    /// A rank is lost, MPI failed, or a rank has no memory for what was sent.
    pub fn all_gather_bytes(&mut self, send: &[u8]) -> Result<Vec<Vec<u8>>, MpiError> {
        let (shared, ranks) = (&self.shared, self.shared.count());
        gather_bytes(ranks, self.most, send, &mut |send, recv, counts| {
            if !is_asleep(counts) {
                shared.call(|mpi| mpi.come_together())?;
            }
            shared.call(|mpi| mpi.all_gather_bytes(send, recv, counts))
        })
    }

    /// The sum over ranks in an order of the MPI's own: what ordered sums are measured against.
    ///
    /// # Errors
    /// A rank is lost, or MPI failed.
    #[doc(hidden)]
    pub fn all_reduce(&mut self, send: &[f32], recv: &mut [f32]) -> Result<(), MpiError> {
        for (send, recv) in send.chunks(self.most).zip(recv.chunks_mut(self.most)) {
            self.shared.call(|mpi| mpi.all_reduce(send, recv))?;
        }
        Ok(())
    }

    /// Where the pieces of a part begin, and how long they are: one, where a call can hold it.
    fn pieces(&self, part: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let most = self.most / self.shared.count();
        // What is cut is copied, so pieces are smaller than they could be.
        let each = if part <= most { part.max(1) } else { (most / 16).max(1) };
        (0..part).step_by(each).map(move |at| (at, each.min(part - at)))
    }
}

/// A call that gathers bytes: what is sent, what comes, and how much of each rank.
type Gather<'a> = dyn FnMut(&[u8], &mut [u8], &[usize]) -> Result<(), MpiError> + 'a;

/// What every rank sends, by rank. `call` gathers counted bytes of all ranks.
pub(crate) fn gather_bytes(
    ranks: usize,
    most: usize,
    send: &[u8],
    call: &mut Gather<'_>,
) -> Result<Vec<Vec<u8>>, MpiError> {
    // Lengths travel with what there is room for: what is short takes one call.
    let short = send.len().min(SHORT);
    let mut first = [0; 8 + SHORT];
    first[..8].copy_from_slice(&(send.len() as u64).to_le_bytes());
    first[8..8 + short].copy_from_slice(&send[..short]);
    let mut firsts = vec![0; first.len() * ranks];
    call(&first, &mut firsts, &vec![first.len(); ranks])?;
    let firsts = firsts.as_chunks::<{ 8 + SHORT }>().0.iter();
    let told = firsts.clone().map(|first| {
        let (len, bytes) = first.split_first_chunk().expect("a length stands first");
        (u64::from_le_bytes(*len), bytes)
    });
    let total = told.clone().fold(0, |sum: u64, (len, _)| sum.saturating_add(len));
    let memory = told.map(|(len, bytes)| {
        let len = usize::try_from(len).ok()?;
        let mut all: Vec<u8> = Vec::new();
        all.try_reserve_exact(len).ok()?;
        all.extend_from_slice(&bytes[..len.min(SHORT)]);
        Some((len, all))
    });
    let memory: Option<Vec<(usize, Vec<u8>)>> = memory.collect();
    if total > LARGE {
        // All or none go on.
        let mut have = vec![0; ranks];
        call(&[u8::from(memory.is_some())], &mut have, &vec![1; ranks])?;
        if have.contains(&0) {
            return Err(MpiError::Memory { bytes: total });
        }
    }
    let mut all = memory.ok_or(MpiError::Memory { bytes: total })?;
    let most = (most / ranks).max(1);
    let longest = all.iter().map(|(len, _)| *len).max().unwrap_or(0);
    for at in (SHORT..longest).step_by(most) {
        let counts = all.iter().map(|(len, _)| len.saturating_sub(at).min(most));
        let counts: Vec<usize> = counts.collect();
        let mut recv = vec![0; counts.iter().sum()];
        let end = send.len().min(at.saturating_add(most));
        call(&send[at.min(end)..end], &mut recv, &counts)?;
        let mut rest = &recv[..];
        for ((_, bytes), count) in all.iter_mut().zip(&counts) {
            let (part, after) = rest.split_at(*count);
            bytes.extend_from_slice(part);
            rest = after;
        }
    }
    Ok(all.into_iter().map(|(_, bytes)| bytes).collect())
}

/// As [`gather_bytes`], before there is a world.
pub(crate) fn gather_by(
    mpi: &dyn Mpi,
    ranks: usize,
    send: &[u8],
) -> Result<Vec<Vec<u8>>, MpiError> {
    gather_bytes(ranks, MOST, send, &mut |send, recv, counts| {
        mpi.all_gather_bytes(send, recv, counts)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if every rank sent the same.
    fn alike(send: &[u8], recv: &mut [u8], counts: &[usize]) -> Result<(), MpiError> {
        assert!(counts.iter().all(|&count| count == send.len()));
        recv.chunks_exact_mut(send.len().max(1)).for_each(|part| part.copy_from_slice(send));
        Ok(())
    }

    #[test]
    fn bytes_come_whole_however_they_are_cut() {
        let send: Vec<u8> = (0..2000).map(|i| (i % 251) as u8).collect();
        for (len, most) in [(0, 1), (1, 1), (SHORT, 7), (SHORT + 1, 7), (2000, 300), (1999, 6000)] {
            let all = gather_bytes(3, most, &send[..len], &mut alike);
            assert_eq!(all, Ok(vec![send[..len].to_vec(); 3]), "{len} by {most}");
        }
    }

    #[test]
    fn bytes_that_no_memory_holds_are_refused_on_all_ranks() {
        // Another rank tells a length that nobody has.
        let refused = gather_bytes(2, MOST, &[1], &mut |send, recv, counts| {
            alike(send, recv, counts)?;
            if send.len() > 8 {
                recv[send.len()..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
            }
            Ok(())
        });
        assert_eq!(refused, Err(MpiError::Memory { bytes: u64::MAX }));
        // Here there is memory, on another rank there is not.
        let send = vec![1; LARGE as usize];
        let refused = gather_bytes(2, MOST, &send, &mut |send, recv, counts| {
            alike(send, recv, counts)?;
            if send.len() == 1 {
                recv[1] = 0;
            }
            Ok(())
        });
        assert_eq!(refused, Err(MpiError::Memory { bytes: 2 * LARGE }));
    }
}
