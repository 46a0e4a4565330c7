//! The first bytes of a picture file: its format, its size, whether its end is there. Nothing is
//! decoded, and nothing is allocated that a file could make large.
//!
//! Formats are told by content, never by the file's extension: JPEG (ITU T.81), PNG (W3C), WebP
//! (RFC 9649), GIF89a.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use image::ImageFormat;

/// Pixels of the largest picture that is decoded: 100 million, which is 300 MB of RGB.
pub const MAX_PIXELS: u64 = 100_000_000;
/// Bytes of the largest picture file that is read.
const MAX_FILE: u64 = 512 << 20;
/// Pixels of the longest side.
const MAX_SIDE: u32 = 65_535;
/// Chunks or segments before the picture itself.
const MAX_CHUNKS: usize = 10_000;

/// What a picture file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: ImageFormat,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Whether EXIF data may turn the picture on its side.
    pub(super) may_turn: bool,
}

/// Reads the header of a file of `length` bytes. An error is the reason why the file cannot be
/// used, to follow its name.
pub(super) fn read<R: Read + Seek>(file: R, length: u64) -> Result<Header, String> {
    if length == 0 {
        return Err("is empty (0 bytes)".to_string());
    }
    if length > MAX_FILE {
        return Err(format!("is too large a file ({length} bytes, at most {MAX_FILE} are read)"));
    }
    let mut reader = BufReader::with_capacity(4096, file);
    let header = parse(&mut reader, length).map_err(|error| match error {
        Fault::Reason(reason) => reason,
        Fault::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("is cut off: it ends within its header ({length} bytes)")
        }
        Fault::Io(error) => format!("cannot be read: {error}"),
    })?;
    let Header { width, height, .. } = header;
    if width == 0 || height == 0 {
        return Err(format!("declares {width} x {height} pixels: no picture"));
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS || width.max(height) > MAX_SIDE {
        return Err(format!(
            "declares {width} x {height} pixels; at most {MAX_PIXELS}, and {MAX_SIDE} a side, are decoded"
        ));
    }
    Ok(header)
}

enum Fault {
    Reason(String),
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error)
    }
}

fn reason<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Reason(text.into()))
}

fn parse<R: Read + Seek>(reader: &mut BufReader<R>, length: u64) -> Result<Header, Fault> {
    let mut start = [0; 12];
    let known = start.len().min(length as usize);
    reader.read_exact(&mut start[..known])?;
    reader.seek(SeekFrom::Start(0))?;
    match start {
        [0xff, 0xd8, 0xff, ..] => jpeg(reader, length),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => png(reader, length),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => gif(reader, length),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => webp(reader, length),
        _ => reason(match start {
            [b'B', b'M', ..] => "is a BMP picture; convert it to JPEG or PNG".to_string(),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => {
                "is a TIFF picture; convert it to JPEG or PNG".to_string()
            }
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => {
                "is a HEIC, AVIF or video file; convert it to JPEG or PNG".to_string()
            }
            _ => "is not a JPEG, PNG, WebP or GIF picture".to_string(),
        }),
    }
}

fn bytes<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn jpeg<R: Read + Seek>(reader: &mut BufReader<R>, length: u64) -> Result<Header, Fault> {
    let mut size = None;
    let mut may_turn = false;
    reader.seek_relative(2)?;
    for _ in 0..MAX_CHUNKS {
        while bytes::<1>(reader)? != [0xff] {} // decoders pass over stray bytes between segments
        let mut marker = 0xff;
        while marker == 0xff {
            [marker] = bytes(reader)?;
        }
        match marker {
            0x00 | 0x01 | 0xd0..=0xd8 => continue, // these have no length
            0xd9 => return reason("ends before any picture"),
            _ => {}
        }
        let segment = u16::from_be_bytes(bytes(reader)?);
        let Some(mut left) = i64::from(segment).checked_sub(2).filter(|&left| left >= 0) else {
            return reason(format!("has a segment of impossible length {segment}"));
        };
        match marker {
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) && left >= 5 => {
                let [_precision, height @ .., w1, w0] = bytes::<5>(reader)?;
                left -= 5;
                size = Some((u16::from_be_bytes([w1, w0]), u16::from_be_bytes(height)));
            }
            0xe1 if left >= 6 => {
                may_turn |= bytes(reader)? == *b"Exif\0\0";
                left -= 6;
            }
            0xda => {
                let Some((width, height)) = size else {
                    return reason("has no frame header before its picture");
                };
                if !ends_with_or_holds(reader, length, &[0xff, 0xd9])? {
                    return reason("is cut off: its end-of-image marker is missing");
                }
                return Ok(Header {
                    format: ImageFormat::Jpeg,
                    width: width.into(),
                    height: height.into(),
                    may_turn,
                });
            }
            _ => {}
        }
        reader.seek_relative(left)?;
    }
    reason("has too many segments before its picture")
}

fn png<R: Read + Seek>(reader: &mut BufReader<R>, length: u64) -> Result<Header, Fault> {
    const END: &[u8] = b"IEND\xae\x42\x60\x82";
    reader.seek_relative(8)?;
    let mut size = None;
    let mut may_turn = false;
    for _ in 0..MAX_CHUNKS {
        let left = u32::from_be_bytes(bytes(reader)?);
        match &bytes::<4>(reader)? {
            b"IHDR" if left == 13 => {
                size =
                    Some((u32::from_be_bytes(bytes(reader)?), u32::from_be_bytes(bytes(reader)?)));
                reader.seek_relative(5 + 4)?; // what is left of it, and its checksum
                continue;
            }
            b"eXIf" => may_turn = true,
            b"IDAT" => {
                let Some((width, height)) = size else {
                    return reason("has no IHDR chunk before its picture");
                };
                if !ends_with_or_holds(reader, length, END)? {
                    return reason("is cut off: its IEND chunk is missing");
                }
                return Ok(Header { format: ImageFormat::Png, width, height, may_turn });
            }
            _ if size.is_none() => return reason("has no IHDR chunk at its start"),
            _ => {}
        }
        reader.seek_relative(i64::from(left) + 4)?;
    }
    reason("has too many chunks before its picture")
}

fn gif<R: Read + Seek>(reader: &mut BufReader<R>, _: u64) -> Result<Header, Fault> {
    reader.seek_relative(6)?;
    let [w0, w1, h0, h1] = bytes(reader)?;
    Ok(Header {
        format: ImageFormat::Gif,
        width: u16::from_le_bytes([w0, w1]).into(),
        height: u16::from_le_bytes([h0, h1]).into(),
        may_turn: false,
    })
}

fn webp<R: Read + Seek>(reader: &mut BufReader<R>, length: u64) -> Result<Header, Fault> {
    reader.seek_relative(4)?;
    let declared = u64::from(u32::from_le_bytes(bytes(reader)?)) + 8;
    if declared > length {
        return reason(format!("is cut off: {length} of {declared} bytes are there"));
    }
    reader.seek_relative(4)?;
    let kind: [u8; 4] = bytes(reader)?;
    let [_, _, _, _, data @ ..] = bytes::<14>(reader)?; // the chunk's length, then its first ten bytes
    let (width, height, may_turn) = match &kind {
        b"VP8 " if data[3..6] == [0x9d, 0x01, 0x2a] => {
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            (side(data[6], data[7]), side(data[8], data[9]), false)
        }
        b"VP8L" if data[0] == 0x2f => {
            let bits = u32::from_le_bytes([data[1], data[2], data[3], data[4]]);
            ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1, false)
        }
        b"VP8X" => {
            let side =
                |at: usize| u32::from_le_bytes([data[at], data[at + 1], data[at + 2], 0]) + 1;
            (side(4), side(7), data[0] & 0x08 != 0)
        }
        _ => return reason("is a WebP file without a picture at its start"),
    };
    Ok(Header { format: ImageFormat::WebP, width, height, may_turn })
}

/// Whether a file ends with `mark`, as nearly all do, or holds it anywhere from here on. Bytes may
/// follow the end of a picture, so only a file without the mark is cut off. The entropy-coded data
/// of a JPEG cannot hold its mark.
fn ends_with_or_holds<R: Read + Seek>(
    reader: &mut BufReader<R>,
    length: u64,
    mark: &[u8],
) -> io::Result<bool> {
    let here = reader.stream_position()?;
    let end = length.saturating_sub(mark.len() as u64).max(here);
    reader.seek(SeekFrom::Start(end))?;
    let mut tail = Vec::with_capacity(mark.len());
    reader.by_ref().take(mark.len() as u64).read_to_end(&mut tail)?;
    if tail == mark {
        return Ok(true);
    }
    reader.seek(SeekFrom::Start(here))?;
    let mut matched = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        for &byte in buffer {
            // Neither mark's first byte comes again inside it, so a failed match starts over at
            // most one byte back.
            matched =
                if byte == mark[matched] { matched + 1 } else { usize::from(byte == mark[0]) };
            if matched == mark.len() {
                return Ok(true);
            }
        }
        let used = buffer.len();
        reader.consume(used);
    }
}
