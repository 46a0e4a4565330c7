//! Layers that several kinds of networks have.

use resnet_engine::graph::Op;

/// Batch norm with PyTorch's eps and momentum.
pub(super) fn batch_norm(zero_init: bool) -> Op {
    Op::BatchNorm { eps: 1e-5, momentum: 0.1, zero_init }
}
