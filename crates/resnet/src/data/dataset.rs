//! Pictures with labels, whatever holds them.

use std::ops::Range;
use std::sync::Arc;

use resnet_engine::graph::Shape;
use resnet_engine::picture::Area;

use super::DataError;

/// One decoded picture: rows from the top, pixels from the left, a pixel's channels together (HWC).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// `height * width * channels` bytes.
    pub pixels: Vec<u8>,
}

impl Image {
    /// A grey picture of `height` rows of `width` bytes.
    pub fn grey(width: usize, height: usize, pixels: Vec<u8>) -> Image {
        Image { width, height, channels: 1, pixels }
    }

    /// A picture of red, green and blue, three bytes a pixel.
    pub fn rgb(width: usize, height: usize, pixels: Vec<u8>) -> Image {
        Image { width, height, channels: 3, pixels }
    }
}

/// What an [`Image`] holds of its picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Height and width of the whole picture, upright.
    pub size: (usize, usize),
    /// Rows and columns that are there.
    pub area: Area,
}

impl Part {
    /// All of it.
    pub fn whole(image: &Image) -> Part {
        let size = (image.height, image.width);
        Part { size, area: (0..size.0, 0..size.1) }
    }

    /// Whether it has these rows and columns.
    pub(super) fn holds(&self, (rows, columns): &Area) -> bool {
        let holds = |all: &Range<usize>, part: &Range<usize>| {
            all.start <= part.start && part.end <= all.end
        };
        holds(&self.area.0, rows) && holds(&self.area.1, columns)
    }
}

/// Labelled pictures, read by index from any thread.
pub trait Dataset: Send + Sync {
    /// Number of pictures; at most `u32::MAX`.
    fn len(&self) -> usize;

    /// Whether there are no pictures.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Class names, by label.
    fn classes(&self) -> &[String];

    /// The label of picture `index`, below `classes().len()`.
    fn label(&self, index: usize) -> u32;

    /// What to call picture `index`: its file, or a text such as `test 17`.
    fn name(&self, index: usize) -> String {
        format!("picture {index}")
    }

    /// Decodes picture `index` into `image`, whose memory is used again.
    ///
    /// # Errors
    /// The picture's file is missing or broken; data held in memory never fails.
    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError>;

    /// Decodes at least a part of picture `index` into `image`, whose memory is used again: the
    /// rows and columns that `wanted` makes of the picture's height and width. Says what it
    /// decoded: all of it, where nothing less is less work.
    ///
    /// # Errors
    /// As [`Dataset::read`]; damage outside of the part may go unseen.
    fn read_part(
        &self,
        index: usize,
        wanted: &dyn Fn(usize, usize) -> Area,
        image: &mut Image,
    ) -> Result<Part, DataError> {
        let _ = wanted;
        self.read(index, image)?;
        Ok(Part::whole(image))
    }

    /// The shape of the pictures, if all have the same, or all but a few, which are resized to
    /// cover it. Then they are cropped and padded by the recipe's rules for small pictures;
    /// pictures of any size are resized.
    fn shape(&self) -> Option<Shape> {
        None
    }

    /// The range of sizes, for people, where there is no one shape and it is known:
    /// `120 x 90 to 500 x 375 pixels`.
    fn sizes(&self) -> Option<String> {
        None
    }

    /// Channels of every picture: 1 or 3.
    fn channels(&self) -> usize {
        self.shape().map_or(3, |shape| shape.c)
    }

    /// Puts the file of picture `index` into `bytes` as it lies in the data, in place of what is
    /// there; false where it lies in none, as of pictures that are stored by their pixels.
    ///
    /// # Errors
    /// The file cannot be read.
    fn file(&self, index: usize, bytes: &mut Vec<u8>) -> Result<bool, DataError> {
        let _ = (index, bytes);
        Ok(false)
    }

    /// The state of the fingerprint of data after this part of it, where it was `before`, if that
    /// is known without reading all names.
    #[doc(hidden)]
    fn digest(&self, before: u64) -> Option<u64> {
        let _ = before;
        None
    }
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn classes(&self) -> &[String] {
        (**self).classes()
    }

    fn label(&self, index: usize) -> u32 {
        (**self).label(index)
    }

    fn name(&self, index: usize) -> String {
        (**self).name(index)
    }

    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        (**self).read(index, image)
    }

    fn read_part(
        &self,
        index: usize,
        wanted: &dyn Fn(usize, usize) -> Area,
        image: &mut Image,
    ) -> Result<Part, DataError> {
        (**self).read_part(index, wanted, image)
    }

    fn shape(&self) -> Option<Shape> {
        (**self).shape()
    }

    fn sizes(&self) -> Option<String> {
        (**self).sizes()
    }

    fn channels(&self) -> usize {
        (**self).channels()
    }

    fn file(&self, index: usize, bytes: &mut Vec<u8>) -> Result<bool, DataError> {
        (**self).file(index, bytes)
    }

    fn digest(&self, before: u64) -> Option<u64> {
        (**self).digest(before)
    }
}

/// Pictures that a closure reads.
struct FromFn<R> {
    classes: Vec<String>,
    labels: Vec<u32>,
    read: R,
}

/// Pictures that `read` decodes by index, such as a call into a database or an own file format;
/// `labels` are numbers of `classes`. For grey pictures or those of one shape, implement
/// [`Dataset`].
///
/// # Errors
/// There is no picture, or a label has no class.
pub fn from_fn(
    classes: Vec<String>,
    labels: Vec<u32>,
    read: impl Fn(usize, &mut Image) -> Result<(), DataError> + Send + Sync + 'static,
) -> Result<impl Dataset, DataError> {
    if labels.is_empty() {
        return Err(DataError::Loader("there are no pictures".into()));
    }
    if let Some(label) = labels.iter().find(|&&label| label as usize >= classes.len()) {
        let known = classes.len();
        return Err(DataError::Loader(format!("label {label}, where there are {known} classes")));
    }
    Ok(FromFn { classes, labels, read })
}

impl<R> Dataset for FromFn<R>
where
    R: Fn(usize, &mut Image) -> Result<(), DataError> + Send + Sync,
{
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        (self.read)(index, image)
    }
}
