//! Pictures of one shape, held decoded in memory.

use super::{DataError, Dataset, Image};
use resnet_engine::graph::Shape;

/// Pictures of one shape in one piece of memory.
#[derive(Clone, Debug)]
pub struct Memory {
    name: String,
    shape: Shape,
    pixels: Vec<u8>,
    labels: Vec<u32>,
    classes: Vec<String>,
}

impl Memory {
    /// Pictures from `pixels`, one after another, each HWC. Pictures are called `name` and their
    /// index.
    ///
    /// # Errors
    /// `pixels` is not `labels.len()` pictures of `shape`, channels are not 1 or 3, there is no
    /// picture, or a label has no class.
    pub fn new(
        name: impl Into<String>,
        shape: Shape,
        pixels: Vec<u8>,
        labels: Vec<impl Into<u32>>,
        classes: Vec<String>,
    ) -> Result<Memory, DataError> {
        let name = name.into();
        let labels: Vec<u32> = labels.into_iter().map(Into::into).collect();
        let bytes = labels.len().checked_mul(shape.len());
        let fault = if labels.is_empty() || shape.is_empty() {
            Some("no pictures".to_string())
        } else if bytes != Some(pixels.len()) {
            Some(format!(
                "{} labels but {} bytes of pictures of {shape}",
                labels.len(),
                pixels.len()
            ))
        } else if shape.c != 1 && shape.c != 3 {
            Some(format!("{} channels, where 1 or 3 are possible", shape.c))
        } else {
            let unknown = labels.iter().find(|&&label| label as usize >= classes.len());
            unknown.map(|label| format!("label {label} of {} classes", classes.len()))
        };
        match fault {
            Some(fault) => Err(DataError::Loader(format!("{name}: {fault}"))),
            None => Ok(Memory { name, shape, pixels, labels, classes }),
        }
    }
}

impl Dataset for Memory {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn name(&self, index: usize) -> String {
        format!("{} {index}", self.name)
    }

    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        let Shape { c, h, w } = self.shape;
        (image.width, image.height, image.channels) = (w, h, c);
        image.pixels.clear();
        let size = self.shape.len();
        image.pixels.extend_from_slice(&self.pixels[index * size..(index + 1) * size]);
        Ok(())
    }

    fn shape(&self) -> Option<Shape> {
        Some(self.shape)
    }

    fn channels(&self) -> usize {
        self.shape.c
    }
}
