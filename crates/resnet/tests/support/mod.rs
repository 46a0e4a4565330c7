//! What several test files share.

use resnet::engine::exec::{Session, Target};

/// Targets of labels: a row for each, 1 at its class.
pub(crate) fn one_hot(labels: &[u32], classes: usize) -> Vec<f32> {
    let mut target = vec![0.0; labels.len() * classes];
    for (row, &label) in target.chunks_exact_mut(classes).zip(labels) {
        row[label as usize] = 1.0;
    }
    target
}

/// Writes images that count alike, and their labels.
pub(crate) fn feed(session: &mut Session, x: &[f32], labels: &[u32]) {
    let target = one_hot(labels, session.plan().classes);
    let (weight, total) = (vec![1.0; labels.len()], labels.len() as f32);
    session.feed(x, Target { target: &target, weight: &weight, total }).unwrap();
}
