//! The CPU backend: kernels are chosen once (`choose`), then each step borrows its slots and calls
//! one (`step`).
//!
//! All memory is taken with the backend, the plan's in one allocation; running steps allocates
//! nothing.

mod aligned;
mod choose;
mod step;

use std::collections::HashMap;
use std::ops::Range;

use resnet_kernels::{Bf16, LINE, Number, ScratchLen, diagnose, elementwise, zeros};

use super::{Backend, NoMemory, Sgd};
use crate::plan::Plan;
use crate::step::{Precision, SlotId, Space, StepKind};
use aligned::Aligned;
use choose::{Chosen, choose, installed_memory, lays_out, only_packed};

pub use choose::{Kernel, isa_in_use, kernels, precision};

/// Runs plans on this machine's cores.
pub struct Cpu {
    cpu: resnet_kernels::Cpu,
    plan: Plan,
    /// The kernel of each convolution step.
    convs: Vec<Option<Chosen>>,
    /// Weights of all forward convolutions that do not train, as their kernels read them: they are
    /// laid out once.
    packed: Aligned,
    /// Where those of each step are.
    packed_at: Vec<Range<usize>>,
    /// Steps that alone read a weight, already laid out: then it is nowhere else.
    only_packed: HashMap<SlotId, Vec<usize>>,
    /// Whether parameters were written since.
    stale: bool,
    memory: Aligned,
    scratch: Vec<f32>,
    scratch_len: ScratchLen,
    labels: Vec<u32>,
    /// As many as the widest norm with fixed statistics has channels.
    zeros: Vec<f32>,
    sgd: Sgd,
}

impl Cpu {
    /// Chooses kernels and takes memory for a plan. `threads` is at least 1.
    ///
    /// # Errors
    /// The system refuses the memory.
    pub fn new(plan: Plan, threads: usize) -> Result<Cpu, NoMemory> {
        let cpu = resnet_kernels::Cpu::new(threads);
        let (convs, scratch_len) = choose(&cpu, &plan);
        let scratch = scratch_len.total(&cpu);
        let packed_len = |step: usize| convs[step].as_ref().map_or(0, Chosen::packed_len);
        let mut packed = 0;
        let packed_at: Vec<Range<usize>> = plan
            .steps
            .iter()
            .enumerate()
            .map(|(i, step)| {
                let start = packed;
                if lays_out(&plan, &step.kind) {
                    packed += packed_len(i).next_multiple_of(LINE);
                    start..start + packed_len(i)
                } else {
                    start..start
                }
            })
            .collect();
        let no_memory = NoMemory {
            bytes: 4 * (plan.len() + scratch + packed) as u64,
            batch: plan.options.batch,
        };
        if installed_memory().is_some_and(|installed| no_memory.bytes > installed) {
            return Err(no_memory);
        }
        let memory = Aligned::zeros(plan.len()).ok_or(no_memory)?;
        // In one piece, since only large memory comes in huge pages.
        let packed = Aligned::zeros(packed).ok_or(no_memory)?;
        let scratch = zeros(scratch).ok_or(no_memory)?;
        let labels = vec![0; plan.options.batch];
        let sgd = Sgd {
            lr: 0.0,
            momentum: 0.0,
            weight_decay: 0.0,
            decay_norm_bias: true,
            nesterov: false,
            backbone: 1.0,
            stage: 1.0,
        };
        let scaled = plan.steps.iter().map(|step| match step.kind {
            StepKind::NormScale { channels, .. } => channels,
            _ => 0,
        });
        let zeros = vec![0.0; scaled.max().unwrap_or(0)];
        Ok(Cpu {
            cpu,
            only_packed: HashMap::new(),
            plan,
            convs,
            stale: true,
            packed,
            packed_at,
            memory,
            scratch,
            scratch_len,
            labels,
            zeros,
            sgd,
        })
    }

    /// From now on keeps weights that are written only as their kernels read them, where the plan
    /// infers: they take no memory twice, and cannot be read back.
    pub fn taking_weights(mut self) -> Cpu {
        self.only_packed = only_packed(&self.plan);
        self
    }

    /// The numbers of a slot that is stored in f32.
    ///
    /// # Panics
    /// If it is stored otherwise; [`Backend::read`] widens. If it is a weight that was taken
    /// ([`Cpu::taking_weights`]).
    pub fn view(&self, slot: SlotId) -> &[f32] {
        self.check_kept(slot);
        let precision = self.plan.slots[slot.0].precision;
        assert_eq!(precision, Precision::F32, "slot {slot:?} is not f32");
        let range = self.plan.range(slot);
        &self.memory[range]
    }

    fn check_kept(&self, slot: SlotId) {
        assert!(
            !self.only_packed.contains_key(&slot),
            "weights that were taken are not given back"
        );
    }

    /// Lays out the weights of the convolutions that do not train.
    fn pack(&mut self) {
        for (index, at) in self.packed_at.iter().enumerate() {
            if let Some(conv) = &self.convs[index]
                && !at.is_empty()
                && let slot = self.plan.steps[index].reads[1]
                && !self.only_packed.contains_key(&slot)
            {
                let range = self.plan.range(slot);
                let packed = &mut self.packed[at.clone()];
                conv.pack(&self.cpu, &self.memory[range], packed);
            }
        }
        self.stale = false;
    }
}

impl Backend for Cpu {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn run(&mut self, steps: Range<usize>) {
        if self.stale {
            self.pack();
        }
        for index in steps {
            self.step(index);
        }
    }

    fn set_labels(&mut self, labels: &[u32]) {
        self.labels.copy_from_slice(labels);
    }

    fn set_optimizer(&mut self, sgd: Sgd) {
        self.sgd = sgd;
    }

    fn write(&mut self, slot: SlotId, from: &[f32]) {
        if let Some(steps) = self.only_packed.get(&slot) {
            for &step in steps {
                if let Some(conv) = &self.convs[step] {
                    let packed = &mut self.packed[self.packed_at[step].clone()];
                    conv.pack(&self.cpu, from, packed);
                }
            }
            return;
        }
        let range = self.plan.range(slot);
        let words = &mut self.memory[range];
        let slot = &self.plan.slots[slot.0];
        match slot.precision {
            Precision::F32 => words.copy_from_slice(from),
            Precision::Bf16 => {
                let to = Bf16::view_mut(words, slot.len);
                elementwise::convert(&self.cpu, from, to, false);
            }
        }
        self.stale |= slot.space != Space::Activation;
    }

    fn read(&self, slot: SlotId, into: &mut [f32]) {
        self.check_kept(slot);
        let words = &self.memory[self.plan.range(slot)];
        let slot = &self.plan.slots[slot.0];
        match slot.precision {
            Precision::F32 => into.copy_from_slice(words),
            Precision::Bf16 => {
                elementwise::convert(&self.cpu, Bf16::view(words, slot.len), into, false);
            }
        }
    }

    fn all_finite(&self, space: Space) -> bool {
        assert_ne!(space, Space::Activation, "maps may be stored otherwise");
        diagnose::all_finite(&self.cpu, &self.memory[self.plan.region(space)])
    }
}
