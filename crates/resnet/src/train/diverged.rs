//! Finds the first layer whose numbers are no longer finite.

use crate::model;
use resnet_engine::exec::{Backend, Cpu};
use resnet_engine::graph::Graph;
use resnet_engine::plan::{Options, Plan};
use resnet_engine::step::SlotId;

/// Runs the same batch through a plan that keeps everything, one step per operation, and names the
/// first bad number: weights first, then outputs in the order of the forward pass, then gradients
/// in the order of the backward pass.
pub(super) fn first_bad_layer(
    trainer: &Cpu,
    graph: &Graph,
    images: &[f32],
    labels: &[u32],
    threads: usize,
) -> String {
    if images.iter().any(|x| !x.is_finite()) {
        return "the images of the batch are not finite".into();
    }
    let plan = trainer.plan();
    let bad = |values: &[f32]| values.iter().any(|x| !x.is_finite());
    if let Some(slots) = plan.params.iter().find(|slots| bad(trainer.view(slots.value))) {
        return format!("weight `{}` is not finite", slots.name);
    }
    let options = Options { fuse: false, keep_all: true, ..plan.options };
    let Ok(plan) = Plan::build(graph, options) else {
        unreachable!("the network was planned before")
    };
    let Ok(mut cpu) = Cpu::new(plan, threads) else {
        return "a loss or gradient is not finite (there is too little memory to find the layer)"
            .into();
    };
    model::copy(trainer, &mut cpu);
    let plan = cpu.plan().clone();
    cpu.write(plan.input, images);
    cpu.set_labels(labels);
    cpu.run(plan.forward.clone());
    for step in &plan.steps[plan.forward.clone()] {
        if bad(&numbers(&cpu, step.writes[0])) {
            let what = if Some(step.writes[0]) == plan.losses { "loss after" } else { "output of" };
            return format!("the {what} layer `{}` is not finite", plan.layer_names[step.layer.0]);
        }
    }
    cpu.run(plan.backward.clone());
    for step in &plan.steps[plan.backward.clone()] {
        if step.writes.iter().any(|slot| bad(&numbers(&cpu, *slot))) {
            return format!(
                "the gradient at layer `{}` is not finite",
                plan.layer_names[step.layer.0]
            );
        }
    }
    "the sum of many finite numbers overflowed".into()
}

/// What a slot holds, in f32.
fn numbers(cpu: &Cpu, slot: SlotId) -> Vec<f32> {
    let mut numbers = vec![0.0; cpu.plan().slots[slot.0].len];
    cpu.read(slot, &mut numbers);
    numbers
}
