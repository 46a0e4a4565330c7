//! Picture files, decoded: JPEG, PNG, WebP and GIF to RGB.
//!
//! EXIF orientation is applied, so that pictures stand upright. Grey becomes equal red, green and
//! blue, CMYK is converted, 16 bits become 8, transparency is laid over white, and of an animation
//! the first frame counts.

use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use super::header::{self, Header};
use super::{DataError, Image};

pub use super::header::MAX_PIXELS;

/// What one decoder may allocate: 100 million pixels of 16-bit RGBA and room to work in.
const MAX_ALLOCATION: u64 = 1 << 30;

/// Decodes the picture in `file` into `image`, as RGB.
///
/// # Errors
/// The file cannot be read, is empty, of another format, damaged, cut off, or declares more than
/// [`MAX_PIXELS`]; the size is checked before anything is decoded.
pub fn read_picture(file: &Path, image: &mut Image) -> Result<(), DataError> {
    decode(file, image).map_err(|reason| DataError::Picture { file: file.to_path_buf(), reason })
}

/// Reads the header of `file`; an error is the reason why the file cannot be used.
pub(super) fn read_header(file: &Path) -> Result<Header, String> {
    open(file).map(|(header, _, _)| header)
}

/// The bytes of a picture file; an error is the reason why it cannot be used.
pub(super) fn read_bytes(file: &Path) -> Result<Vec<u8>, String> {
    let (_, opened, length) = open(file)?;
    read_opened(opened, length)
}

fn read_opened(opened: File, length: u64) -> Result<Vec<u8>, String> {
    let mut packed = Vec::with_capacity(length as usize);
    let read = opened.take(length).read_to_end(&mut packed);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    Ok(packed)
}

/// Decodes a picture in memory, such as one that came through a pipe, into `image`, as RGB.
///
/// # Errors
/// As [`read_picture`]; the message calls it `name`.
pub fn decode_picture(name: &str, packed: &[u8], image: &mut Image) -> Result<(), DataError> {
    let header = header::read(&mut Cursor::new(packed), packed.len() as u64);
    let decoded = header.and_then(|header| decode_into(packed, header, image));
    decoded.map_err(|reason| DataError::Picture { file: name.into(), reason })
}

fn open(file: &Path) -> Result<(Header, File, u64), String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    // A pipe would wait for ever when opened, so what is not a plain file is refused by its
    // metadata.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err("is not a file".to_string());
    }
    let mut opened = File::open(file).map_err(failed)?;
    let header = header::read(&mut opened, metadata.len())?;
    opened.rewind().map_err(failed)?;
    Ok((header, opened, metadata.len()))
}

fn decode(file: &Path, image: &mut Image) -> Result<(), String> {
    let (header, opened, length) = open(file)?;
    decode_into(&read_opened(opened, length)?, header, image)
}

fn decode_into(packed: &[u8], header: Header, image: &mut Image) -> Result<(), String> {
    // Decoders are to return errors, but a panic inside one must not end the program either.
    let decoded = catch_unwind(AssertUnwindSafe(|| decode_bytes(packed, header)))
        .unwrap_or_else(|_| Err("is damaged: its decoder panicked".to_string()))?;
    (image.width, image.height) = (decoded.width() as usize, decoded.height() as usize);
    image.channels = 3;
    image.pixels = to_rgb(decoded);
    Ok(())
}

fn decode_bytes(packed: &[u8], header: Header) -> Result<DynamicImage, String> {
    let damaged = |error: image::ImageError| format!("is damaged: {error}");
    let mut reader = ImageReader::with_format(Cursor::new(packed), header.format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(header.width);
    limits.max_image_height = Some(header.height);
    limits.max_alloc = Some(MAX_ALLOCATION);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    decoded.apply_orientation(orientation);
    Ok(decoded)
}

fn to_rgb(decoded: DynamicImage) -> Vec<u8> {
    if !decoded.color().has_alpha() {
        return decoded.into_rgb8().into_raw();
    }
    let rgba = decoded.into_rgba8().into_raw();
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for pixel in rgba.chunks_exact(4) {
        let alpha = u32::from(pixel[3]);
        let over_white = |v: u8| ((u32::from(v) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        rgb.extend(pixel[..3].iter().map(|&v| over_white(v)));
    }
    rgb
}

#[cfg(test)]
mod tests;
