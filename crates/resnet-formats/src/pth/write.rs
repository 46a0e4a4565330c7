//! Writes the zip container of `torch.save`, with the same bytes for the same arrays.

use super::{MAX_METADATA, METADATA};
use crate::array::{Array, DataType, Tensors};
use crate::error::{FormatError, MAX_AXES, MAX_NAME};
use crate::numbers::each_block;
use std::collections::HashMap;
use std::io::Write;

/// The folder inside the zip file; PyTorch takes any.
const FOLDER: &str = "archive";
/// Where entries' bytes begin, so that PyTorch can map them.
const ALIGNMENT: u64 = 64;

/// Writes a file that `torch.load(..., weights_only=True)` reads: an `OrderedDict` of the arrays,
/// sorted by name. Texts stand beside it in `extra/metadata.json`, which PyTorch passes over and
/// [`read`](super::read) returns.
///
/// The types are kept. Equal arrays give equal bytes.
///
/// # Errors
/// [`FormatError::Io`] when the writer fails; [`FormatError::TooLarge`] for more than 4 GiB, 65,000
/// arrays, 64 axes or 16 MiB of texts; [`FormatError::Tensor`] for a name of more than 1 KiB.
pub fn write(tensors: &Tensors, to: impl Write) -> Result<(), FormatError> {
    if let Some(name) = tensors.entries.keys().find(|name| name.len() > MAX_NAME) {
        return Err(FormatError::long_name(name));
    }
    let axes = tensors.entries.values().map(|array| array.shape().len());
    if axes.max().is_some_and(|axes| axes > MAX_AXES) {
        return Err(too_large("axes in an array", MAX_AXES as u64, "use fewer"));
    }
    let mut zip = Zip { to, at: 0, directory: Vec::new(), entries: 0 };
    zip.bytes("data.pkl", &pickle(tensors))?;
    zip.bytes("byteorder", b"little")?;
    for (number, array) in tensors.entries.values().enumerate() {
        zip.entry(&format!("data/{number}"), |take| each_block(array.data(), take))?;
    }
    zip.bytes("version", b"3\n")?;
    if !tensors.metadata.is_empty() {
        let json = serde_json::to_vec(&tensors.metadata).map_err(FormatError::json)?;
        if json.len() as u64 > MAX_METADATA {
            return Err(too_large("bytes of texts", MAX_METADATA, OTHERWISE));
        }
        zip.bytes(METADATA, &json)?;
    }
    zip.finish()
}

/// What to do with more than fits.
const OTHERWISE: &str = "write safetensors instead";

fn too_large(what: &'static str, limit: u64, advice: &'static str) -> FormatError {
    FormatError::TooLarge { what, limit, advice }
}

/// Takes the blocks of an entry.
type Take<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), FormatError>;

struct Zip<W> {
    to: W,
    at: u64,
    directory: Vec<u8>,
    entries: u16,
}

impl<W: Write> Zip<W> {
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), FormatError> {
        self.entry(name, |take| take(bytes))
    }

    /// An entry whose content `each` hands out twice: for its checksum, which stands before it, and
    /// to be written.
    fn entry(
        &mut self,
        name: &str,
        each: impl Fn(Take<'_>) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let name = format!("{FOLDER}/{name}");
        let mut hasher = crc32fast::Hasher::new();
        let mut size = 0u64;
        each(&mut |block| {
            hasher.update(block);
            size += block.len() as u64;
            Ok(())
        })?;
        let begin = self.at + 30 + name.len() as u64 + 4;
        let padding = begin.next_multiple_of(ALIGNMENT) - begin;
        let end = begin + padding + size;
        if end > 0xffff_fffe {
            return Err(too_large("bytes", 0xffff_fffe, OTHERWISE));
        }
        if self.entries == 0xfffe {
            return Err(too_large("entries", 0xfffe, OTHERWISE));
        }

        // Shared by both headers: version 2.0, UTF-8, stored, 1980-01-01 00:00, checksum, sizes,
        // the name's length.
        let mut fields = Vec::with_capacity(26);
        fields.extend([20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0]);
        fields.extend(hasher.finalize().to_le_bytes());
        fields.extend((size as u32).to_le_bytes());
        fields.extend((size as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());

        self.directory.extend(b"PK\x01\x02\x14\x00");
        self.directory.extend(&fields);
        self.directory.extend([0; 12]);
        self.directory.extend((self.at as u32).to_le_bytes());
        self.directory.extend(name.bytes());
        self.entries += 1;

        let mut header = b"PK\x03\x04".to_vec();
        header.extend(&fields);
        header.extend((padding as u16 + 4).to_le_bytes());
        header.extend(name.bytes());
        header.extend(b"FB");
        header.extend((padding as u16).to_le_bytes());
        header.resize(header.len() + padding as usize, b'Z');
        self.to.write_all(&header)?;
        let to = &mut self.to;
        each(&mut |block| Ok(to.write_all(block)?))?;
        self.at = end;
        Ok(())
    }

    fn finish(mut self) -> Result<(), FormatError> {
        self.to.write_all(&self.directory)?;
        let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
        end.extend(self.entries.to_le_bytes());
        end.extend(self.entries.to_le_bytes());
        end.extend((self.directory.len() as u32).to_le_bytes());
        end.extend((self.at as u32).to_le_bytes());
        end.extend([0; 2]);
        self.to.write_all(&end)?;
        self.to.flush()?;
        Ok(())
    }
}

/// The pickle of an `OrderedDict` of tensors, in protocol 2.
fn pickle(tensors: &Tensors) -> Vec<u8> {
    let mut pickle = Pickle { bytes: vec![0x80, 2], names: HashMap::new() };
    pickle.empty_dict();
    if !tensors.entries.is_empty() {
        pickle.bytes.push(b'(');
        for (number, (name, array)) in tensors.entries.iter().enumerate() {
            pickle.text(name);
            pickle.tensor(number, array);
        }
        pickle.bytes.push(b'u');
    }
    pickle.bytes.push(b'.');
    pickle.bytes
}

struct Pickle {
    bytes: Vec<u8>,
    /// Names that are remembered, and under which number.
    names: HashMap<&'static str, u8>,
}

impl Pickle {
    /// A function or class: `module\nname\n`.
    fn global(&mut self, name: &'static str) {
        match self.names.get(name) {
            Some(&at) => self.bytes.extend([b'h', at]),
            None => {
                let at = self.names.len() as u8;
                self.names.insert(name, at);
                self.bytes.push(b'c');
                self.bytes.extend(name.bytes());
                self.bytes.extend([b'q', at]);
            }
        }
    }

    fn empty_dict(&mut self) {
        self.global("collections\nOrderedDict\n");
        self.bytes.extend(b")R");
    }

    fn text(&mut self, text: &str) {
        self.bytes.push(b'X');
        self.bytes.extend((text.len() as u32).to_le_bytes());
        self.bytes.extend(text.bytes());
    }

    fn integer(&mut self, number: usize) {
        match (u8::try_from(number), i32::try_from(number)) {
            (Ok(byte), _) => self.bytes.extend([b'K', byte]),
            (_, Ok(number)) => {
                self.bytes.push(b'J');
                self.bytes.extend(number.to_le_bytes());
            }
            _ => {
                // LONG1 is signed: a ninth byte keeps it positive.
                self.bytes.extend([0x8a, 9]);
                self.bytes.extend((number as u64).to_le_bytes());
                self.bytes.push(0);
            }
        }
    }

    fn integers(&mut self, numbers: &[usize]) {
        self.bytes.push(b'(');
        numbers.iter().for_each(|&number| self.integer(number));
        self.bytes.push(b't');
    }

    fn tensor(&mut self, number: usize, array: &Array) {
        let (storage, kind) = match array.data().data_type() {
            DataType::F32 => ("torch\nFloatStorage\n", None),
            DataType::F64 => ("torch\nDoubleStorage\n", None),
            DataType::F16 => ("torch\nHalfStorage\n", None),
            DataType::BF16 => ("torch\nBFloat16Storage\n", None),
            DataType::I64 => ("torch\nLongStorage\n", None),
            // Younger types have no storage of their own: bytes, and the type beside them.
            DataType::U64 => ("torch.storage\nUntypedStorage\n", Some("torch\nuint64\n")),
        };
        self.global(match kind {
            None => "torch._utils\n_rebuild_tensor_v2\n",
            Some(_) => "torch._utils\n_rebuild_tensor_v3\n",
        });
        self.bytes.extend(b"((");
        self.text("storage");
        self.global(storage);
        self.text(&number.to_string());
        self.text("cpu");
        let size = kind.map_or(1, |_| array.data().data_type().size());
        self.integer(array.data().len() * size);
        self.bytes.extend(b"tQK\0"); // the storage, and the view's offset in it
        self.integers(array.shape());
        self.integers(&contiguous(array.shape()));
        self.bytes.push(0x89); // needs no gradient
        self.empty_dict(); // no hooks
        if let Some(kind) = kind {
            self.global(kind);
        }
        self.bytes.extend(b"tR");
    }
}

/// The strides of numbers that stand in order, last axis fastest; an empty axis counts as one.
fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis].max(1));
    }
    strides
}
