//! The first bytes of a picture file: its format, its size, whether its end is there. Nothing is
//! decoded, and nothing is allocated that a file could make large.
//!
//! Formats are told by content, never by the file's extension: JPEG (ITU T.81), PNG (W3C), WebP
//! (RFC 9649), GIF89a here, BMP, TIFF 6.0 and PNM in `header/plain.rs`; `header/strangers.rs` names
//! the files that are none of these.

mod plain;
mod strangers;

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::OnceLock;

use image::ImageFormat;

use super::DataError;
use super::error::was_changed;

/// Pixels of the largest picture that is decoded where nothing else was asked for: 2^27, more than
/// a telephone's 108 million; 400 MB of RGB.
const MAX_PIXELS: u64 = 1 << 27;
/// The variable of the environment that asks for another number.
const MAX_PIXELS_VARIABLE: &str = "RESNET_MAX_PIXELS";
/// Most that may be asked for: the sides are below 2^16.
const MOST_PIXELS: u64 = 1 << 32;
/// So many pixels any file may declare: 1 million, which cost little.
const FREE_PIXELS: u64 = 1 << 20;
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
    /// Whether it is a sequential JPEG whose colours come one after another, in scans of their own.
    pub(super) separate_scans: bool,
}

/// Pixels of the largest picture that is decoded: 2^27, or what the variable `RESNET_MAX_PIXELS` of
/// the environment says.
pub fn max_pixels() -> u64 {
    static ASKED: OnceLock<u64> = OnceLock::new();
    *ASKED.get_or_init(|| most_pixels(std::env::var(MAX_PIXELS_VARIABLE).ok().as_deref()))
}

/// The number that a text asks for; a text that is none asks for nothing.
fn most_pixels(asked: Option<&str>) -> u64 {
    let asked = asked.and_then(|text| text.trim().replace('_', "").parse().ok());
    asked.filter(|pixels| *pixels > 0).unwrap_or(MAX_PIXELS).min(MOST_PIXELS)
}

/// Most pixels that one byte of a file can stand for. A format's own limit where it has one: the
/// shortest codes of JPEG are a bit for 64 samples, PNG's deflate makes 1,032 bytes of one, GIF's
/// longest codes stand for 4,096 pixels. WebP and TIFF know pictures of one colour that take no
/// bytes at all; what is beyond this number in them is no photograph.
fn pixels_a_byte(format: ImageFormat) -> u64 {
    match format {
        ImageFormat::Jpeg => 1024,
        ImageFormat::Png => 8 * 1032,
        ImageFormat::Gif => 4096,
        ImageFormat::Bmp => 128,
        ImageFormat::Pnm => 8,
        _ => 1 << 16,
    }
}

impl Header {
    fn of(format: ImageFormat, width: u32, height: u32, may_turn: bool) -> Header {
        Header { format, width, height, may_turn, separate_scans: false }
    }
}

/// Whether a file's name says that it is a picture of a format that is read.
pub(super) fn is_named(file: &Path) -> bool {
    ImageFormat::from_path(file).is_ok_and(|format| format.reading_enabled())
}

/// Refuses a file of so many bytes, if a picture's has not.
pub(super) fn check_length(length: u64) -> Result<(), Fault> {
    match length {
        0 => reason("is empty (0 bytes)"),
        1..=MAX_FILE => Ok(()),
        _ => {
            too_large(format!("is too large a file ({length} bytes, at most {MAX_FILE} are read)"))
        }
    }
}

/// Reads the header of a file of `length` bytes, whose picture may have `most` pixels.
pub(super) fn read<R: Read + Seek>(file: R, length: u64, most: u64) -> Result<Header, Fault> {
    check_length(length)?;
    let mut reader = BufReader::with_capacity(4096, file);
    let header = parse(&mut reader, length).map_err(|error| match error {
        Fault::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Fault::Reason(format!("is cut off: it ends within its header ({length} bytes)"))
        }
        error => error,
    })?;
    let Header { width, height, .. } = header;
    if width == 0 || height == 0 {
        return reason(format!("declares {width} x {height} pixels: no picture"));
    }
    let pixels = u64::from(width) * u64::from(height);
    if width.max(height) > MAX_SIDE {
        return too_large(format!(
            "declares {width} x {height} pixels; at most {MAX_SIDE} a side are decoded"
        ));
    }
    if pixels > most {
        let hint = match most == max_pixels() {
            true => {
                format!("; to read it, set the environment's {MAX_PIXELS_VARIABLE} to {pixels}")
            }
            false => String::new(),
        };
        return too_large(format!(
            "declares {width} x {height} pixels; at most {most} are decoded{hint}"
        ));
    }
    if pixels > FREE_PIXELS.max(length.saturating_mul(pixels_a_byte(header.format))) {
        return reason(format!(
            "declares {width} x {height} pixels, which its {length} bytes cannot hold; it is \
             damaged, or made to fill the memory"
        ));
    }
    Ok(header)
}

/// Why a picture file cannot be used.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is of a format that is not read; the text follows its name.
    Format(String),
    /// It is larger than what is read.
    TooLarge(String),
    /// What else is wrong in it.
    Reason(String),
    /// It is no longer what it was when it was indexed.
    Changed,
    /// The system did not read it.
    Io(io::Error),
}

impl Fault {
    /// A text that follows the file's name.
    pub(super) fn text(self) -> String {
        match self {
            Fault::Format(text) | Fault::TooLarge(text) | Fault::Reason(text) => text,
            Fault::Changed => "was changed since it was indexed".into(),
            Fault::Io(error) => format!("cannot be read: {error}"),
        }
    }

    /// The error of a file.
    pub(super) fn of(self, file: &Path) -> DataError {
        match self {
            Fault::Io(error) => DataError::io(file, error),
            Fault::Changed => DataError::Changed { file: file.to_owned() },
            other => DataError::Picture { file: file.to_owned(), reason: other.text() },
        }
    }
}

impl From<String> for Fault {
    fn from(reason: String) -> Fault {
        Fault::Reason(reason)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        if was_changed(&error) { Fault::Changed } else { Fault::Io(error) }
    }
}

fn reason<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Reason(text.into()))
}

fn too_large<T>(text: String) -> Result<T, Fault> {
    Err(Fault::TooLarge(text))
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
        [b'B', b'M', ..] => plain::bmp(reader),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => plain::tiff(reader),
        [b'P', b'1'..=b'6', b' ' | b'\t' | b'\r' | b'\n' | b'#', ..] => plain::pnm(reader),
        _ => Err(Fault::Format(strangers::name(&start))),
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
    let mut sequential = false;
    let mut components = 0;
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
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) && left >= 6 => {
                let [precision, height @ .., w1, w0] = bytes::<5>(reader)?;
                [components] = bytes(reader)?;
                left -= 6;
                if let Some(text) = strangers::jpeg(marker, precision) {
                    return Err(Fault::Format(text));
                }
                sequential = marker != 0xc2;
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
                let [of_scan] = bytes(reader)?;
                if !ends_with_or_holds(reader, length, &[0xff, 0xd9])? {
                    return reason("is cut off: its end-of-image marker is missing");
                }
                return Ok(Header {
                    format: ImageFormat::Jpeg,
                    width: width.into(),
                    height: height.into(),
                    may_turn,
                    separate_scans: sequential && of_scan < components,
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
                return Ok(Header::of(ImageFormat::Png, width, height, may_turn));
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
    let side = |low, high| u16::from_le_bytes([low, high]).into();
    Ok(Header::of(ImageFormat::Gif, side(w0, w1), side(h0, h1), false))
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
    Ok(Header::of(ImageFormat::WebP, width, height, may_turn))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_pixels_is_the_users() {
        assert!(most_pixels(None) > 12_000 * 9_000, "a telephone's picture");
        for (text, expected) in
            [("5", 5), ("200_000_000", 200_000_000), ("0", MAX_PIXELS), ("many", MAX_PIXELS)]
        {
            assert_eq!(most_pixels(Some(text)), expected, "{text}");
        }
        assert_eq!(most_pixels(Some("18446744073709551615")), MOST_PIXELS);
    }
}
