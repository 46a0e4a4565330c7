//! Named arrays of the Open Inference Protocol, as JSON, gRPC and raw bytes carry them.

use hyper::body::Bytes;

use super::json;
use crate::http::Refusal;

/// A named array.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Values,
}

/// Its numbers or texts, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    /// `BYTES`.
    Bytes(Vec<Bytes>),
    /// `UINT8`.
    U8(Bytes),
    /// `FP32`.
    F32(Vec<f32>),
    /// `INT64`.
    I64(Vec<i64>),
}

/// Most bytes that a tensor may declare; every body is smaller.
const MOST: usize = 1 << 40;

/// A shape as it comes, checked.
pub(crate) fn shape(name: &str, dims: &[i64]) -> Result<Vec<usize>, Refusal> {
    let fault =
        || Refusal::malformed(format!("input `{name}` has the shape {dims:?}, which is no shape"));
    let mut all = 1usize;
    if dims.len() > 8 {
        return Err(fault());
    }
    let checked = dims.iter().map(|&dim| {
        let dim = usize::try_from(dim).ok()?;
        all = all.checked_mul(dim.max(1)).filter(|all| *all <= MOST)?;
        Some(dim)
    });
    checked.collect::<Option<_>>().ok_or_else(fault)
}

impl Tensor {
    /// Of the bytes that stand behind the JSON, or within gRPC.
    pub(crate) fn of_raw(
        name: &str,
        datatype: &str,
        shape: Vec<usize>,
        raw: Bytes,
    ) -> Result<Tensor, Refusal> {
        let wrong = |problem: String| Refusal::malformed(format!("input `{name}` {problem}"));
        let values = match datatype {
            "BYTES" => {
                let mut elements = Vec::new();
                let mut rest = raw.clone();
                while !rest.is_empty() {
                    let length = rest.split_at_checked(4).and_then(|(length, _)| {
                        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
                        (length <= rest.len() - 4).then_some(length)
                    });
                    let length = length.ok_or_else(|| {
                        wrong("is damaged: an element is longer than what is left".into())
                    })?;
                    elements.push(rest.slice(4..4 + length));
                    rest = rest.slice(4 + length..);
                }
                Values::Bytes(elements)
            }
            "UINT8" => Values::U8(raw),
            "FP32" => {
                let (numbers, left) = raw.as_chunks::<4>();
                if !left.is_empty() {
                    return Err(wrong(format!("has {} bytes, no whole numbers", raw.len())));
                }
                Values::F32(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
            }
            other => return Err(unknown(name, other)),
        };
        Tensor { name: name.to_owned(), shape, values }.checked()
    }

    /// Of the `data` in JSON; bytes are base64 there.
    pub(crate) fn of_json(
        name: &str,
        datatype: &str,
        shape: Vec<usize>,
        data: json::Data,
    ) -> Result<Tensor, Refusal> {
        let wrong = |problem: String| Refusal::malformed(format!("input `{name}` {problem}"));
        let json::Data { texts, numbers } = data;
        let values = match datatype {
            "BYTES" if numbers.is_empty() => {
                let decode = |text: &String| super::base64::decode(text, "an element of `data`");
                Values::Bytes(texts.iter().map(decode).collect::<Result<_, _>>()?)
            }
            "UINT8" if texts.is_empty() => {
                let byte = |x: &f32| (x.fract() == 0.0 && (0.0..=255.0).contains(x)).then_some(*x);
                let bytes: Option<Vec<u8>> =
                    numbers.iter().map(|x| byte(x).map(|x| x as u8)).collect();
                let bytes =
                    bytes.ok_or_else(|| wrong("has a number that is none from 0 to 255".into()))?;
                Values::U8(bytes.into())
            }
            "FP32" if texts.is_empty() => Values::F32(numbers),
            "BYTES" | "UINT8" | "FP32" => {
                return Err(wrong(format!("is {datatype}, and its `data` is not")));
            }
            other => return Err(unknown(name, other)),
        };
        Tensor { name: name.to_owned(), shape, values }.checked()
    }

    /// The tensor, if it has as many elements as its shape says.
    pub(crate) fn checked(self) -> Result<Tensor, Refusal> {
        let (expected, found) = (self.shape.iter().product::<usize>(), self.len());
        match expected == found {
            true => Ok(self),
            false => Err(Refusal::malformed(format!(
                "input `{}` has {found} elements, and its shape {:?} is of {expected}",
                self.name, self.shape
            ))),
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.values {
            Values::Bytes(elements) => elements.len(),
            Values::U8(bytes) => bytes.len(),
            Values::F32(numbers) => numbers.len(),
            Values::I64(numbers) => numbers.len(),
        }
    }

    /// The protocol's name of its type.
    pub(crate) fn datatype(&self) -> &'static str {
        match self.values {
            Values::Bytes(_) => "BYTES",
            Values::U8(_) => "UINT8",
            Values::F32(_) => "FP32",
            Values::I64(_) => "INT64",
        }
    }

    /// The bytes that go behind the JSON, or within gRPC.
    pub(crate) fn raw(&self) -> Vec<u8> {
        match &self.values {
            Values::Bytes(elements) => {
                let length = elements.iter().map(|element| 4 + element.len()).sum();
                let mut raw = Vec::with_capacity(length);
                for element in elements {
                    raw.extend_from_slice(&(element.len() as u32).to_le_bytes());
                    raw.extend_from_slice(element);
                }
                raw
            }
            Values::U8(bytes) => bytes.to_vec(),
            Values::F32(numbers) => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::I64(numbers) => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
}

pub(super) fn unknown(name: &str, datatype: &str) -> Refusal {
    Refusal::malformed(format!(
        "input `{name}` is {datatype}; expected BYTES, UINT8 or FP32, see the model's metadata"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_bytes_are_read_and_written() {
        let raw = Bytes::from_static(b"\x02\0\0\0ab\0\0\0\0");
        let tensor = Tensor::of_raw("x", "BYTES", vec![2, 1], raw.clone()).unwrap();
        assert_eq!(tensor.values, Values::Bytes(vec!["ab".into(), "".into()]));
        assert_eq!(tensor.raw(), raw);
        let floats = Tensor::of_raw("x", "FP32", vec![1], Bytes::from_static(&[0, 0, 0xc0, 0x3f]));
        assert_eq!(floats.unwrap().values, Values::F32(vec![1.5]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let cases: [(&str, Vec<usize>, &'static [u8]); 7] = [
            ("BYTES", vec![1], b"\x03\0\0\0ab"),
            ("BYTES", vec![1], b"\xff\xff\xff\xffab"),
            ("BYTES", vec![1], b"\x03\0"),
            ("BYTES", vec![2], b"\x02\0\0\0ab"),
            ("FP32", vec![1], b"\0\0\0"),
            ("UINT8", vec![2, 2], b"abc"),
            ("INT32", vec![1], b"\0\0\0\0"),
        ];
        for (datatype, shape, raw) in cases {
            let made = Tensor::of_raw("x", datatype, shape, Bytes::from_static(raw));
            assert_eq!(made.unwrap_err().status, 400, "{datatype} {raw:?}");
        }
    }

    #[test]
    fn shapes_that_overflow_are_refused() {
        for dims in [&[-1, 3][..], &[1 << 31, 1 << 31, 4], &[i64::MAX], &[1; 9], &[0, 1 << 41]] {
            assert_eq!(shape("x", dims).unwrap_err().status, 400, "{dims:?}");
        }
        assert_eq!(shape("x", &[2, 0, 3]).unwrap(), [2, 0, 3]);
    }

    #[test]
    fn json_numbers_must_be_of_their_type() {
        let numbers = |numbers: &[f32]| json::Data { numbers: numbers.to_vec(), texts: vec![] };
        let bytes = Tensor::of_json("x", "UINT8", vec![2], numbers(&[0.0, 255.0])).unwrap();
        assert_eq!(bytes.values, Values::U8(Bytes::from_static(&[0, 255])));
        for wrong in [[0.5, 1.0], [-1.0, 1.0], [256.0, 1.0]] {
            assert!(Tensor::of_json("x", "UINT8", vec![2], numbers(&wrong)).is_err());
        }
        assert!(Tensor::of_json("x", "BYTES", vec![1], numbers(&[1.0])).is_err());
    }
}
