//! JSON of strangers: never deeper than any request is, and into plain structures.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, SeqAccess, Visitor};

use crate::http::Refusal;

/// How deep lists and objects may lie in each other.
const DEPTH: usize = 16;

/// Reads a body.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    if depth(bytes) > DEPTH {
        return Err(Refusal::malformed(format!("the JSON is nested more than {DEPTH} deep")));
    }
    let read = serde_json::from_slice(bytes);
    read.map_err(|error| Refusal::malformed(format!("the body is not the JSON expected: {error}")))
}

/// How deep lists and objects lie in each other at most; looked at no further than is too deep.
fn depth(bytes: &[u8]) -> usize {
    let (mut now, mut most, mut quoted) = (0usize, 0, false);
    let mut bytes = bytes.iter();
    while let Some(byte) = bytes.next() {
        match (byte, quoted) {
            (b'"', _) => quoted = !quoted,
            (b'\\', true) => {
                bytes.next();
            }
            (b'[' | b'{', false) => {
                now += 1;
                most = most.max(now);
                if most > DEPTH {
                    return most;
                }
            }
            (b']' | b'}', false) => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// The `data` of a tensor: texts or numbers, in lists that may lie in each other, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Data {
    pub(crate) texts: Vec<String>,
    pub(crate) numbers: Vec<f32>,
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Data, D::Error> {
        let mut data = Data::default();
        deserializer.deserialize_any(Flat(&mut data))?;
        match data.texts.is_empty() || data.numbers.is_empty() {
            true => Ok(data),
            false => Err(D::Error::custom("`data` holds both texts and numbers")),
        }
    }
}

/// Takes whatever comes, and flattens lists.
struct Flat<'a>(&'a mut Data);

impl<'de> serde::de::DeserializeSeed<'de> for Flat<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Flat<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers or texts, or lists of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Flat(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.texts.push(text.to_owned());
        Ok(())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<(), E> {
        self.0.texts.push(text);
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.0.numbers.push(number as f32);
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.0.numbers.push(number as f32);
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.0.numbers.push(number as f32);
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Err(E::custom("`data` holds true or false, expected numbers or texts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_limited_before_anything_is_read() {
        let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(read::<Data>(nested(DEPTH).as_bytes()).unwrap().numbers, [1.0]);
        for n in [DEPTH + 1, 200_000] {
            let refused = read::<Data>(nested(n).as_bytes()).unwrap_err();
            assert_eq!(refused.status, 400);
            assert!(refused.message.contains("16 deep"), "{}", refused.message);
        }
        let refused = read::<Data>("[".repeat(200_000).as_bytes()).unwrap_err();
        assert!(refused.message.contains("16 deep"));
        // Brackets in texts are text.
        assert_eq!(depth(br#"["[[[\"[[","\\"]"#), 1);
    }

    #[test]
    fn lists_in_lists_are_rows() {
        let data: Data = read(b"[[1, 2.5], [[-3], []]]").unwrap();
        assert_eq!(data.numbers, [1.0, 2.5, -3.0]);
        assert_eq!(read::<Data>(b"[[\"a\"], \"b\"]").unwrap().texts, ["a", "b"]);
        for wrong in ["[1, \"a\"]", "[true]", "[null]", "[{}]", "[1e999]", "[NaN]", "{}", "[1"] {
            assert_eq!(read::<Data>(wrong.as_bytes()).unwrap_err().status, 400, "{wrong}");
        }
    }
}
