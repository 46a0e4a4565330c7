//! Untrusted bytes to named arrays and back.
//!
//! Every format is a module with the same two functions, `read` and `write`: [`safetensors`],
//! PyTorch's [`pth`], and [`onnx`], whose files hold a graph of operations as well; [`tfevents`],
//! which holds no arrays, is written only. [`parquet`] holds pictures with labels, read by place,
//! and [`jpeg`] decodes photos. Nothing here knows networks, and nothing here knows file names: the
//! caller adds the file to an error. Sizes are checked against the input before memory is taken, so
//! a small hostile input cannot ask for much.
//!
//! ```
//! use resnet_formats::{Array, Tensors, safetensors};
//!
//! let mut tensors = Tensors::default();
//! tensors.insert("fc.bias", Array::f32(vec![2], vec![0.5, -0.5]));
//! let mut bytes = Vec::new();
//! safetensors::write(&tensors, &mut bytes)?;
//! assert_eq!(safetensors::read(&bytes)?.entries, tensors.entries);
//! # Ok::<(), resnet_formats::FormatError>(())
//! ```
#![forbid(unsafe_code)]

mod array;
mod error;
pub mod half;
pub mod jpeg;
mod numbers;
pub mod onnx;
pub mod parquet;
pub mod pth;
pub mod safetensors;
mod strangers;
pub mod tfevents;

pub use array::{Array, Data, DataType, Tensors};
pub use error::{FormatError, shorten};
