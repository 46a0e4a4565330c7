//! Networks of residual blocks, and their plain twins.
//!
//! stem -> stages of blocks -> global average pool -> `fc`
//!
//! The first block of a stage may halve the map; stage s has 2^s times the first stage's channels.
//! A block is a list of convolutions ([`Block::convs`]) run in one of two orders:
//!
//! - after (He et al. 2015, figures 2 and 5): `conv bn relu .. conv bn`, add the shortcut, `relu`;
//! - before (He et al. 2016, figure 4e): `bn relu conv .. bn relu conv`, add the shortcut. The
//!   network's first block, and any that changes the shape or projects, hands the activated map to
//!   its shortcut as well (the paper's appendix); every other block hands on its input untouched.
//!   Where the stem normalises and activates, the first block does not do so again
//!   (fb.resnet.torch). [`First`] says which of these a network has.
//!
//! Without shortcuts the same convolutions follow one another and nothing else changes: the plain
//! twin.

use resnet_engine::graph::{Graph, LayerId, Op, Window};

/// Which images the stem, and the family as a whole, was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stem {
    /// 7x7 convolution of stride 2, then 3x3 max pool of stride 2.
    ImageNet,
    /// 3x3 convolution of stride 1.
    Cifar,
}

/// The convolutions of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// 3x3, 3x3.
    Basic,
    /// 1x1, 3x3, 1x1 to four times the channels.
    Bottleneck,
}

/// Where batch norm and ReLU stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// After each convolution.
    After,
    /// Before each convolution.
    Before,
}

/// How a shortcut meets a branch of another shape (He et al. 2015, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortcut {
    /// Every stride-th pixel, zeros for the missing channels; no parameters.
    A,
    /// A 1x1 convolution where the shape changes.
    B,
    /// A 1x1 convolution everywhere.
    C,
}

/// Whether there are shortcuts at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shortcuts {
    /// A plain network by definition.
    Absent,
    /// A residual network whose shortcuts were cut.
    Cut,
    /// A residual network.
    Kept,
}

/// Where the first batch norm and ReLU stand in a network that has them before each convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// After the first convolution; the first block does not do so again.
    Stem,
    /// In the first block, for its branch and its shortcut (the appendix of He et al. 2016).
    Both,
    /// In the first block, for its branch alone (timm's resnetv2).
    Branch,
}

/// Which convolution of a bottleneck halves the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stride {
    /// The first 1x1, as in the papers.
    V1,
    /// The 3x3, as in fb.resnet.torch and torchvision ("v1.5").
    V15,
}

/// A network of residual blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Residual {
    /// First layers.
    pub(super) stem: Stem,
    /// Channels of the stem.
    pub(super) stem_width: usize,
    /// What normalises and activates first.
    pub(super) first: First,
    /// Blocks of each stage; zero where there is no such stage.
    pub(super) blocks: [usize; 4],
    /// Channels of the first stage, before a bottleneck's expansion.
    pub(super) width: usize,
    /// Kind of block.
    pub(super) block: Block,
    /// Whether any depth of a formula exists, so that the kind of block can be chosen.
    pub(super) any_depth: bool,
    /// Where batch norm and ReLU stand.
    pub(super) order: Order,
    /// Kind of shortcut.
    pub(super) shortcut: Shortcut,
    /// Whether there are shortcuts.
    pub(super) shortcuts: Shortcuts,
    /// Where a bottleneck strides.
    pub(super) stride: Stride,
    /// Groups of a bottleneck's 3x3 convolution.
    pub(super) groups: usize,
    /// Channels of each group where the stage has 64.
    pub(super) width_per_group: usize,
    /// Whether the last gamma of each branch starts at zero.
    pub(super) zero_init: bool,
}

/// One block at its place.
struct Unit {
    name: String,
    c_in: usize,
    /// Channels of the stage before expansion.
    width: usize,
    stride: usize,
    /// Whether the input has been normalised and activated already.
    activated: bool,
    /// Whether it is the network's first block.
    first: bool,
}

/// One convolution of a block; the padding is half the kernel.
struct Conv {
    c_out: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
}

impl Block {
    /// Channels out for each channel of the stage.
    fn expansion(self) -> usize {
        match self {
            Block::Basic => 1,
            Block::Bottleneck => 4,
        }
    }

    /// The convolutions of one block.
    fn convs(self, net: &Residual, unit: &Unit) -> Vec<Conv> {
        let conv = |c_out, kernel, stride| Conv { c_out, kernel, stride, groups: 1 };
        match self {
            Block::Basic => vec![conv(unit.width, 3, unit.stride), conv(unit.width, 3, 1)],
            Block::Bottleneck => {
                let inner = unit.width * net.width_per_group / 64 * net.groups;
                let (first, second) = match net.stride {
                    Stride::V1 => (unit.stride, 1),
                    Stride::V15 => (1, unit.stride),
                };
                vec![
                    conv(inner, 1, first),
                    Conv { groups: net.groups, ..conv(inner, 3, second) },
                    conv(unit.width * 4, 1, 1),
                ]
            }
        }
    }
}

impl Residual {
    /// Layer-name prefix of every block, in order.
    pub(super) fn block_names(&self) -> Vec<String> {
        let stages = self.blocks.iter().zip(1..);
        stages.flat_map(|(&n, stage)| (0..n).map(move |i| format!("layer{stage}.{i}"))).collect()
    }

    /// Appends the whole network to a graph that holds its input.
    pub(super) fn build(&self, graph: &mut Graph, norm: bool, classes: usize) {
        let mut b = Builder { graph, net: self, norm };
        let mut x = b.stem(LayerId(0));
        let mut c_in = self.stem_width;
        let mut activated = self.first == First::Stem;
        for (stage, &blocks) in self.blocks.iter().enumerate() {
            for index in 0..blocks {
                let unit = Unit {
                    name: format!("layer{}.{index}", stage + 1),
                    c_in,
                    width: self.width << stage,
                    stride: if stage > 0 && index == 0 { 2 } else { 1 },
                    activated,
                    first: stage == 0 && index == 0,
                };
                x = match self.order {
                    Order::After => b.block_after(&unit, x),
                    Order::Before => b.block_before(&unit, x),
                };
                c_in = unit.width * self.block.expansion();
                activated = false;
            }
        }
        if self.order == Order::Before {
            x = b.norm("bn", x, false);
            x = b.relu("relu_last", x);
        }
        x = graph.push("avgpool", Op::AvgPool2d(Window::Global), &[x]);
        graph.push("fc", Op::Linear { out: classes }, &[x]);
    }
}

struct Builder<'a> {
    graph: &'a mut Graph,
    net: &'a Residual,
    norm: bool,
}

impl Builder<'_> {
    fn stem(&mut self, input: LayerId) -> LayerId {
        let (kernel, stride) = match self.net.stem {
            Stem::ImageNet => (7, 2),
            Stem::Cifar => (3, 1),
        };
        let conv = Conv { c_out: self.net.stem_width, kernel, stride, groups: 1 };
        let mut x = self.conv("conv1", input, &conv);
        if self.net.first == First::Stem {
            x = self.norm("bn1", x, false);
            x = self.relu("relu", x);
        }
        match self.net.stem {
            Stem::ImageNet => {
                let pool = Op::MaxPool2d { kernel: 3, stride: 2, padding: 1 };
                self.graph.push("maxpool", pool, &[x])
            }
            Stem::Cifar => x,
        }
    }

    fn block_after(&mut self, unit: &Unit, x: LayerId) -> LayerId {
        let convs = self.net.block.convs(self.net, unit);
        let mut y = x;
        for (conv, i) in convs.iter().zip(1..) {
            let last = i == convs.len();
            y = self.conv(&format!("{}.conv{i}", unit.name), y, conv);
            y = self.norm(&format!("{}.bn{i}", unit.name), y, last && self.net.zero_init);
            if last {
                y = self.add(unit, y, x);
            }
            y = self.relu(&format!("{}.relu{i}", unit.name), y);
        }
        y
    }

    fn block_before(&mut self, unit: &Unit, x: LayerId) -> LayerId {
        let mut y = x;
        let mut shortcut = x;
        for (conv, i) in self.net.block.convs(self.net, unit).iter().zip(1..) {
            if i > 1 || !unit.activated {
                y = self.norm(&format!("{}.bn{i}", unit.name), y, false);
                y = self.relu(&format!("{}.relu{i}", unit.name), y);
            }
            let first = unit.first && self.net.first != First::Branch;
            if i == 1 && (first || self.projects(unit) || self.changes_shape(unit)) {
                shortcut = y;
            }
            y = self.conv(&format!("{}.conv{i}", unit.name), y, conv);
        }
        self.add(unit, y, shortcut)
    }

    fn changes_shape(&self, unit: &Unit) -> bool {
        unit.stride != 1 || unit.c_in != unit.width * self.net.block.expansion()
    }

    fn projects(&self, unit: &Unit) -> bool {
        match self.net.shortcut {
            Shortcut::A => false,
            Shortcut::B => self.changes_shape(unit),
            Shortcut::C => true,
        }
    }

    /// The branch plus its shortcut; the branch alone in a plain network.
    fn add(&mut self, unit: &Unit, branch: LayerId, mut x: LayerId) -> LayerId {
        if self.net.shortcuts != Shortcuts::Kept {
            return branch;
        }
        let name = format!("{}.downsample", unit.name);
        if self.projects(unit) {
            let c_out = unit.width * self.net.block.expansion();
            let conv = Conv { c_out, kernel: 1, stride: unit.stride, groups: 1 };
            x = self.conv(&format!("{name}.0"), x, &conv);
            if self.net.order == Order::After {
                x = self.norm(&format!("{name}.1"), x, false);
            }
        } else if unit.stride != 1 {
            let window = Window::Square { kernel: 1, stride: unit.stride };
            x = self.graph.push(name, Op::AvgPool2d(window), &[x]);
        }
        self.graph.push(format!("{}.add", unit.name), Op::Add, &[branch, x])
    }

    fn conv(&mut self, name: &str, x: LayerId, conv: &Conv) -> LayerId {
        let Conv { c_out, kernel, stride, groups } = *conv;
        let padding = kernel / 2;
        let op = Op::Conv2d { c_out, kernel, stride, padding, groups, bias: !self.norm };
        self.graph.push(name, op, &[x])
    }

    fn norm(&mut self, name: &str, x: LayerId, zero_init: bool) -> LayerId {
        if !self.norm {
            return x;
        }
        self.graph.push(name, super::layers::batch_norm(zero_init), &[x])
    }

    fn relu(&mut self, name: &str, x: LayerId) -> LayerId {
        self.graph.push(name, Op::Relu, &[x])
    }
}
