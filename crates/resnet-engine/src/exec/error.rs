//! What can go wrong below the plan.

/// Why a device cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// Why a plan cannot be prepared or run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// It needs too much memory.
    #[error(transparent)]
    Memory(#[from] NoMemory),
    /// The weights would change under another executor.
    #[error("weights that several executors share cannot be changed; load them before forking")]
    Shared,
    /// The weights cannot be read back.
    #[error(
        "`{0}` was laid out for its kernel and is not kept; prepare the plan with Keep::Values"
    )]
    NotKept(String),
    /// A fork wants weights that are not there.
    #[error(
        "a plan of other weights, or of kernels that lay them out otherwise, cannot share them"
    )]
    OtherWeights,
    /// The device failed.
    #[error("{0}")]
    Device(String),
}

/// A plan needs more memory than there is.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "the network needs {:.1} GiB of memory for batches of {batch}, which {}; {}",
    *.bytes as f64 / f64::from(1u32 << 30),
    if fits.is_some() { "the device does not have" } else { "the system does not give" },
    advice(*fits)
)]
pub struct NoMemory {
    /// What it needs, together with others on the same weights.
    pub bytes: u64,
    /// Images in a batch of the plan.
    pub batch: usize,
    /// Images of a batch that would fit, where the device knows.
    pub fits: Option<usize>,
}

fn advice(fits: Option<usize>) -> String {
    match fits {
        Some(fits) => format!("use batches of at most about {fits}, or smaller images"),
        None => "use a smaller batch or smaller images".into(),
    }
}
