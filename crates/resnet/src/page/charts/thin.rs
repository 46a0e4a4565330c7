//! Thinning: a line of any number of points, drawn with at most four points a pixel column and the
//! same outline.

/// A stretch of a line without gaps, in pixels.
pub(super) type Stretch = Vec<(f64, f64)>;

/// Splits a line at values that are not finite and thins each stretch: of the points in one pixel
/// column the first, the lowest, the highest and the last stay. `points` are in pixels, ordered by
/// x; only y may be not finite.
pub(super) fn thin(points: impl Iterator<Item = (f64, f64)>) -> Vec<Stretch> {
    let mut stretches = vec![Stretch::new()];
    let mut column: Vec<(f64, f64)> = Vec::new();
    let mut at = f64::NEG_INFINITY;
    let mut flush = |column: &mut Vec<(f64, f64)>| {
        let Some(current) = stretches.last_mut() else {
            return;
        };
        let is_finite = |p: &(f64, f64)| p.1.is_finite();
        // Gaps inside a column are narrower than a pixel: only those at its borders are seen.
        let opens = column.first().is_some_and(|p| !is_finite(p));
        let closes = column.last().is_some_and(|p| !is_finite(p));
        let (mut low, mut high, mut first, mut last) = (None, None, None, None);
        for (i, p) in column.iter().enumerate().filter(|(_, p)| is_finite(p)) {
            first = first.or(Some(i));
            last = Some(i);
            low = low.filter(|&l: &usize| column[l].1 <= p.1).or(Some(i));
            high = high.filter(|&h: &usize| column[h].1 >= p.1).or(Some(i));
        }
        let mut kept: Vec<usize> = [first, low, high, last].into_iter().flatten().collect();
        kept.sort_unstable();
        kept.dedup();
        let kept = kept.into_iter().map(|i| column[i]);
        if opens && !current.is_empty() {
            stretches.push(kept.collect());
        } else {
            current.extend(kept);
        }
        if closes && stretches.last().is_some_and(|s| !s.is_empty()) {
            stretches.push(Stretch::new());
        }
        column.clear();
    };
    for (x, y) in points {
        if x.floor() != at {
            flush(&mut column);
            at = x.floor();
        }
        column.push((x, y));
    }
    flush(&mut column);
    stretches.retain(|s| !s.is_empty());
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_points_stay_as_they_are() {
        let line = [(0.0, 1.0), (5.0, 2.0), (9.0, 0.0)];
        assert_eq!(thin(line.into_iter()), [line.to_vec()]);
        assert!(thin(std::iter::empty()).is_empty());
        assert!(thin([(0.0, f64::NAN)].into_iter()).is_empty());
    }

    #[test]
    fn gaps_split_the_line() {
        let y = [1.0, 2.0, f64::NAN, f64::INFINITY, 3.0, f64::NAN];
        let stretches = thin(y.iter().enumerate().map(|(i, &y)| (i as f64, y)));
        assert_eq!(stretches, [vec![(0.0, 1.0), (1.0, 2.0)], vec![(4.0, 3.0)]]);
    }

    #[test]
    fn a_million_points_keep_their_extremes() {
        let n = 1_000_000;
        let y = |i: usize| {
            if i == 777_777 { 1e6 } else { (i as f64 * 0.7).sin() }
        };
        let stretches = thin((0..n).map(|i| (i as f64 * 500.0 / n as f64, y(i))));
        assert_eq!(stretches.len(), 1);
        assert!(stretches[0].len() <= 2000, "{}", stretches[0].len());
        assert!(stretches[0].iter().any(|p| p.1 == 1e6));
        assert_eq!(stretches[0].last().unwrap().1, y(n - 1));
        let gaps = thin(
            (0..n).map(|i| (i as f64 * 500.0 / n as f64, if i % 2 == 0 { 1.0 } else { f64::NAN })),
        );
        assert!(gaps.len() <= 501 && gaps.iter().map(Vec::len).sum::<usize>() <= 2000);
    }
}
