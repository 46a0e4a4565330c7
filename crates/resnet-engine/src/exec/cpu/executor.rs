//! A plan with its kernels, its weights and its arena.

use std::ops::Range;
use std::sync::Arc;

use resnet_kernels::{Bf16, Cpu, Number, ScratchLen, diagnose, elementwise, zeros};

use super::chosen::{Chosen, choose};
use super::memory::{Aligned, Claim, installed_memory, no_memory, no_memory_for};
use super::weights::{Places, Weights};
use crate::exec::device::{Backend, Keep, Rates, Reduce};
use crate::exec::error::ExecError;
use crate::plan::Plan;
use crate::step::{Memory, Precision, Slot, SlotId, Space, StepKind};

/// Runs a plan on this machine's cores.
pub(super) struct Executor {
    /// All threads of the device.
    pub(super) gang: Crew,
    /// The caller's thread alone, once that was wanted.
    pub(super) solo: Option<Crew>,
    /// Whether all threads run the next steps.
    pub(super) all: bool,
    pub(super) plan: Arc<Plan>,
    pub(super) weights: Arc<Weights>,
    pub(super) places: Places,
    /// Whether weights were written since they were laid out.
    stale: bool,
    /// Whether weights changed since the last fork.
    pub(super) changed: bool,
    pub(super) arena: Aligned,
    pub(super) scratch: Vec<f32>,
    /// As many as the widest norm with fixed statistics has channels.
    pub(super) zeros: Vec<f32>,
    pub(super) rates: Rates,
    /// What arena and scratch take of the memory that there is.
    _taken: Claim,
}

/// Threads, and what is chosen for so many of them.
pub(super) struct Crew {
    pub(super) cpu: Arc<Cpu>,
    /// The kernel of each convolution step.
    pub(super) convs: Vec<Option<Chosen>>,
    pub(super) scratch_len: ScratchLen,
}

impl Crew {
    fn new(cpu: Arc<Cpu>, plan: &Plan) -> Crew {
        let (convs, scratch_len) = choose(&cpu, plan);
        Crew { cpu, convs, scratch_len }
    }

    /// Words of scratch.
    fn scratch(&self) -> usize {
        self.scratch_len.total(&self.cpu)
    }
}

impl Executor {
    pub(super) fn new(cpu: Arc<Cpu>, plan: Arc<Plan>, keep: Keep) -> Result<Executor, ExecError> {
        let gang = Crew::new(cpu, &plan);
        let error = no_memory(&plan, gang.scratch() + Weights::packed_len(&plan, &gang.convs));
        if installed_memory().is_some_and(|installed| error.bytes > installed) {
            return Err(error.into());
        }
        let weights = Weights::zeros(&plan, &gang.convs, keep).ok_or(error)?;
        let places = weights.places(&plan, &gang.convs);
        Executor::on(gang, plan, Arc::new(weights), places)
    }

    /// An executor on weights that are there.
    fn on(
        gang: Crew,
        plan: Arc<Plan>,
        weights: Arc<Weights>,
        places: Places,
    ) -> Result<Executor, ExecError> {
        let scratch = gang.scratch();
        let words = plan.len_of(Memory::Arena) + scratch;
        let taken = weights.taken.claim(words, installed_memory());
        let taken = taken.map_err(|all| no_memory_for(&plan, all))?;
        let error = no_memory(&plan, scratch);
        let arena = Aligned::zeros(plan.len_of(Memory::Arena)).ok_or(error)?;
        let scratch = zeros(scratch).ok_or(error)?;
        let scaled = plan.steps.iter().map(|step| match step.kind {
            StepKind::NormScale { channels, .. } => channels,
            _ => 0,
        });
        let zeros = vec![0.0; scaled.max().unwrap_or(0)];
        Ok(Executor {
            gang,
            solo: None,
            all: true,
            plan,
            weights,
            places,
            stale: true,
            changed: false,
            arena,
            scratch,
            zeros,
            rates: Rates { lr: 0.0, scale: 1.0, average: 0.0 },
            _taken: taken,
        })
    }

    /// Lays out the weights of the convolutions that do not train, where they were written.
    fn pack(&mut self) {
        if std::mem::take(&mut self.stale)
            && let Some(weights) = Arc::get_mut(&mut self.weights)
        {
            let Crew { cpu, convs, .. } = &self.gang;
            weights.pack_all(cpu, &self.plan, convs, &mut self.places);
        }
    }

    /// A slot's words.
    fn words(&self, slot: SlotId) -> Result<&[f32], ExecError> {
        let range = self.plan.range(slot);
        match self.plan.slots[slot.0].space.memory() {
            Memory::Arena => Ok(&self.arena[range]),
            Memory::Weights if self.weights.keeps(slot) => Ok(&self.weights.values[range]),
            Memory::Weights => Err(ExecError::NotKept(self.plan.slots[slot.0].name.clone())),
        }
    }

    /// A number about values.
    fn reduced<T: Number>(&self, x: &[T], what: Reduce) -> f64 {
        match what {
            Reduce::Finite => f64::from(u8::from(diagnose::all_finite(&self.gang.cpu, x))),
            Reduce::Sum => diagnose::sums(&self.gang.cpu, x).0,
            Reduce::Squares => diagnose::sums(&self.gang.cpu, x).1,
            Reduce::Dead { channels } => {
                diagnose::dead_channels(&self.gang.cpu, x, channels) as f64
            }
        }
    }
}

impl Backend for Executor {
    fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    fn run(&mut self, steps: Range<usize>) -> Result<(), ExecError> {
        self.pack();
        for index in steps {
            self.step(index)?;
        }
        Ok(())
    }

    fn set_rates(&mut self, rates: Rates) {
        self.rates = rates;
    }

    fn write(&mut self, slot: SlotId, from: &[f32]) -> Result<(), ExecError> {
        let range = self.plan.range(slot);
        let Slot { space, precision, len, .. } = self.plan.slots[slot.0];
        if space.memory() == Memory::Weights {
            let weights = Arc::get_mut(&mut self.weights).ok_or(ExecError::Shared)?;
            self.changed = true;
            if weights.keeps(slot) {
                weights.values[range].copy_from_slice(from);
                self.stale = true;
            } else {
                weights.pack_one(&self.gang.cpu, &self.plan, &self.gang.convs, slot, from);
            }
            return Ok(());
        }
        let words = &mut self.arena[range];
        match precision {
            Precision::F32 => words.copy_from_slice(from),
            Precision::Bf16 => {
                elementwise::convert(&self.gang.cpu, from, Bf16::view_mut(words, len), false);
            }
        }
        Ok(())
    }

    fn read(&self, slot: SlotId, into: &mut [f32]) -> Result<(), ExecError> {
        let words = self.words(slot)?;
        let slot = &self.plan.slots[slot.0];
        match slot.precision {
            Precision::F32 => into.copy_from_slice(words),
            Precision::Bf16 => {
                elementwise::convert(&self.gang.cpu, Bf16::view(words, slot.len), into, false);
            }
        }
        Ok(())
    }

    fn reduce(&self, slot: SlotId, what: Reduce) -> Result<f64, ExecError> {
        let words = self.words(slot)?;
        let slot = &self.plan.slots[slot.0];
        Ok(match slot.precision {
            Precision::F32 => self.reduced(words, what),
            Precision::Bf16 => self.reduced(Bf16::view(words, slot.len), what),
        })
    }

    fn all_finite(&self, space: Space) -> Result<bool, ExecError> {
        assert_ne!(space, Space::Activation, "maps may be stored otherwise");
        let region = self.plan.region(space);
        let words = match space.memory() {
            Memory::Weights => {
                let mut slots = (0..self.plan.slots.len()).map(SlotId);
                let is_lost =
                    |id: &SlotId| self.plan.slots[id.0].space == space && !self.weights.keeps(*id);
                if let Some(lost) = slots.find(is_lost) {
                    return Err(ExecError::NotKept(self.plan.slots[lost.0].name.clone()));
                }
                &self.weights.values[region]
            }
            Memory::Arena => &self.arena[region],
        };
        Ok(diagnose::all_finite(&self.gang.cpu, words))
    }

    fn fork(&mut self, plan: Option<Arc<Plan>>) -> Result<Box<dyn Backend>, ExecError> {
        self.pack();
        if std::mem::take(&mut self.changed)
            && let Some(weights) = Arc::get_mut(&mut self.weights)
        {
            weights.forget_others(&self.plan, &self.gang.convs);
        }
        let plan = plan.unwrap_or_else(|| self.plan.clone());
        if !plan.shares_weights_with(&self.plan) {
            return Err(ExecError::OtherWeights);
        }
        let gang = Crew::new(self.gang.cpu.clone(), &plan);
        let places = self.weights.places_of_other(&gang.cpu, &plan, &gang.convs)?;
        let mut fork = Executor::on(gang, plan, self.weights.clone(), places)?;
        fork.stale = false;
        Ok(Box::new(fork))
    }

    fn set_gang(&mut self, all: bool) {
        self.all = all;
        if !all && self.solo.is_none() {
            let solo = Crew::new(Arc::new(self.gang.cpu.solo()), &self.plan);
            // What threads have for themselves is less now; what they share may be more.
            self.scratch.resize(self.scratch.len().max(solo.scratch()), 0.0);
            self.solo = Some(solo);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Graph, LayerId, Op, Shape};
    use crate::plan::Options;

    #[test]
    fn forks_together_take_no_more_than_is_installed() {
        // Where the system does not tell, there is no limit.
        let Some(installed) = installed_memory() else { return };
        let mut graph = Graph::new(Shape::new(8, 64, 64));
        let conv =
            Op::Conv2d { c_out: 8, kernel: 1, stride: 1, padding: 0, groups: 1, bias: false };
        graph.push("conv", conv, &[LayerId(0)]);
        let plan = |batch| Arc::new(Plan::build(&graph, Options::infer(batch)).unwrap());
        let each = plan(100).len_of(Memory::Arena) as u64 * 4 / 100;
        // Two fit and three do not. Memory that nothing is written to takes none.
        let large = plan((installed * 2 / 5 / each) as usize);
        let cpu = Arc::new(Cpu::new(1));
        let mut first = Executor::new(cpu, plan(1), Keep::Values).unwrap();
        let mut fork = || first.fork(Some(large.clone()));
        // A system may give less than it has.
        let held: Vec<_> = (0..3).map_while(|_| fork().ok()).collect();
        let (count, refused) = (held.len(), fork().err());
        assert!(count < 3 && matches!(refused, Some(ExecError::Memory(_))), "{count} {refused:?}");
        drop(held);
        assert_eq!(fork().is_ok(), count > 0);
    }
}
