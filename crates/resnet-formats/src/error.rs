//! What can be wrong with bytes.

use std::io;

/// Why bytes could not be read, or arrays could not be written. The caller adds the file's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The input ends early.
    #[error(
        "the file is cut short: {field} needs {expected} bytes, {found} are there; copy or download it again"
    )]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// Bytes it needs.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The header's length is not plausible.
    #[error(
        "the header says it is {found} bytes long, at most {limit} are accepted; this is not a safetensors file"
    )]
    HeaderTooLarge {
        /// Largest header accepted, in bytes.
        limit: u64,
        /// What the file says.
        found: u64,
    },
    /// The header is not the JSON that the format asks for.
    #[error("the header is not valid: {0}")]
    Header(String),
    /// A tensor's entry in the header is wrong.
    #[error("tensor `{tensor}`, {field}: expected {expected}, found {found}")]
    Tensor {
        /// The tensor's name.
        tensor: String,
        /// The field of its entry.
        field: &'static str,
        /// What would have been right.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// A tensor holds numbers that are not read.
    #[error(
        "tensor `{tensor}`, dtype: {found} is not read, expected one of F32, F64, I64, U64; convert the file to F32 first"
    )]
    DataType {
        /// The tensor's name.
        tensor: String,
        /// The type in the file.
        found: String,
    },
    /// Bytes follow that no tensor claims.
    #[error("{found} bytes follow the last tensor; the file is damaged or two files were joined")]
    Trailing {
        /// How many.
        found: u64,
    },
    /// The reader or writer failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}
