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
