//! Pictures inside the file: PNG as a `data:` address.

use image::imageops::{FilterType, resize};
use image::{
    DynamicImage, ExtendedColorType, GrayImage, ImageEncoder, RgbImage, codecs::jpeg::JpegEncoder,
    codecs::png::PngEncoder,
};

/// Sides beyond this many pixels are scaled down, so that a report of photos stays small.
pub const LARGEST_SIDE: u32 = 160;

/// Of photos as JPEG, from 1 to 100.
const QUALITY: u8 = 85;

/// What is wrong with a picture.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PictureError {
    /// Neither grey nor colour.
    #[error("a picture has 1 or 3 channels, this one has {0}")]
    Channels(usize),
    /// The pixels are not as many as the size says.
    #[error("{width}x{height} pixels of {channels} channels are {expected} bytes, found {found}")]
    Length {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Channels.
        channels: usize,
        /// Bytes expected.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// No pixels, or more than a PNG holds.
    #[error("{width}x{height} is not the size of a picture")]
    Size {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
}

/// A picture of `height` x `width` x `channels` bytes (rows of pixels, 1 grey or 3 colour channels)
/// as the address of an `img`, and the size of what is stored there, which is smaller for large
/// pictures.
///
/// # Errors
/// If the size and the bytes do not fit.
pub fn data_uri(
    width: usize,
    height: usize,
    channels: usize,
    pixels: &[u8],
) -> Result<(String, u32, u32), PictureError> {
    let size = PictureError::Size { width, height };
    if !matches!(channels, 1 | 3) {
        return Err(PictureError::Channels(channels));
    }
    let (Ok(w), Ok(h)) = (u32::try_from(width), u32::try_from(height)) else {
        return Err(size);
    };
    let Some(expected) = width.checked_mul(height).and_then(|n| n.checked_mul(channels)) else {
        return Err(size);
    };
    if expected == 0 {
        return Err(size);
    }
    if pixels.len() != expected {
        return Err(PictureError::Length {
            width,
            height,
            channels,
            expected,
            found: pixels.len(),
        });
    }
    let picture = match channels {
        1 => GrayImage::from_raw(w, h, pixels.to_vec()).map(DynamicImage::ImageLuma8),
        _ => RgbImage::from_raw(w, h, pixels.to_vec()).map(DynamicImage::ImageRgb8),
    };
    let Some(mut picture) = picture else {
        return Err(size);
    };
    let longest = w.max(h);
    if longest > LARGEST_SIDE {
        let scaled = |side: u32| {
            (u64::from(side) * u64::from(LARGEST_SIDE) / u64::from(longest)).max(1) as u32
        };
        picture = match picture {
            DynamicImage::ImageLuma8(grey) => {
                resize(&grey, scaled(w), scaled(h), FilterType::Triangle).into()
            }
            other => resize(&other.into_rgb8(), scaled(w), scaled(h), FilterType::Triangle).into(),
        };
    }
    let (w, h) = (picture.width(), picture.height());
    let png = encode(w, h, channels, picture.as_bytes()).ok_or(size)?;
    Ok((format!("data:image/png;base64,{}", base64(&png)), w, h))
}

/// A photo as the address of an `img`, its longer side at most `side` pixels, and its size there:
/// as JPEG, which takes a sixth of the bytes, unless it is so small that it is kept pixel by pixel.
/// `None` if size and bytes do not fit.
pub fn photo_uri(
    width: usize,
    height: usize,
    channels: usize,
    pixels: &[u8],
    side: u32,
) -> Option<(String, u32, u32)> {
    let rgb = match channels {
        1 => pixels.iter().flat_map(|&v| [v; 3]).collect(),
        3 => pixels.to_vec(),
        _ => return None,
    };
    let (w, h) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let picture = RgbImage::from_raw(w, h, rgb).filter(|_| w > 0 && h > 0)?;
    let longest = w.max(h);
    // Whole multiples keep the pixels of small pictures square.
    if longest * 2 <= side {
        let times = side / longest;
        let png = encode(w, h, 3, picture.as_raw())?;
        return Some((format!("data:image/png;base64,{}", base64(&png)), w * times, h * times));
    }
    let scaled = |n: u32| (u64::from(n) * u64::from(side) / u64::from(longest)).max(1) as u32;
    let picture = resize(&picture, scaled(w), scaled(h), FilterType::Triangle);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&picture).ok()?;
    let uri = format!("data:image/jpeg;base64,{}", base64(&jpeg));
    Some((uri, picture.width(), picture.height()))
}

/// A PNG file of `height` x `width` x `channels` bytes, 1 grey or 3 colour channels; `None` if size
/// and bytes do not fit.
pub fn encode(width: u32, height: u32, channels: usize, pixels: &[u8]) -> Option<Vec<u8>> {
    let colour = match channels {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        _ => return None,
    };
    let expected = width as usize * height as usize * channels;
    if expected == 0 || pixels.len() != expected {
        return None;
    }
    let mut png = Vec::new();
    let written = PngEncoder::new(&mut png).write_image(pixels, width, height, colour);
    written.is_ok().then_some(png)
}

/// RFC 4648, section 4, with padding.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= three.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_vectors_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    fn decoded(uri: &str) -> DynamicImage {
        let text = uri.strip_prefix("data:image/png;base64,").unwrap();
        let mut bits = 0u32;
        let mut bytes = Vec::new();
        for (i, c) in text.bytes().filter(|c| *c != b'=').enumerate() {
            let digit = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' => 62,
                _ => 63,
            };
            bits = bits << 6 | u32::from(digit);
            if i % 4 > 0 {
                bytes.push((bits >> (6 - 2 * (i % 4))) as u8);
            }
        }
        image::load_from_memory(&bytes).unwrap()
    }

    #[test]
    fn pictures_survive() {
        let grey: Vec<u8> = (0..28 * 28).map(|i| (i * 7 % 256) as u8).collect();
        let (uri, w, h) = data_uri(28, 28, 1, &grey).unwrap();
        assert_eq!((w, h), (28, 28));
        assert_eq!(decoded(&uri).into_luma8().into_raw(), grey);
        let colour: Vec<u8> = (0..5 * 3 * 3).map(|i| (i * 11 % 256) as u8).collect();
        assert_eq!(decoded(&data_uri(5, 3, 3, &colour).unwrap().0).into_rgb8().into_raw(), colour);
    }

    #[test]
    fn large_pictures_shrink_and_keep_their_shape() {
        let (uri, w, h) = data_uri(1000, 400, 3, &vec![90; 1000 * 400 * 3]).unwrap();
        assert_eq!((w, h), (160, 64));
        assert_eq!(decoded(&uri).width(), 160);
        assert_eq!(data_uri(4000, 1, 1, &[0; 4000]).unwrap().2, 1);
    }

    #[test]
    fn wrong_sizes_are_refused() {
        assert_eq!(data_uri(2, 2, 4, &[0; 16]), Err(PictureError::Channels(4)));
        assert!(matches!(
            data_uri(2, 2, 1, &[0; 3]),
            Err(PictureError::Length { expected: 4, found: 3, .. })
        ));
        assert!(matches!(data_uri(0, 2, 1, &[]), Err(PictureError::Size { .. })));
        assert!(matches!(data_uri(usize::MAX, 2, 1, &[]), Err(PictureError::Size { .. })));
        assert!(matches!(
            data_uri(1 << 31, 1 << 31, 3, &[1]),
            Err(PictureError::Length { .. } | PictureError::Size { .. })
        ));
    }
}
