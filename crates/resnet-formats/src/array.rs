//! Named arrays: what every format reads into and writes from.

use std::collections::BTreeMap;
use std::fmt;

/// The number type of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
    /// Signed 64-bit integers.
    I64,
    /// Unsigned 64-bit integers.
    U64,
}

impl DataType {
    /// Every type.
    pub const ALL: [DataType; 4] = [DataType::F32, DataType::F64, DataType::I64, DataType::U64];

    /// The type's name in a safetensors header.
    pub const fn name(self) -> &'static str {
        match self {
            DataType::F32 => "F32",
            DataType::F64 => "F64",
            DataType::I64 => "I64",
            DataType::U64 => "U64",
        }
    }

    /// Bytes of one number.
    pub const fn size(self) -> usize {
        match self {
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
    /// An array of this shape; `[]` is a single number. `None` if the shape does not hold exactly `data`'s numbers.
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
        Array {
            shape: Vec::new(),
            data: Data::U64(vec![value]),
        }
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
    shape
        .iter()
        .try_fold(1usize, |product, &axis| product.checked_mul(axis))
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
