//! The `resnet` command.
#![forbid(unsafe_code)]
fn main() {}
