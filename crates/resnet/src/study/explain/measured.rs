//! What figures and numbers are made of.

use crate::measure::predict::Guess;
use crate::study::compare::{Group, Look, Record};
use crate::study::features::Features;

/// What was measured.
pub(super) struct Measured<'a> {
    pub(super) groups: &'a [Group<'a>],
    pub(super) look: &'a Look,
    pub(super) classic: &'a Record,
    /// The classical network, looked at, and its guesses about the picture shown.
    pub(super) seen: &'a Features,
    pub(super) guesses: &'a [Guess],
    /// The deepest residual network, looked at.
    pub(super) deep: &'a Features,
    pub(super) machine: String,
}
