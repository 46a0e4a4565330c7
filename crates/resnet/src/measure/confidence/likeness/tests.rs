use super::*;
use crate::base::rng::Rng;

#[test]
fn a_factor_by_hand_and_its_inverse() {
    // L = [2], [1, 3], [-1, 0.5, 1]: L L^T is
    let matrix = vec![4.0, 2.0, 10.0, -2.0, 0.5, 2.25];
    let l = factor(matrix).unwrap();
    assert_eq!(l, [2.0, 1.0, 3.0, -1.0, 0.5, 1.0]);
    let space = Space { features: 3, means: Vec::new(), factor: l };
    // L (1, 2, 3) = (2, 7, 3).
    assert_eq!(space.whitened(&[2.0, 7.0, 3.0]), [1.0, 2.0, 3.0]);
    assert_eq!(factor(vec![1.0, 2.0, 1.0]), None);
}

#[test]
fn shrinking_by_hand() {
    // S = diag(3, 1), d = 2: squares 10, trace 4, so r = 16 / (n * 2).
    let mut covariance = vec![3.0, 0.0, 1.0];
    shrink(&mut covariance, 2, 32.0).unwrap();
    assert_eq!(covariance, [0.75 * 3.0 + 0.5, 0.0, 0.75 + 0.5]);
    // Few pictures: nothing of S is left but its scale.
    let mut covariance = vec![3.0, 0.5, 1.0];
    shrink(&mut covariance, 2, 1.0).unwrap();
    assert_eq!(covariance, [2.0, 0.0, 2.0]);
    assert!(shrink(&mut [0.0; 3], 2, 10.0).is_none());
}

/// Pictures of two classes around directions of their own, with noise of other widths.
fn pictures(count: usize, seed: u64) -> Vec<(Vec<f32>, u32)> {
    let mut rng = Rng::new(seed, &[]);
    let one = |i: usize| {
        let label = (i % 2) as u32;
        let mut x: Vec<f32> =
            (0..6).map(|k| (rng.normal() * 0.1 * (k + 1) as f64) as f32).collect();
        x[label as usize] += 5.0;
        (x, label)
    };
    (0..count).map(one).collect()
}

fn space(pictures: &[(Vec<f32>, u32)], classes: usize) -> Option<Space> {
    let mut statistics = Statistics::new(6, classes);
    pictures.iter().for_each(|(x, label)| statistics.add(x, *label));
    statistics.space()
}

#[test]
fn distances_are_mahalanobis() {
    let training = pictures(400, 1);
    let space = space(&training, 3).unwrap();
    assert_eq!((space.means.len(), space.factor.len()), (2 * 6, 21), "a class without pictures");
    // The mean distance of the pictures to their own classes is the trace of S S'^-1, which is d
    // less what shrinking takes.
    let mean = training.iter().map(|(x, _)| f64::from(space.distance(x))).sum::<f64>() / 400.0;
    assert!((5.0..6.0).contains(&mean), "{mean}");
    // The length of features says nothing, their direction does.
    let (x, _) = &training[0];
    let longer: Vec<f32> = x.iter().map(|v| v * 4.0).collect();
    assert!((space.distance(&longer) / space.distance(x) - 1.0).abs() < 1e-4);
    assert!(space.distance(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]) > 100.0);
    assert!(space.distance(&[0.0; 6]).is_finite());
}

#[test]
fn fewer_pictures_than_features_still_have_a_space() {
    assert!(space(&pictures(3, 1), 2).is_some());
    assert!(space(&pictures(2, 1), 2).is_none(), "one picture a class");
    assert!(space(&[], 2).is_none());
    let same = vec![(vec![1.0; 6], 0); 9];
    assert!(space(&same, 2).is_none(), "nothing varies");
}

#[test]
fn likeness_is_the_share_that_is_farther() {
    let distances: Vec<f32> = (0..=200).map(|i| i as f32).rev().collect();
    let likeness = Likeness::new(Space::default(), distances);
    assert_eq!(likeness.quantiles.len(), PARTS);
    for (distance, share) in [
        (-1.0, 1.0),
        (0.0, 1.0),
        (1.0, 0.995),
        (50.0, 0.75),
        (199.0, 0.005),
        (200.0, 0.0),
        (1e9, 0.0),
    ] {
        assert!((likeness.share(distance) - share).abs() < 1e-6, "{distance}");
    }
    // Equal distances: those that are not farther do not count.
    let likeness = Likeness::new(Space::default(), vec![3.0; 7]);
    assert_eq!((likeness.share(2.9), likeness.share(3.0)), (1.0, 0.0));
}
