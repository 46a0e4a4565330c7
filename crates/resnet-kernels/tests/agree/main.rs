//! Every kernel on every instruction set against the plain f64 reference, and the reference's
//! gradients against finite differences.

mod conv;
mod dense;
mod elementwise;
mod gradients;
mod norm;
mod picture;
mod pool;
mod stored;
mod support;
