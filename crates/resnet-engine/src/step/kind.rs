//! What steps compute.

/// A convolution over a batch; the formula stands in the module of that operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the field's names
pub struct Conv {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c_in: usize,
    pub c_out: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub groups: usize,
}

impl Conv {
    /// Multiply-adds over the whole batch, the same for each of the three passes.
    pub(crate) fn macs(&self) -> u64 {
        let side = |size: usize| (size + 2 * self.padding - self.kernel) / self.stride + 1;
        let outputs = self.n * side(self.h) * side(self.w) * self.c_out;
        (outputs * (self.c_in / self.groups) * self.kernel * self.kernel) as u64
    }
}

/// A square pool over a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the field's names
pub struct Pool {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

/// A linear layer over a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the field's names
pub struct Linear {
    pub n: usize,
    pub c_in: usize,
    pub c_out: usize,
}

/// The narrower or equal operand of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Residual {
    /// Its channels.
    pub channels: usize,
    /// The output channel at which they begin.
    pub offset: usize,
}

/// Batch norm with what follows it: y = relu(norm(x) + residual).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Channels.
    pub channels: usize,
    /// Added to the variance.
    pub eps: f32,
    /// PyTorch's momentum of the running statistics.
    pub momentum: f32,
    /// The map added after the norm, if any.
    pub residual: Option<Residual>,
    /// Whether a ReLU ends the step.
    pub relu: bool,
    /// Whether the batch's statistics are used (and the running ones updated).
    pub train: bool,
}

/// Gradient of a [`Norm`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormGrad {
    /// The forward step.
    pub norm: Norm,
    /// Whether dx is added to what is there.
    pub accumulate: bool,
    /// Where the residual's gradient is wanted: whether it is added to what is there.
    pub residual: Option<bool>,
}

/// Gradient of an addition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AddGrad {
    /// Channels of the output.
    pub channels: usize,
    /// The second operand.
    pub residual: Residual,
    /// Whether the step ended in a ReLU.
    pub relu: bool,
    /// Where the first operand's gradient is wanted: whether it is added to what is there.
    pub a: Option<bool>,
    /// The same for the second.
    pub b: Option<bool>,
}

/// What a step computes, with the slots it reads and writes in order; `[]` marks those that depend
/// on the fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepKind {
    /// `x, w, [bias] -> y`
    Conv {
        /** The shape. */
        conv: Conv,
        /** Whether a bias is read. */
        bias: bool,
    },
    /// `x, w, gamma, beta, running mean, running var, [residual] -> y`, where nothing is
    /// differentiated
    ConvNorm {
        /** The shape. */
        conv: Conv,
        /** What its sums go through before they are written; the residual has all channels. */
        norm: Norm,
    },
    /// `x, gamma, beta, [running mean, running var], [residual] -> y, [mean, rstd, running mean,
    /// running var]`
    Norm(Norm),
    /// `x, gamma, beta, mean, rstd, [residual] -> y`: the output of a norm that trains, in the
    /// backward pass
    NormAgain(Norm),
    /// `x -> y`
    Relu,
    /// `a, b -> y`
    Add {
        /** Channels of a and y. */
        channels: usize,
        /** b. */
        residual: Residual,
        /** Whether a ReLU ends it. */
        relu: bool,
    },
    /// `x -> y`
    MaxPool(Pool),
    /// `x -> y`
    AvgPool(Pool),
    /// `x -> y`: the same numbers in f32
    Widen,
    /// `x -> y`, in f32
    GlobalAvgPool {
        /** Images. */
        n: usize,
        /** Pixels of a map. */
        pixels: usize,
        /** Channels. */
        c: usize,
    },
    /// `x, w, b -> y`
    Linear(Linear),
    /// `logits, target, weight, total -> losses, dlogits`
    SoftmaxCrossEntropy {
        /** Images. */
        n: usize,
        /** Classes. */
        classes: usize,
        /** Label smoothing. */
        smoothing: f32,
    },
    /// `dy, w -> dx`
    ConvBackwardInput {
        /** The forward shape. */
        conv: Conv,
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `x, dy -> dw, [db]`
    ConvBackwardWeight {
        /** The forward shape. */
        conv: Conv,
        /** Whether db is written. */
        bias: bool,
    },
    /// `dy, x, gamma, mean, rstd, [y or beta] -> dx, dgamma, dbeta, [dresidual]`: with a ReLU y, or
    /// beta where nothing was added before it
    NormBackward(NormGrad),
    /// `dy, gamma, running var -> dx`: through a norm whose statistics are fixed
    NormScale {
        /** Channels. */
        channels: usize,
        /** Added to the variance. */
        eps: f32,
    },
    /// `dy, y -> dx`
    ReluBackward {
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `dy, [y] -> [da], [db]`
    AddBackward(AddGrad),
    /// `x, dy -> dx`
    MaxPoolBackward {
        /** The forward shape. */
        pool: Pool,
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `dy -> dx`
    AvgPoolBackward {
        /** The forward shape. */
        pool: Pool,
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `dy -> dx`: of f32 to x's precision
    WidenBackward {
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `dy -> dx`
    GlobalAvgPoolBackward {
        /** Images. */
        n: usize,
        /** Pixels of a map. */
        pixels: usize,
        /** Channels. */
        c: usize,
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `dy, w -> dx`
    LinearBackwardInput {
        /** The forward shape. */
        linear: Linear,
        /** Whether dx is added to. */
        accumulate: bool,
    },
    /// `x, dy -> dw, db`
    LinearBackwardWeight(Linear),
    /// `gradients -> sums`: added to what is there
    Accumulate,
    /// `sums -> kept`: the same numbers
    Keep,
    /// `-> sums`: zeros
    Clear,
    /// `gradients -> parameters, the rule's buffers`
    Update(Update),
    /// `values -> averages`: a = a + rate (w - a)
    Average,
}

impl StepKind {
    /// Whether its slots span those of many parameters.
    pub fn spans(&self) -> bool {
        matches!(
            self,
            StepKind::Accumulate
                | StepKind::Keep
                | StepKind::Clear
                | StepKind::Update(_)
                | StepKind::Average
        )
    }
}

/// How a gradient changes its parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent in PyTorch's form, with the buffer v = `momentum`:
    /// g = dw + weight_decay w;  v = momentum v + g;  w -= lr (nesterov ? g + momentum v : v).
    Sgd {
        /** Share of the old v that stays. */
        momentum: f32,
        /** Nesterov's form. */
        nesterov: bool,
    },
    /// Layer-wise adaptive rates (You, Gitman & Ginsburg 2017, algorithm 1), with the buffer v =
    /// `momentum`, which the rate is part of:
    /// u = lr local (dw + weight_decay w);  v = momentum v + u;
    /// w -= (nesterov ? u + momentum v : v).
    /// For each weight matrix local = trust |w| / (|dw| + weight_decay |w|), or 1 where a length is
    /// zero; for norms and biases it is 1.
    Lars {
        /** Share of the old v that stays. */
        momentum: f32,
        /** Nesterov's form. */
        nesterov: bool,
        /** The part of its length that a matrix moves at a rate of 1. */
        trust: f32,
    },
}

impl Rule {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Rule::Sgd { .. } => "sgd",
            Rule::Lars { .. } => "lars",
        }
    }

    /// Whether each weight matrix has an update of its own, whose rate is fitted to it.
    pub(crate) const fn fits_rates(self) -> bool {
        match self {
            Rule::Sgd { .. } => false,
            Rule::Lars { .. } => true,
        }
    }

    /// Names of what it keeps for each number of a parameter, zero at first.
    pub const fn buffers(self) -> &'static [&'static str] {
        match self {
            Rule::Sgd { .. } | Rule::Lars { .. } => &["momentum"],
        }
    }
}

/// An update of parameters that lie side by side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// How.
    pub rule: Rule,
    /// Weight decay.
    pub weight_decay: f32,
    /// Factors on the learning rate, multiplied in this order.
    pub lr_factors: [f32; 2],
    /// Whether they are one weight matrix, whose rate the rule fits to it.
    pub fitted: bool,
}

impl Update {
    /// The learning rate of these parameters.
    pub fn lr(&self, lr: f32) -> f32 {
        self.lr_factors.iter().fold(lr, |lr, factor| lr * factor)
    }
}
