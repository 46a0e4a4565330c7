//! Every operation again, in plain f64 loops that follow the formula: the truth the fast code is
//! tested against.
//!
//! Same layouts as the fast code (NHWC, weights `[kernel][kernel][c_in / groups][c_out]`); results
//! are returned, not written. Nothing here calls the fast code, and nothing here is meant to be
//! fast.

mod conv;
mod dense;
mod norm;
pub mod picture;
mod pool;

pub use conv::{
    conv2d_backward_bias, conv2d_backward_input, conv2d_backward_weight, conv2d_forward,
};
pub use dense::{
    accumulate, average, lars_update, linear_backward_input, linear_backward_weight,
    linear_forward, sgd_update, softmax_cross_entropy,
};
pub use norm::{
    BatchNormGradients, add_residual, batch_norm_backward, batch_norm_infer, batch_norm_train,
    relu, relu_backward, residual_gradient,
};
pub use pool::{avg_pool_backward, avg_pool_forward, max_pool_backward, max_pool_forward};
