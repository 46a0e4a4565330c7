//! Pictures on their way to a network: resized, normalised. Bytes in HWC order, 1 or 3 channels.
//!
//! Each output of a [`Resizer`] is a mean of the inputs under a triangle, which is as wide as one
//! output pixel where the picture shrinks and as one input pixel where it grows. Two passes, along
//! the rows, then down the columns, with weights of 22 fractional bits and bytes in between: the
//! results equal Pillow's to the bit, on every instruction set. Only the window that is asked for
//! is computed; it is the same as that part of the whole.
//!
//! Products of bytes and weights are exact in vectors because a weight is cut into pieces that the
//! CPU multiplies: two of 11 bits with AVX2, three signed digits of 8 bits with AVX-512 VNNI. The
//! sums of the pieces are shifted and added at the end.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod normalize;
mod plain;
#[cfg(target_arch = "x86_64")]
mod quads;
mod taps;

use std::ops::Range;

use crate::isa::{Isa, Proof};
#[cfg(target_arch = "x86_64")]
use avx2::Pairs;
pub use normalize::Normalizer;
#[cfg(target_arch = "x86_64")]
use quads::Quads;
use taps::Taps;
pub use taps::reads;

/// Rows and columns of a picture.
pub type Area = (Range<usize>, Range<usize>);

/// The pixels of an area of a picture.
#[derive(Clone, Debug)]
pub struct Pixels<'a> {
    /// Row by row, the channels of a pixel side by side.
    pub bytes: &'a [u8],
    /// What of the picture they are.
    pub area: Area,
    /// 1 or 3.
    pub channels: usize,
}

/// What is asked of a resizer.
#[derive(Clone, Debug)]
pub struct Resize {
    /// The part of the picture that is resized as if the rest of it were not there.
    pub part: Area,
    /// Rows and columns that it would have as a whole.
    pub size: (usize, usize),
    /// Of these, the area that is wanted; not empty.
    pub window: Area,
    /// Whether columns are wanted from right to left.
    pub mirrored: bool,
}

impl Resize {
    /// The area of the picture that has to be there.
    ///
    /// # Panics
    /// If the window is empty or lies outside of the size.
    pub fn reads(&self) -> Area {
        let of = |part: &Range<usize>, size, window: &Range<usize>| {
            let read = reads(part.len(), size, window.clone());
            part.start + read.start..part.start + read.end
        };
        (
            of(&self.part.0, self.size.0, &self.window.0),
            of(&self.part.1, self.size.1, &self.window.1),
        )
    }
}

/// Resizes pictures; its memory is used again.
#[derive(Debug)]
pub struct Resizer {
    way: Way,
    across: Taps,
    down: Taps,
    out: Vec<u8>,
}

/// How, with what it keeps from picture to picture.
#[derive(Debug)]
enum Way {
    /// The rows between the passes.
    Plain(Vec<u8>),
    #[cfg(target_arch = "x86_64")]
    Pairs(Pairs),
    #[cfg(target_arch = "x86_64")]
    Quads(Quads),
}

impl Way {
    fn of(isa: Isa) -> Way {
        #[cfg(target_arch = "x86_64")]
        if isa >= Isa::Avx512
            && let Some(quads) = Quads::probe()
        {
            return Way::Quads(quads);
        }
        #[cfg(target_arch = "x86_64")]
        if isa >= Isa::Avx2
            && let Some(pairs) = Pairs::probe()
        {
            return Way::Pairs(pairs);
        }
        let _ = isa;
        Way::Plain(Vec::new())
    }
}

impl Resizer {
    /// One that uses this instruction set; `None` if the machine lacks it.
    pub fn new(isa: Isa) -> Option<Resizer> {
        Proof::probe(isa)?;
        let (across, down, out) = Default::default();
        Some(Resizer { way: Way::of(isa), across, down, out })
    }

    /// The window of the resized part, row by row.
    ///
    /// # Panics
    /// If the pixels are not what they say, do not hold what [`Resize::reads`] says, or the window
    /// is empty or lies outside of the size.
    pub fn resize(&mut self, pixels: &Pixels<'_>, wanted: &Resize) -> &[u8] {
        let Resize { part, size, window, mirrored } = wanted;
        let (rows, columns) = wanted.reads();
        let Pixels { bytes, area, channels } = pixels;
        let stride = area.1.len() * channels;
        assert!(
            matches!(channels, 1 | 3) && bytes.len() == area.0.len() * stride,
            "{} bytes of {area:?} in {channels} channels",
            bytes.len()
        );
        assert!(
            area.0.start <= rows.start
                && rows.end <= area.0.end
                && area.1.start <= columns.start
                && columns.end <= area.1.end,
            "{area:?} of a picture are there, {:?} are read",
            (rows, columns)
        );
        self.down.compute(part.0.len(), size.0, window.0.clone(), false);
        self.across.compute(part.1.len(), size.1, window.1.clone(), *mirrored);
        let first =
            (rows.start - area.0.start) * stride + (columns.start - area.1.start) * channels;
        let read = Rows {
            bytes: &bytes[first..],
            stride,
            len: columns.len() * channels,
            count: rows.len(),
        };
        self.out.clear();
        match channels {
            1 => self.run::<1>(read),
            _ => self.run::<3>(read),
        }
        &self.out
    }

    fn run<const C: usize>(&mut self, read: Rows<'_>) {
        let Resizer { way, across, down, out } = self;
        match way {
            Way::Plain(between) => plain::<C>(between, across, down, read, out),
            #[cfg(target_arch = "x86_64")]
            Way::Pairs(pairs) if C == 3 => pairs.run(across, down, read, out),
            #[cfg(target_arch = "x86_64")]
            Way::Pairs(pairs) => plain::<C>(pairs.between(), across, down, read, out),
            #[cfg(target_arch = "x86_64")]
            Way::Quads(quads) => quads.run::<C>(across, down, read, out),
        }
    }
}

/// The rows that a resize reads.
#[derive(Clone, Copy)]
struct Rows<'a> {
    /// From the first byte that is read to the end of the picture.
    bytes: &'a [u8],
    stride: usize,
    /// Bytes of each row that are read.
    len: usize,
    count: usize,
}

impl<'a> Rows<'a> {
    fn row(&self, row: usize) -> &'a [u8] {
        &self.bytes[row * self.stride..][..self.len]
    }
}

fn plain<const C: usize>(
    between: &mut Vec<u8>,
    across: &Taps,
    down: &Taps,
    read: Rows<'_>,
    out: &mut Vec<u8>,
) {
    between.clear();
    for row in 0..read.count {
        plain::across::<C>(across, read.row(row), between);
    }
    let columns = across.starts.len() * C;
    for (start, weights) in down.outputs() {
        plain::down(&between[start * columns..][..weights.len() * columns], weights, out);
    }
}
