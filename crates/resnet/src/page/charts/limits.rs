//! The limits of an axis up which a few values go far beyond all others: the others fill it, and
//! those are marked at its edge.

use super::axis::Axis;

/// Values fill less than this part of the axis before others are left outside.
const FLAT: f64 = 0.25;
/// A value stands out that is so many times farther from its neighbours than nearly all others.
const FAR: f64 = 5.0;
/// Fewest points of a line of which one can stand out.
const FEWEST: usize = 5;
/// A longer line's neighbourhoods are taken from about so many groups of values.
const GROUPS: usize = 1000;
/// Room above and below what is shown, as a part of its range.
const MARGIN: f64 = 0.1;

/// The range to be shown of `lines`, each a line's values by ascending x, beside `also`, which are
/// never left outside; `None` where all of it can be shown.
pub(super) fn limits(
    axis: &Axis,
    lines: &[Vec<f64>],
    also: impl Iterator<Item = f64>,
) -> Option<(f64, f64)> {
    let up = |v: f64| if axis.log { v.ln() } else { v };
    let back = |v: f64| if axis.log { v.exp() } else { v };
    let lines: Vec<Vec<f64>> = lines
        .iter()
        .map(|line| line.iter().filter(|v| axis.accepts(**v)).map(|v| up(*v)).collect())
        .collect();
    let zero = (axis.from_zero && !axis.log).then_some(0.0);
    let also: Vec<f64> = also.filter(|v| axis.accepts(*v)).map(up).chain(zero).collect();
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let all = values.chain(also.iter().copied());
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)))
    };
    let (low, high) = range(&mut lines.iter().flatten().copied());
    let (kept_low, kept_high) = range(&mut lines.iter().flat_map(|line| ordinary(line)));
    let kept = kept_high - kept_low;
    if !(kept > 0.0 && kept < FLAT * (high - low)) {
        return None;
    }
    // What is not much farther is shown after all, such as the steep beginning of a curve.
    let reached = (kept_low - kept, kept_high + kept);
    let near = |v: &f64| (reached.0..=reached.1).contains(v);
    let (near_low, near_high) = range(&mut lines.iter().flatten().copied().filter(near));
    let margin = MARGIN * (near_high - near_low);
    let is_zero = |v: f64| zero == Some(v);
    let bottom = if is_zero(near_low) { near_low } else { near_low - margin };
    let top = if is_zero(near_high) { near_high } else { near_high + margin };
    let (bottom, top) = (back(bottom.max(low)), back(top.min(high)));
    (axis.accepts(bottom) && axis.accepts(top) && bottom < top).then_some((bottom, top))
}

/// The values of a line that do not stand out from their neighbours.
fn ordinary(line: &[f64]) -> Vec<f64> {
    if line.len() < FEWEST {
        return line.to_vec();
    }
    let group = line.len().div_ceil(GROUPS);
    let groups: Vec<f64> =
        line.chunks(group).map(|values| medians(values, values.len())[0]).collect();
    let medians = medians(&groups, (groups.len() / 40).max(2));
    let away: Vec<f64> =
        line.iter().enumerate().map(|(i, v)| (v - medians[i / group]).abs()).collect();
    let mut sorted = away.clone();
    sorted.sort_by(f64::total_cmp);
    let usual = sorted[line.len() - 1 - (line.len() / 20).max(1)];
    line.iter().zip(away).filter(|(_, a)| *a <= FAR * usual).map(|(v, _)| *v).collect()
}

/// Of each value and those up to `half` places beside it the median. At the ends as many are taken,
/// all from one side.
fn medians(line: &[f64], half: usize) -> Vec<f64> {
    let window = (2 * half + 1).min(line.len());
    let mut sorted: Vec<f64> = line[..window].to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut from = 0;
    let median = |i: usize| {
        let wanted = i.saturating_sub(half).min(line.len() - window);
        if wanted > from {
            let place =
                |sorted: &[f64], v: f64| sorted.partition_point(|o| o.total_cmp(&v).is_lt());
            let gone = place(&sorted, line[from]);
            sorted.remove(gone);
            let new = line[from + window];
            let at = place(&sorted, new);
            sorted.insert(at, new);
            from = wanted;
        }
        sorted[window / 2]
    };
    (0..line.len()).map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(axis: &Axis, line: Vec<f64>) -> Option<(f64, f64)> {
        limits(axis, &[line], std::iter::empty())
    }

    fn noisy(n: usize) -> Vec<f64> {
        let mut rng = crate::base::rng::Rng::new(5, &[]);
        (0..n).map(|i| 2.3 * (-(i as f64) / (n as f64 / 8.0)).exp() + 0.2 * rng.unit()).collect()
    }

    #[test]
    fn a_spike_anywhere_does_not_flatten_a_curve() {
        let axis = Axis::new("loss").from_zero();
        for n in [5, 8, 60, 400, 20_000] {
            for at in [0, 1, n / 2, n - 1] {
                for height in [50.0, -70.0, 1e9] {
                    let mut line = noisy(n);
                    line[at] = height;
                    let (low, high) = of(&axis, line).expect("the spike is left outside");
                    assert!(high - low < 4.0 && low <= 0.0 && high > 0.3, "{n} {at} {low} {high}");
                }
            }
        }
        let mut log = noisy(200);
        log[20] = 1e12;
        assert!(of(&Axis::new("loss").log(), log).expect("left outside").1 < 10.0);
    }

    #[test]
    fn what_belongs_to_a_curve_is_shown() {
        let axis = Axis::new("loss");
        let rises = |n: usize| -> Vec<f64> { (0..n).map(|i| 1.1f64.powi(i as i32)).collect() };
        let step = |n: usize| -> Vec<f64> {
            (0..n).map(|i| if i < n / 3 { 1.0 } else { 1000.0 }).collect()
        };
        let pulse: Vec<f64> = (0..50).map(|i| f64::from(u8::from(i == 20))).collect();
        for line in [noisy(9), noisy(1000), rises(80), step(6), step(90), pulse, vec![], vec![1e9]]
        {
            assert_eq!(of(&axis, line.clone()), None, "{line:?}");
        }
        // A level of its own is no spike, and neither is what another line reaches.
        let spiked: Vec<f64> =
            (0..50).map(|i| if i == 9 { 90.0 } else { i as f64 / 50.0 }).collect();
        let high = vec![100.0; 50];
        assert_eq!(limits(&axis, &[spiked.clone(), high], std::iter::empty()), None);
        assert_eq!(limits(&axis, std::slice::from_ref(&spiked), std::iter::once(95.0)), None);
        assert!(of(&axis, spiked).is_some());
    }

    #[test]
    fn medians_slide() {
        let line = [3.0, 1.0, 2.0, 9.0, 4.0, 5.0];
        assert_eq!(medians(&line, 1), [2.0, 2.0, 2.0, 4.0, 5.0, 5.0]);
        assert_eq!(medians(&line, 20)[0], 4.0);
    }
}
