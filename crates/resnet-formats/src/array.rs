//! Named arrays: what every format reads into and writes from.

use crate::half;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The number type of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
    /// 16-bit floats of IEEE 754, binary16.
    F16,
    /// 16-bit floats that are the upper half of a 32-bit one.
    BF16,
    /// Signed 64-bit integers.
    I64,
    /// Unsigned 64-bit integers.
    U64,
}

impl DataType {
    /// Every type.
    pub const ALL: [DataType; 6] =
        [DataType::F32, DataType::F64, DataType::F16, DataType::BF16, DataType::I64, DataType::U64];

    /// The type's name in a safetensors header.
    pub const fn name(self) -> &'static str {
        match self {
            DataType::F32 => "F32",
            DataType::F64 => "F64",
            DataType::F16 => "F16",
            DataType::BF16 => "BF16",
            DataType::I64 => "I64",
            DataType::U64 => "U64",
        }
    }

    /// Bytes of one number.
    pub const fn size(self) -> usize {
        match self {
            DataType::F16 | DataType::BF16 => 2,
            DataType::F32 => 4,
            DataType::F64 | DataType::I64 | DataType::U64 => 8,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The numbers of an array, last axis fastest.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Weights, activations, images.
    F32(Vec<f32>),
    /// Statistics that must keep their precision.
    F64(Vec<f64>),
    /// Weights stored in half the room, as the bits of [binary16](crate::half).
    F16(Vec<u16>),
    /// Weights stored in half the room, as the bits of [bf16](crate::half).
    BF16(Vec<u16>),
    /// Counters of other tools (`num_batches_tracked`).
    I64(Vec<i64>),
    /// Counters and random state.
    U64(Vec<u64>),
}

impl Data {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(values) => values.len(),
            Data::F64(values) => values.len(),
            Data::F16(values) | Data::BF16(values) => values.len(),
            Data::I64(values) => values.len(),
            Data::U64(values) => values.len(),
        }
    }

    /// Whether there are no numbers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers' type.
    pub fn data_type(&self) -> DataType {
        match self {
            Data::F32(_) => DataType::F32,
            Data::F64(_) => DataType::F64,
            Data::F16(_) => DataType::F16,
            Data::BF16(_) => DataType::BF16,
            Data::I64(_) => DataType::I64,
            Data::U64(_) => DataType::U64,
        }
    }
}

/// An array: a shape, and as many numbers as the shape asks for.
///
/// Fields are private so that the two always agree.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    data: Data,
}

impl Array {
    /// An array of this shape; `[]` is a single number. `None` if the shape does not hold exactly
    /// `data`'s numbers.
    pub fn new(shape: Vec<usize>, data: Data) -> Option<Array> {
        (elements(&shape) == Some(data.len())).then_some(Array { shape, data })
    }

    /// An array of 32-bit floats.
    ///
    /// # Panics
    /// If the shape does not hold exactly `values`' numbers.
    pub fn f32(shape: Vec<usize>, values: Vec<f32>) -> Array {
        let found = values.len();
        Array::new(shape, Data::F32(values))
            .unwrap_or_else(|| panic!("{found} numbers do not fill the shape"))
    }

    /// A single unsigned integer, such as a step counter.
    pub fn counter(value: u64) -> Array {
        Array { shape: Vec::new(), data: Data::U64(vec![value]) }
    }

    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The numbers.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The numbers, taken out.
    pub fn into_data(self) -> Data {
        self.data
    }

    /// The numbers if they are 32-bit floats.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            Data::F32(values) => Some(values),
            _ => None,
        }
    }

    /// The numbers as 32-bit floats if they are floats: borrowed if they are stored so, else
    /// converted. 16-bit floats convert exactly, 64-bit ones are rounded.
    pub fn to_f32(&self) -> Option<Cow<'_, [f32]>> {
        Some(match &self.data {
            Data::F32(values) => Cow::Borrowed(values),
            Data::F16(values) => values.iter().map(|&x| half::f16_to_f32(x)).collect(),
            Data::BF16(values) => values.iter().map(|&x| half::bf16_to_f32(x)).collect(),
            Data::F64(values) => values.iter().map(|&x| x as f32).collect(),
            Data::I64(_) | Data::U64(_) => return None,
        })
    }

    /// The same array stored as another float type, through 32-bit floats and rounded to nearest,
    /// ties to even. `None` if either type is not a float; an array that has the type already is
    /// cloned bit for bit.
    pub fn to_float(&self, data_type: DataType) -> Option<Array> {
        let values = self.to_f32()?;
        let data = match data_type {
            _ if data_type == self.data.data_type() => self.data.clone(),
            DataType::F32 => Data::F32(values.into_owned()),
            DataType::F64 => Data::F64(values.iter().map(|&x| x.into()).collect()),
            DataType::F16 => Data::F16(values.iter().map(|&x| half::f32_to_f16(x)).collect()),
            DataType::BF16 => Data::BF16(values.iter().map(|&x| half::f32_to_bf16(x)).collect()),
            DataType::I64 | DataType::U64 => return None,
        };
        Some(Array { shape: self.shape.clone(), data })
    }

    /// The number if there is exactly one and it is an integer that is not negative.
    pub fn as_counter(&self) -> Option<u64> {
        match &self.data {
            Data::U64(values) if values.len() == 1 => Some(values[0]),
            Data::I64(values) if values.len() == 1 => u64::try_from(values[0]).ok(),
            _ => None,
        }
    }
}

/// How many numbers a shape holds; `None` if that overflows.
pub(crate) fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis))
}

/// Arrays by name, and texts by name: the content of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensors {
    /// The arrays, sorted by name.
    pub entries: BTreeMap<String, Array>,
    /// Texts that travel with them, sorted by name.
    pub metadata: BTreeMap<String, String>,
}

impl Tensors {
    /// Adds an array, replacing one of the same name.
    pub fn insert(&mut self, name: impl Into<String>, array: Array) {
        self.entries.insert(name.into(), array);
    }

    /// The array of this name.
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.entries.get(name)
    }
}
