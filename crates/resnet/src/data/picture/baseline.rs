//! Plain JPEGs, which nearly all photos are, by the decoder of `resnet-formats`: of a part of a
//! picture it transforms that part alone. Its bytes are those of `image`'s decoder, which has all
//! that it declines.

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, RgbImage};
use resnet_engine::picture::{Area, JpegStages, jpeg_stages};
use resnet_formats::jpeg::{Decoder, Picture, Stages};

use super::{Header, Image, Part, reader};

/// Decodes at least what `wanted` says of the upright picture's height and width; none if it is
/// declined, `image` then holds anything.
pub(super) fn decode(
    packed: &[u8],
    header: Header,
    wanted: &dyn Fn(usize, usize) -> Area,
    image: &mut Image,
) -> Option<Part> {
    if header.format != ImageFormat::Jpeg || header.separate_scans {
        return None;
    }
    // A panic is a fault of the decoder's; another one then has the picture.
    catch_unwind(AssertUnwindSafe(|| decode_plain(packed, header, wanted, image))).ok()?
}

fn decode_plain(
    packed: &[u8],
    header: Header,
    wanted: &dyn Fn(usize, usize) -> Area,
    image: &mut Image,
) -> Option<Part> {
    thread_local! {
        static DECODER: RefCell<Decoder> = RefCell::new(Decoder::new(stages()));
    }
    let (width, height) = (header.width as usize, header.height as usize);
    let picture = Picture::open(packed, width as u64 * height as u64).ok()?;
    if (picture.width(), picture.height()) != (width, height) {
        return None;
    }
    let turn = Turn::of(packed, header)?;
    let size = turn.upright((height, width));
    let area = wanted(size.0, size.1);
    let (rows, columns) = turn.stored(&area, (height, width));
    let (stored_rows, stored_columns) = (rows.len(), columns.len());
    DECODER
        .with_borrow_mut(|decoder| decoder.decode(&picture, columns, rows, &mut image.pixels))
        .ok()?;
    (image.height, image.width, image.channels) = (area.0.len(), area.1.len(), 3);
    if turn.orientation != Orientation::NoTransforms {
        let pixels = std::mem::take(&mut image.pixels);
        let stored = RgbImage::from_raw(stored_columns as u32, stored_rows as u32, pixels)?;
        let mut turned = DynamicImage::ImageRgb8(stored);
        turned.apply_orientation(turn.orientation);
        image.pixels = turned.into_rgb8().into_raw();
    }
    Some(Part { size, area })
}

/// The decoder's functions for this CPU.
fn stages() -> Stages {
    let Some(JpegStages { transform, transform_corner, colours }) = jpeg_stages() else {
        return Stages::PORTABLE;
    };
    Stages { transform, transform_corner, colours, ..Stages::PORTABLE }
}

/// From the picture as it is stored to the upright one.
struct Turn {
    orientation: Orientation,
    /// Whether rows become columns.
    is_transposed: bool,
    /// Whether the stored rows, and columns, are read backwards.
    flips: (bool, bool),
}

impl Turn {
    /// What the file's EXIF data ask for.
    fn of(packed: &[u8], header: Header) -> Option<Turn> {
        match header.may_turn {
            true => {
                Some(Turn::new(reader(packed, header).into_decoder().ok()?.orientation().ok()?))
            }
            false => Some(Turn::new(Orientation::NoTransforms)),
        }
    }

    fn new(orientation: Orientation) -> Turn {
        let (is_transposed, flips) = match orientation {
            Orientation::NoTransforms => (false, (false, false)),
            Orientation::FlipHorizontal => (false, (false, true)),
            Orientation::Rotate180 => (false, (true, true)),
            Orientation::FlipVertical => (false, (true, false)),
            Orientation::Rotate90FlipH => (true, (false, false)),
            Orientation::Rotate90 => (true, (true, false)),
            Orientation::Rotate270FlipH => (true, (true, true)),
            Orientation::Rotate270 => (true, (false, true)),
        };
        Turn { orientation, is_transposed, flips }
    }

    /// Height and width of the upright picture.
    fn upright(&self, (height, width): (usize, usize)) -> (usize, usize) {
        if self.is_transposed { (width, height) } else { (height, width) }
    }

    /// The stored rows and columns of an area of the upright picture.
    fn stored(&self, area: &Area, (height, width): (usize, usize)) -> Area {
        let flip = |range: &Range<usize>, len: usize, flip: bool| match flip {
            true => len - range.end..len - range.start,
            false => range.clone(),
        };
        let (rows, columns) = match self.is_transposed {
            true => (&area.1, &area.0),
            false => (&area.0, &area.1),
        };
        (flip(rows, height, self.flips.0), flip(columns, width, self.flips.1))
    }
}
