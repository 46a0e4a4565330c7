//! Versions, and names of what a graph takes and gives.

/// Version of the operations, that of ONNX 1.21; ONNX Runtime 1.32 runs up to 28.
pub(super) const OPSET: i64 = 26;
/// Version of the messages that came with it.
pub(super) const IR: i64 = 13;
/// Versions of the operations that are read: what the table uses means the same in all of them.
pub(super) const READ: std::ops::RangeInclusive<i64> = 13..=28;
/// Name of the input.
pub(super) const IMAGES: &str = "images";
/// Name of the output.
pub(super) const LOGITS: &str = "logits";
