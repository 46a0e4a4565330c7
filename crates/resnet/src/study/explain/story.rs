//! What stands in the text's places.

use crate::page::charts::figure::Figure;

/// A figure, and the command that makes it.
pub(super) struct Shown {
    pub(super) figure: Figure,
    pub(super) command: String,
}

/// All that the text has places for.
pub struct Story {
    /// Texts by the names of their places.
    pub numbers: Vec<(&'static str, String)>,
    pub(super) figures: Vec<Shown>,
    pub(super) command: String,
}
