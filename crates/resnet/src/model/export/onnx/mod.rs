//! ONNX graphs from ours, and ours from them.
//!
//! | ours | ONNX |
//! |---|---|
//! | `Input` | the input `images`: f32 `[batch, c, h, w]`, or u8 `[batch, h, w, c]` and Cast, Transpose, Div, Sub, Div |
//! | `Conv2d` | Conv |
//! | `BatchNorm` | BatchNormalization, or nothing where it is folded into the convolution before it |
//! | `Relu` | Relu |
//! | `Add` | Add, behind a Pad of zero channels where the shortcut is narrower |
//! | `MaxPool2d` | MaxPool |
//! | `AvgPool2d` | GlobalAveragePool, or AveragePool |
//! | `Linear` | Flatten and Gemm |
//!
//! The specification is github.com/onnx/onnx, `docs/Operators.md`.

mod attributes;
mod names;
mod picture;
mod read;
mod write;

pub use read::{Network, Refusal, network};
pub use write::from_model;
