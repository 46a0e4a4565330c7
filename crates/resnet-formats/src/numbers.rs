//! Numbers in files: from little-endian bytes to vectors and back, a block at a time.

use crate::array::{Data, DataType};
use crate::error::FormatError;
use std::io::Read;

/// Bytes converted at a time: a multiple of every number's size.
pub(crate) const BLOCK: usize = 64 << 10;

/// A number type as files store it. Those that [`DataType`] lacks are widened to 64-bit integers
/// when read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    F64,
    F16,
    BF16,
    I64,
    U64,
    I32,
    U32,
    I16,
    U16,
    I8,
    U8,
    Bool,
}

impl Element {
    pub(crate) const fn of(data_type: DataType) -> Element {
        match data_type {
            DataType::F32 => Element::F32,
            DataType::F64 => Element::F64,
            DataType::F16 => Element::F16,
            DataType::BF16 => Element::BF16,
            DataType::I64 => Element::I64,
            DataType::U64 => Element::U64,
        }
    }

    /// The type that a safetensors header calls so.
    pub(crate) fn of_name(name: &str) -> Option<Element> {
        Some(match name {
            "I32" => Element::I32,
            "U32" => Element::U32,
            "I16" => Element::I16,
            "U16" => Element::U16,
            "I8" => Element::I8,
            "U8" => Element::U8,
            "BOOL" => Element::Bool,
            _ => Element::of(DataType::ALL.into_iter().find(|kind| kind.name() == name)?),
        })
    }

    /// The type it is read as.
    pub(crate) const fn data_type(self) -> DataType {
        match self {
            Element::F32 => DataType::F32,
            Element::F64 => DataType::F64,
            Element::F16 => DataType::F16,
            Element::BF16 => DataType::BF16,
            Element::U64 => DataType::U64,
            _ => DataType::I64,
        }
    }

    /// Bytes of one number in the file.
    pub(crate) const fn size(self) -> usize {
        match self {
            Element::F64 | Element::I64 | Element::U64 => 8,
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::F16 | Element::BF16 | Element::I16 | Element::U16 => 2,
            Element::I8 | Element::U8 | Element::Bool => 1,
        }
    }
}

/// A vector that grows as bytes arrive.
pub(crate) struct Numbers {
    element: Element,
    data: Data,
}

impl Numbers {
    /// Takes memory for `count` numbers; the caller has bounded it.
    pub(crate) fn with_capacity(element: Element, count: usize) -> Numbers {
        let data = match element.data_type() {
            DataType::F32 => Data::F32(Vec::with_capacity(count)),
            DataType::F64 => Data::F64(Vec::with_capacity(count)),
            DataType::F16 => Data::F16(Vec::with_capacity(count)),
            DataType::BF16 => Data::BF16(Vec::with_capacity(count)),
            DataType::I64 => Data::I64(Vec::with_capacity(count)),
            DataType::U64 => Data::U64(Vec::with_capacity(count)),
        };
        Numbers { element, data }
    }

    /// Appends little-endian numbers; `bytes` holds whole ones.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        fn add<T, const SIZE: usize>(
            to: &mut Vec<T>,
            bytes: &[u8],
            decode: impl Fn([u8; SIZE]) -> T,
        ) {
            to.extend(bytes.as_chunks::<SIZE>().0.iter().map(|&b| decode(b)));
        }
        match (&mut self.data, self.element) {
            (Data::F32(to), _) => add(to, bytes, f32::from_le_bytes),
            (Data::F64(to), _) => add(to, bytes, f64::from_le_bytes),
            (Data::F16(to) | Data::BF16(to), _) => add(to, bytes, u16::from_le_bytes),
            (Data::U64(to), _) => add(to, bytes, u64::from_le_bytes),
            (Data::I64(to), Element::I32) => add(to, bytes, |b| i32::from_le_bytes(b).into()),
            (Data::I64(to), Element::U32) => add(to, bytes, |b| u32::from_le_bytes(b).into()),
            (Data::I64(to), Element::I16) => add(to, bytes, |b| i16::from_le_bytes(b).into()),
            (Data::I64(to), Element::U16) => add(to, bytes, |b| u16::from_le_bytes(b).into()),
            (Data::I64(to), Element::I8) => add(to, bytes, |b| i8::from_le_bytes(b).into()),
            (Data::I64(to), Element::U8) => add(to, bytes, |b| u8::from_le_bytes(b).into()),
            (Data::I64(to), Element::Bool) => add(to, bytes, |[b]| (b != 0).into()),
            (Data::I64(to), _) => add(to, bytes, i64::from_le_bytes),
        }
    }

    pub(crate) fn into_data(self) -> Data {
        self.data
    }
}

/// Reads `bytes` bytes of little-endian numbers.
pub(crate) fn read_data(
    from: &mut impl Read,
    element: Element,
    bytes: usize,
    mut fix: impl FnMut(&mut [u8]),
) -> Result<Data, FormatError> {
    let mut numbers = Numbers::with_capacity(element, bytes / element.size());
    let mut block = vec![0; BLOCK.min(bytes)];
    let mut left = bytes;
    while left > 0 {
        let part = &mut block[..BLOCK.min(left)];
        from.read_exact(part)?;
        fix(part);
        numbers.extend(part);
        left -= part.len();
    }
    Ok(numbers.into_data())
}

/// Hands out the numbers' little-endian bytes, a block at a time.
pub(crate) fn each_block(
    data: &Data,
    take: impl FnMut(&[u8]) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    fn blocks<T: Copy, const SIZE: usize>(
        values: &[T],
        encode: impl Fn(T) -> [u8; SIZE],
        mut take: impl FnMut(&[u8]) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let mut block = Vec::with_capacity(BLOCK.min(values.len() * SIZE));
        for part in values.chunks(BLOCK / SIZE) {
            block.clear();
            block.extend(part.iter().flat_map(|&value| encode(value)));
            take(&block)?;
        }
        Ok(())
    }
    match data {
        Data::F32(values) => blocks(values, f32::to_le_bytes, take),
        Data::F64(values) => blocks(values, f64::to_le_bytes, take),
        Data::F16(values) | Data::BF16(values) => blocks(values, u16::to_le_bytes, take),
        Data::I64(values) => blocks(values, i64::to_le_bytes, take),
        Data::U64(values) => blocks(values, u64::to_le_bytes, take),
    }
}
