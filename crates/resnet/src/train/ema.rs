//! A running average of the weights (Polyak & Juditsky 1992), with running statistics beside them:
//!
//! ```text
//! a = a + (1 - d) (w - a)     d = min(decay, (1 + t) / (10 + t)) after t steps
//! ```
//! The rate d rises with the steps, so that the average soon forgets the weights it began with.

use resnet_engine::exec::{Backend, Cpu};
use resnet_engine::plan::{ParamSlots, Plan};

pub(super) struct Ema {
    decay: f64,
    /// One for each parameter and running statistic, in the plan's order and layout.
    pub(super) values: Vec<Vec<f32>>,
}

impl Ema {
    /// An average that begins with a backend's present weights.
    pub(super) fn new(decay: f64, backend: &Cpu) -> Ema {
        let params = backend.plan().params.iter();
        Ema { decay, values: params.map(|p| backend.view(p.value).to_vec()).collect() }
    }

    /// Takes up the weights after `step` steps.
    pub(super) fn update(&mut self, backend: &Cpu, step: u64) {
        let t = step as f64;
        let new = (1.0 - self.decay.min((1.0 + t) / (10.0 + t))) as f32;
        let plan = backend.plan();
        for (slots, average) in plan.params.iter().zip(&mut self.values) {
            if changes(plan, slots) {
                let now = backend.view(slots.value);
                average.iter_mut().zip(now).for_each(|(a, w)| *a += new * (w - *a));
            }
        }
    }

    /// Copies the average into a backend of the same network.
    pub(super) fn write_to(&self, backend: &mut Cpu) {
        let slots: Vec<_> = backend.plan().params.iter().map(|p| p.value).collect();
        for (slot, average) in slots.into_iter().zip(&self.values) {
            backend.write(slot, average);
        }
    }
}

/// Whether training changes a parameter or statistic.
fn changes(plan: &Plan, slots: &ParamSlots) -> bool {
    let frozen = plan.options.frozen;
    if slots.param.role.is_trained() {
        slots.training.is_some()
    } else {
        !frozen.norm && slots.layer.0 >= frozen.layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Arch;
    use resnet_engine::graph::Shape;
    use resnet_engine::plan::Options;

    #[test]
    fn the_average_follows_the_formula() {
        let graph = Arch::parse("resnet8").unwrap();
        let graph = graph.graph(Shape::new(1, 8, 8), 3).unwrap();
        let plan = Plan::build(&graph, Options::train(2, 0.0)).unwrap();
        let slot = plan.params[0].value;
        let len = plan.slots[slot.0].len;
        let mut cpu = Cpu::new(plan, 1).unwrap();
        cpu.write(slot, &vec![1.0; len]);
        let mut ema = Ema::new(0.5, &cpu);
        cpu.write(slot, &vec![3.0; len]);
        ema.update(&cpu, 1); // d = 2/11
        let first = 1.0 + (1.0 - 2.0 / 11.0) * 2.0;
        assert!((ema.values[0][0] - first).abs() < 1e-6, "{}", ema.values[0][0]);
        ema.update(&cpu, 1000); // d = decay
        let second = first + 0.5 * (3.0 - first);
        assert!((ema.values[0][0] - second).abs() < 1e-6);
        let mut other = Cpu::new(Plan::build(&graph, Options::infer(1)).unwrap(), 1).unwrap();
        ema.write_to(&mut other);
        assert_eq!(other.view(other.plan().params[0].value), ema.values[0]);
    }
}
