//! A plan's memory in a few buffers: no slot lies in two of them.

use std::ops::Range;

use resnet_engine::exec::NoMemory;
use resnet_engine::plan::Plan;
use resnet_engine::step::{Memory, SlotId};

use crate::gpu::Gpu;

/// Largest buffer that is asked for where the driver would give larger ones. Memory that is in
/// pieces has room for several before it has room for one.
const LARGEST: u64 = 1 << 30;

/// One of a plan's memories.
pub(crate) struct Pieces {
    /// First word and buffer of each piece, in order.
    pieces: Vec<(usize, wgpu::Buffer)>,
    len: usize,
}

/// Where words are.
pub(crate) struct Place<'a> {
    pub(crate) buffer: &'a wgpu::Buffer,
    /// First word in the buffer.
    pub(crate) word: usize,
}

impl Pieces {
    /// Memory for a plan, of zeros.
    ///
    /// # Errors
    /// The device has too little, or a slot is larger than a kernel can see.
    pub(crate) fn new(gpu: &Gpu, plan: &Plan, memory: Memory) -> Result<Pieces, NoMemory> {
        let (largest, len) = (4 * gpu.largest_operand() as u64, plan.len_of(memory));
        for slot in of_memory(plan, memory) {
            let bytes = 4 * plan.range(slot).len() as u64;
            if bytes > largest {
                return Err(fitting(plan, memory, bytes, largest));
            }
        }
        let most = LARGEST.max(largest_slot(plan, memory)).min(gpu.limits.max_buffer_size) / 4;
        let cuts = cuts(plan, memory, most as usize);
        let mut pieces = Vec::with_capacity(cuts.len());
        let mut given = 0;
        for Range { start, end } in cuts {
            let bytes = 4 * (end - start) as u64;
            // Slots that overlap may be more than one buffer can be.
            if bytes > gpu.limits.max_buffer_size {
                return Err(fitting(plan, memory, bytes, gpu.limits.max_buffer_size));
            }
            let buffer = gpu.storage(bytes);
            pieces
                .push((start, buffer.ok_or_else(|| fitting(plan, memory, 4 * len as u64, given))?));
            given += bytes;
        }
        Ok(Pieces { pieces, len })
    }

    /// The piece that a word is in.
    fn piece(&self, word: usize) -> usize {
        self.pieces.partition_point(|(start, _)| *start <= word).saturating_sub(1)
    }

    /// Where words of one slot are.
    pub(crate) fn place(&self, words: &Range<usize>) -> Place<'_> {
        let (start, buffer) = &self.pieces[self.piece(words.start)];
        Place { buffer, word: words.start - start }
    }

    /// Words until the end of the piece that a word is in.
    pub(crate) fn left(&self, word: usize) -> usize {
        let next = self.pieces.get(self.piece(word) + 1);
        next.map_or(self.len, |(start, _)| *start) - word
    }

    /// Words in parts that each lie in one buffer and are no longer than `most`.
    pub(crate) fn parts(&self, words: Range<usize>, most: usize) -> Vec<Range<usize>> {
        let Range { mut start, end } = words;
        let mut parts = Vec::new();
        while start < end {
            let len = (end - start).min(self.left(start)).min(most);
            parts.push(start..start + len);
            start += len;
        }
        parts
    }
}

/// The error of a plan of which `need` bytes do not fit into `have`.
fn fitting(plan: &Plan, memory: Memory, need: u64, have: u64) -> NoMemory {
    let batch = plan.options.batch;
    let fits = (batch as u64 * have / need.max(1)) as usize;
    // A smaller batch has as many weights.
    let fits = (fits > 0 && memory == Memory::Arena).then_some(fits);
    NoMemory { bytes: 4 * plan.len() as u64, batch, fits }
}

/// The slots of a memory, but those that span others.
fn of_memory(plan: &Plan, memory: Memory) -> impl Iterator<Item = SlotId> {
    let spans: std::collections::HashSet<SlotId> = (plan.steps.iter())
        .filter(|step| step.kind.spans())
        .flat_map(|step| step.reads.iter().chain(&step.writes).copied())
        .collect();
    let ids = (0..plan.slots.len()).map(SlotId);
    ids.filter(move |id| plan.slots[id.0].space.memory() == memory && !spans.contains(id))
}

fn largest_slot(plan: &Plan, memory: Memory) -> u64 {
    of_memory(plan, memory).map(|id| 4 * plan.range(id).len() as u64).max().unwrap_or(0)
}

/// Pieces of at most `most` words where that can be: as few as there can be where no slot lies in
/// two. What no slot takes between them is left out.
fn cuts(plan: &Plan, memory: Memory, most: usize) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = of_memory(plan, memory).map(|id| plan.range(id)).collect();
    ranges.sort_by_key(|range| range.start);
    // Slots that overlap, by their lifetimes, stay together; between two such sets memory may end.
    let mut sets: Vec<Range<usize>> = Vec::new();
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        match sets.last_mut() {
            Some(set) if range.start < set.end => set.end = set.end.max(range.end),
            _ => sets.push(range),
        }
    }
    let mut pieces: Vec<Range<usize>> = Vec::new();
    for set in sets {
        match pieces.last_mut() {
            Some(last) if set.end - last.start <= most => last.end = set.end,
            _ => pieces.push(set),
        }
    }
    pieces
}
