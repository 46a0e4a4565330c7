//! The steps of a run in bounded memory, however many there are.
//!
//! Events of steps go into buckets of so many events each. Where there are too many buckets, each
//! two become one: a bucket holds the lowest, highest and mean value, so no spike is lost. The
//! first event and the last stay by themselves, so both ends are exact.

use resnet::train::event::Step;
use serde::Serialize;

/// Most buckets. A run of 64,000 steps tells some 1,500 events, which stay single.
const MOST: usize = 2048;

/// Numbers of a step that are kept.
const NUMBERS: usize = 5;

/// Where an event stands, in each unit that a curve can go over.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(super) struct Place {
    /// Steps done.
    pub(super) step: u64,
    /// Epochs done.
    pub(super) epoch: f64,
    /// Seconds since training began.
    pub(super) seconds: f64,
}

/// What is kept of one number in a bucket. What is not finite is left out.
#[derive(Clone, Copy, Debug)]
struct Spread {
    low: f32,
    high: f32,
    mean: f32,
    /// Steps that it is of.
    weight: f32,
}

impl Spread {
    fn of(value: f64, weight: f32) -> Spread {
        let value = value as f32;
        match value.is_finite() {
            true => Spread { low: value, high: value, mean: value, weight },
            false => Spread { low: f32::NAN, high: f32::NAN, mean: f32::NAN, weight: 0.0 },
        }
    }

    fn join(self, other: Spread) -> Spread {
        if self.weight == 0.0 || other.weight == 0.0 {
            return if other.weight == 0.0 { self } else { other };
        }
        let weight = self.weight + other.weight;
        let share = f64::from(other.weight) / f64::from(weight);
        let (mean, more) = (f64::from(self.mean), f64::from(other.mean));
        Spread {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            mean: (mean + (more - mean) * share) as f32,
            weight,
        }
    }
}

/// Events of steps, one after another.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Where the last of them is.
    step: u64,
    epoch: f32,
    seconds: f32,
    /// How many.
    events: u64,
    /// Where the first of them begins in the log.
    offset: u64,
    numbers: [Spread; NUMBERS],
}

impl Bucket {
    fn join(&mut self, later: Bucket) {
        for (own, other) in self.numbers.iter_mut().zip(later.numbers) {
            *own = own.join(other);
        }
        *self = Bucket {
            offset: self.offset,
            events: self.events + later.events,
            numbers: self.numbers,
            ..later
        };
    }
}

/// The steps of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    first: Option<Bucket>,
    /// What lies between the first and the last event; all but the last bucket are full.
    buckets: Vec<Bucket>,
    last: Option<Bucket>,
    /// Events a full bucket, less one, and how often they were joined.
    joined: u32,
}

impl Series {
    /// Takes up an event that begins at an offset of the log.
    pub(super) fn add(&mut self, step: &Step, place: Place, offset: u64) {
        let before = self.last.or(self.first).map_or(0, |bucket| bucket.step);
        let weight = step.step.saturating_sub(before).max(1) as f32;
        let numbers = [step.loss, step.top1, step.lr, step.images_per_s, step.wait];
        let bucket = Bucket {
            step: place.step,
            epoch: place.epoch as f32,
            seconds: place.seconds as f32,
            events: 1,
            offset,
            numbers: numbers.map(|value| Spread::of(value, weight)),
        };
        if self.first.is_none() {
            self.first = Some(bucket);
            return;
        }
        let Some(last) = self.last.replace(bucket) else { return };
        let width = self.width();
        match self.buckets.last_mut() {
            Some(open) if open.events < width => open.join(last),
            _ => self.buckets.push(last),
        }
        if self.buckets.len() > MOST {
            self.buckets = self
                .buckets
                .chunks(2)
                .map(|two| {
                    let mut one = two[0];
                    two[1..].iter().for_each(|later| one.join(*later));
                    one
                })
                .collect();
            self.joined += 1;
        }
    }

    /// Events a full bucket.
    pub(super) fn width(&self) -> u64 {
        1 << self.joined
    }

    /// How many points stay as they are while the width does: the first, and all full buckets.
    fn settled(&self) -> usize {
        let full = self.buckets.iter().rev().skip_while(|b| b.events < self.width()).count();
        usize::from(self.first.is_some()) + full
    }

    /// All points, in order.
    fn points(&self) -> impl Iterator<Item = &Bucket> {
        self.first.iter().chain(&self.buckets).chain(&self.last)
    }

    /// Where the last event is.
    pub(super) fn end(&self) -> Option<Place> {
        self.last.or(self.first).map(|bucket| bucket.place())
    }

    /// The last place at or before a step.
    pub(super) fn before(&self, step: u64) -> Option<Place> {
        let found = self.points().take_while(|bucket| bucket.step <= step).last();
        found.map(Bucket::place)
    }

    /// Where in the log to begin with what comes after a step.
    pub(super) fn offset_after(&self, step: u64) -> u64 {
        let found = self.points().find(|bucket| bucket.step > step);
        found.map_or(0, |bucket| bucket.offset)
    }

    /// The last event's number, by its index: loss, top-1, rate, images a second, waiting.
    pub(super) fn latest(&self, number: usize) -> Option<f64> {
        let mean = self.last.or(self.first)?.numbers[number].mean;
        mean.is_finite().then_some(f64::from(mean))
    }

    /// Points from one on; a `from` of another width, or beyond what stays, begins at 0.
    pub(super) fn curves(&self, from: usize, width: u64) -> Curves {
        let from = if width == self.width() && from <= self.settled() { from } else { 0 };
        let mut curves =
            Curves { from, settled: self.settled(), width: self.width(), ..Curves::default() };
        for bucket in self.points().skip(from) {
            curves.step.push(bucket.step);
            curves.epoch.push(bucket.epoch);
            curves.seconds.push(bucket.seconds);
            curves.mean.push(bucket.numbers.map(|spread| spread.mean));
            if self.joined > 0 {
                let low = &mut curves.low.get_or_insert_default();
                low.push(bucket.numbers.map(|spread| spread.low));
                let high = &mut curves.high.get_or_insert_default();
                high.push(bucket.numbers.map(|spread| spread.high));
            }
        }
        curves
    }
}

impl Bucket {
    fn place(&self) -> Place {
        Place { step: self.step, epoch: self.epoch.into(), seconds: self.seconds.into() }
    }
}

/// One list a number.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Columns {
    loss: Vec<f32>,
    top1: Vec<f32>,
    lr: Vec<f32>,
    images_per_s: Vec<f32>,
    wait: Vec<f32>,
}

impl Columns {
    fn push(&mut self, [loss, top1, lr, images_per_s, wait]: [f32; NUMBERS]) {
        self.loss.push(loss);
        self.top1.push(top1);
        self.lr.push(lr);
        self.images_per_s.push(images_per_s);
        self.wait.push(wait);
    }
}

/// The curves of a run, from some point on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Curves {
    /// The first point here.
    pub(super) from: usize,
    /// Points, from the very first, that will not change while the width stays.
    pub(super) settled: usize,
    /// Events a point.
    pub(super) width: u64,
    pub(super) step: Vec<u64>,
    epoch: Vec<f32>,
    seconds: Vec<f32>,
    #[serde(flatten)]
    mean: Columns,
    /// The lowest values, where points are of several events.
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<Columns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<Columns>,
}

/// Items of a run in bounded memory: as many as there are, or every second, fourth, ... of them,
/// and always the first and the last.
#[derive(Clone, Debug)]
pub(super) struct Spaced<T> {
    kept: Vec<T>,
    last: Option<T>,
    /// How many came.
    count: usize,
    every: usize,
    most: usize,
}

impl<T: Clone> Spaced<T> {
    pub(super) fn new(most: usize) -> Spaced<T> {
        Spaced { kept: Vec::new(), last: None, count: 0, every: 1, most }
    }

    pub(super) fn add(&mut self, item: T) {
        if self.count.is_multiple_of(self.every) {
            self.kept.push(item);
            self.last = None;
        } else {
            self.last = Some(item);
        }
        self.count += 1;
        if self.kept.len() > self.most {
            // The last one stays, where it is not among the others any more.
            if self.kept.len().is_multiple_of(2) {
                self.last = self.kept.last().cloned();
            }
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// Those that are kept, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.kept.iter().chain(&self.last)
    }

    /// How many came.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// At most so many of those that are kept, evenly spaced, the first and the last among them.
    pub(super) fn some(&self, most: usize) -> Vec<T> {
        let all: Vec<&T> = self.iter().collect();
        let most = most.max(2);
        if all.len() <= most {
            return all.into_iter().cloned().collect();
        }
        (0..most).map(|i| all[i * (all.len() - 1) / (most - 1)].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64, loss: f64) -> Step {
        Step {
            step,
            epoch: 1,
            loss,
            top1: 0.5,
            lr: 0.1,
            images_per_s: 100.0,
            wait: 0.0,
            sync: None,
        }
    }

    fn series(steps: u64, loss: impl Fn(u64) -> f64) -> Series {
        let mut series = Series::default();
        for s in 1..=steps {
            let place = Place { step: s, epoch: s as f64 / 100.0, seconds: s as f64 };
            series.add(&step(s, loss(s)), place, s * 10);
        }
        series
    }

    #[test]
    fn few_events_stay_as_they_are() {
        let curves = series(2000, |s| s as f64).curves(0, 1);
        assert_eq!((curves.width, curves.settled, curves.step.len()), (1, 1999, 2000));
        assert!(curves.step.iter().copied().eq(1..=2000));
        assert!(curves.mean.loss.iter().zip(1..).all(|(&loss, s)| loss == s as f32));
        assert!(curves.low.is_none());
        assert!(series(0, |_| 0.0).curves(0, 1).step.is_empty());
        assert_eq!(series(1, |_| 0.0).curves(0, 1).step, [1]);
    }

    #[test]
    fn many_events_keep_their_extremes_their_mean_and_both_ends() {
        let n = 1_000_000;
        let spike = |s: u64| if s == 777_777 { 1e6 } else { (s % 7) as f64 };
        let series = series(n, spike);
        let curves = series.curves(0, 0);
        assert!(curves.step.len() <= MOST + 2 && curves.step.len() >= MOST / 2);
        assert_eq!((curves.step[0], *curves.step.last().unwrap()), (1, n));
        assert_eq!((curves.mean.loss[0], *curves.mean.loss.last().unwrap()), (1.0, (n % 7) as f32));
        let (low, high) = (curves.low.unwrap(), curves.high.unwrap());
        let spiked: Vec<usize> = (0..high.loss.len()).filter(|&i| high.loss[i] == 1e6).collect();
        assert_eq!(spiked.len(), 1);
        assert!(curves.step[spiked[0] - 1] < 777_777 && curves.step[spiked[0]] >= 777_777);
        for (i, &mean) in curves.mean.loss.iter().enumerate().skip(1).take(1000) {
            assert_eq!((low.loss[i], (mean - 3.0).abs() < 0.02), (0.0, true), "{i}: {mean}");
        }
        assert_eq!(curves.width, 512);
    }

    #[test]
    fn means_count_the_steps_that_an_event_is_of() {
        let mut series = Series::default();
        // Gaps of one step and of nine take turns.
        let mut at = 0;
        for i in 0..=2 * MOST as u64 + 3 {
            let gap = if i % 2 == 0 { 1 } else { 9 };
            at += gap;
            series.add(&step(at, gap as f64), Place { step: at, ..Place::default() }, 0);
        }
        let curves = series.curves(0, 0);
        // Each bucket of two events: (1 * 1 + 9 * 9) / 10.
        assert!(curves.mean.loss[1..1000].iter().all(|&mean| (mean - 8.2).abs() < 1e-5));
    }

    #[test]
    fn what_is_not_finite_leaves_a_gap_or_is_left_out() {
        let single = series(10, |s| if s == 5 { f64::NAN } else { 1.0 }).curves(0, 1);
        assert!(single.mean.loss[4].is_nan() && single.mean.loss[5] == 1.0);
        let json = serde_json::to_value(&single).unwrap();
        assert!(json["loss"][4].is_null() && json["loss"][5] == 1.0);
        let many = series(10_000, |s| if s % 2 == 0 { f64::INFINITY } else { 1.0 }).curves(0, 0);
        assert!(many.mean.loss[..many.settled].iter().all(|&mean| mean == 1.0));
    }

    #[test]
    fn parts_put_together_are_the_whole() {
        let mut have = Curves::default();
        let mut series = Series::default();
        for s in 1..=9000u64 {
            let place = Place { step: s, ..Place::default() };
            series.add(&step(s, s as f64), place, 0);
            if !s.is_multiple_of(97) {
                continue;
            }
            let more = series.curves(have.settled, have.width);
            have.step.truncate(more.from);
            have.step.extend_from_slice(&more.step);
            have.mean.loss.truncate(more.from);
            have.mean.loss.extend_from_slice(&more.mean.loss);
            (have.settled, have.width) = (more.settled, more.width);
            let whole = series.curves(0, 0);
            assert_eq!((&have.step, &have.mean.loss), (&whole.step, &whole.mean.loss), "{s}");
        }
        assert!(have.width > 1, "the width changed on the way");
    }

    #[test]
    fn the_log_is_found_again_by_its_steps() {
        let series = series(10_000, |_| 1.0);
        assert_eq!(series.offset_after(0), 10);
        for step in [5, 100, 4321, 9998] {
            let offset = series.offset_after(step);
            assert!(offset <= (step + 1) * 10, "step {step}");
            assert!(offset + 10 * series.width() >= step * 10, "step {step}");
        }
        assert_eq!(series.before(3).unwrap().step, 1);
        assert_eq!(series.before(20_000).unwrap().step, 10_000);
        assert_eq!(series.before(0), None);
    }

    #[test]
    fn items_are_spaced_and_end_with_the_last() {
        for count in [0usize, 1, 2, 8, 9, 16, 17, 100, 1000, 1001] {
            let mut spaced = Spaced::new(8);
            (0..count).for_each(|i| spaced.add(i));
            let kept: Vec<usize> = spaced.iter().copied().collect();
            assert!(kept.len() <= 10, "{count}: {kept:?}");
            assert_eq!(kept.first().copied(), (count > 0).then_some(0));
            assert_eq!(kept.last().copied(), count.checked_sub(1), "{count}: {kept:?}");
            assert!(kept.is_sorted_by(|a, b| a < b), "{kept:?}");
            assert_eq!(spaced.count(), count);
            let some = spaced.some(3);
            assert!(some.len() <= 3 && some.last() == kept.last() && some.first() == kept.first());
        }
    }
}
