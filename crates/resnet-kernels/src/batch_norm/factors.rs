//! What the elementwise passes subtract, multiply by and add: laid out once for a map, so that its
//! tasks only read.

/// Columns up to which a wide row takes several pixels, so that with few channels the inner loops
/// are long enough to pay for their start.
const WIDE: usize = 512;

/// One number for each column of a wide row: a channel's, as often as the row holds the channel.
#[derive(Clone, Copy)]
pub(super) struct Factors<'a> {
    /// Columns of a wide row, a multiple of the channels.
    pub(super) width: usize,
    pub(super) mean: &'a [f32],
    /// gamma · rstd
    pub(super) scale: &'a [f32],
    /// beta; means nothing where neither the output nor a mask is made of it.
    pub(super) offset: &'a [f32],
}

/// The same for the gradient's elementwise pass.
#[derive(Clone, Copy)]
pub(super) struct Slopes<'a> {
    /// dbeta / m
    pub(super) mean_g: &'a [f32],
    /// -rstd · dgamma / m
    pub(super) slope: &'a [f32],
}

/// Columns of a wide row.
fn width(channels: usize) -> usize {
    channels * (WIDE / channels).max(1)
}

/// Numbers of memory for [`Factors`] and [`Slopes`] together.
pub(super) fn len(channels: usize) -> usize {
    5 * width(channels)
}

impl<'a> Factors<'a> {
    /// Lays out the factors; returns what is left of the memory. `rstd` is asked for each channel.
    pub(super) fn new(
        memory: &'a mut [f32],
        gamma: &[f32],
        beta: &[f32],
        mean: &[f32],
        rstd: impl Fn(usize) -> f32,
    ) -> (Factors<'a>, &'a mut [f32]) {
        let channels = mean.len();
        let width = width(channels);
        let (memory, rest) = memory.split_at_mut(3 * width);
        let (mean_of, memory) = memory.split_at_mut(width);
        let (scale, offset) = memory.split_at_mut(width);
        let factors = Factors {
            width,
            mean: repeat(mean_of, channels, |c| mean[c]),
            scale: repeat(scale, channels, |c| gamma[c] * rstd(c)),
            offset: repeat(offset, channels, |c| beta[c]),
        };
        (factors, rest)
    }
}

impl<'a> Slopes<'a> {
    /// Lays them out in what [`Factors::new`] left; `m` is the pixels of the batch.
    pub(super) fn new(
        memory: &'a mut [f32],
        rstd: &[f32],
        dgamma: &[f32],
        dbeta: &[f32],
        m: f32,
    ) -> Slopes<'a> {
        let channels = rstd.len();
        let width = width(channels);
        let (mean_g, slope) = memory[..2 * width].split_at_mut(width);
        Slopes {
            mean_g: repeat(mean_g, channels, |c| dbeta[c] / m),
            slope: repeat(slope, channels, |c| -(rstd[c] * dgamma[c] / m)),
        }
    }
}

/// Fills a wide row with each channel's number.
fn repeat(row: &mut [f32], channels: usize, of: impl Fn(usize) -> f32) -> &[f32] {
    let (first, others) = row.split_at_mut(channels);
    for (c, number) in first.iter_mut().enumerate() {
        *number = of(c);
    }
    for other in others.chunks_exact_mut(channels) {
        other.copy_from_slice(first);
    }
    row
}
