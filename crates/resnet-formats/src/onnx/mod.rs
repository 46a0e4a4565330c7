//! ONNX: a graph of operations with its weights, as protobuf messages.
//!
//! [`proto`] has the messages; this module reads and writes files of them and turns their arrays
//! into [`Array`]s. What the operations mean is the caller's. Memory is bounded by the file's size:
//! messages are counted before they are decoded, and large arrays stay in the file's bytes until
//! they are asked for.

pub mod proto;
mod scan;

use std::io::Write;

use prost::Message;
use prost::bytes::Bytes;

use crate::array::{Array, Data, elements};
use crate::error::{FormatError, shorten};
use crate::numbers::{Element, each_block, read_data};
use proto::{Tensor, kind};

/// Largest file of one protobuf message, in bytes.
pub const MAX_BYTES: u64 = (2 << 30) - 1;

/// Reads a file's bytes, which its arrays go on to share.
///
/// # Errors
/// [`FormatError`] names the place that is wrong.
pub fn read(bytes: impl Into<Bytes>) -> Result<proto::Model, FormatError> {
    let bytes: Bytes = bytes.into();
    scan::scan(&bytes)?;
    let model = proto::Model::decode(bytes).map_err(|error| FormatError::Onnx {
        place: "the file".into(),
        expected: "messages of ONNX".into(),
        found: error.to_string(),
        advice: "it is damaged or no ONNX model",
    })?;
    if model.graph.is_none() || model.opset_import.is_empty() {
        return Err(FormatError::Onnx {
            place: "the file".into(),
            expected: "a graph and a version of its operations".into(),
            found: "none".into(),
            advice: "it is no ONNX model",
        });
    }
    Ok(model)
}

/// Writes a file; equal models give equal bytes.
///
/// # Errors
/// [`FormatError::TooLarge`] beyond 2 GiB; [`FormatError::Io`] when the writer fails.
pub fn write(model: &proto::Model, mut to: impl Write) -> Result<(), FormatError> {
    if model.encoded_len() as u64 > MAX_BYTES {
        let advice = "write safetensors instead";
        return Err(FormatError::TooLarge { what: "bytes in a file", limit: MAX_BYTES, advice });
    }
    to.write_all(&model.encode_to_vec())?;
    Ok(())
}

/// A message of an array.
pub fn tensor(name: &str, array: &Array) -> Tensor {
    let data = array.data();
    let mut raw = Vec::with_capacity(data.len() * data.data_type().size());
    each_block(data, |block| {
        raw.extend_from_slice(block);
        Ok(())
    })
    .expect("a vector takes every block");
    Tensor {
        name: Some(name.to_owned()),
        dims: array.shape().iter().map(|&axis| axis as i64).collect(),
        data_type: Some(match data {
            Data::F32(_) => kind::FLOAT,
            Data::F64(_) => kind::DOUBLE,
            Data::F16(_) => kind::FLOAT16,
            Data::BF16(_) => kind::BFLOAT16,
            Data::I64(_) => kind::INT64,
            Data::U64(_) => kind::UINT64,
        }),
        raw_data: Some(raw.into()),
        ..Tensor::default()
    }
}

/// The array of a message.
///
/// # Errors
/// Its numbers are of another type, in another file, or not as many as its shape holds.
pub fn array(tensor: &Tensor) -> Result<Array, FormatError> {
    let wrong = |expected: String, found: String, advice| FormatError::Onnx {
        place: format!("tensor `{}`", shorten(tensor.name.as_deref().unwrap_or_default())),
        expected,
        found,
        advice,
    };
    let damaged = "the file is damaged";
    if tensor.data_location.unwrap_or(0) != 0 {
        let advice = "write it again as one file";
        return Err(wrong("numbers in this file".into(), "another file".into(), advice));
    }
    let element = match tensor.data_type.unwrap_or(0) {
        kind::FLOAT => Element::F32,
        kind::DOUBLE => Element::F64,
        kind::FLOAT16 => Element::F16,
        kind::BFLOAT16 => Element::BF16,
        kind::INT64 => Element::I64,
        kind::UINT64 => Element::U64,
        kind::UINT8 => Element::U8,
        other => {
            let advice = "convert the model to 32-bit floats";
            return Err(wrong("floats or 64-bit integers".into(), format!("type {other}"), advice));
        }
    };
    let dims = tensor.dims.iter().map(|&axis| usize::try_from(axis).ok());
    let shape: Option<Vec<usize>> = dims.collect();
    let count = shape.as_deref().and_then(elements);
    let (Some(shape), Some(count)) = (shape, count) else {
        let found = format!("{:?}", tensor.dims.iter().take(8).collect::<Vec<_>>());
        return Err(wrong("a shape that fits in memory".into(), found, damaged));
    };
    let data = match (&tensor.raw_data, element) {
        (Some(raw), _) => {
            if count.checked_mul(element.size()) != Some(raw.len()) {
                let expected = format!("{count} numbers of {} bytes", element.size());
                return Err(wrong(expected, format!("{} bytes", raw.len()), damaged));
            }
            read_data(&mut raw.as_ref(), element, raw.len(), |_| ())?
        }
        (None, Element::F32) => Data::F32(tensor.float_data.clone()),
        (None, Element::I64) => Data::I64(tensor.int64_data.clone()),
        (None, _) => {
            let advice = "write it again with raw data";
            return Err(wrong("raw data".into(), "none".into(), advice));
        }
    };
    let found = data.len();
    Array::new(shape, data)
        .ok_or_else(|| wrong(format!("{count} numbers"), found.to_string(), damaged))
}
