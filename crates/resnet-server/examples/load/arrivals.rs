//! When requests are due.

use std::time::Duration;

use crate::asked::Arrivals;

/// A request that is due.
pub(crate) struct Arrival {
    /// Its place in the order of arrival.
    pub(crate) place: usize,
    /// Since the start; of closed arrivals nothing, they are due when they are sent.
    pub(crate) due: Option<Duration>,
}

/// The order in which requests arrive.
pub(crate) struct Schedule {
    arrivals: Arrivals,
    /// Seconds since the start until the last one that was given out.
    at: f64,
    next: usize,
    state: u64,
}

impl Schedule {
    /// The first request is one distance after the start.
    pub(crate) fn new(arrivals: Arrivals, seed: u64) -> Self {
        Schedule { arrivals, at: 0.0, next: 0, state: seed }
    }

    pub(crate) fn next(&mut self) -> Arrival {
        let place = self.next;
        self.next += 1;
        match self.arrivals {
            // From the place, so that rounding does not add up.
            Arrivals::Even { rate } => self.at = self.next as f64 / rate,
            Arrivals::Poisson { rate } => self.at += -self.uniform().ln() / rate,
            Arrivals::Closed => return Arrival { place, due: None },
        }
        Arrival { place, due: Some(Duration::from_secs_f64(self.at)) }
    }

    /// A number in (0, 1], by splitmix64.
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread() {
        let mut schedule = Schedule::new(Arrivals::Poisson { rate: 1000.0 }, 3);
        let due: Vec<f64> =
            (0..100_000).map(|_| schedule.next().due.unwrap().as_secs_f64()).collect();
        let gaps: Vec<f64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let spread = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean * 1000.0 - 1.0).abs() < 0.02, "mean distance {mean}");
        assert!((spread.sqrt() / mean - 1.0).abs() < 0.02, "deviation {}", spread.sqrt());
    }

    #[test]
    fn even_arrivals_do_not_drift() {
        let mut schedule = Schedule::new(Arrivals::Even { rate: 3.0 }, 1);
        let last = (0..3_000_000).map(|_| schedule.next()).last().unwrap();
        assert_eq!(last.due, Some(Duration::from_secs(1_000_000)));
    }
}
