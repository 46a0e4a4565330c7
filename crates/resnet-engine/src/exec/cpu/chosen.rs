//! The kernel of each convolution, chosen when a plan is prepared, and the scratch that all steps
//! need.

use resnet_kernels::{Bf16, Conv2d, Conv2dShape, Packing, ScratchLen, batch_norm, linear};

use super::shapes::conv_shape;
use crate::plan::Plan;
use crate::step::{Norm, NormGrad, Precision, StepKind};

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

    pub(super) fn name(&self) -> &'static str {
        match self {
            Chosen::F32(conv) => conv.name(),
            Chosen::Bf16(conv) => conv.name(),
        }
    }

    pub(super) fn multiplies_bf16(&self) -> bool {
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

    /// How it lays out weights.
    pub(super) fn packing(&self) -> Packing {
        match self {
            Chosen::F32(conv) => conv.packing(),
            Chosen::Bf16(conv) => conv.packing(),
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

/// Whether the weights of a step are laid out once: those of forward convolutions that no optimiser
/// changes.
pub(super) fn lays_out(plan: &Plan, kind: &StepKind) -> bool {
    match kind {
        StepKind::ConvNorm { .. } => true,
        StepKind::Conv { .. } | StepKind::Linear(_) => !plan.options.mode.trains(),
        _ => false,
    }
}
