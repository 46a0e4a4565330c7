//! What can be wrong with bytes.

use std::fmt;
use std::io;

/// Longest name of an array that is read or written, in bytes: ten times that of a network's. What
/// renames and matches names may take longer than in proportion to their length.
pub(crate) const MAX_NAME: usize = 1024;
/// Most axes of an array that is read or written, as in PyTorch.
pub(crate) const MAX_AXES: usize = 64;
/// Characters of a text that a message shows.
const SHOWN: usize = 80;
/// The same of what a reader of JSON says, which may hold a text of the file.
const SHOWN_OF_JSON: usize = 300;

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
        "tensor `{tensor}`, dtype: {found} is not read, expected a float or integer of at least 8 bits, F8 excepted; convert the file to F32 first"
    )]
    DataType {
        /// The tensor's name.
        tensor: String,
        /// The type in the file.
        found: String,
    },
    /// The content is not what was written.
    #[error(
        "the file is damaged: its checksum is {expected}, that of its content {found}; copy it again from where it is whole, or, if another program wrote it with the texts of an older file, leave out `resnet.crc32` and write `resnet/1` as `format` there"
    )]
    Checksum {
        /// What the file says.
        expected: String,
        /// What its content says.
        found: String,
    },
    /// Bytes follow that no tensor claims.
    #[error("{found} bytes follow the last tensor; the file is damaged or two files were joined")]
    Trailing {
        /// How many.
        found: u64,
    },
    /// A zip file is not one that `torch.save` writes, or is damaged.
    #[error("zip entry `{entry}`, {field}: expected {expected}, found {found}; {advice}")]
    Zip {
        /// The entry's name, or the part of the zip file.
        entry: String,
        /// The field that is wrong.
        field: &'static str,
        /// What would have been right.
        expected: String,
        /// What the file says.
        found: String,
        /// What to try next.
        advice: &'static str,
    },
    /// A pickle breaks the rules of its format or those of PyTorch's tensors.
    #[error(
        "the pickle, byte {at}: expected {expected}, found {found}; the file is damaged or not from torch.save"
    )]
    Pickle {
        /// Where the wrong instruction ends, counted from the first byte of the pickle (zip) or of
        /// the file (stream).
        at: u64,
        /// What would have been right.
        expected: &'static str,
        /// What the file says.
        found: String,
    },
    /// A pickle asks for something that is not read, such as a function to call.
    #[error(
        "the pickle, byte {at}: `{name}` is refused: {reason}; nothing was executed. If you trust the file, load it with the program that made it and save model.state_dict() alone"
    )]
    Refused {
        /// Where, counted from the first byte of the pickle (zip) or of the file (stream).
        at: u64,
        /// What was asked for.
        name: String,
        /// Why it is not read.
        reason: &'static str,
    },
    /// A file needs more than is granted to one of its size.
    #[error(
        "{what}: at most {limit} are accepted, the file asks for more; it holds more than weights, or is hostile. Save model.state_dict() alone"
    )]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is accepted.
        limit: u64,
    },
    /// A protobuf message of an ONNX file is wrong.
    #[error("{place}: expected {expected}, found {found}; {advice}")]
    Onnx {
        /// The part of the model.
        place: String,
        /// What would have been right.
        expected: String,
        /// What the file says.
        found: String,
        /// What to try next.
        advice: &'static str,
    },
    /// A Parquet file is damaged, or holds what is not read.
    #[error("{place}: expected {expected}, found {found}; {advice}")]
    Parquet {
        /// The part of the file.
        place: String,
        /// What would have been right.
        expected: String,
        /// What the file says.
        found: String,
        /// What to try next.
        advice: &'static str,
    },
    /// The arrays do not fit in a file of this format.
    #[error("the format holds at most {limit} {what}; {advice}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much the format holds.
        limit: u64,
        /// What to try next.
        advice: &'static str,
    },
    /// The file can be read, and holds something else.
    #[error("expected {expected}, found {found}; {advice}")]
    Content {
        /// What would have been right.
        expected: &'static str,
        /// What is there.
        found: String,
        /// What to try next.
        advice: &'static str,
    },
    /// The reader or writer failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FormatError {
    /// An array has too long a name.
    pub(crate) fn long_name(name: &str) -> FormatError {
        FormatError::Tensor {
            tensor: shorten(name),
            field: "name",
            expected: format!("at most {MAX_NAME} bytes"),
            found: format!("{} bytes", name.len()),
        }
    }

    /// JSON that is not what was expected.
    pub(crate) fn json(error: impl fmt::Display) -> FormatError {
        FormatError::Header(first(&error.to_string(), SHOWN_OF_JSON))
    }
}

/// The first characters of a text from a file, without those that would disturb a terminal.
pub fn shorten(text: &str) -> String {
    first(text, SHOWN).escape_debug().collect()
}

fn first(text: &str, count: usize) -> String {
    let mut shown: String = text.chars().take(count).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
