//! Round tick values and their texts.

use super::axis::{Fitted, Format};
use super::format::{NBSP, number, power_of_ten};

/// A round number, mantissa * 10^exponent with mantissa 1, 2 or 5.
#[derive(Clone, Copy)]
struct Round {
    mantissa: f64,
    exponent: i32,
}

impl Round {
    /// The smallest round number that is at least `value` (positive).
    fn at_least(value: f64) -> Round {
        let exponent = value.log10().floor() as i32;
        let scaled = value / 10f64.powi(exponent);
        match scaled {
            s if s <= 1.0 + 1e-9 => Round { mantissa: 1.0, exponent },
            s if s <= 2.0 + 1e-9 => Round { mantissa: 2.0, exponent },
            s if s <= 5.0 + 1e-9 => Round { mantissa: 5.0, exponent },
            _ => Round { mantissa: 1.0, exponent: exponent + 1 },
        }
    }

    /// `k` times the number, rounded as its decimal text would be.
    fn times(self, k: f64) -> f64 {
        if self.exponent < 0 {
            k * self.mantissa / 10f64.powi(-self.exponent)
        } else {
            k * self.mantissa * 10f64.powi(self.exponent)
        }
    }
}

pub(super) fn fit_linear(low: f64, high: f64, most: usize, widen: bool, format: Format) -> Fitted {
    let scale = if format == Format::Percent { 100.0 } else { 1.0 };
    let mut step = Round::at_least((high - low) * scale / most as f64);
    if format == Format::Count && step.exponent < 0 {
        step = Round { mantissa: 1.0, exponent: 0 };
    }
    let unit = step.times(1.0) / scale;
    let (first, last) = if widen {
        let first = (low / unit + 1e-9).floor();
        (first, (high / unit - 1e-9).ceil().max(first + 1.0))
    } else {
        ((low / unit - 1e-9).ceil(), (high / unit + 1e-9).floor())
    };
    let (low, high) =
        if widen { (step.times(first) / scale, step.times(last) / scale) } else { (low, high) };
    let count = ((last - first).max(-1.0) as usize).saturating_add(1).min(2 * most + 3);
    let shown: Vec<f64> = (0..count).map(|i| step.times(first + i as f64)).collect();
    let largest = shown.iter().fold(0f64, |a, v| a.max(v.abs()));
    let ticks = shown
        .iter()
        .map(|&v| {
            let suffix = if format == Format::Percent { format!("{NBSP}%") } else { String::new() };
            (v / scale, tick_text(v, step, largest) + &suffix)
        })
        .collect();
    Fitted { low, high, ticks, log: false }
}

/// One text form for all ticks of an axis whose largest value is `largest`.
fn tick_text(value: f64, step: Round, largest: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if largest >= 1e12 || step.exponent < -5 {
        let digits = (largest.log10().floor() as i32 - step.exponent + 1).clamp(1, 15) as usize;
        return power_of_ten(value, digits);
    }
    let (unit, prefix) = match largest {
        l if l >= 1e9 && step.exponent >= 6 => (9, "G"),
        l if l >= 1e6 && step.exponent >= 4 => (6, "M"),
        l if l >= 1e4 && step.exponent >= 2 => (3, "k"),
        _ => (0, ""),
    };
    let decimals = (unit - step.exponent).max(0) as usize;
    let text = format!("{:.decimals$}", value / 10f64.powi(unit));
    let text = if unit > 0 && text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    };
    text + prefix
}

pub(super) fn fit_log(low: f64, high: f64, most: usize, widen: bool) -> Fitted {
    let decades = high.log10() - low.log10();
    let multiples: &[f64] = match decades {
        d if d < 1.5 => &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
        d if 3.0 * d <= most as f64 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let every =
        if multiples.len() > 1 { 1 } else { (decades / most as f64).ceil().max(1.0) as i32 };
    let (from, to) = (low.log10().floor() as i32 - every, high.log10().ceil() as i32 + every);
    let candidates: Vec<f64> = (from..=to)
        .filter(|e| e.rem_euclid(every) == 0)
        .flat_map(|e| multiples.iter().map(move |m| Round { mantissa: *m, exponent: e }.times(1.0)))
        .collect();
    let (mut low, mut high) = (low, high);
    if widen {
        low = candidates.iter().rev().copied().find(|&c| c <= low * (1.0 + 1e-9)).unwrap_or(low);
        high = candidates.iter().copied().find(|&c| c >= high * (1.0 - 1e-9)).unwrap_or(high);
    }
    let inside = |&&c: &&f64| c >= low * (1.0 - 1e-9) && c <= high * (1.0 + 1e-9);
    let mut shown: Vec<f64> = candidates.iter().filter(inside).copied().collect();
    if shown.len() > most + 1 {
        // Of less than two decades: only 1, 2 and 5, and of those every so many.
        let lead = |v: f64| (v / 10f64.powf(v.log10().floor())).round() as i32;
        shown.retain(|&v| matches!(lead(v), 1 | 2 | 5 | 10));
    }
    let thin = shown.len().div_ceil(most + 1).max(1);
    let ticks = shown.iter().step_by(thin).map(|&v| (v, log_text(v))).collect();
    Fitted { low, high, ticks, log: true }
}

fn log_text(value: f64) -> String {
    match value {
        v if (0.999e-3..0.999e5).contains(&v) => number(v),
        v => power_of_ten(v, 2),
    }
}
