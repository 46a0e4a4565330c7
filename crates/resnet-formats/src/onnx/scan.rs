//! A walk over the bytes of a file before anything is decoded: protobuf lets two bytes stand for an
//! empty message of hundreds, so their number is bounded first.

use crate::error::FormatError;

/// Most messages and texts of a file: six times those of a 1,202-layer network.
const MOST_PARTS: u64 = 1 << 17;
/// Most bytes of integers in lists, where one may stand for eight.
const MOST_PACKED: u64 = 4 << 20;

/// A kind of message that holds others.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Value,
    Type,
    TensorType,
    Shape,
    Tensor,
    Leaf,
}

impl Kind {
    /// What stands in a field with a length.
    fn inside(self, field: u64) -> Option<Kind> {
        Some(match (self, field) {
            (Kind::Model, 7) => Kind::Graph,
            (Kind::Model, 8 | 14) => Kind::Leaf,
            (Kind::Graph, 1) => Kind::Node,
            (Kind::Graph, 5) => Kind::Tensor,
            (Kind::Graph, 11 | 12) => Kind::Value,
            (Kind::Node, 5) => Kind::Leaf,
            (Kind::Value, 2) => Kind::Type,
            (Kind::Type, 1) => Kind::TensorType,
            (Kind::TensorType, 2) => Kind::Shape,
            (Kind::Shape, 1) => Kind::Leaf,
            _ => return None,
        })
    }
}

/// Bytes not read yet, and what was counted.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    parts: &'a mut u64,
    packed: &'a mut u64,
}

/// Checks that a file's messages are well formed as far as they nest, and not too many.
pub(super) fn scan(bytes: &[u8]) -> Result<(), FormatError> {
    let (mut parts, mut packed) = (0, 0);
    let mut walk = Walk { bytes, at: 0, parts: &mut parts, packed: &mut packed };
    walk.message(bytes.len(), Kind::Model)
}

fn damaged(at: usize, expected: &str, found: String) -> FormatError {
    FormatError::Onnx {
        place: format!("byte {at}"),
        expected: expected.into(),
        found,
        advice: "the file is damaged or no ONNX model",
    }
}

impl Walk<'_> {
    /// Kinds nest without circles, so this recursion is as deep as they do.
    fn message(&mut self, end: usize, kind: Kind) -> Result<(), FormatError> {
        while self.at < end {
            let begin = self.at;
            let key = self.varint(end)?;
            let skip = match key & 7 {
                0 => {
                    self.varint(end)?;
                    // Numbers of a list that is not packed.
                    self.count_packed(1)?;
                    0
                }
                1 => 8,
                2 => self.varint(end)?,
                5 => 4,
                other => {
                    return Err(damaged(begin, "wire type 0, 1, 2 or 5", other.to_string()));
                }
            };
            let left = (end - self.at) as u64;
            if skip > left {
                let expected = format!("at most {left} bytes, where the message ends");
                return Err(damaged(begin, &expected, skip.to_string()));
            }
            if key & 7 == 2 {
                *self.parts += 1;
                if *self.parts > MOST_PARTS {
                    return Err(FormatError::Limit {
                        what: "messages and texts",
                        limit: MOST_PARTS,
                    });
                }
                if let Some(inside) = kind.inside(key >> 3) {
                    self.message(self.at + skip as usize, inside)?;
                    continue;
                }
                // In an array all but floats, raw numbers and its name are lists of integers; in a
                // setting all but texts.
                let list = match (kind, key >> 3) {
                    (Kind::Tensor, 4 | 8 | 9) => false,
                    (Kind::Tensor, _) => true,
                    (Kind::Leaf, 1 | 2 | 4) => false,
                    (Kind::Leaf, _) => true,
                    _ => false,
                };
                if list {
                    self.count_packed(skip)?;
                }
            }
            self.at += skip as usize;
        }
        Ok(())
    }

    fn count_packed(&mut self, bytes: u64) -> Result<(), FormatError> {
        *self.packed += bytes;
        if *self.packed > MOST_PACKED {
            return Err(FormatError::Limit {
                what: "bytes of integers in lists",
                limit: MOST_PACKED,
            });
        }
        Ok(())
    }

    fn varint(&mut self, end: usize) -> Result<u64, FormatError> {
        let begin = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            if self.at >= end {
                return Err(damaged(begin, "a number", "the end of its message".into()));
            }
            let byte = self.bytes[self.at];
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged(begin, "a number of at most 10 bytes", "more".into()))
    }
}
