//! Weights: the numbers of a model, and how kernels read them. Executors of one model share them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use resnet_kernels::{Cpu, LINE, Packing};

use super::chosen::{Chosen, lays_out};
use super::memory::{Aligned, Claim, Taken, installed_memory, no_memory, no_memory_for};
use crate::exec::device::Keep;
use crate::exec::error::ExecError;
use crate::plan::Plan;
use crate::step::{Memory, SlotId, Step};

/// A weight in some layout.
type Key = (SlotId, Packing);

/// The numbers of a model.
pub(super) struct Weights {
    /// As the plan lays them out. Memory that nothing was written to takes none.
    pub(super) values: Aligned,
    /// Slots whose numbers are only in what is packed.
    packed_only: HashSet<SlotId>,
    layouts: Layouts,
    /// What executors on them take.
    pub(super) taken: Taken,
}

/// The same numbers as kernels read them.
pub(super) struct Layouts {
    /// For the plan that the weights were made with.
    first: Packed,
    /// For plans of executors that came later, of the weights as they are.
    more: Mutex<Vec<Arc<Packed>>>,
}

/// Weights of convolutions that do not train, as their kernels read them.
struct Packed {
    /// In one piece, since only large memory comes in huge pages.
    memory: Aligned,
    at: HashMap<Key, Range<usize>>,
    /// What it takes beside the weights' first.
    _taken: Option<Claim>,
}

/// Where the packed weights of each of a plan's steps are.
pub(super) struct Places {
    /// A piece of the executor's kind, beside the weights' first.
    more: Option<Arc<Packed>>,
    of_step: Vec<Option<Place>>,
}

struct Place {
    first: bool,
    range: Range<usize>,
}

impl Packed {
    /// Memory for some layouts, or none where the system refuses it.
    fn zeros(wanted: &Wanted) -> Option<Packed> {
        let mut end = 0;
        let mut at = HashMap::new();
        for (key, conv) in wanted {
            at.entry(key.clone()).or_insert_with(|| {
                let start = end;
                end += conv.packed_len().next_multiple_of(LINE);
                start..start + conv.packed_len()
            });
        }
        Some(Packed { memory: Aligned::zeros(end)?, at, _taken: None })
    }
}

/// Weights that are laid out for a plan, and a kernel that can do so.
type Wanted<'a> = Vec<(Key, &'a Chosen)>;

fn wanted<'a>(plan: &Plan, convs: &'a [Option<Chosen>]) -> Wanted<'a> {
    let steps = plan.steps.iter().zip(convs).filter(|(step, _)| lays_out(plan, &step.kind));
    steps
        .filter_map(|(step, conv)| Some((key(step.reads[1], conv.as_ref()?), conv.as_ref()?)))
        .collect()
}

fn key(slot: SlotId, conv: &Chosen) -> Key {
    (slot, conv.packing())
}

impl Weights {
    /// Words that weights of a plan take beside its own.
    pub(super) fn packed_len(plan: &Plan, convs: &[Option<Chosen>]) -> usize {
        wanted(plan, convs).iter().map(|(_, conv)| conv.packed_len().next_multiple_of(LINE)).sum()
    }

    /// Memory for a plan's weights, or none where the system refuses it.
    pub(super) fn zeros(plan: &Plan, convs: &[Option<Chosen>], keep: Keep) -> Option<Weights> {
        let packed_only = match keep {
            Keep::Values => HashSet::new(),
            Keep::Packed => only_packed(plan),
        };
        let values = Aligned::zeros(plan.len_of(Memory::Weights))?;
        let first = Packed::zeros(&wanted(plan, convs))?;
        let unused: usize = packed_only.iter().map(|slot| plan.slots[slot.0].words()).sum();
        let taken = Taken::new(4 * (values.len() - unused + first.memory.len()) as u64);
        let layouts = Layouts { first, more: Mutex::default() };
        Some(Weights { values, packed_only, layouts, taken })
    }

    /// Whether a slot's numbers are there as the plan lays them out.
    pub(super) fn keeps(&self, slot: SlotId) -> bool {
        !self.packed_only.contains(&slot)
    }

    /// Where the plan that the weights were made with finds them.
    pub(super) fn places(&self, plan: &Plan, convs: &[Option<Chosen>]) -> Places {
        self.find(plan, convs, None)
    }

    /// Where another plan finds them; layouts that are not there are made.
    ///
    /// # Errors
    /// There is not enough memory, or what would be laid out was not kept.
    pub(super) fn places_of_other(
        &self,
        cpu: &Cpu,
        plan: &Plan,
        convs: &[Option<Chosen>],
    ) -> Result<Places, ExecError> {
        let raw = |step: &Step, (i, _): &(usize, &SlotId)| *i != 1 || !lays_out(plan, &step.kind);
        let reads_raw = |step: &Step| {
            let mut raw = step.reads.iter().enumerate().filter(|read| raw(step, read));
            raw.any(|(_, slot)| !self.keeps(*slot))
        };
        if plan.steps.iter().any(reads_raw) {
            return Err(ExecError::OtherWeights);
        }
        let mut missing = wanted(plan, convs);
        missing.retain(|(key, _)| !self.layouts.first.at.contains_key(key));
        if missing.is_empty() {
            return Ok(self.find(plan, convs, None));
        }
        let mut more = self.layouts.more.lock().unwrap_or_else(PoisonError::into_inner);
        let has_all =
            |piece: &&Arc<Packed>| missing.iter().all(|(key, _)| piece.at.contains_key(key));
        if let Some(piece) = more.iter().find(has_all) {
            return Ok(self.find(plan, convs, Some(piece.clone())));
        }
        if missing.iter().any(|((slot, _), _)| !self.keeps(*slot)) {
            return Err(ExecError::OtherWeights);
        }
        let mut piece = Packed::zeros(&missing).ok_or_else(|| no_memory(plan, 0))?;
        let taken = self.taken.claim(piece.memory.len(), installed_memory());
        piece._taken = Some(taken.map_err(|all| no_memory_for(plan, all))?);
        for (key, conv) in &missing {
            let packed = &mut piece.memory[piece.at[key].clone()];
            conv.pack(cpu, &self.values[plan.range(key.0)], packed);
        }
        let piece = Arc::new(piece);
        more.push(piece.clone());
        Ok(self.find(plan, convs, Some(piece)))
    }

    fn find(&self, plan: &Plan, convs: &[Option<Chosen>], more: Option<Arc<Packed>>) -> Places {
        let place = |(step, conv): (&Step, &Option<Chosen>)| {
            let conv = conv.as_ref().filter(|_| lays_out(plan, &step.kind))?;
            let key = key(step.reads[1], conv);
            match self.layouts.first.at.get(&key) {
                Some(range) => Some(Place { first: true, range: range.clone() }),
                None => {
                    let range = more.as_ref()?.at.get(&key)?.clone();
                    Some(Place { first: false, range })
                }
            }
        };
        let of_step = plan.steps.iter().zip(convs).map(place).collect();
        Places { more, of_step }
    }

    /// The values, to be changed, and what was laid out.
    pub(super) fn split(&mut self) -> (&mut Aligned, &Layouts) {
        (&mut self.values, &self.layouts)
    }

    /// What was laid out.
    pub(super) fn layouts(&self) -> &Layouts {
        &self.layouts
    }

    /// Lays a weight out for every kernel that reads it, from numbers as the plan lays them out.
    pub(super) fn pack_one(
        &mut self,
        cpu: &Cpu,
        plan: &Plan,
        convs: &[Option<Chosen>],
        slot: SlotId,
        w: &[f32],
    ) {
        let Packed { memory, at, .. } = &mut self.layouts.first;
        let steps = plan.steps.iter().zip(convs);
        let steps = steps.filter(|(step, _)| step.reads.get(1) == Some(&slot));
        for (_, conv) in steps.filter(|(step, _)| lays_out(plan, &step.kind)) {
            if let Some(conv) = conv {
                conv.pack(cpu, w, &mut memory[at[&key(slot, conv)].clone()]);
            }
        }
    }

    /// Lays out all that is kept, for the only executor there is.
    pub(super) fn pack_all(
        &mut self,
        cpu: &Cpu,
        plan: &Plan,
        convs: &[Option<Chosen>],
        places: &mut Places,
    ) {
        self.forget_others(plan, convs);
        let Weights { values, packed_only, layouts: Layouts { first, more }, .. } = self;
        let mut own = places.more.as_mut().and_then(Arc::get_mut);
        for (key, conv) in wanted(plan, convs) {
            if packed_only.contains(&key.0) {
                continue;
            }
            let piece = match (first.at.contains_key(&key), &mut own) {
                (false, Some(own)) => &mut **own,
                _ => &mut *first,
            };
            let packed = &mut piece.memory[piece.at[&key].clone()];
            conv.pack(cpu, &values[plan.range(key.0)], packed);
        }
        let more = more.get_mut().unwrap_or_else(PoisonError::into_inner);
        more.extend(places.more.clone());
    }

    /// Forgets what was laid out for plans of executors that are gone, before the weights changed.
    pub(super) fn forget_others(&mut self, plan: &Plan, convs: &[Option<Chosen>]) {
        let Layouts { first, more } = &mut self.layouts;
        more.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        let own: HashSet<Key> = wanted(plan, convs).into_iter().map(|(key, _)| key).collect();
        first.at.retain(|key, _| own.contains(key));
    }
}

impl Layouts {
    /// The weights of a step as its kernel reads them, where they were laid out before.
    pub(super) fn packed<'a>(&'a self, places: &'a Places, step: usize) -> Option<&'a [f32]> {
        let place = places.of_step[step].as_ref()?;
        let piece = match (place.first, &places.more) {
            (true, _) => &self.first,
            (false, more) => more.as_ref()?,
        };
        Some(&piece.memory[place.range.clone()])
    }
}

/// The weights of a plan that does not train which only steps read whose kernels have them laid
/// out: nothing else needs them.
fn only_packed(plan: &Plan) -> HashSet<SlotId> {
    if plan.options.mode.trains() {
        return HashSet::new();
    }
    let packs = |step: &&Step| lays_out(plan, &step.kind);
    let mut found: HashSet<SlotId> =
        plan.steps.iter().filter(packs).map(|step| step.reads[1]).collect();
    for step in &plan.steps {
        for (i, slot) in step.reads.iter().enumerate() {
            if i != 1 || !lays_out(plan, &step.kind) {
                found.remove(slot);
            }
        }
    }
    found
}
