//! Kernels and memory for a plan on this machine.

use std::collections::HashMap;

use resnet_kernels::{
    Bf16, Conv2d, Conv2dShape, Isa, Pool2dShape, ScratchLen, batch_norm, linear, peak,
};

use super::super::Limits;
use crate::plan::{Mode, Plan};
use crate::step::{Conv, Norm, NormGrad, Pool, Precision, SlotId, StepKind};

/// Name of the instruction set that kernels use on this machine, and whether Winograd's algorithm
/// is switched off.
///
/// # Errors
/// `RESNET_ISA` names none, or `RESNET_WINOGRAD` is neither on nor off.
pub fn isa_in_use() -> Result<String, String> {
    let isa = resnet_kernels::Isa::best().map_err(|error| error.to_string())?;
    Ok(if resnet_kernels::winograd_switch()? {
        isa.to_string()
    } else {
        format!("{isa} without Winograd")
    })
}

impl Limits {
    /// Measures this machine with so many threads.
    pub fn measure(threads: usize) -> Limits {
        let cpu = resnet_kernels::Cpu::new(threads);
        Limits {
            flops: peak::flops(&cpu),
            bf16_flops: peak::bf16_flops(&cpu),
            bandwidth: peak::bandwidth(&cpu),
        }
    }
}

pub(super) fn conv_shape(conv: Conv) -> Conv2dShape {
    let Conv { n, h, w, c_in, c_out, kernel, stride, padding, groups } = conv;
    Conv2dShape { n, h, w, c_in, c_out, kernel, stride, padding, groups }
}

pub(super) fn pool_shape(pool: Pool) -> Pool2dShape {
    let Pool { n, h, w, c, kernel, stride, padding } = pool;
    Pool2dShape { n, h, w, c, kernel, stride, padding }
}

/// Whether the weights of a step are laid out once: those of forward convolutions that no optimiser
/// changes.
pub(super) fn lays_out(plan: &Plan, kind: &StepKind) -> bool {
    match kind {
        StepKind::ConvNorm { .. } => true,
        StepKind::Conv { .. } | StepKind::Linear(_) => plan.options.mode == Mode::Infer,
        _ => false,
    }
}

/// The weights of a plan that infers which only steps read whose kernels have them laid out, and
/// those steps: nothing else needs them.
pub(super) fn only_packed(plan: &Plan) -> HashMap<SlotId, Vec<usize>> {
    let mut found: HashMap<SlotId, Vec<usize>> = HashMap::new();
    if plan.options.mode != Mode::Infer {
        return found;
    }
    for (index, step) in plan.steps.iter().enumerate() {
        if lays_out(plan, &step.kind) {
            found.entry(step.reads[1]).or_default().push(index);
        }
    }
    for step in &plan.steps {
        for (i, slot) in step.reads.iter().enumerate() {
            if i != 1 || !lays_out(plan, &step.kind) {
                found.remove(slot);
            }
        }
    }
    found
}

/// The kernel of a convolution step.
pub(super) enum Chosen {
    F32(Conv2d),
    Bf16(Conv2d<Bf16>),
}

impl Chosen {
    fn new(cpu: &resnet_kernels::Cpu, shape: &Conv2dShape, precision: Precision) -> Chosen {
        match precision {
            Precision::F32 => Chosen::F32(Conv2d::choose(cpu, shape)),
            Precision::Bf16 => Chosen::Bf16(Conv2d::choose(cpu, shape)),
        }
    }

    pub(super) fn f32(&self) -> Option<&Conv2d> {
        match self {
            Chosen::F32(conv) => Some(conv),
            Chosen::Bf16(_) => None,
        }
    }

    pub(super) fn bf16(&self) -> Option<&Conv2d<Bf16>> {
        match self {
            Chosen::F32(_) => None,
            Chosen::Bf16(conv) => Some(conv),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Chosen::F32(conv) => conv.name(),
            Chosen::Bf16(conv) => conv.name(),
        }
    }

    fn multiplies_bf16(&self) -> bool {
        match self {
            Chosen::F32(conv) => conv.multiplies_bf16(),
            Chosen::Bf16(conv) => conv.multiplies_bf16(),
        }
    }

    /// Of all passes, or of the forward pass with weights that are laid out.
    fn scratch_len(&self, packed: bool) -> ScratchLen {
        match (self, packed) {
            (Chosen::F32(conv), false) => conv.scratch_len(),
            (Chosen::F32(conv), true) => conv.packed_scratch_len(),
            (Chosen::Bf16(conv), false) => conv.scratch_len(),
            (Chosen::Bf16(conv), true) => conv.packed_scratch_len(),
        }
    }

    pub(super) fn packed_len(&self) -> usize {
        match self {
            Chosen::F32(conv) => conv.packed_len(),
            Chosen::Bf16(conv) => conv.packed_len(),
        }
    }

    pub(super) fn pack(&self, cpu: &resnet_kernels::Cpu, w: &[f32], packed: &mut [f32]) {
        match self {
            Chosen::F32(conv) => conv.pack(cpu, w, packed),
            Chosen::Bf16(conv) => conv.pack(cpu, w, packed),
        }
    }
}

/// The precision that was asked for, or where that is left open the one that is faster on this
/// machine, and why.
pub fn precision(asked: Option<Precision>) -> (Precision, Option<&'static str>) {
    if let Some(precision) = asked {
        return (precision, None);
    }
    let (precision, why) = match Isa::best().unwrap_or(Isa::Scalar) {
        Isa::Amx => {
            (Precision::Bf16, "this CPU multiplies tiles of bf16 many times faster than f32")
        }
        Isa::Avx512Bf16 => {
            (Precision::Bf16, "this CPU multiplies pairs of bf16 twice as fast as f32")
        }
        _ => (
            Precision::F32,
            "without instructions that multiply bf16 it saves memory, but seldom time",
        ),
    };
    (precision, Some(why))
}

/// The kernel of each convolution step, and scratch that is enough for every step.
pub(super) fn choose(cpu: &resnet_kernels::Cpu, plan: &Plan) -> (Vec<Option<Chosen>>, ScratchLen) {
    let shared = |shared| ScratchLen { shared, own: 0 };
    let mut scratch = ScratchLen::default();
    let mut convs = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let mut chosen = None;
        let mut need_of = |shape: &Conv2dShape| {
            let precision = plan.slots[step.reads[0].0].precision;
            let conv = Chosen::new(cpu, shape, precision);
            let need = conv.scratch_len(lays_out(plan, &step.kind));
            chosen = Some(conv);
            need
        };
        let need = match step.kind {
            StepKind::Conv { conv, .. }
            | StepKind::ConvBackwardInput { conv, .. }
            | StepKind::ConvBackwardWeight { conv, .. } => need_of(&conv_shape(conv)),
            StepKind::ConvNorm { conv, norm } => {
                let mut need = need_of(&conv_shape(conv));
                need.shared += 2 * norm.channels;
                need
            }
            StepKind::Linear(l) => need_of(&linear::shape(l.n, l.c_in, l.c_out)),
            StepKind::Norm(norm @ Norm { train: true, .. })
            | StepKind::NormBackward(NormGrad { norm, .. }) => {
                let x = &plan.slots[step.reads[0].0];
                shared(batch_norm::scratch_len(x.len / norm.channels, norm.channels))
            }
            StepKind::Norm(Norm { channels, .. })
            | StepKind::NormAgain(Norm { channels, .. })
            | StepKind::NormScale { channels, .. } => {
                shared(batch_norm::elementwise_scratch_len(channels))
            }
            StepKind::LinearBackwardInput { linear: l, .. } | StepKind::LinearBackwardWeight(l) => {
                linear::scratch_len(cpu, l.n, l.c_in, l.c_out)
            }
            _ => ScratchLen::default(),
        };
        scratch = scratch.max(need);
        convs.push(chosen);
    }
    (convs, scratch)
}

/// What runs a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Of a convolution: operation, precision, register tile, instruction set; else the instruction
    /// set.
    pub name: String,
    /// Whether its products are of bf16 numbers, for which the CPU has instructions of their own.
    pub multiplies_bf16: bool,
}

/// What runs each step of a plan on this machine, without taking memory for it.
pub fn kernels(plan: &Plan, threads: usize) -> Vec<Kernel> {
    let cpu = resnet_kernels::Cpu::new(threads);
    let (convs, _) = choose(&cpu, plan);
    let kernel = |conv: &Option<Chosen>| match conv {
        Some(conv) => {
            Kernel { name: conv.name().to_string(), multiplies_bf16: conv.multiplies_bf16() }
        }
        None => Kernel { name: cpu.isa().vectors().to_string(), multiplies_bf16: false },
    };
    convs.iter().map(kernel).collect()
}

/// Bytes of memory in this machine, where the system tells. A system that promises more than it has
/// would kill the process later instead of refusing now.
pub(super) fn installed_memory() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
