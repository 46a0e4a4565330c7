//! What was measured.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::asked::{Arrivals, Asked};
use crate::workers::{Outcome, Sample, Use};

/// Figures of the requests that were due in the measured part; rates are of what ended in it.
pub(crate) struct Report<'a> {
    use_: &'a Use,
    /// Requests a second that were meant; nothing of closed arrivals.
    rate: Option<f64>,
    seconds: f64,
    offered: usize,
    statuses: BTreeMap<u16, usize>,
    errors: BTreeMap<&'static str, usize>,
    good_a_second: f64,
    good: Quantiles,
    refused: Quantiles,
    late: Quantiles,
    /// Good answers that say something else than they must.
    pub(crate) mismatches: usize,
    compared: bool,
}

/// Exact quantiles of all values, in milliseconds.
struct Quantiles(Vec<Duration>);

const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

impl Quantiles {
    fn new(values: impl Iterator<Item = Duration>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_unstable();
        Quantiles(values)
    }

    /// The least value that at least this share of all values does not exceed.
    fn at(&self, share: f64) -> Option<f64> {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        Some(self.0.get(rank.max(1) - 1)?.as_secs_f64() * 1e3)
    }

    fn json(&self) -> Value {
        QUANTILES.iter().map(|(name, share)| (name.to_string(), json!(self.at(*share)))).collect()
    }

    fn text(&self) -> String {
        let one = |(name, share): &(&str, f64)| Some(format!("{name} {:.2}", self.at(*share)?));
        let all: Option<Vec<_>> = QUANTILES.iter().map(one).collect();
        all.map_or("none".to_owned(), |all| all.join("  "))
    }
}

impl<'a> Report<'a> {
    pub(crate) fn new(asked: &Asked, samples: &[Sample], use_: &'a Use) -> Self {
        let window = asked.warm_up..asked.warm_up + asked.measured;
        let due: Vec<_> = samples.iter().filter(|s| window.contains(&s.due)).collect();
        let took = |status: u16| {
            let of = due.iter().filter(move |s| s.status() == Some(status));
            Quantiles::new(of.map(|s| s.ended.saturating_sub(s.due)))
        };
        let ended =
            samples.iter().filter(|s| s.status() == Some(200) && window.contains(&s.ended)).count();
        let seconds = asked.measured.as_secs_f64();
        Report {
            use_,
            rate: match asked.arrivals {
                Arrivals::Even { rate } | Arrivals::Poisson { rate } => Some(rate),
                Arrivals::Closed => None,
            },
            seconds,
            offered: due.len(),
            statuses: count(due.iter().filter_map(|s| s.status())),
            errors: count(due.iter().filter_map(|s| match s.outcome {
                Outcome::Failed(kind) => Some(kind),
                Outcome::Answered(..) => None,
            })),
            good_a_second: ended as f64 / seconds,
            good: took(200),
            refused: took(503),
            late: Quantiles::new(due.iter().map(|s| s.sent.saturating_sub(s.due))),
            // Of all requests, the warm-up's too: a wrong answer is wrong whenever it comes.
            mismatches: samples
                .iter()
                .filter(|s| matches!(s.outcome, Outcome::Answered(200, false)))
                .count(),
            compared: asked.expect.is_some(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "rate": self.rate,
            "seconds": self.seconds,
            "offered": self.offered,
            "answered": self.statuses.iter().map(|(k, v)| (k.to_string(), json!(v)))
                .collect::<serde_json::Map<_, _>>(),
            "refused": self.statuses.get(&503).copied().unwrap_or(0),
            "errors": self.errors,
            "good_a_second": self.good_a_second,
            "good_ms": self.good.json(),
            "refused_ms": self.refused.json(),
            "late_ms": self.late.json(),
            "mismatches": self.compared.then_some(self.mismatches),
            "connections": self.use_.connections,
            "connections_opened": self.use_.opened,
            "connections_limited": self.use_.limited,
            "cpu_s": self.use_.cpu.map(|cpu| cpu.as_secs_f64()),
        })
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<14} {value}");
        };
        let a_second = self.offered as f64 / self.seconds;
        line("offered", format!("{} requests, {a_second:.1} a second", self.offered));
        let statuses: Vec<_> = self.statuses.iter().map(|(k, v)| format!("{v} x {k}")).collect();
        line("answered", if statuses.is_empty() { "none".into() } else { statuses.join(", ") });
        let errors: Vec<_> = self.errors.iter().map(|(k, v)| format!("{v} x {k}")).collect();
        line("errors", if errors.is_empty() { "none".into() } else { errors.join(", ") });
        line("good", format!("{:.1} images/s", self.good_a_second));
        line("good, ms", self.good.text());
        if self.statuses.contains_key(&503) {
            line("refused, ms", self.refused.text());
        }
        line("sent late, ms", self.late.text());
        if self.compared {
            line("wrong answers", self.mismatches.to_string());
        }
        let limit = if self.use_.limited { "; MORE WERE NEEDED: --most-connections" } else { "" };
        let (most, opened) = (self.use_.connections, self.use_.opened);
        line("connections", format!("{most}, opened {opened} times{limit}"));
        if let Some(cpu) = self.use_.cpu {
            line("generator", format!("{:.2} s of processor time", cpu.as_secs_f64()));
        }
        text
    }
}

/// How often each key occurs.
fn count<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

impl Sample {
    fn status(&self) -> Option<u16> {
        match self.outcome {
            Outcome::Answered(status, _) => Some(status),
            Outcome::Failed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact() {
        let values = Quantiles::new((1..=1000).rev().map(Duration::from_millis));
        let found: Vec<_> = QUANTILES.iter().map(|(_, share)| values.at(*share)).collect();
        assert_eq!(found, [500.0, 900.0, 990.0, 999.0, 1000.0].map(Some));
        assert_eq!(Quantiles::new([].into_iter()).at(0.5), None);
        assert_eq!(Quantiles::new([Duration::from_millis(3)].into_iter()).at(0.5), Some(3.0));
    }
}
