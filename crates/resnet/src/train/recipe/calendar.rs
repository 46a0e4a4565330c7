//! When what happens: which step belongs to which epoch, and to which phase.
//!
//! Where phases change the batch, epochs have different numbers of steps. A phase that changes the
//! batch or the images begins with an epoch, the one nearest to its `from`; any other at its step.

use super::{Recipe, RecipeError};
use crate::train::schedule::Duration;

/// The steps of a run, for data of some size.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    segments: Vec<Segment>,
    phases: Vec<Stretch>,
    total: u64,
}

/// Epochs of equally many steps.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Segment {
    /// Its first step.
    step: u64,
    /// Its first epoch.
    epoch: u64,
    per_epoch: u64,
}

/// A part of the run in which nothing changes but the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Its first step, the run's first being 0.
    pub from: u64,
    /// The side of the square that the network sees, where it is not the recipe's.
    pub side: Option<usize>,
    /// Images a batch.
    pub batch: usize,
    /// Factor on the learning rate.
    pub lr: f64,
    /// Whether only the last layer is trained.
    pub freeze: bool,
}

impl Segment {
    /// The epoch that begins nearest to a step.
    fn nearest(&self, step: u64) -> u64 {
        let steps = step.saturating_sub(self.step) as f64;
        self.epoch + (steps / self.per_epoch as f64).round() as u64
    }
}

impl Calendar {
    /// The calendar of a recipe for so many training images.
    ///
    /// # Errors
    /// A step would take more images than there are.
    pub(crate) fn new(recipe: &Recipe, images: u64) -> Result<Calendar, RecipeError> {
        let per_epoch = |batch: usize| images / batch as u64 / recipe.train.accumulate as u64;
        let mut calendar = Calendar {
            segments: vec![Segment { step: 0, epoch: 0, per_epoch: per_epoch(recipe.train.batch) }],
            phases: Vec::new(),
            total: 0,
        };
        let mut starts = Vec::new();
        let mut batch = recipe.train.batch;
        for phase in &recipe.phase {
            batch = phase.batch.unwrap_or(batch);
            let last = calendar.segments[calendar.segments.len() - 1];
            let from = phase.from;
            starts.push(phase.redraws().then(|| {
                let epoch = match (from, recipe.train.epochs) {
                    (Duration::Epochs(x), _) => x.round() as u64,
                    (Duration::Percent(p), Some(all)) => (p / 100.0 * all as f64).round() as u64,
                    (Duration::Percent(p), None) => {
                        last.nearest((p / 100.0 * recipe.train.steps.unwrap_or(0) as f64) as u64)
                    }
                    (Duration::Steps(step), _) => last.nearest(step),
                };
                let epochs = epoch.saturating_sub(last.epoch);
                let step = last.step.saturating_add(epochs.saturating_mul(last.per_epoch));
                if last.per_epoch != per_epoch(batch) {
                    let epoch = last.epoch + epochs;
                    calendar.segments.push(Segment { step, epoch, per_epoch: per_epoch(batch) });
                }
                step
            }));
        }
        let batches = recipe.phase.iter().filter_map(|phase| phase.batch);
        let shards = recipe.train.shards.unwrap_or(1);
        let mut all = batches.clone().chain([recipe.train.batch]);
        if let Some(batch) = all.find(|batch| !batch.is_multiple_of(shards)) {
            return Err(RecipeError::Shards { batch, shards });
        }
        let most = batches.chain([recipe.train.batch]).find(|&batch| per_epoch(batch) == 0);
        if let Some(batch) = most {
            let accumulate = recipe.train.accumulate;
            return Err(RecipeError::TooFew { batch, accumulate, images });
        }
        let last = calendar.segments[calendar.segments.len() - 1];
        calendar.total = match (recipe.train.steps, recipe.train.epochs) {
            (Some(steps), _) => steps,
            (None, epochs) => {
                let epochs = epochs.unwrap_or(0).saturating_sub(last.epoch);
                last.step.saturating_add(epochs.saturating_mul(last.per_epoch))
            }
        };
        calendar.add_phases(recipe, &starts);
        Ok(calendar)
    }

    /// One row for each step at which something changes.
    fn add_phases(&mut self, recipe: &Recipe, starts: &[Option<u64>]) {
        let begins: Vec<u64> = recipe
            .phase
            .iter()
            .zip(starts)
            .map(|(phase, start)| start.unwrap_or_else(|| self.at(phase.from)))
            .collect();
        let thaw = self.at(recipe.train.freeze).min(self.total);
        let mut changes: Vec<u64> = begins.iter().copied().chain([0, thaw]).collect();
        changes.sort_unstable();
        changes.dedup();
        let first =
            Stretch { from: 0, side: None, batch: recipe.train.batch, lr: 1.0, freeze: false };
        let stretch = |from: u64| {
            let begun = recipe.phase.iter().zip(&begins).filter(|(_, begin)| **begin <= from);
            let start = Stretch { from, freeze: from < thaw, ..first };
            begun.fold(start, |last, (phase, _)| Stretch {
                from,
                side: phase.side.or(last.side),
                batch: phase.batch.unwrap_or(last.batch),
                lr: phase.lr.unwrap_or(last.lr),
                freeze: phase.freeze.unwrap_or(last.freeze),
            })
        };
        self.phases = changes.into_iter().map(stretch).collect();
    }

    /// Lets the step before `step` have trained what it has, where that was another plan's: what
    /// follows stays as it is planned, but for a freeze that the run begins with. It does not come
    /// back once it was over.
    pub(crate) fn begin_at(&mut self, step: u64, frozen: bool) {
        let at = self.phase(step.saturating_sub(1));
        let phase = self.phases[at];
        if step == 0 || phase.freeze == frozen {
            return;
        }
        if !frozen && self.phases[..=at].iter().all(|phase| phase.freeze) {
            self.phases.iter_mut().take_while(|phase| phase.freeze).for_each(|p| p.freeze = false);
            return;
        }
        self.phases[at].freeze = frozen;
        if self.phases.get(at + 1).is_none_or(|next| next.from > step) {
            self.phases.insert(at + 1, Stretch { from: step, ..phase });
        }
    }

    /// Steps of the whole run.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Epochs of the whole run, the last perhaps cut short.
    pub(crate) fn epochs(&self) -> u64 {
        match self.total {
            0 => 0,
            total => self.place(total - 1).0 + 1,
        }
    }

    /// The phases, in order; the first begins with the run.
    pub fn phases(&self) -> &[Stretch] {
        &self.phases
    }

    /// The phase of a step, by its index.
    pub(crate) fn phase(&self, step: u64) -> usize {
        self.phases.iter().rposition(|phase| phase.from <= step).unwrap_or(0)
    }

    fn segment(&self, step: u64) -> &Segment {
        let begun = self.segments.iter().rfind(|segment| segment.step <= step);
        begun.unwrap_or(&self.segments[0])
    }

    /// The epoch of a step, and its place in it, both from 0.
    pub(crate) fn place(&self, step: u64) -> (u64, u64) {
        let segment = self.segment(step);
        let steps = step - segment.step;
        (segment.epoch + steps / segment.per_epoch, steps % segment.per_epoch)
    }

    /// Epochs that so many steps are.
    pub(crate) fn epochs_at(&self, steps: u64) -> f64 {
        let segment = self.segment(steps.saturating_sub(1));
        segment.epoch as f64 + (steps - segment.step) as f64 / segment.per_epoch as f64
    }

    /// Whether so many steps end an epoch.
    pub(crate) fn ends_epoch(&self, steps: u64) -> bool {
        steps > 0 && self.place(steps).1 == 0
    }

    /// The step at which a duration from the start of the run is over, rounded to the nearest.
    pub(crate) fn at(&self, duration: Duration) -> u64 {
        let Duration::Epochs(epochs) = duration else {
            return duration.steps(1, self.total);
        };
        let begun = self.segments.iter().rfind(|segment| segment.epoch as f64 <= epochs);
        let segment = begun.unwrap_or(&self.segments[0]);
        let more = Duration::Epochs(epochs - segment.epoch as f64);
        segment.step.saturating_add(more.steps(segment.per_epoch, self.total))
    }

    /// Whether something that happens every so often is due after so many steps.
    pub(crate) fn is_due(&self, every: Duration, steps: u64) -> bool {
        let segment = self.segment(steps.saturating_sub(1));
        let since = if let Duration::Epochs(_) = every { segment.step } else { 0 };
        (steps - since).is_multiple_of(every.steps(segment.per_epoch, self.total).max(1))
    }

    /// About how many steps a duration is.
    pub(crate) fn steps(&self, duration: Duration) -> u64 {
        duration.steps(self.segments[0].per_epoch, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(changes: &[&str], images: u64) -> Calendar {
        let changes: Vec<_> =
            changes.iter().map(|c| super::super::split_override(c).unwrap()).collect();
        Calendar::new(&Recipe::load("default", &changes).unwrap(), images).unwrap()
    }

    #[test]
    fn epochs_of_one_length_by_hand() {
        let calendar = calendar(&["epochs=3", "batch=10", "freeze=1ep"], 105);
        assert_eq!((calendar.total(), calendar.epochs()), (30, 3));
        assert_eq!([0, 9, 10, 29].map(|s| calendar.place(s)), [(0, 0), (0, 9), (1, 0), (2, 9)]);
        assert_eq!([1, 10, 20, 25].map(|s| calendar.ends_epoch(s)), [false, true, true, false]);
        let phases: Vec<_> = calendar.phases().iter().map(|p| (p.from, p.freeze)).collect();
        assert_eq!(phases, [(0, true), (10, false)]);
        assert_eq!([0, 9, 10, 29].map(|step| calendar.phase(step)), [0, 0, 1, 1]);
    }

    #[test]
    fn what_was_trained_is_so_whatever_the_calendar_says_now() {
        let begun = |changes: &[&str], step, frozen| {
            let mut calendar = calendar(&[changes, &["batch=10"]].concat(), 100);
            calendar.begin_at(step, frozen);
            calendar.phases().iter().map(|p| (p.from, p.freeze)).collect::<Vec<_>>()
        };
        let thaws = ["epochs=4", "freeze=50%"];
        assert_eq!(begun(&thaws, 10, true), [(0, true), (20, false)]);
        assert_eq!(begun(&thaws, 30, false), [(0, true), (20, false)]);
        // It thawed earlier, and stays so; or it was to be thawed before, and is now.
        assert_eq!(begun(&thaws, 10, false), [(0, false), (20, false)]);
        assert_eq!(begun(&thaws, 21, true), [(0, true), (20, true), (21, false)]);
        assert_eq!(begun(&thaws, 20, true), [(0, true), (20, false)]);
        assert_eq!(begun(&thaws, 0, false), [(0, true), (20, false)]);
        // A freeze at the end begins when it is planned, or at once.
        let freezes = ["epochs=4", "phase=[{from=\"50%\", freeze=true}]"];
        let at_once = [(0, false), (20, false), (25, true)];
        assert_eq!(begun(&freezes, 25, false), at_once);
        assert_eq!(begun(&freezes, 10, true), [(0, true), (10, false), (20, true)]);
    }

    #[test]
    fn accumulating_takes_several_batches_a_step() {
        let calendar = calendar(&["epochs=2", "batch=10", "accumulate=4"], 99);
        assert_eq!((calendar.total(), calendar.place(3)), (4, (1, 1)));
        let recipe = [("batch", "10"), ("accumulate", "4")].map(|(k, v)| (k.into(), v.into()));
        let recipe = Recipe::load("default", &recipe).unwrap();
        let error = Calendar::new(&recipe, 39).unwrap_err().to_string();
        assert!(error.contains("a step takes 4") && error.contains("batch of 9 or"), "{error}");
    }

    /// 100 images: 10 steps an epoch by tens, 5 by twenties.
    #[test]
    fn phases_with_other_batches_begin_with_an_epoch() {
        let phases = "phase=[{from=\"33%\", batch=20, side=12}, {from=\"22it\", lr=0.5}]";
        let calendar = calendar(&["epochs=4", "batch=10", phases], 100);
        assert_eq!((calendar.total(), calendar.epochs()), (10 + 15, 4));
        let place = |step| calendar.place(step);
        assert_eq!([9, 10, 14, 15, 24].map(place), [(0, 9), (1, 0), (1, 4), (2, 0), (3, 4)]);
        assert_eq!(calendar.at(Duration::Epochs(2.4)), 10 + 7);
        assert_eq!([10, 15, 25].map(|steps| calendar.epochs_at(steps)), [1.0, 2.0, 4.0]);
        let every =
            |duration| (1..=25).filter(|&s| calendar.is_due(duration, s)).collect::<Vec<_>>();
        assert_eq!(every(Duration::Epochs(1.0)), [10, 15, 20, 25]);
        assert_eq!(every(Duration::Steps(12)), [12, 24]);
        let rows = calendar.phases().iter();
        let rows: Vec<_> = rows.map(|p| (p.from, p.side, p.batch, p.lr)).collect();
        let expected = [(0, None, 10, 1.0), (10, Some(12), 20, 1.0), (22, Some(12), 20, 0.5)];
        assert_eq!(rows, expected);
    }
}
