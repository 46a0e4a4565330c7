//! Epochs and seconds of a run's steps. Events of steps tell neither exactly: seconds are told at
//! evaluations, between which images a second carry them on; epochs are whole numbers, whose ends
//! are known from the step before the number changes.

use resnet::train::event::{Evaluated, Pace, RunStarted, Step};

use super::series::{Place, Series};

/// Least part of the steps done that a pace is taken from.
const RECENT: u64 = 5;

/// Where the last event was, and how to go on from there.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    /// Images a step.
    batch: f64,
    steps: u64,
    pace: Vec<Pace>,
    /// Steps an epoch, as the last whole one had or as the budget says.
    epoch_steps: f64,
    /// The present epoch, the first being 1, and the steps done before it.
    epoch: (u64, u64),
    last: Place,
}

impl Clock {
    pub(super) fn start(&mut self, run: &RunStarted) {
        self.batch = run.batch as f64;
        self.steps = run.steps;
        self.pace.clone_from(&run.pace);
        if self.epoch_steps == 0.0 {
            self.epoch_steps = run.steps as f64 / run.epochs.max(1) as f64;
        }
    }

    /// Goes on to a step, and says where that is.
    pub(super) fn step(&mut self, event: &Step) -> Place {
        if event.epoch != self.epoch.0 {
            // Every epoch tells its last step.
            if event.epoch == self.epoch.0 + 1 && self.epoch.0 > 0 {
                self.epoch_steps = (self.last.step - self.epoch.1).max(1) as f64;
            }
            self.epoch = (event.epoch, if event.epoch <= 1 { 0 } else { self.last.step });
        }
        let images = event.step.saturating_sub(self.last.step) as f64 * self.batch;
        let seconds = images / event.images_per_s;
        if seconds.is_finite() && seconds > 0.0 {
            self.last.seconds += seconds;
        }
        self.last = Place { seconds: self.last.seconds, ..self.at(event.step) };
        self.last
    }

    /// Goes on to an evaluation, and says where that is.
    pub(super) fn evaluated(&mut self, event: &Evaluated) -> Place {
        if event.seconds.is_finite() {
            self.last.seconds = event.seconds;
        }
        Place { seconds: self.last.seconds, ..self.at(event.step) }
    }

    /// Where a step is that is near the last one.
    pub(super) fn at(&self, step: u64) -> Place {
        let (epoch, from) = self.epoch;
        let part = step.saturating_sub(from) as f64 / self.epoch_steps.max(1.0);
        let epoch = epoch.saturating_sub(1) as f64 + part.min(1.0);
        Place { step, epoch, seconds: self.last.seconds }
    }

    /// What the steps from one to another cost, next to others of the run.
    fn cost(&self, from: u64, to: u64) -> f64 {
        let all = [Pace { from: 0, cost: 1.0 }];
        let pace = if self.pace.is_empty() { &all[..] } else { &self.pace };
        let ends = pace.iter().skip(1).map(|phase| phase.from).chain([u64::MAX]);
        let cost = pace.iter().zip(ends).map(|(phase, end)| {
            end.min(to).saturating_sub(phase.from.max(from)) as f64 * phase.cost
        });
        cost.sum()
    }

    /// Seconds that the rest takes, as the last part of the steps so far went, evaluations and all.
    pub(super) fn left(&self, steps: &Series, now: Place) -> Option<f64> {
        let since = steps.before(now.step - now.step / RECENT).unwrap_or_default();
        let done = self.cost(since.step, now.step);
        let seconds = now.seconds - since.seconds;
        let left = seconds / done * self.cost(now.step, self.steps);
        (done > 0.0 && left.is_finite() && left >= 0.0).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(steps: u64, epochs: u64, pace: Vec<Pace>) -> RunStarted {
        let json = serde_json::json!({
            "arch": "resnet20", "params": 1, "macs": 1, "data": "builtin", "train_images": 1000,
            "test_images": 100, "epochs": epochs, "steps": steps, "batch": 10, "seed": 1,
            "threads": 1, "isa": "avx2", "out": "run", "pace": pace,
        });
        serde_json::from_value(json).unwrap()
    }

    fn step(step: u64, epoch: u64) -> Step {
        Step {
            step,
            epoch,
            loss: 1.0,
            top1: 0.5,
            lr: 0.1,
            images_per_s: 100.0,
            wait: 0.0,
            sync: None,
        }
    }

    fn evaluated(step: u64, seconds: f64) -> Evaluated {
        let json = serde_json::json!({
            "epoch": 1, "step": step, "split": "test", "count": 1, "top1": 0.5, "top5": 1.0,
            "loss": 1.0, "train_loss": 1.0, "train_top1": 0.5, "lr": 0.1, "seconds": seconds,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn epochs_and_seconds_go_on_between_what_is_told() {
        let mut clock = Clock::default();
        clock.start(&started(400, 4, vec![]));
        // Ten images a step, a hundred a second.
        let place = clock.step(&step(50, 1));
        assert_eq!(place, Place { step: 50, epoch: 0.5, seconds: 5.0 });
        assert_eq!(clock.step(&step(100, 1)).epoch, 1.0);
        assert_eq!(clock.evaluated(&evaluated(100, 14.0)).seconds, 14.0);
        let place = clock.step(&step(110, 2));
        assert_eq!(place, Place { step: 110, epoch: 1.1, seconds: 15.0 });
    }

    #[test]
    fn epochs_of_another_length_than_the_budget_says_are_found_out() {
        let mut clock = Clock::default();
        // A budget in steps cuts the last epoch short: 100 steps an epoch in truth.
        clock.start(&started(350, 4, vec![]));
        assert!(clock.step(&step(80, 1)).epoch < 1.0);
        assert_eq!(clock.step(&step(100, 1)).epoch, 1.0);
        assert_eq!(clock.step(&step(150, 2)).epoch, 1.5);
        assert_eq!(clock.step(&step(200, 2)).epoch, 2.0);
        assert_eq!(clock.step(&step(350, 4)).epoch, 4.0);
    }

    #[test]
    fn the_rest_follows_the_pace_of_late_and_knows_that_layers_will_thaw() {
        let left = |pace: Vec<Pace>, speed: f64| {
            let (mut clock, mut series) = (Clock::default(), Series::default());
            clock.start(&started(200, 2, pace));
            let mut now = Place::default();
            for s in 1..=100 {
                // Slow at first.
                let rate = if s <= 50 { 1.0 } else { speed };
                let event = Step { images_per_s: rate, ..step(s, 1) };
                now = clock.step(&event);
                series.add(&event, now, 0);
            }
            clock.left(&series, now).unwrap()
        };
        assert!((left(vec![], 100.0) - 10.0).abs() < 1e-3);
        let pace = vec![Pace { from: 0, cost: 1.0 }, Pace { from: 150, cost: 3.0 }];
        assert!((left(pace, 100.0) - (5.0 + 15.0)).abs() < 1e-3);
        assert_eq!(Clock::default().left(&Series::default(), Place::default()), None);
    }
}
