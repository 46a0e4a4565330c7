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
mod picture;
mod read;
mod write;

pub use read::{Network, Refusal, network};
pub use write::from_model;

/// Version of the operations, that of ONNX 1.21; ONNX Runtime 1.32 runs up to 28.
const OPSET: i64 = 26;
/// Version of the messages that came with it.
const IR: i64 = 13;
/// Versions of the operations that are read: what the table uses means the same in all of them.
const READ: std::ops::RangeInclusive<i64> = 13..=28;
/// Name of the input.
const IMAGES: &str = "images";
/// Name of the output.
const LOGITS: &str = "logits";
