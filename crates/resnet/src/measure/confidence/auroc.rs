//! How well a score tells two kinds of pictures apart.

/// The probability that a score of `high` is above one of `low`, equal ones counting half: the area
/// under the curve of true over false positives (Hanley and McNeil 1982). 0.5 is chance; NaN if one
/// of them is empty.
pub fn auroc(low: &[f32], high: &[f32]) -> f64 {
    let of = |scores: &[f32], is_high| scores.iter().map(|&s| (s, is_high)).collect::<Vec<_>>();
    let mut all = [of(low, false), of(high, true)].concat();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Twice the number of pairs in the right order, which is whole: exact up to 2^53 of them.
    let (mut below, mut pairs) = (0, 0.0);
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let highs = equal.iter().filter(|(_, is_high)| *is_high).count();
        let lows = equal.len() - highs;
        pairs += (highs * (2 * below + lows)) as f64;
        below += lows;
    }
    pairs / 2.0 / (low.len() as f64 * high.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::auroc;

    #[test]
    fn areas_by_hand() {
        assert_eq!(auroc(&[1.0, 2.0], &[3.0, 4.0]), 1.0);
        assert_eq!(auroc(&[3.0, 4.0], &[1.0, 2.0]), 0.0);
        // Of six pairs three are in order, (1, 3), (1, 2), (2.5, 3), and one is equal.
        assert_eq!(auroc(&[1.0, 2.5, 3.0], &[3.0, 2.0]), 3.5 / 6.0);
        assert_eq!(auroc(&[5.0; 3], &[5.0; 7]), 0.5);
        assert_eq!(auroc(&[0.0, -0.0], &[0.0]), 0.5);
        assert!(auroc(&[], &[1.0]).is_nan() && auroc(&[1.0], &[]).is_nan());
    }
}
