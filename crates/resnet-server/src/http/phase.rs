//! Where a server is in its life, as its connections need to know.

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It takes connections.
    Serving,
    /// It answers what it has taken, and takes no more.
    Closing,
}
