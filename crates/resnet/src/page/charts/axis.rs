//! Axes: the range shown, round tick values, their texts.

use super::ticks::{fit_linear, fit_log};

/// How the numbers of an axis are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A plain number.
    Number,
    /// A count: ticks stand at whole numbers only.
    Count,
    /// A fraction, shown as a percentage.
    Percent,
}

/// One axis of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What is measured, with its unit where it has one.
    pub title: String,
    /// How numbers are written.
    pub format: Format,
    /// Logarithmic: each step multiplies. Values that are not positive are not drawn.
    pub log: bool,
    /// The range always reaches 0 (a linear axis only).
    pub from_zero: bool,
    /// A fixed range; without one, the range of the data.
    pub range: Option<(f64, f64)>,
}

impl Axis {
    /// A linear axis over the range of the data.
    pub fn new(title: impl Into<String>) -> Axis {
        Axis {
            title: title.into(),
            format: Format::Number,
            log: false,
            from_zero: false,
            range: None,
        }
    }

    /// The same axis, of counts.
    pub fn count(mut self) -> Axis {
        self.format = Format::Count;
        self
    }

    /// The same axis, of fractions shown as percentages.
    pub fn percent(mut self) -> Axis {
        self.format = Format::Percent;
        self
    }

    /// The same axis, reaching down (or up) to 0.
    pub fn from_zero(mut self) -> Axis {
        self.from_zero = true;
        self
    }

    /// The same axis, logarithmic.
    pub fn log(mut self) -> Axis {
        self.log = true;
        self
    }

    /// The same axis, from `low` to `high`. A range that is not one (not finite, empty, not
    /// positive on a logarithmic axis) counts as none.
    pub fn range(mut self, low: f64, high: f64) -> Axis {
        self.range = Some((low, high));
        self
    }

    /// Whether a value can stand on this axis.
    pub fn accepts(&self, value: f64) -> bool {
        value.is_finite() && value.abs() <= LIMIT && (!self.log || value >= 1.0 / LIMIT)
    }

    /// The axis fitted to `values`: its range and at most about `most` ticks. `widen` lets the
    /// range grow outward to whole ticks, as is usual upwards and not along x.
    pub fn fit(&self, values: impl Iterator<Item = f64>, most: usize, widen: bool) -> Fitted {
        let fixed = self.fixed();
        let widen = widen && fixed.is_none();
        let (low, high) = fixed.unwrap_or_else(|| self.spread_of(values));
        let most = most.clamp(2, 50);
        if self.log {
            fit_log(low, high, most, widen)
        } else {
            fit_linear(low, high, most, widen, self.format)
        }
    }

    /// The fixed range, if it is one.
    pub(super) fn fixed(&self) -> Option<(f64, f64)> {
        self.range.filter(|&(low, high)| self.accepts(low) && self.accepts(high) && low < high)
    }

    fn spread_of(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|&v| self.accepts(v)) {
            let value = if value.abs() * LIMIT < 1.0 { 0.0 } else { value };
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            return if self.log { (0.1, 1.0) } else { (0.0, 1.0) };
        }
        if self.log {
            return if high / low < 1.0 + 1e-9 { (low / 2.0, high * 2.0) } else { (low, high) };
        }
        if self.from_zero {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        if high - low > 1e-12 * high.abs().max(low.abs()) {
            return (low, high);
        }
        let half = match self.format {
            Format::Count => 1.0,
            _ if low == 0.0 => 0.5,
            _ => 0.1 * low.abs(),
        };
        if low == 0.0 && self.from_zero { (0.0, 2.0 * half) } else { (low - half, high + half) }
    }

    /// A value as text, in the axis' format.
    pub fn text(&self, value: f64) -> String {
        match self.format {
            Format::Number => super::format::number(value),
            Format::Count if value.abs() < 1e15 && value.fract() == 0.0 => {
                let sign = if value < 0.0 { "-" } else { "" };
                format!("{sign}{}", super::format::thousands(value.abs() as u64))
            }
            Format::Count => super::format::number(value),
            Format::Percent => super::format::percent(value, if value.abs() < 0.1 { 2 } else { 1 }),
        }
    }
}

/// Values beyond this magnitude are not drawn; no measurement reaches it, and sums of such values
/// stay finite.
const LIMIT: f64 = 1e100;

/// An axis with its range and ticks settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Lower end of the range.
    pub low: f64,
    /// Upper end of the range, above `low`.
    pub high: f64,
    /// Ticks inside the range, ascending, with their texts.
    pub ticks: Vec<(f64, String)>,
    pub(super) log: bool,
}

impl Fitted {
    /// Where `value` stands between the ends: 0 at the lower, 1 at the upper.
    pub fn position(&self, value: f64) -> f64 {
        if self.log {
            (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::charts::format::NBSP;

    fn texts(fitted: &Fitted) -> Vec<String> {
        fitted.ticks.iter().map(|t| t.1.replace(NBSP, " ")).collect()
    }

    fn fit(axis: &Axis, values: &[f64], most: usize, widen: bool) -> Fitted {
        axis.fit(values.iter().copied(), most, widen)
    }

    #[test]
    fn ticks_are_round() {
        let cases: &[(Axis, &[f64], usize, &[&str])] = &[
            (
                Axis::new("x").from_zero(),
                &[0.37, 2.3],
                5,
                &["0", "0.5", "1.0", "1.5", "2.0", "2.5"],
            ),
            (
                Axis::new("x").percent().from_zero(),
                &[0.9, 0.08],
                5,
                &["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"],
            ),
            (Axis::new("x").percent(), &[0.081, 0.084], 4, &["8.1 %", "8.2 %", "8.3 %", "8.4 %"]),
            (
                Axis::new("x").count().from_zero(),
                &[64_000.0],
                5,
                &["0", "20k", "40k", "60k", "80k"],
            ),
            (Axis::new("x").count().from_zero(), &[3.0], 8, &["0", "1", "2", "3"]),
            (Axis::new("x"), &[-3.0, 3.0], 4, &["-4", "-2", "0", "2", "4"]),
            (Axis::new("x"), &[0.0, 3e-9], 4, &["0", "10⁻⁹", "2·10⁻⁹", "3·10⁻⁹"]),
            (Axis::new("x"), &[0.0, 4e20], 4, &["0", "10²⁰", "2·10²⁰", "3·10²⁰", "4·10²⁰"]),
        ];
        for (axis, values, most, expected) in cases {
            assert_eq!(texts(&fit(axis, values, *most, true)), *expected);
        }
    }

    #[test]
    fn log_ticks() {
        let log = Axis::new("lr").log();
        let steps = ["0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1"];
        assert_eq!(texts(&fit(&log, &[0.001, 0.1], 7, true)), steps);
        assert_eq!(texts(&fit(&log, &[0.001, 0.1], 5, true)), ["0.001", "0.01", "0.1"]);
        assert_eq!(texts(&fit(&log, &[1e-9, 1.0], 4, true)).last().unwrap(), "1");
        let narrow = fit(&log, &[0.31, 0.42], 5, true);
        assert!(narrow.ticks.len() >= 2 && narrow.low <= 0.31 && narrow.high >= 0.42);
    }

    #[test]
    fn ranges_hold_the_data_whatever_it_is() {
        let awkward: &[&[f64]] = &[
            &[],
            &[f64::NAN],
            &[f64::INFINITY, f64::NEG_INFINITY],
            &[0.0],
            &[5.0, 5.0],
            &[-5.0],
            &[1e300, -1e300],
            &[1e99, -1e99],
            &[1e-300],
            &[1.0, 1.0 + 1e-15],
            &[f64::MIN_POSITIVE, f64::MAX],
            &[1e15, 1e15 + 1.0],
            &[-0.0, 1e-99],
        ];
        for values in awkward {
            for base in [
                Axis::new("x"),
                Axis::new("x").count(),
                Axis::new("x").percent(),
                Axis::new("x").log(),
            ] {
                for axis in [base.clone(), base.clone().from_zero(), base.clone().range(1.0, 0.0)] {
                    for widen in [false, true] {
                        let fitted = fit(&axis, values, 6, widen);
                        assert!(fitted.low < fitted.high, "{values:?} {fitted:?}");
                        assert!(fitted.ticks.len() <= 20, "{values:?} {fitted:?}");
                        for &value in values.iter().filter(|&&v| axis.accepts(v)) {
                            let p = fitted.position(value);
                            assert!(
                                (-1e-6..=1.0 + 1e-6).contains(&p),
                                "{value} at {p} of {fitted:?}"
                            );
                        }
                        for (tick, _) in &fitted.ticks {
                            let p = fitted.position(*tick);
                            assert!(
                                (-1e-6..=1.0 + 1e-6).contains(&p),
                                "tick {tick} at {p} of {fitted:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn tick_texts_are_distinct() {
        let mut rng = crate::base::rng::Rng::new(1, &[]);
        for _ in 0..3000 {
            let (a, b) = (10f64.powf(rng.range(-12.0, 14.0)), rng.range(0.0, 1.0));
            let fitted = fit(&Axis::new("x"), &[a, a * b], 1 + rng.below(12), true);
            let mut seen = texts(&fitted);
            assert!(seen.len() >= 2, "{a} {b} {seen:?}");
            let all = seen.len();
            seen.dedup();
            assert_eq!(seen.len(), all, "{a} {b} {seen:?}");
        }
    }
}
