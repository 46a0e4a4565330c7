//! What the numbers say, in sentences that follow from them and nothing else.

use super::group::Group;
use crate::report::format::percent;

/// A conclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is what He et al. 2015 found.
    pub as_published: bool,
    /// The sentence, with its numbers.
    pub text: String,
}

/// Conclusions about depth and shortcuts: where a comparison has networks of several depths, or twins.
pub fn findings(groups: &[Group<'_>]) -> Vec<Finding> {
    let family = |residual: bool| {
        let mut family: Vec<&Group<'_>> = groups
            .iter()
            .filter(|g| g.residual == residual && g.diverged() == 0)
            .collect();
        family.sort_by_key(|g| g.depth);
        family
    };
    let (plain, residual) = (family(false), family(true));
    let mut found = Vec::new();
    if let Some((shallow, deep)) = ends(&plain) {
        let worse = deep.train > shallow.train;
        found.push(Finding {
            as_published: worse,
            text: if worse {
                format!(
                    "Degradation: the deeper plain network learns its own training pictures worse. {} ends at {} training error, {} at {}.",
                    deep.label, p(deep.train), shallow.label, p(shallow.train)
                )
            } else {
                format!(
                    "No degradation here: {} ends at {} training error, {} at {}.",
                    deep.label, p(deep.train), shallow.label, p(shallow.train)
                )
            },
        });
    }
    if let (Some(plain), Some(residual)) = (plain.last(), residual.last())
        && plain.depth == residual.depth
    {
        let (plain, residual) = (numbers(plain), numbers(residual));
        let repaired = residual.train < plain.train;
        found.push(Finding {
            as_published: repaired,
            text: format!(
                "{}: with shortcuts the same {} layers end at {} training error ({}), without them at {} ({}).",
                if repaired {
                    "The shortcut repairs it"
                } else {
                    "The shortcut does not help here"
                },
                residual.depth,
                p(residual.train),
                residual.label,
                p(plain.train),
                plain.label
            ),
        });
    }
    if let Some((shallow, deep)) = ends(&residual) {
        let better = deep.train < shallow.train;
        found.push(Finding {
            as_published: better,
            text: format!(
                "{}: {} ends at {} training error, {} at {}.",
                if better {
                    "Depth pays with shortcuts"
                } else {
                    "Depth does not pay yet, in so short a training"
                },
                deep.label,
                p(deep.train),
                shallow.label,
                p(shallow.train)
            ),
        });
    }
    for group in groups.iter().filter(|group| group.diverged() > 0) {
        found.push(Finding {
            as_published: false,
            text: format!(
                "{} diverged in {} of {} runs and counts in no other sentence.",
                group.label,
                group.diverged(),
                group.runs.len()
            ),
        });
    }
    found
}

/// The shallowest and the deepest of a family, if they differ in depth.
fn ends<'a>(family: &[&'a Group<'a>]) -> Option<(Numbers<'a>, Numbers<'a>)> {
    match family {
        [first, .., last] if first.depth < last.depth => Some((numbers(first), numbers(last))),
        _ => None,
    }
}

struct Numbers<'a> {
    label: &'a str,
    depth: usize,
    train: f64,
}

fn numbers<'a>(group: &'a Group<'_>) -> Numbers<'a> {
    Numbers {
        label: &group.label,
        depth: group.depth,
        train: group.train_error().mean,
    }
}

fn p(error: f64) -> String {
    percent(error, 1)
}
