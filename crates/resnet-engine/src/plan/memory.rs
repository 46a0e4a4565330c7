//! Gives every slot its place: parameters, gradients, momentum and state side by side, activations
//! by lifetime.
//!
//! An activation lives from the first step that writes it to the last that reads it; two that never
//! live at once may share memory. Slots are placed largest first at the lowest offset where they
//! fit (greedy by size, Pisarchyk & Lee 2020).

use std::ops::Range;

use crate::step::{Slot, SlotId, Space, Step, StepKind};

/// Slots begin on cache lines: 16 words of 4 bytes.
const ALIGN: usize = 16;

fn align(n: usize) -> usize {
    n.next_multiple_of(ALIGN)
}

/// Sets every slot's offset and returns the regions. The slots in `host` are read or written from
/// outside, so they live throughout.
pub(super) fn lay_out(
    slots: &mut [Slot],
    steps: &[Step],
    host: &[Option<SlotId>],
    keep_all: bool,
) -> [Range<usize>; Space::ALL.len()] {
    let life = lifetimes(slots.len(), steps, host, keep_all);
    let spans = update_spans(steps);
    let mut regions: [Range<usize>; Space::ALL.len()] = std::array::from_fn(|_| 0..0);
    let mut start = 0;
    for (region, space) in regions.iter_mut().zip(Space::ALL) {
        let of_space: Vec<usize> = (0..slots.len())
            .filter(|&i| slots[i].space == space && !spans.contains(&SlotId(i)))
            .collect();
        let end = if space == Space::Activation {
            place_by_lifetime(slots, &of_space, &life, start)
        } else {
            place_in_order(slots, &of_space, start)
        };
        *region = start..end;
        start = align(end);
    }
    place_spans(slots, steps, &regions);
    regions
}

/// Slots of the optimiser's steps, which span others.
fn update_spans(steps: &[Step]) -> Vec<SlotId> {
    let updates = steps.iter().filter(|step| matches!(step.kind, StepKind::Sgd { .. }));
    updates.flat_map(|step| step.reads.iter().chain(&step.writes).copied()).collect()
}

/// The spans stand one after another in each region, in the order of the steps.
fn place_spans(slots: &mut [Slot], steps: &[Step], regions: &[Range<usize>]) {
    let mut next: Vec<usize> = regions.iter().map(|region| region.start).collect();
    for step in steps.iter().filter(|step| matches!(step.kind, StepKind::Sgd { .. })) {
        for id in step.reads.iter().chain(&step.writes) {
            let slot = &mut slots[id.0];
            let next = &mut next[slot.space as usize];
            slot.offset = *next;
            *next += slot.words();
        }
    }
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
        let mut offset = start;
        for (memory, other) in &placed {
            let together = other.start < mine.end && mine.start < other.end;
            if together && memory.end > offset {
                if memory.start >= offset + len {
                    break;
                }
                offset = memory.end;
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
