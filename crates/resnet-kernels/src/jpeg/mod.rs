//! What decoding a JPEG computes of every sample, in vectors: the inverse cosine transform and the
//! colours, with the bits of the crate zune-jpeg. Upsampling is left to the compiler, which does it
//! well.
//!
//! Products of pairs of 16-bit numbers are added exactly in 32 bits, so any order of the terms has
//! the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;

/// Coefficients and quantisation steps of a block row by row, where its 8 rows of 8 samples go, and
/// the bytes between these rows. False where a number does not fit in 16 bits; what was written
/// then does not count.
pub type Transform = fn(&[i16; 64], &[i16; 64], &mut [u8], usize) -> bool;

/// Rows of luma, blue and red chroma, and where their red, green and blue go.
pub type Colours = fn(&[u8], &[u8], &[u8], &mut [u8]);

/// Functions for one instruction set.
#[derive(Clone, Copy, Debug)]
pub struct JpegStages {
    /// The inverse cosine transform, in the fixed-point numbers of Loeffler, Ligtenberg and
    /// Moschytz (1989) times 4096: columns, plus 512, shifted by 10; rows, plus 65,536 + 512 +
    /// 128 * 2^17, shifted by 17, cut to 0 to 255.
    pub transform: Transform,
    /// The same, where only the first 4 columns of the first 4 rows hold coefficients.
    pub transform_corner: Transform,
    /// YCbCr to RGB (ITU-R BT.601) with 14 bits of fraction.
    pub colours: Colours,
}

impl JpegStages {
    /// Those of this CPU's vectors; `None` where it has none that are faster than what compilers
    /// make of plain loops.
    pub fn probe() -> Option<JpegStages> {
        #[cfg(target_arch = "x86_64")]
        return avx2::probe();
        #[cfg(not(target_arch = "x86_64"))]
        return None;
    }
}
