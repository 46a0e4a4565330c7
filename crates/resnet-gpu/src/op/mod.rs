//! What each step of a plan launches: one file an operation.

mod conv;
mod elementwise;
mod gemm;
mod launches;
mod loss;
mod norm;
mod pool;
mod reduce;
mod update;

use std::ops::Range;

use resnet_engine::plan::Plan;
use resnet_engine::step::{Precision, SlotId, Step, StepKind};

pub(crate) use launches::{Launches, Split};
pub(crate) use reduce::finite;

/// Spans whole, for who only asks what there is.
pub(crate) fn uncut(plan: &Plan, spans: &[SlotId]) -> Vec<Range<usize>> {
    let whole = 0..plan.slots[spans[0].0].len;
    std::iter::once(whole).collect()
}

/// What launches a step.
pub(crate) fn launches<'a>(plan: &'a Plan, step: &'a Step, split: &'a Split<'a>) -> Launches<'a> {
    let mut to = Launches::new(plan, step, split);
    match step.kind {
        StepKind::Conv { conv, bias } => conv::forward(&mut to, conv, bias),
        StepKind::ConvNorm { conv, norm } => conv::forward_norm(&mut to, conv, norm),
        StepKind::Linear(linear) => conv::linear(&mut to, linear),
        StepKind::ConvBackwardInput { conv, accumulate } => {
            conv::backward_input(&mut to, conv, accumulate);
        }
        StepKind::ConvBackwardWeight { conv, bias } => conv::backward_weight(&mut to, conv, bias),
        StepKind::LinearBackwardInput { linear, accumulate } => {
            conv::backward_input(&mut to, conv::of_linear(linear), accumulate);
        }
        StepKind::LinearBackwardWeight(linear) => {
            conv::backward_weight(&mut to, conv::of_linear(linear), true);
        }
        StepKind::Norm(norm) if norm.train => norm::train(&mut to, norm),
        StepKind::Norm(norm) => norm::infer(&mut to, norm),
        StepKind::NormAgain(norm) => norm::again(&mut to, norm),
        StepKind::NormBackward(grad) => norm::backward(&mut to, grad),
        StepKind::NormScale { channels, eps } => norm::scale(&mut to, channels, eps),
        StepKind::Relu => elementwise::relu(&mut to),
        StepKind::ReluBackward { accumulate } => elementwise::relu_backward(&mut to, accumulate),
        StepKind::Add { channels, residual, relu } => {
            elementwise::add(&mut to, channels, residual, relu);
        }
        StepKind::AddBackward(grad) => elementwise::add_backward(&mut to, grad),
        StepKind::Widen => elementwise::widen(&mut to, false),
        StepKind::WidenBackward { accumulate } => elementwise::widen(&mut to, accumulate),
        StepKind::MaxPool(pool) => pool::max(&mut to, pool),
        StepKind::MaxPoolBackward { pool, accumulate } => {
            pool::max_backward(&mut to, pool, accumulate);
        }
        StepKind::AvgPool(pool) => pool::avg(&mut to, pool),
        StepKind::AvgPoolBackward { pool, accumulate } => {
            pool::avg_backward(&mut to, pool, accumulate);
        }
        StepKind::GlobalAvgPool { pixels, c, .. } => pool::global(&mut to, pixels, c),
        StepKind::GlobalAvgPoolBackward { pixels, c, accumulate, .. } => {
            pool::global_backward(&mut to, pixels, c, accumulate);
        }
        StepKind::SoftmaxCrossEntropy { n, classes, smoothing } => {
            loss::softmax_cross_entropy(&mut to, n, classes, smoothing);
        }
        StepKind::Accumulate => update::accumulate(&mut to),
        StepKind::Keep => update::keep(&mut to),
        StepKind::Clear => update::clear(&mut to),
        StepKind::Update(update) => update::update(&mut to, update),
        StepKind::Average => update::average(&mut to),
    }
    to
}

/// Why a step cannot run here.
pub(crate) fn refusal(plan: &Plan, step: &Step) -> Option<String> {
    let stores_pairs = plan.slots[step.writes.first()?.0].precision == Precision::Bf16;
    match step.kind {
        StepKind::Conv { conv, .. } | StepKind::ConvNorm { conv, .. } if stores_pairs => {
            conv::refusal(conv, false)
        }
        StepKind::ConvBackwardInput { conv, .. } if stores_pairs => conv::refusal(conv, true),
        _ => None,
    }
}
