//! Looks into the network while it trains, always at the same training pictures and without
//! augmentation, so that what changes is the network.

use super::TrainError;
use crate::measure::probe::Probe;
use crate::model;
use crate::train::event::Monitored;
use crate::train::recipe::Calendar;
use crate::train::task::Task;
use resnet_engine::exec::{ExecError, Session};
use resnet_engine::plan::ParamSlots;

/// Pictures looked at.
const PICTURES: usize = 16;
/// A look costs at most about as much as training on as many pictures as it looks at: forward and
/// backward with nothing fused, and the sums over what was kept, but no update.
const COST: f64 = 1.0;
/// Part of the time that looks may take where the recipe leaves their number to us.
const BUDGET: f64 = 0.02;
/// Regular looks of a whole run, at most about.
const MOST: u64 = 200;

/// A probe, its pictures, and when it looks.
pub(super) struct Monitor {
    probe: Probe,
    x: Vec<f32>,
    labels: Vec<u32>,
    due: Vec<u64>,
    /// Weights before the update at hand.
    before: Vec<Vec<f32>>,
}

impl Monitor {
    /// The monitor that the recipe asks for.
    pub(super) fn of(task: &Task, calendar: &Calendar) -> Result<Option<Monitor>, TrainError> {
        let recipe = &task.recipe;
        let total = calendar.total();
        if recipe.train.monitor_every.is_some_and(|every| every.is_zero()) {
            return Ok(None);
        }
        let count = Probe::affordable(&task.graph, PICTURES.min(task.train.len()))?;
        let due = match recipe.train.monitor_every {
            Some(every) => due(total, calendar.steps(every).max(1), u64::MAX),
            None => {
                let steps_a_look =
                    COST * count as f64 / (recipe.train.batch * recipe.train.accumulate) as f64;
                affordable(total, (BUDGET * total as f64 / steps_a_look) as u64)
            }
        };
        let (x, labels) = task.sample(count)?;
        Ok(Some(Monitor {
            probe: Probe::new(&task.graph, labels.len(), task.device.as_ref())?,
            x,
            labels,
            due,
            before: Vec::new(),
        }))
    }

    /// Whether to look after `step` steps.
    pub(super) fn is_due(&self, step: u64) -> bool {
        self.due.binary_search(&step).is_ok()
    }

    /// Remembers the weights that the update is about to change.
    pub(super) fn before_update(&mut self, trainer: &Session) -> Result<(), ExecError> {
        self.before =
            weight_slots(trainer).map(|p| trainer.get(p.value)).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Looks at the network as it is after `step` steps.
    pub(super) fn look(&mut self, trainer: &Session, step: u64) -> Result<Monitored, ExecError> {
        model::copy(trainer, self.probe.session(), false)?;
        let mut measurement = self.probe.measure(&self.x, &self.labels)?;
        let updates = weight_slots(trainer).zip(std::mem::take(&mut self.before));
        for (layer, (slots, before)) in measurement.layers.iter_mut().zip(updates) {
            let after = trainer.get(slots.value)?;
            let squares = after.iter().zip(&before);
            let squares = squares.map(|(&after, &before)| f64::from(after - before).powi(2));
            layer.update_ratio = Some(squares.sum::<f64>().sqrt() / layer.weight_norm);
        }
        Ok(Monitored { step, pictures: self.labels.len() as u64, measurement })
    }
}

fn weight_slots(trainer: &Session) -> impl Iterator<Item = &ParamSlots> {
    let params = trainer.plan().params.iter();
    params.filter(|p| p.param.role.is_weight())
}

/// When to look: at the start, at 1, 2, 4, ... (`early` times at most) until the regular distance,
/// then regularly, and at the end. The first steps change a network most.
fn due(total: u64, every: u64, early: u64) -> Vec<u64> {
    let doubling = std::iter::successors(Some(1u64), |step| step.checked_mul(2));
    let first = doubling.take_while(|&step| step < every.min(total));
    let mut due: Vec<u64> = first.take(early.min(64) as usize).collect();
    due.push(0);
    due.extend((1..).map(|n| n * every).take_while(|&step| step < total));
    due.push(total);
    due.sort_unstable();
    due.dedup();
    due
}

/// `looks` looks at most, but always one at the start and one at the end.
fn affordable(total: u64, looks: u64) -> Vec<u64> {
    if looks < 4 {
        return due(total, total, 0);
    }
    let early = looks / 3;
    let regular = (looks - early - 1).min(MOST);
    due(total, total.div_ceil(regular), early)
}

#[cfg(test)]
mod tests {
    use super::{affordable, due};

    #[test]
    fn looks_double_then_are_regular() {
        assert_eq!(due(30, 10, u64::MAX), [0, 1, 2, 4, 8, 10, 20, 30]);
        assert_eq!(due(25, 10, 0), [0, 10, 20, 25]);
        assert_eq!(due(1, 1, u64::MAX), [0, 1]);
    }

    #[test]
    fn a_budget_of_looks_is_kept() {
        for total in [1, 2, 7, 60, 1000, 64_000] {
            for looks in [0, 1, 3, 4, 5, 10, 50, 1000] {
                let due = affordable(total, looks);
                assert!(due.len() as u64 <= looks.max(2), "{total} {looks}: {due:?}");
                assert_eq!((due[0], due[due.len() - 1]), (0, total));
            }
        }
    }
}
