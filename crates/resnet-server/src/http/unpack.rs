//! Bodies that came compressed. The limit counts what comes out, so a small body that grows without
//! end is refused as early as a large one.

use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use hyper::body::Bytes;

use super::Refusal;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Plain,
    Gzip,
    Deflate,
}

impl Coding {
    /// What a `Content-Encoding` says.
    pub(crate) fn parse(text: &str) -> Result<Coding, Refusal> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Coding::Plain),
            "gzip" | "x-gzip" => Ok(Coding::Gzip),
            "deflate" => Ok(Coding::Deflate),
            other => Err(Refusal::format(format!(
                "the body is encoded as `{other}`; expected gzip, deflate or none"
            ))),
        }
    }
}

/// What is larger than this is unpacked on a thread of its own.
const QUICK: usize = 64 << 10;

/// The bytes of a body, at most `most` of them.
///
/// # Errors
/// There are more, or they are damaged.
pub(super) async fn unpacked(packed: Bytes, coding: Coding, most: usize) -> Result<Bytes, Refusal> {
    if packed.len() <= QUICK && most <= QUICK {
        return Ok(unpack(&packed, coding, most)?.into());
    }
    let unpacked = tokio::task::spawn_blocking(move || unpack(&packed, coding, most)).await;
    Ok(unpacked.map_err(|_| Refusal::fault("decompressing ended early"))??.into())
}

fn unpack(packed: &[u8], coding: Coding, most: usize) -> Result<Vec<u8>, Refusal> {
    match coding {
        Coding::Plain => Ok(packed.to_vec()),
        Coding::Gzip => read(GzDecoder::new(packed), most),
        // Either form is sent under this name; the first bytes of zlib's say so (RFC 1950).
        Coding::Deflate => match packed {
            [a, b, ..] if a & 0x0f == 8 && u16::from_be_bytes([*a, *b]).is_multiple_of(31) => {
                read(ZlibDecoder::new(packed), most)
            }
            _ => read(DeflateDecoder::new(packed), most),
        },
    }
}

fn read(from: impl Read, most: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let read = from.take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Refusal::malformed(format!("the compressed body is damaged: {error}")))?;
    match bytes.len() > most {
        true => Err(Refusal::too_large(format!(
            "the body holds more than {most} bytes once it is decompressed"
        ))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    #[test]
    fn every_coding_comes_out_and_none_grows_past_the_limit() {
        let plain = vec![7u8; 100_000];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::best());
        for out in [&mut gzip as &mut dyn Write, &mut zlib, &mut raw] {
            out.write_all(&plain).unwrap();
        }
        let cases = [
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, raw.finish().unwrap()),
        ];
        for (coding, packed) in cases {
            assert!(packed.len() < 1000);
            assert_eq!(unpack(&packed, coding, plain.len()).unwrap(), plain, "{coding:?}");
            let refused = unpack(&packed, coding, plain.len() - 1).unwrap_err();
            assert_eq!(refused.status, 413, "{coding:?}");
            let cut = unpack(&packed[..packed.len() / 2], coding, plain.len());
            assert_eq!(cut.unwrap_err().status, 400, "{coding:?}");
        }
    }

    #[test]
    fn other_codings_are_named() {
        assert_eq!(Coding::parse("br").unwrap_err().status, 415);
        assert_eq!(Coding::parse(" GZIP ").unwrap(), Coding::Gzip);
    }
}
