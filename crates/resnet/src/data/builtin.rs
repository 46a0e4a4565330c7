//! The pictures inside the binary: 14,000 of Fashion-MNIST, the same number of each class
//! (`data/README.md` says which).

use std::path::Path;
use std::sync::Arc;

use super::idx::{self, FASHION};
use super::{DataError, Format, OpenOptions, Splits};

pub(super) const FORMAT: Format = Format {
    name: "builtin",
    takes_folder: false,
    about: "pictures of clothes inside the binary: 12,000 training, 2,000 test, 1x28x28, ten classes",
    sniff: |_| false,
    open,
};

/// An embedded file and its name. A static of its own: as a value, its megabytes would go through
/// the optimiser.
struct File {
    name: &'static str,
    bytes: &'static [u8],
}

macro_rules! embedded {
    ($file:literal) => {
        File {
            name: concat!("built-in ", $file),
            bytes: include_bytes!(concat!("../../data/fashion-mnist/", $file)),
        }
    };
}

static TRAIN_IMAGES: File = embedded!("train-images-idx3-ubyte.gz");
static TRAIN_LABELS: File = embedded!("train-labels-idx1-ubyte.gz");
static TEST_IMAGES: File = embedded!("t10k-images-idx3-ubyte.gz");
static TEST_LABELS: File = embedded!("t10k-labels-idx1-ubyte.gz");

fn open(_: &Path, _: &OpenOptions) -> Result<Splits, DataError> {
    let split = |name, images: &File, labels: &File| {
        let images = idx::read_images(Path::new(images.name), images.bytes)?;
        let labels = idx::read_labels(Path::new(labels.name), labels.bytes)?;
        idx::dataset(name, images, labels, FASHION.map(String::from).to_vec())
    };
    Ok(Splits {
        train: Arc::new(split("train", &TRAIN_IMAGES, &TRAIN_LABELS)?),
        val: None,
        test: Some(Arc::new(split("test", &TEST_IMAGES, &TEST_LABELS)?)),
        test_name: "test".to_string(),
        warnings: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Image};
    use resnet_engine::graph::Shape;

    fn count(data: &dyn Dataset) -> Vec<usize> {
        let mut counts = vec![0; data.classes().len()];
        for index in 0..data.len() {
            counts[data.label(index) as usize] += 1;
        }
        counts
    }

    #[test]
    fn classes_are_balanced() {
        let splits = super::super::open("builtin", &OpenOptions::default()).unwrap();
        let test = splits.test.unwrap();
        assert_eq!(count(splits.train.as_ref()), [1200; 10]);
        assert_eq!(count(test.as_ref()), [200; 10]);
        assert_eq!(splits.train.shape(), Some(Shape::new(1, 28, 28)));
        assert_eq!(splits.train.classes()[9], "Ankle boot");
        assert_eq!(test.name(17), "test 17");
        assert!(splits.warnings.is_empty());

        // The first official training picture is an ankle boot whose pixels sum to 76,247.
        let mut image = Image::default();
        splits.train.read(0, &mut image).unwrap();
        assert_eq!(splits.train.label(0), 9);
        assert_eq!((image.width, image.height, image.channels), (28, 28, 1));
        let sum: u64 = image.pixels.iter().map(|&v| u64::from(v)).sum();
        assert_eq!(sum, 76_247);
    }

    #[test]
    fn the_embedded_files_stay_small() {
        let files = [&TRAIN_IMAGES, &TRAIN_LABELS, &TEST_IMAGES, &TEST_LABELS];
        let total: usize = files.iter().map(|file| file.bytes.len()).sum();
        assert!(total <= 7_000_000, "{total} bytes");
    }
}
