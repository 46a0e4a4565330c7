//! TensorBoard's event files: records of scalars over steps, written one after another.
//!
//! A file is a TFRecord file: of each record its length (u64, little endian), the length's
//! checksum, the bytes, their checksum, both masked CRC-32C (tensorflow/core/lib/io/record_writer.h
//! and lib/hash/crc32c.h). The bytes are an `Event` of tensorflow/core/util/event.proto; the first
//! names the version.

use std::io::{self, Write};

use prost::Message;

/// `tensorflow.Event`, as far as it is written.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// `tensorflow.Summary.Value` of a scalar.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// Writes an event file.
pub struct Writer<'a> {
    to: &'a mut dyn Write,
}

impl<'a> Writer<'a> {
    /// Begins a file that was made at `wall_time`, in seconds since 1970.
    ///
    /// # Errors
    /// The bytes cannot be written.
    pub fn new(to: &'a mut dyn Write, wall_time: f64) -> io::Result<Writer<'a>> {
        let mut writer = Writer { to };
        let file_version = Some("brain.Event:2".into());
        writer.record(&Event { wall_time, file_version, ..Event::default() })?;
        Ok(writer)
    }

    /// Scalars of one step. TensorBoard groups tags by what stands before their slash.
    ///
    /// # Errors
    /// The bytes cannot be written.
    pub fn scalars<'b>(
        &mut self,
        wall_time: f64,
        step: u64,
        values: impl IntoIterator<Item = (&'b str, f64)>,
    ) -> io::Result<()> {
        let value = |(tag, value): (&str, f64)| Value {
            tag: tag.to_owned(),
            simple_value: Some(value as f32),
        };
        let summary = Some(Summary { value: values.into_iter().map(value).collect() });
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        self.record(&Event { wall_time, step, summary, ..Event::default() })
    }

    fn record(&mut self, event: &Event) -> io::Result<()> {
        let bytes = event.encode_to_vec();
        let length = (bytes.len() as u64).to_le_bytes();
        self.to.write_all(&length)?;
        self.to.write_all(&masked(&length).to_le_bytes())?;
        self.to.write_all(&bytes)?;
        self.to.write_all(&masked(&bytes).to_le_bytes())
    }
}

/// The checksum as it is stored: rotated and moved, so that a checksum of bytes that hold
/// checksums is no trivial one.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |crc: u32, &byte: &u8| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
    !bytes.iter().fold(!0, step)
}

const fn table() -> [u32; 256] {
    const POLYNOMIAL: u32 = 0x82f6_3b78; // reflected
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{Event, Message, Writer, crc32c, masked};

    #[test]
    fn checksums_are_those_of_the_rfc() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn records_are_framed_and_read_back() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, 1.5).unwrap();
        writer.scalars(2.5, 7, [("train/loss", 0.25), ("train/lr", f64::NAN)]).unwrap();
        let mut rest = &bytes[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let checksum = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            assert_eq!(checksum(8), masked(&rest[..8]));
            assert_eq!(checksum(12 + length), masked(&rest[12..12 + length]));
            events.push(Event::decode(&rest[12..12 + length]).unwrap());
            rest = &rest[16 + length..];
        }
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!((events[1].step, events[1].wall_time), (7, 2.5));
        let values = &events[1].summary.as_ref().unwrap().value;
        assert_eq!((values[0].tag.as_str(), values[0].simple_value), ("train/loss", Some(0.25)));
        assert!(values[1].simple_value.unwrap().is_nan());
    }
}
