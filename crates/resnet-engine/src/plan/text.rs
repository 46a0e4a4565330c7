//! Prints a plan: one line a step. It reads like the program that it is.

use std::fmt;

use super::program::Plan;
use crate::step::{Precision, Step, StepKind};

impl Plan {
    /// Name of a step's operation.
    pub fn kind_name(kind: &StepKind) -> &'static str {
        match kind {
            StepKind::Conv { .. } => "conv",
            StepKind::ConvNorm { norm, .. } => match (norm.residual.is_some(), norm.relu) {
                (false, false) => "conv+norm",
                (false, true) => "conv+norm+relu",
                (true, false) => "conv+norm+add",
                (true, true) => "conv+norm+add+relu",
            },
            StepKind::Norm(norm) => match (norm.residual.is_some(), norm.relu) {
                (false, false) => "norm",
                (false, true) => "norm+relu",
                (true, false) => "norm+add",
                (true, true) => "norm+add+relu",
            },
            StepKind::NormAgain(_) => "norm again",
            StepKind::Relu => "relu",
            StepKind::Add { relu: false, .. } => "add",
            StepKind::Add { relu: true, .. } => "add+relu",
            StepKind::MaxPool(_) => "max_pool",
            StepKind::AvgPool(_) => "avg_pool",
            StepKind::Widen => "widen",
            StepKind::GlobalAvgPool { .. } => "global_avg_pool",
            StepKind::Linear(_) => "linear",
            StepKind::SoftmaxCrossEntropy { .. } => "softmax_cross_entropy",
            StepKind::ConvBackwardInput { .. } => "conv dx",
            StepKind::ConvBackwardWeight { .. } => "conv dw",
            StepKind::NormBackward(_) => "norm backward",
            StepKind::NormScale { .. } => "norm scale",
            StepKind::ReluBackward { .. } => "relu backward",
            StepKind::AddBackward(_) => "add backward",
            StepKind::MaxPoolBackward { .. } => "max_pool backward",
            StepKind::AvgPoolBackward { .. } => "avg_pool backward",
            StepKind::WidenBackward { .. } => "widen backward",
            StepKind::GlobalAvgPoolBackward { .. } => "global_avg_pool backward",
            StepKind::LinearBackwardInput { .. } => "linear dx",
            StepKind::LinearBackwardWeight(_) => "linear dw",
            StepKind::Accumulate => "accumulate",
            StepKind::Keep => "keep",
            StepKind::Clear => "clear",
            StepKind::Update(update) => update.rule.name(),
            StepKind::Average => "average",
        }
    }

    /// Multiply-adds of one run of a step over the whole batch.
    pub fn macs(kind: &StepKind) -> u64 {
        match *kind {
            StepKind::Conv { conv, .. }
            | StepKind::ConvNorm { conv, .. }
            | StepKind::ConvBackwardInput { conv, .. }
            | StepKind::ConvBackwardWeight { conv, .. } => conv.macs(),
            StepKind::Linear(linear)
            | StepKind::LinearBackwardInput { linear, .. }
            | StepKind::LinearBackwardWeight(linear) => {
                (linear.n * linear.c_in * linear.c_out) as u64
            }
            _ => 0,
        }
    }

    /// The steps as a table; `kernel` names what a backend runs for each.
    pub fn table(&self, kernel: impl Fn(usize) -> String) -> String {
        let mut text = format!(
            "{:>4}  {:<26} {:<22} {:<26} {:>9}  {}\n",
            "step",
            "layer",
            "operation",
            "kernel",
            "MMACs",
            "reads -> writes (name @ word : length)"
        );
        for (index, step) in self.steps.iter().enumerate() {
            text += &format!(
                "{index:>4}  {:<26} {:<22} {:<26} {:>9.3}  {}\n",
                self.layer_names[step.layer.0],
                Plan::kind_name(&step.kind),
                kernel(index),
                Plan::macs(&step.kind) as f64 / 1e6,
                self.operands(step),
            );
        }
        let bytes = |words: usize| words as f64 * 4.0 / (1 << 20) as f64;
        text += &format!("memory {:.1} MiB", bytes(self.len()));
        let regions = crate::step::Space::ALL.iter().zip(&self.regions);
        for (space, region) in regions.filter(|(_, region)| !region.is_empty()) {
            text +=
                &format!(", {} {:.1}", format!("{space:?}").to_lowercase(), bytes(region.len()));
        }
        text.push('\n');
        text
    }

    fn operands(&self, step: &Step) -> String {
        let list = |ids: &[crate::step::SlotId]| {
            let names: Vec<String> = ids
                .iter()
                .map(|id| {
                    let slot = &self.slots[id.0];
                    let stored = match slot.precision {
                        Precision::F32 => "",
                        Precision::Bf16 => " bf16",
                    };
                    format!("{} @ {} : {}{stored}", slot.name, slot.offset, slot.len)
                })
                .collect();
            names.join(", ")
        };
        format!("{} -> {}", list(&step.reads), list(&step.writes))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table(|_| String::new()))
    }
}
