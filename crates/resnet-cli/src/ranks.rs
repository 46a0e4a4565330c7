//! The processes of a run that this one may be part of: the first one speaks and writes for all.

use resnet::ranks::{Group, together};

use crate::term;

/// The ranks of this run. All but the first are silent from here on.
pub(crate) fn group() -> Group {
    let group: Group = None;
    if !is_first(&group) {
        term::be_silent();
    }
    group
}

/// Whether this process writes files, as the first of its run or alone.
pub(crate) fn is_first(group: &Group) -> bool {
    group.as_ref().is_none_or(|ranks| ranks.rank() == 0)
}

/// Goes on where all ranks could, so that whatever one cannot do ends all, with the first to say
/// why.
pub(crate) fn all<T>(group: &Group, own: anyhow::Result<T>) -> anyhow::Result<T> {
    match group {
        Some(ranks) => together(ranks.as_ref(), own),
        None => own,
    }
}
