//! Joins neighbouring forward steps into one pass over memory.
//!
//! | producer | its only reader | becomes |
//! |---|---|---|
//! | conv without bias | norm, neither differentiated | conv + norm |
//! | conv + norm | add of equal channels, as first operand, not differentiated | conv + norm + residual |
//! | norm | add, as first operand | norm + residual |
//! | norm, conv + norm, either + residual, add | relu | the same with relu |
//!
//! A joined step stands where its last part stood, so that the residual has been computed by then.

use std::collections::{HashMap, HashSet};

use crate::step::{SlotId, Step, StepKind};

/// Rewrites `steps`; the slot `output` is read by someone else and never disappears. Of the slots
/// `live` the gradient is wanted: what reads one has a backward step, which needs what a
/// convolution hands to its norm.
pub(super) fn fuse(steps: &mut Vec<Step>, output: SlotId, live: &HashSet<SlotId>) {
    let mut readers: HashMap<SlotId, usize> = HashMap::from([(output, 1)]);
    for slot in steps.iter().flat_map(|step| &step.reads) {
        *readers.entry(*slot).or_default() += 1;
    }
    let mut writer: HashMap<SlotId, usize> = HashMap::new();
    let mut gone = vec![false; steps.len()];
    for i in 0..steps.len() {
        let candidate = writer
            .get(&steps[i].reads[0])
            .copied()
            .filter(|p: &usize| readers[&steps[*p].writes[0]] == 1);
        if let Some(p) = candidate
            && let fixed = !steps[i].reads.iter().any(|slot| live.contains(slot))
            && let Some(kind) = joined(steps[p].kind, steps[i].kind, fixed)
            // A step borrows each of its slots once.
            && !steps[i].reads[1..].iter().any(|slot| steps[p].reads.contains(slot))
        {
            let consumer = steps[i].clone();
            let mut step = steps[p].clone();
            step.kind = kind;
            step.reads.extend_from_slice(&consumer.reads[1..]);
            step.writes[0] = consumer.writes[0];
            step.fused.push(consumer.layer);
            steps[i] = step;
            gone[p] = true;
        }
        writer.insert(steps[i].writes[0], i);
    }
    let mut keep = gone.iter().map(|gone| !gone);
    steps.retain(|_| keep.next().unwrap_or(true));
}

/// The step that does both, if there is one; `fixed` says that the consumer has no backward step.
fn joined(producer: StepKind, consumer: StepKind, fixed: bool) -> Option<StepKind> {
    match (producer, consumer) {
        (StepKind::Conv { conv, bias: false }, StepKind::Norm(norm)) if fixed && !norm.train => {
            Some(StepKind::ConvNorm { conv, norm })
        }
        (StepKind::ConvNorm { conv, mut norm }, StepKind::Add { residual, relu: false, .. })
            if fixed
                && !norm.relu
                && norm.residual.is_none()
                && residual.channels == norm.channels =>
        {
            norm.residual = Some(residual);
            Some(StepKind::ConvNorm { conv, norm })
        }
        (StepKind::ConvNorm { conv, mut norm }, StepKind::Relu) if fixed && !norm.relu => {
            norm.relu = true;
            Some(StepKind::ConvNorm { conv, norm })
        }
        (StepKind::Norm(mut norm), StepKind::Add { residual, relu: false, .. })
            if !norm.relu && norm.residual.is_none() =>
        {
            norm.residual = Some(residual);
            Some(StepKind::Norm(norm))
        }
        (StepKind::Norm(mut norm), StepKind::Relu) if !norm.relu => {
            norm.relu = true;
            Some(StepKind::Norm(norm))
        }
        (StepKind::Add { channels, residual, relu: false }, StepKind::Relu) => {
            Some(StepKind::Add { channels, residual, relu: true })
        }
        _ => None,
    }
}
