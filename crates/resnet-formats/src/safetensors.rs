//! safetensors: `u64` header length N, N bytes of JSON, then the numbers, all little-endian.
//!
//! The JSON maps each tensor to `{"dtype", "shape", "data_offsets": [begin, end]}`, offsets
//! counted from the end of the header, and `__metadata__` to texts. Tensors must cover the data
//! without gap or overlap. What is written here carries a [`CHECKSUM`] among its texts, which is
//! verified where a file has one. Integers of 8, 16 and 32 bits and booleans are widened to 64-bit
//! integers. The header is read here rather than by the `safetensors` crate because that crate's
//! errors do not name the tensor, it writes metadata in random order, and it lets the last of two
//! equal names win. Tests hold both to the same answers.

use crate::array::{Array, Tensors, elements};
use crate::error::{FormatError, MAX_AXES, MAX_NAME, shorten};
use crate::numbers::{Element, each_block, read_data};
use crate::strangers;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{Read, Write};

/// Largest header accepted, in bytes: 100 times that of a 1,202-layer network with its optimiser
/// state.
pub const MAX_HEADER: u64 = 64 << 20;

const METADATA: &str = "__metadata__";

/// The text that holds the CRC-32 of the file, as 8 hexadecimal digits: of the header, in which
/// these digits are zeros, and of the numbers.
pub const CHECKSUM: &str = "resnet.crc32";
/// The digits while there are none.
const NO_CHECKSUM: &str = "00000000";

/// Reads a whole file's bytes.
///
/// # Errors
/// [`FormatError`] names the tensor and the field that is wrong.
pub fn read(bytes: &[u8]) -> Result<Tensors, FormatError> {
    read_from(bytes, bytes.len() as u64)
}

/// Reads from a stream of `len` bytes, such as a file; memory is taken for the arrays alone.
///
/// # Errors
/// [`FormatError`] names the tensor and the field that is wrong.
pub fn read_from(from: impl Read, len: u64) -> Result<Tensors, FormatError> {
    let mut stream = Stream::open(from, len)?;
    let metadata = std::mem::take(&mut stream.metadata);
    let entries = stream.by_ref().collect::<Result<BTreeMap<_, _>, _>>()?;
    Ok(Tensors { entries, metadata })
}

/// A file whose header was read and checked; iterating reads its tensors one after another, in
/// their order in the file, up to the first error, and behind the last verifies the checksum, where
/// there is one. Only the tensor at hand is in memory.
pub struct Stream<R> {
    from: R,
    /// The checksum that the file has, and that of what was read so far.
    sums: Option<(String, crc32fast::Hasher)>,
    /// The texts of the header.
    pub metadata: BTreeMap<String, String>,
    tensors: std::vec::IntoIter<(String, Element, Vec<usize>)>,
}

impl<R: Read> Stream<R> {
    /// Reads the header of a stream of `len` bytes.
    ///
    /// # Errors
    /// [`FormatError`] names the tensor and the field that is wrong.
    pub fn open(mut from: R, len: u64) -> Result<Stream<R>, FormatError> {
        let (raw, data_len) = header(&mut from, len)?;
        let header: Header = serde_json::from_slice(&raw).map_err(FormatError::json)?;
        let Header { mut tensors, metadata } = header;
        let sums = metadata.get(CHECKSUM).map(|sum| (sum.clone(), begin_sum(raw, sum)));
        tensors.sort_by_key(|(_, entry)| (entry.data_offsets.0, entry.data_offsets.1));
        let layouts = layouts(&tensors, data_len)?;
        let names = tensors.into_iter().map(|(name, _)| name);
        let tensors = names.zip(layouts);
        let tensors: Vec<_> = tensors.map(|(name, (e, shape))| (name, e, shape)).collect();
        Ok(Stream { from, sums, metadata, tensors: tensors.into_iter() })
    }

    /// Names and shapes of the tensors that are still to come.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.as_slice().iter().map(|(name, _, shape)| (name.as_str(), shape.as_slice()))
    }
}

impl<R: Read> Iterator for Stream<R> {
    type Item = Result<(String, Array), FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some((name, element, shape)) = self.tensors.next() else {
            let (expected, sum) = self.sums.take()?;
            let found = digits(sum);
            return (expected != found).then_some(Err(FormatError::Checksum { expected, found }));
        };
        let bytes = shape.iter().product::<usize>() * element.size();
        let sums = &mut self.sums;
        let data = read_data(&mut self.from, element, bytes, |part| {
            if let Some((_, sum)) = sums {
                sum.update(part);
            }
        });
        if data.is_err() {
            self.tensors = Vec::new().into_iter();
            self.sums = None;
        }
        Some(data.map(|data| (name, Array::new(shape, data).expect("sizes were compared"))))
    }
}

/// The place of the checksum's digits in a header.
fn digits_in(header: &[u8], digits: &str) -> Option<std::ops::Range<usize>> {
    let start = format!("\"{CHECKSUM}\":\"");
    let whole = format!("{start}{digits}\"");
    // Quotes inside of texts are escaped, so nothing else looks like this.
    let at = header.windows(whole.len()).position(|part| part == whole.as_bytes())?;
    Some(at + start.len()..at + start.len() + digits.len())
}

/// The checksum of a header whose digits are not known yet.
fn begin_sum(mut header: Vec<u8>, digits: &str) -> crc32fast::Hasher {
    if let Some(place) = digits_in(&header, digits) {
        header[place].fill(b'0');
    }
    let mut sum = crc32fast::Hasher::new();
    sum.update(&header);
    sum
}

fn digits(sum: crc32fast::Hasher) -> String {
    format!("{:08x}", sum.finalize())
}

/// The header's bytes, and how many bytes follow it.
fn header(mut from: impl Read, len: u64) -> Result<(Vec<u8>, u64), FormatError> {
    let Some(after_length) = len.checked_sub(8) else {
        return Err(FormatError::Truncated {
            field: "the header's length",
            expected: 8,
            found: len,
        });
    };
    let mut prefix = [0; 8];
    from.read_exact(&mut prefix)?;
    let header_len = u64::from_le_bytes(prefix);
    if header_len > MAX_HEADER {
        let mut start = prefix.to_vec();
        (&mut from).take(300).read_to_end(&mut start)?;
        if let Some((found, advice)) = strangers::named(&start) {
            let (expected, found) = ("a safetensors file", found.into());
            return Err(FormatError::Content { expected, found, advice });
        }
        return Err(FormatError::HeaderTooLarge { limit: MAX_HEADER, found: header_len });
    }
    let Some(data_len) = after_length.checked_sub(header_len) else {
        return Err(FormatError::Truncated {
            field: "the header",
            expected: header_len,
            found: after_length,
        });
    };
    let mut header = vec![0; header_len as usize];
    from.read_exact(&mut header)?;
    Ok((header, data_len))
}

/// Writes arrays sorted by name, so equal arrays give equal bytes, and their [`CHECKSUM`].
///
/// # Errors
/// [`FormatError::Io`] when the writer fails; [`FormatError::Tensor`] for a tensor with a reserved
/// name, one of more than 1 KiB, or more than 64 axes; [`FormatError::TooLarge`] for more names and
/// texts than a header holds.
pub fn write(tensors: &Tensors, mut to: impl Write) -> Result<(), FormatError> {
    let mut header = encode_header(tensors)?;
    let mut sum = begin_sum(header.clone(), NO_CHECKSUM);
    for array in tensors.entries.values() {
        each_block(array.data(), |block| {
            sum.update(block);
            Ok(())
        })?;
    }
    let place = digits_in(&header, NO_CHECKSUM).expect("every header has the digits");
    header[place].copy_from_slice(digits(sum).as_bytes());
    to.write_all(&(header.len() as u64).to_le_bytes())?;
    to.write_all(&header)?;
    for array in tensors.entries.values() {
        each_block(array.data(), |block| Ok(to.write_all(block)?))?;
    }
    Ok(())
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

struct Header {
    tensors: Vec<(String, Entry)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Header, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with an entry a tensor")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Header, M::Error> {
                let mut header = Header { tensors: Vec::new(), metadata: BTreeMap::new() };
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(de::Error::custom(format_args!(
                            "the name `{}` stands there twice",
                            shorten(&name)
                        )));
                    }
                    let at = |e: M::Error| -> M::Error {
                        de::Error::custom(format_args!("`{}`: {e}", shorten(&name)))
                    };
                    if name == METADATA {
                        let metadata = map.next_value::<Option<_>>();
                        header.metadata = metadata.map_err(at)?.unwrap_or_default();
                    } else {
                        let entry = map.next_value::<Entry>().map_err(at)?;
                        header.tensors.push((name, entry));
                    }
                }
                Ok(header)
            }
        }
        from.deserialize_map(Names)
    }
}

/// Type and shape of every tensor, after checking that together they cover `data_len` bytes
/// exactly.
fn layouts(
    tensors: &[(String, Entry)],
    data_len: u64,
) -> Result<Vec<(Element, Vec<usize>)>, FormatError> {
    let mut end = 0;
    let mut layouts = Vec::with_capacity(tensors.len());
    for (name, entry) in tensors {
        let wrong = |field, expected: String, found: String| FormatError::Tensor {
            tensor: shorten(name),
            field,
            expected,
            found,
        };
        if name.len() > MAX_NAME {
            return Err(FormatError::long_name(name));
        }
        if entry.shape.len() > MAX_AXES {
            let found = format!("{} of them", entry.shape.len());
            return Err(wrong("shape", format!("at most {MAX_AXES} axes"), found));
        }
        let Some(element) = Element::of_name(&entry.dtype) else {
            return Err(FormatError::DataType {
                tensor: shorten(name),
                found: entry.dtype.chars().take(20).collect(),
            });
        };
        let shape: Option<Vec<usize>> =
            entry.shape.iter().map(|&axis| usize::try_from(axis).ok()).collect();
        let bytes =
            shape.as_deref().and_then(elements).and_then(|count| count.checked_mul(element.size()));
        let (Some(shape), Some(bytes)) = (shape, bytes) else {
            let found = format!("{:?}", entry.shape);
            return Err(wrong("shape", "a size that fits in memory".into(), found));
        };
        let (from, to) = entry.data_offsets;
        if from != end {
            let expected = format!("a begin of {end}, where the tensor before it ends");
            return Err(wrong("data_offsets", expected, from.to_string()));
        }
        if to.checked_sub(from) != Some(bytes as u64) {
            let expected = format!(
                "{bytes} bytes, the size of {} {:?}, from {from}",
                entry.dtype, entry.shape
            );
            return Err(wrong("data_offsets", expected, format!("an end of {to}")));
        }
        if to > data_len {
            let expected = format!("an end of at most {data_len}, where the file ends");
            let found = format!("{to}; the file is cut short: copy or download it again");
            return Err(wrong("data_offsets", expected, found));
        }
        end = to;
        layouts.push((element, shape));
    }
    if end < data_len {
        return Err(FormatError::Trailing { found: data_len - end });
    }
    Ok(layouts)
}

/// The header's JSON, padded with spaces so that the numbers start at a multiple of 8.
fn encode_header(tensors: &Tensors) -> Result<Vec<u8>, FormatError> {
    let mut header = vec![b'{'];
    let mut metadata = tensors.metadata.clone();
    metadata.insert(CHECKSUM.into(), NO_CHECKSUM.into());
    header.extend(format!("\"{METADATA}\":").bytes());
    serde_json::to_writer(&mut header, &metadata).map_err(FormatError::json)?;
    let mut offset = 0;
    for (name, array) in &tensors.entries {
        let wrong = |field, expected: String, found: String| FormatError::Tensor {
            tensor: shorten(name),
            field,
            expected,
            found,
        };
        if name == METADATA {
            let expected = "a name that the format does not reserve";
            return Err(wrong("name", expected.into(), name.clone()));
        }
        if name.len() > MAX_NAME {
            return Err(FormatError::long_name(name));
        }
        let axes = array.shape().len();
        if axes > MAX_AXES {
            let expected = format!("at most {MAX_AXES} axes");
            return Err(wrong("shape", expected, format!("{axes} of them")));
        }
        header.push(b',');
        let data_type = array.data().data_type();
        let begin = offset;
        offset += (array.data().len() * data_type.size()) as u64;
        let entry = Entry {
            dtype: data_type.name().into(),
            shape: array.shape().iter().map(|&axis| axis as u64).collect(),
            data_offsets: (begin, offset),
        };
        serde_json::to_writer(&mut header, name).map_err(FormatError::json)?;
        header.push(b':');
        serde_json::to_writer(&mut header, &entry).map_err(FormatError::json)?;
    }
    header.push(b'}');
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() as u64 > MAX_HEADER {
        return Err(FormatError::TooLarge {
            what: "bytes of names and texts",
            limit: MAX_HEADER,
            advice: "leave some of them out",
        });
    }
    Ok(header)
}
