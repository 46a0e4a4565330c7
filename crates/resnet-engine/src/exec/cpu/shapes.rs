//! Shapes as kernels take them.

use resnet_kernels::{Conv2dShape, Pool2dShape};

use crate::step::{Conv, Pool};

pub(super) fn conv_shape(conv: Conv) -> Conv2dShape {
    let Conv { n, h, w, c_in, c_out, kernel, stride, padding, groups } = conv;
    Conv2dShape { n, h, w, c_in, c_out, kernel, stride, padding, groups }
}

pub(super) fn pool_shape(pool: Pool) -> Pool2dShape {
    let Pool { n, h, w, c, kernel, stride, padding } = pool;
    Pool2dShape { n, h, w, c, kernel, stride, padding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Graph, LayerId, Op, Shape};
    use crate::op;

    #[test]
    fn a_graph_is_refused_where_kernels_would_refuse_a_convolution() {
        for (c_in, [h, w], c_out, kernel, padding, groups, fits) in [
            (3, [224, 224], 64, 7, 3, 1, true),
            // The zero rim counts.
            (16, [16383, 16384], 16, 3, 1, 1, false),
            (16, [16381, 16382], 16, 3, 1, 1, true),
            (16, [16382, 16382], 16, 3, 1, 1, false),
            (16, [16383, 16384], 1, 1, 0, 1, true),
            (1, [16384, 16384], 16, 1, 0, 1, false),
            (1, [16384, 16384], 15, 1, 0, 1, true),
            // Each output channel has weights for its own group alone.
            (65536, [4, 4], 65536, 4, 0, 1, false),
            (65536, [4, 4], 65536, 4, 0, 65536, true),
        ] {
            let stride = 1;
            let mut graph = Graph::new(Shape::new(c_in, h, w));
            let conv = Op::Conv2d { c_out, kernel, stride, padding, groups, bias: false };
            graph.push("conv", conv, &[LayerId(0)]);
            let conv = Conv { n: 1, h, w, c_in, c_out, kernel, stride, padding, groups };
            let accepted = (op::shapes(&graph).is_ok(), conv_shape(conv).check().is_ok());
            assert_eq!(accepted, (fits, fits), "{conv:?}");
        }
    }
}
