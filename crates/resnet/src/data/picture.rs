//! Picture files, decoded: JPEG, PNG, WebP, GIF, BMP, TIFF and PNM to RGB.
//!
//! EXIF orientation is applied, so that pictures stand upright. Grey becomes equal red, green and
//! blue, CMYK is converted, 16 bits become 8, transparency is laid over white, and of an animation
//! or of several pages the first counts.
//!
//! The decoders are those of `image`, but for plain JPEGs (`baseline`), and for those whose colours
//! come in scans of their own: its decoder takes them for one scan and gives garbage without an
//! error, so `jpeg-decoder` has them.

mod baseline;

use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, Limits, RgbImage};
use jpeg_decoder::PixelFormat;

use super::header::{self, Fault, Header};
use super::{Area, DataError, Image, Part};

pub use super::header::max_pixels;

/// What one decoder may allocate for each pixel: 16-bit RGBA, and as much again to work in.
const BYTES_A_PIXEL: u64 = 16;
/// And besides, whatever the picture.
const FREE_BYTES: u64 = 64 << 20;

/// Decodes the picture in `file` into `image`, as RGB.
///
/// # Errors
/// The file cannot be read, is empty, of another format, damaged, cut off, or declares more than
/// [`max_pixels`] or than its bytes can hold; the size is checked before anything is decoded.
pub fn read_picture(file: &Path, image: &mut Image) -> Result<(), DataError> {
    read_picture_part(file, &all, image).map(|_| ())
}

/// The same of at least the rows and columns that `wanted` makes of the upright picture's height
/// and width; says what `image` then holds. All of it is decoded where nothing less is less work.
///
/// # Errors
/// As [`read_picture`]; damage below the part may go unseen.
pub fn read_picture_part(
    file: &Path,
    wanted: &dyn Fn(usize, usize) -> Area,
    image: &mut Image,
) -> Result<Part, DataError> {
    let (header, opened, length) = open(file).map_err(|fault| fault.of(file))?;
    let packed = read_opened(opened, length).map_err(|fault| fault.of(file))?;
    decode_into(&packed, header, wanted, image).map_err(|reason| Fault::Reason(reason).of(file))
}

/// Wants all of a picture.
pub(super) fn all(height: usize, width: usize) -> Area {
    (0..height, 0..width)
}

fn read_opened(opened: File, length: u64) -> Result<Vec<u8>, Fault> {
    let mut packed = Vec::with_capacity(length as usize);
    opened.take(length).read_to_end(&mut packed)?;
    Ok(packed)
}

/// Decodes a picture in memory, such as one that came through a pipe, into `image`, as RGB.
///
/// # Errors
/// As [`read_picture`]; the message calls it `name`.
pub fn decode_picture(name: &str, packed: &[u8], image: &mut Image) -> Result<(), DataError> {
    let decoded = Packed::open(packed, max_pixels()).and_then(|packed| packed.decode(image));
    decoded.map_err(|fault| DataError::Picture { file: name.into(), reason: fault.to_string() })
}

/// A picture in memory whose header has been read.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    bytes: &'a [u8],
    header: Header,
}

/// Why a picture in memory is not read; the texts follow its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureFault {
    /// Its format is not read.
    #[error("{0}")]
    Format(String),
    /// It is larger than what is read.
    #[error("{0}")]
    TooLarge(String),
    /// It is damaged, cut off or empty.
    #[error("{0}")]
    Damaged(String),
}

impl From<Fault> for PictureFault {
    fn from(fault: Fault) -> PictureFault {
        match fault {
            Fault::Format(text) => PictureFault::Format(text),
            Fault::TooLarge(text) => PictureFault::TooLarge(text),
            other => PictureFault::Damaged(other.text()),
        }
    }
}

impl<'a> Packed<'a> {
    /// Reads the header of a picture that may have `most` pixels.
    ///
    /// # Errors
    /// It is empty, of another format, larger, cut off, or declares more than its bytes can hold.
    pub fn open(bytes: &'a [u8], most: u64) -> Result<Packed<'a>, PictureFault> {
        let header = header::read(&mut Cursor::new(bytes), bytes.len() as u64, most)?;
        Ok(Packed { bytes, header })
    }

    /// Its pixels.
    pub fn pixels(&self) -> u64 {
        u64::from(self.header.width) * u64::from(self.header.height)
    }

    /// Decodes it into `image`, as RGB.
    ///
    /// # Errors
    /// It is damaged.
    pub fn decode(self, image: &mut Image) -> Result<(), PictureFault> {
        self.decode_part(&all, image).map(|_| ())
    }

    /// Decodes at least the rows and columns that `wanted` makes of the upright picture's height
    /// and width; says what `image` then holds.
    ///
    /// # Errors
    /// It is damaged.
    pub fn decode_part(
        self,
        wanted: &dyn Fn(usize, usize) -> Area,
        image: &mut Image,
    ) -> Result<Part, PictureFault> {
        decode_into(self.bytes, self.header, wanted, image).map_err(PictureFault::Damaged)
    }
}

fn open(file: &Path) -> Result<(Header, File, u64), Fault> {
    // A pipe would wait for ever when opened, so what is not a plain file is refused by its
    // metadata.
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Fault::Reason("is not a file".to_string()));
    }
    let mut opened = File::open(file)?;
    let header = header::read(&mut opened, metadata.len(), max_pixels())?;
    opened.rewind()?;
    Ok((header, opened, metadata.len()))
}

fn decode_into(
    packed: &[u8],
    header: Header,
    wanted: &dyn Fn(usize, usize) -> Area,
    image: &mut Image,
) -> Result<Part, String> {
    if let Some(part) = baseline::decode(packed, header, wanted, image) {
        return Ok(part);
    }
    // What a declined try took, the next decoder takes again.
    image.pixels = Vec::new();
    // Decoders are to return errors, but a panic inside one must not end the program either.
    let decoded = catch_unwind(AssertUnwindSafe(|| decode_bytes(packed, header)))
        .unwrap_or_else(|_| Err("is damaged: its decoder panicked".to_string()))?;
    (image.width, image.height) = (decoded.width() as usize, decoded.height() as usize);
    image.channels = 3;
    image.pixels = to_rgb(decoded);
    Ok(Part::whole(image))
}

fn reader(packed: &[u8], header: Header) -> ImageReader<Cursor<&[u8]>> {
    let mut reader = ImageReader::with_format(Cursor::new(packed), header.format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(header.width);
    limits.max_image_height = Some(header.height);
    let pixels = u64::from(header.width) * u64::from(header.height);
    limits.max_alloc = Some(FREE_BYTES + BYTES_A_PIXEL * pixels);
    reader.limits(limits);
    reader
}

fn decode_bytes(packed: &[u8], header: Header) -> Result<DynamicImage, String> {
    let damaged = |error: image::ImageError| format!("is damaged: {error}");
    let mut decoder = reader(packed, header).into_decoder().map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut decoded = match header.separate_scans {
        true => decode_scans(packed, header)?,
        false => DynamicImage::from_decoder(decoder).map_err(damaged)?,
    };
    if matches!(decoded, DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_)) {
        return Err("holds 32-bit floats, which mean no colours; convert it to 8 bits".into());
    }
    decoded.apply_orientation(orientation);
    Ok(decoded)
}

/// A sequential JPEG whose colours come one after another.
fn decode_scans(packed: &[u8], header: Header) -> Result<DynamicImage, String> {
    let mut decoder = jpeg_decoder::Decoder::new(packed);
    let pixels = header.width as usize * header.height as usize;
    decoder.set_max_decoding_buffer_size(pixels * 4);
    let bytes = decoder.decode().map_err(|error| format!("is damaged: {error}"))?;
    let (width, height) = (header.width, header.height);
    let decoded = match decoder.info().map(|info| info.pixel_format) {
        Some(PixelFormat::RGB24) => {
            RgbImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8)
        }
        Some(PixelFormat::L8) => {
            GrayImage::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8)
        }
        _ => {
            return Err("is a JPEG of four colours in scans of their own, which is not read; \
                        convert it to a usual JPEG or PNG"
                .into());
        }
    };
    decoded.ok_or_else(|| "is damaged: its picture is of another size".into())
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
