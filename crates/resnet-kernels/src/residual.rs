//! A map that is added to another one, of as many channels or fewer.

use crate::split::CHUNK;

/// A map added to one of `channels_of_y >= channels` channels, from channel `offset` on; the other
/// channels get nothing.
///
/// With fewer channels this is the parameter-free shortcut (He et al. 2015, option A).
#[derive(Clone, Copy, Debug)]
pub struct Residual<'a, T = f32> {
    /// `[pixels][channels]`
    pub values: &'a [T],
    /// Channels of `values`.
    pub channels: usize,
    /// Channel of y that channel 0 of `values` is added to.
    pub offset: usize,
}

/// The gradient of a [`Residual`]'s values.
#[derive(Debug)]
pub struct ResidualGrad<'a, T = f32> {
    /// `[pixels][channels]`
    pub values: &'a mut [T],
    /// Channels of `values`.
    pub channels: usize,
    /// Channel of dy that channel 0 of `values` takes its gradient from.
    pub offset: usize,
    /// Whether the gradient is added to what `values` holds.
    pub accumulate: bool,
}

impl<T> Residual<'_, T> {
    pub(crate) fn check(&self, what: &str, pixels: usize, channels: usize) {
        check(what, self.values.len(), self.channels, self.offset, pixels, channels);
    }
}

impl<T> ResidualGrad<'_, T> {
    pub(crate) fn check(&self, what: &str, pixels: usize, channels: usize) {
        check(what, self.values.len(), self.channels, self.offset, pixels, channels);
    }
}

fn check(what: &str, len: usize, narrow: usize, offset: usize, pixels: usize, channels: usize) {
    assert!(
        narrow > 0 && len == pixels * narrow && offset + narrow <= channels,
        "{what}: a residual of {len} numbers with {narrow} channels from channel {offset} does not fit {pixels} pixels of \
         {channels} channels"
    );
}

/// Pixels that one task of a pass over [pixels][channels] handles.
pub(crate) fn pixels_per_task(channels: usize) -> usize {
    (CHUNK / channels).max(1)
}
