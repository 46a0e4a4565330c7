//! Work spread over a few threads. A machine that refuses threads does it with fewer.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Threads for work that mostly computes: one a core, at most 16.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(16)
}

/// What `work` makes of each item, in their order, by at most `threads` threads, the caller
/// counted. Each thread makes a state of its own by `new`.
pub(crate) fn map_with<T: Sync, S, R: Send>(
    items: &[T],
    threads: usize,
    new: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut state = new();
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(&mut state, item)));
        }
    };
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    thread::scope(|scope| {
        let more = threads.min(items.len()).saturating_sub(1);
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, run).ok();
        let others: Vec<_> = (0..more).map_while(spawn).collect();
        let mut done = run();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        for (index, result) in done {
            results[index] = Some(result);
        }
    });
    results.into_iter().map(|result| result.expect("every item was taken once")).collect()
}

#[cfg(test)]
mod tests {
    use super::map_with;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..1000).collect();
        for threads in [0, 1, 3, 8] {
            let squares = map_with(&items, threads, || 0, |_, item| item * item);
            assert!(squares.iter().enumerate().all(|(i, square)| i * i == *square));
        }
        assert!(map_with(&[] as &[u8], 4, || (), |(), item| *item).is_empty());
    }
}
