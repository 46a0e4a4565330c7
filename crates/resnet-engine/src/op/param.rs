//! Parameters of operations.

use crate::graph::Shape;

/// What a parameter is, which decides how it starts, whether it decays and how it is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Convolution weight; on disk `[c_out, c_in / groups, kernel, kernel]`.
    ConvWeight,
    /// Linear weight; on disk `[out, c * h * w]` with the input flattened channel first.
    LinearWeight {
        /// Shape of the layer's input.
        input: Shape,
    },
    /// Bias of a convolution or linear layer.
    Bias,
    /// Scale of a batch norm.
    Gamma {
        /// Whether it starts at zero instead of one.
        zero: bool,
    },
    /// Shift of a batch norm.
    Beta,
    /// Running mean of a batch norm; state, not trained.
    RunningMean,
    /// Running variance of a batch norm; state, not trained.
    RunningVar,
}

impl Role {
    /// Whether the optimiser updates it.
    pub fn is_trained(self) -> bool {
        !matches!(self, Role::RunningMean | Role::RunningVar)
    }

    /// Whether it is a weight matrix, the only kind that decays when norm and bias are exempt.
    pub fn is_weight(self) -> bool {
        matches!(self, Role::ConvWeight | Role::LinearWeight { .. })
    }
}

/// A parameter of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// The end of its name on disk, such as `weight`.
    pub suffix: &'static str,
    /// Dimensions on disk.
    pub dims: Vec<usize>,
    /// What it is.
    pub role: Role,
}

impl Param {
    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
