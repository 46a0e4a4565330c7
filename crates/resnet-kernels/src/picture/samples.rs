//! What a JPEG decoder computes for every sample: inverse cosine transform, chroma at the picture's
//! size, colours. The formulas are its portable ones, to the bit; they stand beside the fields of
//! `resnet_formats::jpeg::Stages`.

#[cfg(target_arch = "x86_64")]
mod avx2;

use crate::isa::Isa;

/// Functions that take the place of a decoder's own.
#[derive(Clone, Copy, Debug)]
pub struct Samples {
    /// Inverse cosine transform: coefficients and steps of a block, row by row, to 8 rows of 8
    /// samples, each so many bytes behind the one before.
    pub transform: fn(&[i16; 64], &[i16; 64], &mut [u8], usize),
    /// The same, where only the first 4 columns of the first 4 rows hold coefficients.
    pub transform_corner: fn(&[i16; 64], &[i16; 64], &mut [u8], usize),
    /// A row between two rows, three quarters of the first and one of the second.
    pub blend: fn(&[u8], &[u8], &mut [u8]),
    /// A row of twice as many samples, from `n + 2` to `2 * n`.
    pub widen: fn(&[u8], &mut [u8]),
    /// Luma, blue and red chroma to red, green and blue.
    pub colours: fn(&[u8], &[u8], &[u8], &mut [u8]),
}

impl Samples {
    /// Those for an instruction set; `None` if there are none that beat portable ones, or the
    /// machine lacks them.
    pub fn new(isa: Isa) -> Option<Samples> {
        #[cfg(target_arch = "x86_64")]
        if isa >= Isa::Avx2 {
            return avx2::samples();
        }
        let _ = isa;
        None
    }
}
