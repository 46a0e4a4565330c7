//! From which confidence on answers are right as often as is wanted.
//!
//! Of n answers at or above a threshold r are right. That more than the wanted share w of all such
//! answers are right is taken for shown where r or more would be seen with probability `DOUBT` at
//! most if only w of them were: where the lower bound of Clopper and Pearson (1934) is above w.
//!
//! Trying many thresholds and keeping the lowest that passes would pass too many by luck. So they
//! are tried in an order that is fixed beforehand, from the surest twentieth of the pictures down
//! to all of them, until one fails: then the last that passed is wrong with probability `DOUBT` at
//! most (fixed sequence testing; Angelopoulos et al. 2021, Learn then Test).

/// Most of the probability that a threshold does not hold what it should.
pub const DOUBT: f64 = 0.05;
/// Thresholds that are tried.
const STEPS: usize = 20;

/// The lowest threshold for which it is shown that of answers at or above it the share `wanted` is
/// right; `None` if it is shown for none. `answers` are confidences, and whether they were right.
pub fn threshold(answers: &[(f32, bool)], wanted: f64) -> Option<f32> {
    let mut sorted = answers.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut found, mut right, mut count) = (None, 0, 0);
    for step in 1..=STEPS {
        // As many as the step wants, and those as sure as the last of them.
        let Some(least) = (step * sorted.len() / STEPS).checked_sub(1) else { continue };
        let least = sorted[least].0;
        while count < sorted.len() && sorted[count].0 >= least {
            right += u64::from(sorted[count].1);
            count += 1;
        }
        // So few could not show it if all were right.
        if !shown(count as u64, count as u64, wanted) {
            continue;
        }
        if !shown(right, count as u64, wanted) {
            break;
        }
        found = Some(least);
    }
    found
}

/// Whether `right` of `count` show that more than the share `wanted` is right.
pub fn shown(right: u64, count: u64, wanted: f64) -> bool {
    // P(at least `right` of `count`), by the number of mistakes: each term from the one before.
    let (mut term, mut sum) = (count as f64 * wanted.ln(), 0.0);
    for mistakes in 0..=count - right {
        sum += term.exp();
        if sum > DOUBT {
            return false;
        }
        let (done, left) = (mistakes as f64 + 1.0, (count - mistakes) as f64);
        term += (left / done).ln() + ((1.0 - wanted) / wanted).ln();
    }
    count > 0
}

/// The fewest answers that show it, all of them right.
pub fn fewest(wanted: f64) -> u64 {
    (DOUBT.ln() / wanted.ln()).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_the_binomial_tail() {
        // P(all 58 right at 0.95) = 0.0510, of 59 0.0485.
        assert!(!shown(58, 58, 0.95) && shown(59, 59, 0.95));
        // With one mistake the tail is 0.95^n + n 0.05 0.95^(n - 1): 0.0511 at 92, 0.0489 at 93.
        assert!(!shown(91, 92, 0.95) && shown(92, 93, 0.95));
        // Of 10 at 0.5: P(9 or more) = 11 / 1024, P(8 or more) = 56 / 1024.
        assert!(shown(9, 10, 0.5) && !shown(8, 10, 0.5));
        assert!(!shown(0, 0, 0.5) && !shown(0, 7, 0.5));
        for wanted in [0.5, 0.9, 0.95, 0.99, 0.999] {
            let n = fewest(wanted);
            assert!(shown(n, n, wanted) && !shown(n - 1, n - 1, wanted), "{wanted}: {n}");
        }
        // Large counts neither overflow nor vanish.
        assert!(shown(995_000, 1_000_000, 0.99) && !shown(990_000, 1_000_000, 0.99));
    }

    /// 1000 answers of falling confidence, of which the listed are wrong.
    fn answers(wrong: &[usize]) -> Vec<(f32, bool)> {
        (0..1000).map(|i| (1.0 - i as f32 / 1000.0, !wrong.contains(&i))).collect()
    }

    #[test]
    fn thresholds_by_hand() {
        // 299 are the fewest for 99 %, so the first that is tried is 300; all right, all is sure.
        assert_eq!(threshold(&answers(&[]), 0.99), Some(answers(&[])[999].0));
        // One mistake is too many among 450 (473 are needed): 400 pass, 450 do not.
        assert_eq!(threshold(&answers(&[420]), 0.99), Some(answers(&[])[399].0));
        // A mistake among the first 300: none passes, though 500 with one mistake would.
        assert_eq!(threshold(&answers(&[7]), 0.99), None);
        // Too few to show it.
        assert_eq!(threshold(&answers(&[])[..298], 0.99), None);
        assert_eq!(threshold(&[], 0.5), None);
        // The order of the answers is of no matter.
        let mut turned = answers(&[420]);
        turned.reverse();
        assert_eq!(threshold(&turned, 0.99), threshold(&answers(&[420]), 0.99));
    }

    #[test]
    fn equal_confidences_stand_or_fall_together() {
        // 60 at 1 and all right, 60 at 0.7 of which half are.
        let mut answers = vec![(1.0, true); 60];
        answers.extend((0..60).map(|i| (0.7, i % 2 == 0)));
        assert_eq!(threshold(&answers, 0.95), Some(1.0));
        answers[0].1 = false;
        assert_eq!(threshold(&answers, 0.95), None);
    }
}
