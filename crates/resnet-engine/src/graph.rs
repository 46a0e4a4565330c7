//! A network as plain data: layers, and which layers each one reads.
//!
//! Nothing is hidden: whatever trains, prints, draws or exports a network reads this one object.
//! Layer names are torchvision's (`layer1.0.conv1`), so a parameter's name on disk is the layer's
//! name and a suffix.

use std::collections::HashSet;
use std::fmt;

/// The shape of one image or feature map; the batch size belongs to the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Channels.
    pub c: usize,
    /// Height in pixels.
    pub h: usize,
    /// Width in pixels.
    pub w: usize,
}

impl Shape {
    /// `c` channels of `h` x `w` pixels.
    pub const fn new(c: usize, h: usize, w: usize) -> Shape {
        Shape { c, h, w }
    }

    /// Numbers in one image of this shape.
    pub const fn len(self) -> usize {
        self.c * self.h * self.w
    }

    /// Whether the shape holds no numbers.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.c, self.h, self.w)
    }
}

/// Index of a layer in [`Graph::layers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(pub usize);

/// The window of an average pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The whole map: one number a channel.
    Global,
    /// `kernel` x `kernel` pixels every `stride` pixels, no padding.
    Square {
        /// Side of the window.
        kernel: usize,
        /// Step between windows.
        stride: usize,
    },
}

/// What a layer computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The images; always and only the first layer.
    Input,
    /// Square convolution (cross-correlation, as everywhere in the field).
    Conv2d {
        /// Output channels.
        c_out: usize,
        /// Side of the kernel.
        kernel: usize,
        /// Step between outputs.
        stride: usize,
        /// Zero rim on each side.
        padding: usize,
        /// Channel groups.
        groups: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// Batch normalisation.
    BatchNorm {
        /// Added to the variance.
        eps: f32,
        /// PyTorch's momentum: new = (1 - m) old + m batch.
        momentum: f32,
        /// Whether gamma starts at zero instead of one.
        zero_init: bool,
    },
    /// max(x, 0).
    Relu,
    /// Sum of two maps. The second may have fewer channels: it then counts as zero in the missing
    /// ones, an equal number before and after (the parameter-free shortcut, option A of He et al.
    /// 2015).
    Add,
    /// Square max pool.
    MaxPool2d {
        /// Side of the window.
        kernel: usize,
        /// Step between windows.
        stride: usize,
        /// Rim that never wins.
        padding: usize,
    },
    /// Average pool.
    AvgPool2d(Window),
    /// Fully connected, with bias, over all numbers of its input.
    Linear {
        /// Output features.
        out: usize,
    },
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// torchvision's module name, unique in the graph.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads; all stand earlier in the graph.
    pub inputs: Vec<LayerId>,
}

/// How weights of convolutions and linear layers start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal, variance 2 / fan_in (He et al. 2015, "Delving Deep into Rectifiers", eq. 10).
    He,
    /// Normal, variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010, eq. 16).
    Xavier,
    /// Normal with this standard deviation.
    Normal(f32),
}

/// A network: layers in topological order, the last one giving the logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Shape of one input image.
    pub input: Shape,
    /// The layers; `layers[0]` is [`Op::Input`].
    pub layers: Vec<Layer>,
    /// How weights start.
    pub init: Init,
    /// Factor on the starting weights' standard deviation.
    pub gain: f32,
}

impl Graph {
    /// A graph that holds only its input.
    pub fn new(input: Shape) -> Graph {
        let layers = vec![Layer { name: "input".into(), op: Op::Input, inputs: Vec::new() }];
        Graph { input, layers, init: Init::He, gain: 1.0 }
    }

    /// Appends a layer and returns its index.
    pub fn push(&mut self, name: impl Into<String>, op: Op, inputs: &[LayerId]) -> LayerId {
        debug_assert!(inputs.iter().all(|id| id.0 < self.layers.len()));
        self.layers.push(Layer { name: name.into(), op, inputs: inputs.to_vec() });
        LayerId(self.layers.len() - 1)
    }

    /// Index of the layer that gives the logits.
    pub fn output(&self) -> LayerId {
        LayerId(self.layers.len() - 1)
    }

    /// The last layer with parameters, which tells the classes apart.
    pub fn head(&self) -> LayerId {
        let has_weights = |layer: &Layer| matches!(layer.op, Op::Conv2d { .. } | Op::Linear { .. });
        LayerId(self.layers.iter().rposition(has_weights).unwrap_or(0))
    }

    /// The layer with this index.
    pub fn layer(&self, id: LayerId) -> &Layer {
        &self.layers[id.0]
    }

    /// A layer and those before it along first inputs, last first: from the output, the main path.
    pub fn path_to(&self, id: LayerId) -> impl Iterator<Item = LayerId> + '_ {
        std::iter::successors(Some(id), |id| self.layer(*id).inputs.first().copied())
    }

    /// The residual blocks in order: the layer where shortcut and branch part, and the addition
    /// where they meet.
    pub fn residual_blocks(&self) -> Vec<(LayerId, LayerId)> {
        let adds = (0..self.layers.len()).filter(|&i| self.layers[i].op == Op::Add);
        let found = adds.filter_map(|add| {
            let [branch, shortcut] = self.layers[add].inputs[..] else {
                return None;
            };
            let branch: HashSet<LayerId> = self.path_to(branch).collect();
            let fork = self.path_to(shortcut).find(|id| branch.contains(id))?;
            Some((fork, LayerId(add)))
        });
        found.collect()
    }
}
