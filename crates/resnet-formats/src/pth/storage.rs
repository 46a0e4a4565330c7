//! From a tensor's claims to its numbers: every size is checked before memory is taken.

use super::value::{Arena, Storage, Tensor};
use super::zip;
use crate::array::{Array, elements};
use crate::error::{FormatError, shorten};
use crate::numbers::{BLOCK, Element, Numbers, read_data};
use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

/// Memory that any file may ask for, in bytes.
const GRANT: u64 = 64 << 20;
/// And so many times its size: tensors may share storages.
const FACTOR: u64 = 4;

/// Where a storage's bytes are.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    pub(super) at: u64,
    pub(super) bytes: u64,
    /// The checksum to compare before first use.
    pub(super) crc: Option<u32>,
}

/// The storages of a file, and what it may still ask for.
pub(super) struct Storages<R> {
    from: R,
    extents: HashMap<String, Extent>,
    big_endian: bool,
    /// Bytes granted, and how many of them are left.
    granted: u64,
    left: u64,
}

impl<R: Read + Seek> Storages<R> {
    /// For a file of `len` bytes.
    pub(super) fn new(
        from: R,
        len: u64,
        extents: HashMap<String, Extent>,
        big_endian: bool,
    ) -> Storages<R> {
        let granted = GRANT.saturating_add(len.saturating_mul(FACTOR));
        Storages { from, extents, big_endian, granted, left: granted }
    }

    /// The tensor's numbers, last axis fastest.
    pub(super) fn array(
        &mut self,
        name: &str,
        tensor: &Tensor,
        arena: &Arena,
    ) -> Result<Array, FormatError> {
        let wrong = |field, expected: String, found: String| FormatError::Tensor {
            tensor: shorten(name),
            field,
            expected,
            found,
        };
        let storage = arena.storage(tensor.storage).expect("checked when built");
        let view = View::new(tensor, storage, arena).map_err(|(f, e, found)| wrong(f, e, found))?;
        let element = tensor.element;
        if view.count == 0 {
            let data = Numbers::with_capacity(element, 0).into_data();
            return Ok(Array::new(view.shape, data).expect("an axis is 0"));
        }

        let Some(extent) = self.extents.get_mut(&*storage.key) else {
            let expected = format!("storage {} in the file", storage.key);
            return Err(wrong("storage", expected, "none".into()));
        };
        let size = storage.element.map_or(1, Element::size) as u64;
        let claimed = u64::try_from(storage.count).ok().and_then(|count| count.checked_mul(size));
        if claimed != Some(extent.bytes) {
            let expected = format!("{} bytes, what storage {} holds", extent.bytes, storage.key);
            let found = format!("{} numbers of {size} bytes", storage.count);
            return Err(wrong("storage", expected, found));
        }
        if let Some(expected) = extent.crc.take() {
            let entry = format!("data/{}", storage.key);
            verify(&mut self.from, extent.at, extent.bytes, expected, &entry)?;
        }
        let begin = extent.at + view.first * element.size() as u64;

        let bytes = view.count as u64 * element.data_type().size() as u64;
        let gathered = if view.contiguous { 0 } else { view.span * element.size() as u64 };
        match self.left.checked_sub(bytes.saturating_add(gathered)) {
            Some(left) => self.left = left,
            None => {
                return Err(FormatError::Limit {
                    what: "bytes in the tensors of a file of this size",
                    limit: self.granted,
                });
            }
        }
        self.from.seek(SeekFrom::Start(begin))?;
        let swap = self.big_endian;
        let fix = |part: &mut [u8]| {
            if swap {
                part.chunks_exact_mut(element.size()).for_each(<[u8]>::reverse);
            }
        };
        let data = if view.contiguous {
            read_data(&mut self.from, element, view.count * element.size(), fix)?
        } else {
            let mut span = vec![0; view.span as usize * element.size()];
            self.from.read_exact(&mut span)?;
            fix(&mut span);
            view.gather(&span, element)
        };
        Ok(Array::new(view.shape, data).expect("the shape was counted"))
    }
}

/// A view whose every number lies inside its storage.
struct View {
    shape: Vec<usize>,
    strides: Vec<usize>,
    /// How many numbers it has.
    count: usize,
    /// Where the first of them stands in the storage.
    first: u64,
    /// Numbers from the first to the last, both included.
    span: u64,
    /// Whether they stand there in order, without gaps.
    contiguous: bool,
}

impl View {
    /// The error says field, expected, found.
    fn new(
        tensor: &Tensor,
        storage: &Storage,
        arena: &Arena,
    ) -> Result<View, (&'static str, String, String)> {
        let claimed = arena.integers(tensor.shape);
        let claimed_strides = arena.integers(tensor.strides);
        let natural = |numbers: &[i64]| -> Option<Vec<usize>> {
            numbers.iter().map(|&n| usize::try_from(n).ok()).collect()
        };
        let shape = natural(&claimed);
        let counted = shape.as_deref().and_then(elements);
        let bytes = counted.and_then(|count| count.checked_mul(8));
        let (Some(shape), Some(count), Some(_)) = (shape, counted, bytes) else {
            let found = format!("{claimed:?}");
            return Err(("shape", "sizes that fit in memory".into(), found));
        };
        let strides = natural(&claimed_strides).filter(|strides| strides.len() == shape.len());
        let Some(strides) = strides else {
            let expected = format!("{} strides, none negative", shape.len());
            return Err(("strides", expected, format!("{claimed_strides:?}")));
        };
        if count == 0 {
            return Ok(View { shape, strides, count, first: 0, span: 0, contiguous: true });
        }
        // Fits: the axes together are below 2^61 and a stride is below 2^63.
        let reach: i128 = shape
            .iter()
            .zip(&strides)
            .map(|(&axis, &stride)| (axis as i128 - 1) * stride as i128)
            .sum();
        let (view_first, view_count) = storage.view.unwrap_or((0, storage.count));
        // A storage of bytes holds fewer numbers than bytes.
        let size = if storage.element.is_none() { tensor.element.size() } else { 1 };
        let room = i128::from(storage.count) / size as i128;
        let first = i128::from(view_first) + i128::from(tensor.offset);
        let end = first + reach + 1;
        let inside = view_first >= 0
            && tensor.offset >= 0
            && i128::from(tensor.offset) + reach < i128::from(view_count) / size as i128
            && end <= room;
        if !inside {
            let expected = format!("a view inside its storage of {room} numbers");
            let found =
                format!("offset {}, shape {claimed:?}, strides {claimed_strides:?}", tensor.offset);
            return Err(("strides", expected, found));
        }
        let mut step = 1;
        let contiguous = shape.iter().zip(&strides).rev().all(|(&axis, &stride)| {
            let fits = axis == 1 || stride == step;
            step *= axis;
            fits
        });
        Ok(View { shape, strides, count, first: first as u64, span: reach as u64 + 1, contiguous })
    }

    /// Collects the numbers from the bytes of the span.
    fn gather(&self, span: &[u8], element: Element) -> crate::array::Data {
        let size = element.size();
        let mut numbers = Numbers::with_capacity(element, self.count);
        let mut block = Vec::with_capacity(BLOCK);
        let mut index = vec![0; self.shape.len()];
        let mut at = 0;
        for _ in 0..self.count {
            block.extend_from_slice(&span[at * size..][..size]);
            if block.len() == BLOCK {
                numbers.extend(&block);
                block.clear();
            }
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= self.strides[axis] * self.shape[axis];
                index[axis] = 0;
            }
        }
        numbers.extend(&block);
        numbers.into_data()
    }
}

/// Compares the checksum of a storage or another entry.
pub(super) fn verify(
    from: &mut (impl Read + Seek),
    at: u64,
    bytes: u64,
    expected: u32,
    name: &str,
) -> Result<(), FormatError> {
    from.seek(SeekFrom::Start(at))?;
    let mut hasher = crc32fast::Hasher::new();
    let mut block = vec![0; BLOCK.min(bytes as usize)];
    let mut left = bytes;
    while left > 0 {
        let part = &mut block[..left.min(BLOCK as u64) as usize];
        from.read_exact(part)?;
        hasher.update(part);
        left -= part.len() as u64;
    }
    let found = hasher.finalize();
    if found != expected {
        let (expected, found) = (format!("{expected:08x}"), format!("{found:08x}"));
        return Err(zip::wrong(name, "checksum", expected, found, zip::DAMAGED));
    }
    Ok(())
}
