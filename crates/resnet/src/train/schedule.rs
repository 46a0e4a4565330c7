//! The learning rate as a function of the step.
//!
//! With warm-up over w of T steps, base rate L and start L0:
//!
//! ```text
//! step s < w:  L0 + (L - L0) (s + 1) / w        (Goyal et al. 2017, section 2.2: a ramp)
//! then, with p = (s - w) / (T - w):
//!   constant   L
//!   step       L gamma^(milestones at or before s)     (He et al. 2015, section 4.2)
//!   cosine     L (1 + cos(pi p)) / 2            (Loshchilov & Hutter 2016, eq. 5, one cycle)
//!   linear     L (1 - p)
//! ```
//! [`WarmStart`] is the one thing that depends on training itself, so a checkpoint keeps it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A length of training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Duration {
    /// Steps, also called iterations: `32000it`.
    Steps(u64),
    /// Passes over the training images, fractions allowed: `90ep`.
    Epochs(f64),
    /// A part of the whole budget: `50%`. It follows the budget when that changes.
    Percent(f64),
}

impl Duration {
    /// Steps in this duration, rounded to the nearest, in a run of `total` steps with
    /// `steps_per_epoch`.
    pub(crate) fn steps(self, steps_per_epoch: u64, total: u64) -> u64 {
        match self {
            Duration::Steps(steps) => steps,
            Duration::Epochs(epochs) => (epochs * steps_per_epoch as f64).round() as u64,
            Duration::Percent(percent) => (percent / 100.0 * total as f64).round() as u64,
        }
    }

    /// Whether it is of no length.
    pub fn is_zero(self) -> bool {
        match self {
            Duration::Steps(steps) => steps == 0,
            Duration::Epochs(x) | Duration::Percent(x) => x == 0.0,
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Duration::Steps(steps) => write!(f, "{steps}it"),
            Duration::Epochs(epochs) => write!(f, "{epochs}ep"),
            Duration::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// A text is not a [`Duration`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number with its unit, `32000it`, `90ep` or `50%`, found `{0}`")]
pub struct BadDuration(pub String);

impl FromStr for Duration {
    type Err = BadDuration;

    fn from_str(text: &str) -> Result<Duration, BadDuration> {
        const MOST: f64 = 1e15; // exact in f64, far beyond any run
        let bad = || BadDuration(text.chars().take(40).collect());
        let trimmed = text.trim();
        let unit = trimmed.find(|c: char| c.is_ascii_alphabetic() || c == '%').ok_or_else(bad)?;
        let (number, unit) = trimmed.split_at(unit);
        let number = number.trim_end();
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(bad());
        }
        let real = number.parse::<f64>().ok().filter(|x| *x <= MOST).ok_or_else(bad)?;
        match unit {
            "it" => number.parse().map(Duration::Steps).map_err(|_| bad()),
            "ep" => Ok(Duration::Epochs(real)),
            "%" if real <= 100.0 => Ok(Duration::Percent(real)),
            _ => Err(bad()),
        }
    }
}

/// The rate's course after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Multiplied by gamma at each milestone.
    Step,
    /// Half a cosine down to zero.
    Cosine,
    /// Unchanged.
    Constant,
    /// A line down to zero.
    Linear,
}

/// The learning rate of every step, all durations resolved to steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schedule {
    /// The course after warm-up.
    pub course: Course,
    /// The base rate.
    pub lr: f64,
    /// Steps of the whole run.
    pub total: u64,
    /// First steps with a lower rate, for [`Course::Step`], in any order.
    pub milestones: Vec<u64>,
    /// The factor at a milestone.
    pub gamma: f64,
    /// Steps of warm-up; the last of them has the base rate.
    pub warmup: u64,
    /// Where the ramp starts; during a [`WarmStart`], the rate itself.
    pub warmup_lr: f64,
}

impl Schedule {
    /// The rate of a step, the first being 0. Beyond the last step it stays as it ended.
    pub(crate) fn lr(&self, step: u64) -> f64 {
        let warmup = self.warmup.min(self.total);
        if step < warmup {
            let ramp = (step + 1) as f64 / warmup as f64;
            return self.warmup_lr + (self.lr - self.warmup_lr) * ramp;
        }
        let span = (self.total - warmup).max(1) as f64;
        let progress = ((step - warmup) as f64 / span).min(1.0);
        match self.course {
            Course::Constant => self.lr,
            Course::Step => {
                let passed = self.milestones.iter().filter(|&&milestone| milestone <= step);
                passed.fold(self.lr, |lr, _| lr * self.gamma)
            }
            Course::Cosine => self.lr * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Course::Linear => self.lr * (1.0 - progress),
        }
    }

    /// The rate of a step in a run with a warm start: [`Schedule::warmup_lr`] while that lasts.
    pub(crate) fn lr_with(&self, step: u64, start: &WarmStart) -> f64 {
        if start.active() { self.warmup_lr } else { self.lr(step) }
    }
}

/// A low rate until training has begun to work (He et al. 2015, section 4.2: "we use 0.01 to warm
/// up the training until the training error is below 80%").
///
/// The training error is taken over blocks of [`WarmStart::BLOCK`] steps, as one batch is too noisy
/// to decide. All state is here, in integers, so a resumed run decides at the same step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WarmStart {
    until_error: f64,
    wrong: u64,
    seen: u64,
    steps: u64,
    active: bool,
}

impl WarmStart {
    /// Steps over which the training error is taken.
    pub(crate) const BLOCK: u64 = 50;

    /// A warm start that lasts until the training error is below this fraction.
    pub(crate) fn until(error: f64) -> WarmStart {
        WarmStart { until_error: error, wrong: 0, seen: 0, steps: 0, active: true }
    }

    /// No warm start.
    pub(crate) fn none() -> WarmStart {
        WarmStart { active: false, ..WarmStart::until(1.0) }
    }

    /// Whether it still lasts.
    pub(crate) fn active(&self) -> bool {
        self.active
    }

    /// Tells of a step: `wrong` of `seen` training images were misclassified. True at the step that
    /// ends the warm start.
    pub(crate) fn update(&mut self, wrong: u64, seen: u64) -> bool {
        if !self.active {
            return false;
        }
        self.wrong += wrong;
        self.seen += seen;
        self.steps += 1;
        if self.steps < WarmStart::BLOCK {
            return false;
        }
        self.active = self.wrong as f64 >= self.until_error * self.seen as f64;
        (self.wrong, self.seen, self.steps) = (0, 0, 0);
        !self.active
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(course: Course, warmup: u64, total: u64) -> Schedule {
        Schedule { course, lr: 0.1, total, milestones: vec![], gamma: 0.1, warmup, warmup_lr: 0.0 }
    }

    #[test]
    fn rates_by_hand() {
        use Course::*;
        let ramp = Schedule { warmup_lr: 0.02, ..schedule(Constant, 4, 10) };
        let paper = Schedule { milestones: vec![32_000, 48_000], ..schedule(Step, 0, 64_000) };
        let mixed = Schedule { milestones: vec![6, 2], ..schedule(Step, 4, 10) };
        let half = 0.05 * (1.0 + std::f64::consts::FRAC_1_SQRT_2);
        let cases: [(&Schedule, u64, f64); 24] = [
            (&paper, 0, 0.1),
            (&paper, 31_999, 0.1),
            (&paper, 32_000, 0.01),
            (&paper, 47_999, 0.01),
            (&paper, 48_000, 0.001),
            (&paper, 63_999, 0.001),
            (&paper, u64::MAX, 0.001),
            (&ramp, 0, 0.04),
            (&ramp, 1, 0.06),
            (&ramp, 3, 0.1),
            (&ramp, 9, 0.1),
            (&mixed, 0, 0.025),
            (&mixed, 4, 0.01),
            (&mixed, 6, 0.001),
            (&schedule(Cosine, 0, 100), 0, 0.1),
            (&schedule(Cosine, 0, 100), 25, half),
            (&schedule(Cosine, 0, 100), 50, 0.05),
            (&schedule(Cosine, 20, 100), 60, 0.05),
            (&schedule(Cosine, 0, 100), 100, 0.0),
            (&schedule(Linear, 20, 100), 19, 0.1),
            (&schedule(Linear, 20, 100), 20, 0.1),
            (&schedule(Linear, 20, 100), 40, 0.075),
            (&schedule(Linear, 20, 100), 500, 0.0),
            (&schedule(Cosine, 50, 10), 9, 0.1),
        ];
        for (schedule, step, expected) in cases {
            let found = schedule.lr(step);
            assert!(
                (found - expected).abs() < 1e-15,
                "{schedule:?} at {step}: {found}, expected {expected}"
            );
        }
    }

    #[test]
    fn an_empty_run_has_a_rate() {
        for course in [Course::Step, Course::Cosine, Course::Constant, Course::Linear] {
            assert_eq!(schedule(course, 5, 0).lr(0), 0.1);
        }
    }

    #[test]
    fn durations_are_read_written_and_resolved() {
        let cases = [
            ("32000it", Duration::Steps(32_000), 32_000),
            ("90ep", Duration::Epochs(90.0), 90 * 391),
            ("2.5ep", Duration::Epochs(2.5), 978),
            ("50%", Duration::Percent(50.0), 32_000),
            ("0it", Duration::Steps(0), 0),
        ];
        for (text, duration, steps) in cases {
            assert_eq!(text.parse(), Ok(duration));
            assert_eq!(duration.to_string(), text);
            assert_eq!(duration.steps(391, 64_000), steps, "{text}");
        }
        assert_eq!(" 3 ep ".parse(), Ok(Duration::Epochs(3.0)));
        for text in [
            "", "10", "it", "-1ep", "+1ep", "1.5it", "1e3it", "3 epochs", "101%", "nan%", "infep",
            "1e300ep", "5%%", "5 ep it",
        ] {
            let error = text.parse::<Duration>().expect_err(text).to_string();
            assert!(error.contains(text) && error.contains("32000it"), "{error}");
        }
    }

    #[test]
    fn a_warm_start_ends_when_a_block_is_good_enough() {
        let rates = schedule(Course::Step, 0, 1000);
        let rates = Schedule { warmup_lr: 0.01, ..rates };
        let mut start = WarmStart::until(0.8);
        let mut ended = None;
        for step in 0..1000 {
            let expected = if step < 150 { 0.01 } else { 0.1 };
            assert_eq!(rates.lr_with(step, &start), expected, "step {step}");
            // Block 0: all wrong. Block 1: exactly 80 %, not below. Block 2: one image fewer.
            let wrong = match step {
                0..50 => 10,
                50..100 => 8,
                100 => 7,
                101..150 => 8,
                _ => 10,
            };
            if start.update(wrong, 10) {
                assert_eq!(ended.replace(step), None);
            }
        }
        assert_eq!(ended, Some(149));
        assert!(!WarmStart::none().active());
    }

    #[test]
    fn a_saved_warm_start_goes_on_alike() {
        let mut start = WarmStart::until(0.8);
        for _ in 0..30 {
            start.update(5, 10);
        }
        let mut loaded: WarmStart =
            serde_json::from_str(&serde_json::to_string(&start).unwrap()).unwrap();
        assert_eq!(loaded, start);
        for _ in 0..20 {
            assert_eq!(loaded.update(5, 10), start.update(5, 10));
        }
        assert!(!loaded.active());
    }
}
