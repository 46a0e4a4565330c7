//! Convolutional networks without blocks: the textbook one, and VGG (Simonyan & Zisserman 2014,
//! table 1, D and E).
//!
//! stages of 3x3 convolutions, each with ReLU, a stage ending in a 2x2 max pool -> fully connected
//! layers with ReLU. Layers are numbered as in torchvision's `features` and `classifier`, which
//! count a dropout after each hidden layer; none is built. The first fully connected layer reads
//! whatever map the last pool leaves.

use resnet_engine::graph::{Graph, LayerId, Op};

/// A chain of convolutions, pools and fully connected layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// Channels of the convolutions of each stage.
    pub(super) stages: &'static [&'static [usize]],
    /// Outputs of the hidden fully connected layers.
    pub(super) hidden: &'static [usize],
}

impl Chain {
    /// Appends the whole network to a graph that holds its input, or names the first pool whose map
    /// is too small.
    pub(super) fn build(
        &self,
        graph: &mut Graph,
        norm: bool,
        classes: usize,
    ) -> Result<(), String> {
        let mut side = graph.input.h.min(graph.input.w);
        let mut x = LayerId(0);
        let mut index = 0..;
        let mut next = |graph: &mut Graph, op, x| {
            graph.push(format!("features.{}", index.next().unwrap_or_default()), op, &[x])
        };
        for stage in self.stages {
            for &c_out in *stage {
                let conv =
                    Op::Conv2d { c_out, kernel: 3, stride: 1, padding: 1, groups: 1, bias: true };
                x = next(graph, conv, x);
                if norm {
                    x = next(graph, super::layers::batch_norm(false), x);
                }
                x = next(graph, Op::Relu, x);
            }
            x = next(graph, Op::MaxPool2d { kernel: 2, stride: 2, padding: 0 }, x);
            side /= 2;
            if side == 0 {
                return Err(graph.layer(x).name.clone());
            }
        }
        for (i, &out) in self.hidden.iter().enumerate() {
            x = graph.push(format!("classifier.{}", 3 * i), Op::Linear { out }, &[x]);
            x = graph.push(format!("classifier.{}", 3 * i + 1), Op::Relu, &[x]);
        }
        let name = format!("classifier.{}", 3 * self.hidden.len());
        graph.push(name, Op::Linear { out: classes }, &[x]);
        Ok(())
    }

    /// Side of the smallest image that every pool can read.
    pub(super) fn smallest_side(&self) -> usize {
        1 << self.stages.len()
    }
}
