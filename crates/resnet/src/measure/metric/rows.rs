//! What all metrics have in common: rows of logits with their labels.

/// A number that is gathered batch by batch.
pub(crate) trait Metric {
    /// Adds a batch: `logits` `[n, classes]`, `labels` `[n]`. A row that holds a NaN counts as
    /// wrong.
    ///
    /// # Panics
    /// If the number of logits is not a multiple of the number of labels.
    fn update(&mut self, logits: &[f32], labels: &[u32]);

    /// The value over everything added since the start; NaN before the first image.
    fn value(&self) -> f64;
}

/// Pairs each label with its row of logits.
pub(crate) fn rows<'a>(
    logits: &'a [f32],
    labels: &'a [u32],
) -> impl Iterator<Item = (&'a [f32], u32)> {
    let classes = logits.len().checked_div(labels.len()).unwrap_or(0);
    assert_eq!(classes * labels.len(), logits.len(), "logits are [n, classes], labels [n]");
    (0..labels.len()).map(move |n| (&logits[n * classes..][..classes], labels[n]))
}

/// How many classes stand before `label` when a row is sorted by falling logits, equal ones by
/// class: 0 is top-1. `None` if the row holds a NaN or no such class.
pub(crate) fn rank(row: &[f32], label: u32) -> Option<usize> {
    let label = label as usize;
    let own = *row.get(label)?;
    if row.iter().any(|x| x.is_nan()) {
        return None;
    }
    let before = |(class, &x): (usize, &f32)| x > own || (x == own && class < label);
    Some(row.iter().enumerate().filter(|&entry| before(entry)).count())
}

/// The class of the largest logit, the first of equal ones; `None` if the row is empty or holds a
/// NaN.
pub(crate) fn predicted(row: &[f32]) -> Option<u32> {
    let mut best = 0;
    for (class, x) in row.iter().enumerate() {
        if x.is_nan() {
            return None;
        }
        if *x > row[best] {
            best = class;
        }
    }
    (!row.is_empty()).then_some(best as u32)
}
