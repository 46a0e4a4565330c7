//! The headers of BMP, TIFF and PNM pictures.

use std::io::{BufReader, Read, Seek, SeekFrom};

use image::ImageFormat;

use super::{Fault, Header, bytes, reason};

/// Entries in a TIFF's directory that are looked at, and bytes of a PNM's header.
const MOST: usize = 4096;

pub(super) fn bmp<R: Read + Seek>(reader: &mut BufReader<R>) -> Result<Header, Fault> {
    reader.seek_relative(14)?;
    let (width, height) = match u32::from_le_bytes(bytes(reader)?) {
        12 => {
            let [w0, w1, h0, h1] = bytes(reader)?;
            (u16::from_le_bytes([w0, w1]).into(), u16::from_le_bytes([h0, h1]).into())
        }
        16..=1024 => {
            let width = i32::from_le_bytes(bytes(reader)?);
            // A negative height says that rows come from the top.
            let height = i32::from_le_bytes(bytes(reader)?).unsigned_abs();
            (u32::try_from(width).unwrap_or(0), height)
        }
        other => return reason(format!("is a BMP picture with a header of {other} bytes")),
    };
    Ok(Header::of(ImageFormat::Bmp, width, height, false))
}

/// The first picture of the file; tags by TIFF 6.0, and of TIFF/EP and DNG what tells a camera's
/// raw picture, whose first directory holds a thumbnail.
pub(super) fn tiff<R: Read + Seek>(reader: &mut BufReader<R>) -> Result<Header, Fault> {
    const KIND: u16 = 254;
    const WIDTH: u16 = 256;
    const HEIGHT: u16 = 257;
    const ORIENTATION: u16 = 274;
    const DNG: u16 = 50706;
    let start: [u8; 12] = bytes(reader)?;
    let little = start[0] == b'I';
    let short = |b: [u8; 2]| if little { u16::from_le_bytes(b) } else { u16::from_be_bytes(b) };
    let long = |b: [u8; 4]| if little { u32::from_le_bytes(b) } else { u32::from_be_bytes(b) };
    let raw = || reason("is a camera's raw picture, which is not read; convert it to JPEG");
    if start[8..10] == *b"CR" {
        return raw();
    }
    reader.seek(SeekFrom::Start(long([start[4], start[5], start[6], start[7]]).into()))?;
    let entries = short(bytes(reader)?);
    let (mut width, mut height, mut may_turn) = (0, 0, false);
    for _ in 0..usize::from(entries).min(MOST) {
        let tag = short(bytes(reader)?);
        let kind = short(bytes(reader)?);
        let [_, _, _, _, value @ ..] = bytes::<8>(reader)?;
        // A short stands at the front of its four bytes.
        let value = match kind {
            3 => short([value[0], value[1]]).into(),
            _ => long(value),
        };
        match tag {
            WIDTH => width = value,
            HEIGHT => height = value,
            ORIENTATION => may_turn = value > 4,
            DNG => return raw(),
            KIND if value & 1 == 1 => return raw(),
            _ => {}
        }
    }
    Ok(Header::of(ImageFormat::Tiff, width, height, may_turn))
}

pub(super) fn pnm<R: Read + Seek>(reader: &mut BufReader<R>) -> Result<Header, Fault> {
    reader.seek_relative(2)?;
    let mut sides = Vec::new();
    let (mut number, mut comment) = (None, false);
    for _ in 0..MOST {
        let [byte] = bytes(reader)?;
        match byte {
            b'\n' | b'\r' if comment => comment = false,
            _ if comment => {}
            b'0'..=b'9' => {
                let digit = u32::from(byte - b'0');
                number = Some(number.unwrap_or(0u32).saturating_mul(10).saturating_add(digit));
            }
            b' ' | b'\t' | b'\r' | b'\n' | b'#' => {
                sides.extend(number.take());
                comment = byte == b'#';
                if let [width, height] = sides[..] {
                    return Ok(Header::of(ImageFormat::Pnm, width, height, false));
                }
            }
            _ => break,
        }
    }
    reason("is a PNM picture without its size")
}
