//! Looks into the network while it trains, always at the same training pictures and without augmentation, so that what
//! changes is the network.

use super::TrainError;
use crate::event::Monitored;
use crate::exec::{Backend, Cpu};
use crate::plan::ParamSlots;
use crate::probe::Probe;
use crate::task::Task;
use crate::weights;

/// Pictures looked at.
const PICTURES: usize = 16;
/// A look costs about as much as so many pictures trained on for each picture looked at: forward and backward with nothing
/// fused, and the sums over what was kept.
const COST: f64 = 2.0;
/// Part of the time that looks may take where the recipe leaves their number to us.
const BUDGET: f64 = 0.02;
/// Looks of a whole run, at most about.
const MOST: u64 = 200;

/// A probe, its pictures, and when it looks.
pub(super) struct Monitor {
    probe: Probe,
    x: Vec<f32>,
    labels: Vec<u32>,
    every: u64,
    total: u64,
    /// Weights before the update at hand.
    before: Vec<Vec<f32>>,
}

impl Monitor {
    /// The monitor that the recipe asks for.
    pub(super) fn of(
        task: &Task,
        steps_per_epoch: u64,
        threads: usize,
    ) -> Result<Option<Monitor>, TrainError> {
        let recipe = &task.recipe;
        let total = recipe.total_steps(steps_per_epoch);
        let asked = recipe.train.monitor_every;
        let every = asked.map(|every| every.steps(steps_per_epoch, total));
        if every == Some(0) {
            return Ok(None);
        }
        let count = Probe::affordable(&task.graph, PICTURES.min(task.train.len()))?;
        let every = every.unwrap_or_else(|| {
            let steps_a_look = COST * count as f64 / recipe.train.batch as f64;
            let for_budget = (steps_a_look / BUDGET).ceil() as u64;
            for_budget.max(total / MOST).max(1)
        });
        let (x, labels) = task.pictures(count)?;
        Ok(Some(Monitor {
            probe: Probe::new(&task.graph, labels.len(), threads)?,
            x,
            labels,
            every,
            total,
            before: Vec::new(),
        }))
    }

    /// Whether to look after `step` steps: at the start, at 1, 2, 4, ... until the regular distance, then regularly, and at
    /// the end. The first steps change a network most.
    pub(super) fn is_due(&self, step: u64) -> bool {
        step.is_multiple_of(self.every)
            || step == self.total
            || (step < self.every && step.is_power_of_two())
    }

    /// Remembers the weights that the update is about to change.
    pub(super) fn before_update(&mut self, trainer: &Cpu) {
        let weights = weight_slots(trainer);
        self.before = weights.map(|p| trainer.view(p.value).to_vec()).collect();
    }

    /// Looks at the network as it is after `step` steps.
    pub(super) fn look(&mut self, trainer: &Cpu, step: u64) -> Monitored {
        weights::copy(trainer, self.probe.backend());
        let mut measurement = self.probe.measure(&self.x, &self.labels);
        let updates = weight_slots(trainer).zip(std::mem::take(&mut self.before));
        for (layer, (slots, before)) in measurement.layers.iter_mut().zip(updates) {
            let squares = trainer.view(slots.value).iter().zip(&before);
            let squares = squares.map(|(&after, &before)| f64::from(after - before).powi(2));
            layer.update_ratio = Some(squares.sum::<f64>().sqrt() / layer.weight_norm);
        }
        Monitored {
            step,
            pictures: self.labels.len() as u64,
            measurement,
        }
    }
}

fn weight_slots(trainer: &Cpu) -> impl Iterator<Item = &ParamSlots> {
    let params = trainer.plan().params.iter();
    params.filter(|p| p.param.role.is_weight())
}
