//! Resizing as Pillow does it (antialiased bilinear), to the bit, so that a network sees here what
//! it saw where it was trained. The engine's [`Resizer`] does it; each thread has one.

use std::cell::RefCell;

use resnet_engine::picture::{Pixels, Resize, Resizer, resizer};

use super::{Image, Part};

/// Memory of a thread that makes inputs of one picture after another, which spares allocations for
/// each.
pub(super) struct Scratch {
    pub(super) resizer: Resizer,
    /// One row.
    pub(super) row: Vec<u8>,
}

/// Lends this thread's.
pub(super) fn with_scratch<T>(run: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Scratch> =
            RefCell::new(Scratch { resizer: resizer(), row: Vec::new() });
    }
    SCRATCH.with_borrow_mut(run)
}

/// What an image holds of its picture, for a resizer.
pub(super) fn pixels<'a>(image: &'a Image, part: &Part) -> Pixels<'a> {
    Pixels { bytes: &image.pixels, area: part.area.clone(), channels: image.channels }
}

/// A picture whose longest side is at most `longest` pixels, as it is where it is small enough.
pub(crate) fn shrink(image: &Image, longest: usize) -> Image {
    scaled(image, image.width.max(image.height) as f64 / longest.max(1) as f64)
}

/// The same of the shorter side.
pub(super) fn shrink_to(image: &Image, shorter: usize) -> Image {
    scaled(image, image.width.min(image.height) as f64 / shorter.max(1) as f64)
}

fn scaled(image: &Image, scale: f64) -> Image {
    if scale <= 1.0 {
        return image.clone();
    }
    let side = |pixels: usize| ((pixels as f64 / scale).round() as usize).max(1);
    let (width, height) = (side(image.width), side(image.height));
    let whole = Part::whole(image);
    let (size, window) = ((height, width), (0..height, 0..width));
    let wanted = Resize { part: whole.area.clone(), size, window, mirrored: false };
    let pixels = resized(image, &whole, &wanted);
    Image { width, height, channels: image.channels, pixels }
}

fn resized(image: &Image, part: &Part, wanted: &Resize) -> Vec<u8> {
    with_scratch(|scratch| scratch.resizer.resize(&pixels(image, part), wanted).to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::testing::pattern;
    use super::*;

    fn whole(image: &Image, size: (usize, usize)) -> Vec<u8> {
        let part = Part::whole(image);
        let window = (0..size.0, 0..size.1);
        let wanted = Resize { part: part.area.clone(), size, window, mirrored: false };
        resized(image, &part, &wanted)
    }

    #[test]
    fn means_by_hand() {
        let image =
            |width, pixels: &[u8]| Image { width, height: 1, channels: 1, pixels: pixels.to_vec() };
        // Halving: each output lies over two pixels and reaches one further at either side, weights
        // 1 3 3 1; at the ends 3 3 1, which gives 400/7 and 1280/7.
        assert_eq!(whole(&image(4, &[0, 80, 160, 240]), (1, 2)), [57, 183]);
        assert_eq!(whole(&image(6, &[0, 0, 80, 160, 0, 0]), (1, 3))[1], 90);
        // Doubling: a quarter of the way to the neighbour.
        assert_eq!(whole(&image(2, &[0, 100]), (1, 4)), [0, 25, 75, 100]);
        assert_eq!(whole(&image(3, &[7, 8, 9]), (2, 3)), [7, 8, 9, 7, 8, 9]);
    }

    #[test]
    fn the_longest_side_is_bounded() {
        let image = pattern(61, 47, 3);
        let small = shrink(&image, 20);
        assert_eq!((small.width, small.height), (20, 15));
        assert_eq!(small.pixels, whole(&image, (15, 20)));
        assert_eq!(shrink(&image, 61), image);
    }
}
