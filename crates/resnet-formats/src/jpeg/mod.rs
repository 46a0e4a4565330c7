//! Baseline JPEGs, decoded for training: fast, and only the part of a picture that is asked for.
//!
//! What is read is what nearly all photos are: baseline JPEGs (ITU T.81) with Huffman codes and 8
//! bits a sample, grey or YCbCr, in one scan, with chroma of full size, half size in either or both
//! directions, or a quarter of the width. Everything else, and everything that is damaged or only
//! doubtful, is [`Declined`]; another decoder then reads it or says what is wrong. What is decoded
//! has the pixels that the crate zune-jpeg gives, to the bit.
//!
//! Data above a part are decoded without being transformed, since Huffman codes cannot be entered
//! in the middle; data below it are only looked at for markers.
//!
//! ```no_run
//! use resnet_formats::jpeg::{Decoder, Picture, Stages};
//!
//! let bytes = std::fs::read("photo.jpg")?;
//! let picture = Picture::open(&bytes, 1 << 27)?;
//! let mut decoder = Decoder::new(Stages::PORTABLE);
//! let mut pixels = Vec::new(); // red, green, blue, row by row
//! decoder.decode(&picture, 0..picture.width(), 0..picture.height() / 2, &mut pixels)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
mod entropy;
mod header;
mod huffman;
mod stages;

pub use decode::Decoder;
pub use stages::{Colours, Stages, Transform};

use header::Header;

/// Places of coefficients in a block, row by row, in the order of a file.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A JPEG that is not decoded here: it is of another kind, damaged, or doubtful. Another decoder
/// may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} of the JPEG: expected {expected}; another decoder has to read it")]
pub struct Declined {
    at: usize,
    expected: &'static str,
}

impl Declined {
    /// About where in the file.
    pub fn at(&self) -> usize {
        self.at
    }
}

/// A JPEG in memory whose header has been read.
#[derive(Clone, Debug)]
pub struct Picture<'a> {
    bytes: &'a [u8],
    header: Header<'a>,
}

impl<'a> Picture<'a> {
    /// Reads the header of a JPEG that may have `most` pixels. No memory is taken.
    ///
    /// # Errors
    /// It is larger, or declined.
    pub fn open(bytes: &'a [u8], most: u64) -> Result<Picture<'a>, Declined> {
        let header = Header::read(bytes)?;
        if header.width as u64 * header.height as u64 > most {
            return Err(Declined { at: header.scan, expected: "no more pixels than the limit" });
        }
        Ok(Picture { bytes, header })
    }

    /// Pixels of a row.
    pub fn width(&self) -> usize {
        self.header.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.header.height
    }

    /// 1 for grey, 3 for colours.
    pub fn components(&self) -> usize {
        self.header.components().len()
    }
}
