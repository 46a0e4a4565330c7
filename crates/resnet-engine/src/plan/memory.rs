//! Gives every slot its place: parameters, state and what trains them side by side, activations
//! by lifetime.
//!
//! An activation lives from the first step that writes it to the last that reads it; two that never
//! live at once may share memory. Slots are placed largest first at the lowest offset where they
//! fit (greedy by size, Pisarchyk & Lee 2020). None passes from a block to the next, so that a
//! device whose pieces of memory are bounded can take the plan in several.

use std::collections::HashSet;
use std::ops::Range;

use super::update::Span;
use crate::step::{Slot, SlotId, Space, Step};

/// Slots begin on cache lines: 16 words of 4 bytes.
const ALIGN: usize = 16;

/// Words of a block: 1 GiB, which every device gives at once. No activation lies in two.
pub const BLOCK: usize = 1 << 28;

/// The first place from `offset` on where `len` words lie in one block, or begin one.
fn within_block(offset: usize, len: usize) -> usize {
    let left = BLOCK - offset % BLOCK;
    if len <= left || left == BLOCK { offset } else { offset + left }
}

fn align(n: usize) -> usize {
    n.next_multiple_of(ALIGN)
}

/// Sets every slot's offset and returns the regions, each within its memory. The slots in `host`
/// are read or written from outside, so they live throughout; `spans` begin where others do.
pub(super) fn lay_out(
    slots: &mut [Slot],
    steps: &[Step],
    host: &[Option<SlotId>],
    keep_all: bool,
    spans: &[Span],
) -> [Range<usize>; Space::ALL.len()] {
    let life = lifetimes(slots.len(), steps, host, keep_all);
    let is_span: HashSet<SlotId> = spans.iter().map(|(span, _)| *span).collect();
    let mut regions: [Range<usize>; Space::ALL.len()] = std::array::from_fn(|_| 0..0);
    let mut ends = [0; 2];
    for (region, space) in regions.iter_mut().zip(Space::ALL) {
        let start = &mut ends[space.memory() as usize];
        let of_space: Vec<usize> = (0..slots.len())
            .filter(|&i| slots[i].space == space && !is_span.contains(&SlotId(i)))
            .collect();
        let end = if space == Space::Activation {
            place_by_lifetime(slots, &of_space, &life, *start)
        } else {
            place_in_order(slots, &of_space, *start)
        };
        *region = *start..end;
        *start = align(end);
    }
    for (span, first) in spans {
        slots[span.0].offset = slots[first.0].offset;
    }
    regions
}

/// Without gaps: the optimiser passes over whole regions.
fn place_in_order(slots: &mut [Slot], ids: &[usize], start: usize) -> usize {
    let mut end = start;
    for &i in ids {
        slots[i].offset = end;
        end += slots[i].words();
    }
    end
}

fn place_by_lifetime(
    slots: &mut [Slot],
    ids: &[usize],
    life: &[Option<Range<usize>>],
    start: usize,
) -> usize {
    let mut ids: Vec<usize> = ids.iter().copied().filter(|&i| life[i].is_some()).collect();
    ids.sort_by_key(|&i| (std::cmp::Reverse(slots[i].words()), i));
    let mut placed: Vec<(Range<usize>, Range<usize>)> = Vec::new(); // memory, life; sorted by memory
    let mut end = start;
    for i in ids {
        let mine = life[i].clone().expect("slots without a life were dropped");
        let len = align(slots[i].words());
        let mut offset = within_block(start, len);
        for (memory, other) in &placed {
            let together = other.start < mine.end && mine.start < other.end;
            if together && memory.end > offset {
                if memory.start >= offset + len {
                    break;
                }
                offset = within_block(memory.end, len);
            }
        }
        slots[i].offset = offset;
        let at = placed.partition_point(|(memory, _)| memory.start < offset);
        placed.insert(at, (offset..offset + len, mine));
        end = end.max(offset + len);
    }
    end
}

/// From the first step that touches a slot to one past the last; `None` for slots that fusion left
/// unused.
fn lifetimes(
    count: usize,
    steps: &[Step],
    host: &[Option<SlotId>],
    keep_all: bool,
) -> Vec<Option<Range<usize>>> {
    let mut life: Vec<Option<Range<usize>>> = vec![None; count];
    for (at, step) in steps.iter().enumerate() {
        for id in step.reads.iter().chain(&step.writes) {
            let range = life[id.0].get_or_insert(at..at + 1);
            range.end = at + 1;
        }
    }
    for id in host.iter().flatten() {
        life[id.0] = Some(0..steps.len());
    }
    if keep_all {
        for range in life.iter_mut().flatten() {
            *range = 0..steps.len();
        }
    }
    life
}
