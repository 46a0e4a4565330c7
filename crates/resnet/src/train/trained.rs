//! What a run returns.

use super::event::RunEnded;
use crate::measure::evaluate::Evaluation;
use crate::model::Model;

/// Why a run ended that was stopped from outside.
pub const INTERRUPTED: &str = "interrupted";

/// A run that ended.
#[derive(Clone, Debug)]
pub struct Trained {
    /// What the run says of itself.
    pub ended: RunEnded,
    /// The network; of a run that was stopped, as far as it came.
    pub model: Model,
    /// The last evaluation, if there was one.
    pub evaluation: Option<Evaluation>,
}

impl Trained {
    /// Whether the run was stopped before its budget was spent, and can be resumed.
    pub fn interrupted(&self) -> bool {
        self.ended.stopped.as_deref() == Some(INTERRUPTED)
    }
}
