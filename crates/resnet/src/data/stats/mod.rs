//! Figures of data: how many pictures of each class, which sizes and formats, how many are grey in
//! truth, mean and deviation by channel; and a few pictures of each class to look at.
//!
//! What headers tell is of all pictures. What must be decoded for is of an even sample, where there
//! are more pixels than are read in a minute.

mod figures;
mod look;

use std::path::PathBuf;
use std::sync::Arc;

use image::ImageFormat;
use serde::Serialize;

use super::catalogue::Entries;
use super::check::{ClassCount, Part};
use super::pictures::{self, Survey};
use super::source::kind_of;
use super::store::Store;
use super::{DataError, Dataset, Image, OpenOptions, find, shrink};
use crate::base::text;
pub use figures::{FormatCount, Range, SizeCount, Sizes};
use look::Look;

/// Pixels that are decoded where nobody asks for more: 3,000 photos, or all of CIFAR-10.
const PIXELS: u64 = 1 << 29;

/// How many pictures are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sample {
    /// All, or as many as half a billion pixels are.
    #[default]
    Usual,
    /// At most so many.
    Pictures(usize),
    /// All.
    All,
}

/// Figures of some data.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// The data.
    pub source: String,
    /// Usable pictures.
    pub images: usize,
    /// Files and pictures that cannot be used, as far as headers tell; `data check` names them.
    pub unusable: usize,
    /// The splits, training first.
    pub splits: Vec<SplitStats>,
    /// Sizes in pixels; of the sample, where pictures have no headers.
    pub sizes: Option<Sizes>,
    /// Formats of files, the most frequent first; none where pictures lie in arrays.
    pub formats: Vec<FormatCount>,
    /// Bytes of a picture file.
    pub bytes: Option<Range<u64>>,
    /// Bytes of all.
    pub total_bytes: u64,
    /// Pictures that were decoded, evenly spaced over all.
    pub decoded: usize,
    /// Of these, those that could not be.
    pub damaged: usize,
    /// Of these, those whose every pixel is grey, however they are stored.
    pub grey: usize,
}

/// Figures of a split.
#[derive(Clone, Debug, Serialize)]
pub struct SplitStats {
    /// Its pictures by class; all classes of the data, in order.
    #[serde(flatten)]
    pub part: Part,
    /// Pictures that were decoded.
    pub decoded: usize,
    /// Mean by channel, of 0 to 1; each picture counts the same, whatever its size.
    pub mean: Vec<f64>,
    /// Standard deviation by channel, over all pixels.
    pub std: Vec<f64>,
}

/// A few pictures of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The class.
    pub class: String,
    /// Usable pictures of it, in all splits.
    pub images: usize,
    /// Some of them, evenly spaced, made small, with their names.
    pub pictures: Vec<(String, Image)>,
}

/// Data that was opened to be looked at.
pub struct Opened {
    source: String,
    classes: Vec<String>,
    parts: Vec<Pictures>,
    unusable: usize,
}

/// The usable pictures of a split.
struct Pictures {
    split: String,
    /// Class of each picture.
    labels: Vec<usize>,
    headers: Vec<Header>,
    from: From,
}

/// What a picture's header says; nothing of pictures that lie in arrays.
#[derive(Clone, Copy)]
struct Header {
    format: ImageFormat,
    size: (u32, u32),
    bytes: u64,
    may_turn: bool,
}

/// What reads a split's pictures.
enum From {
    /// Which of the entries each picture is.
    Files(Arc<dyn Store>, Entries, Vec<usize>),
    Data(Arc<dyn Dataset>),
}

impl Opened {
    /// Opens data and reads every header.
    ///
    /// # Errors
    /// The source is unknown or cannot be read, or there are no pictures.
    pub fn open(source: &str) -> Result<Opened, DataError> {
        let (format, place) = find(source)?;
        let mut opened = Opened {
            source: source.to_string(),
            classes: Vec::new(),
            parts: Vec::new(),
            unusable: 0,
        };
        match kind_of(format) {
            Some(kind) => {
                let surveyed = pictures::survey(kind, &place)?;
                for survey in surveyed.splits {
                    opened.add_survey(survey, &surveyed.store);
                }
            }
            None => {
                let options = OpenOptions { one_class: true, ..OpenOptions::default() };
                let splits = (format.open)(&place, &options)?;
                opened.unusable = splits.warnings.len();
                let others = [(splits.val, "val"), (splits.test, splits.test_name.as_str())];
                opened.add_data(splits.train, "train");
                for (data, name) in others {
                    if let Some(data) = data {
                        opened.add_data(data, name);
                    }
                }
            }
        }
        match opened.parts.iter().any(|part| part.len() > 0) {
            true => Ok(opened),
            false => {
                let place = PathBuf::from(source);
                Err(DataError::content(&place, "pictures", "none that can be used", "add some"))
            }
        }
    }

    fn add_survey(&mut self, survey: Survey, store: &Arc<dyn Store>) {
        let own: Vec<usize> = survey.classes.iter().map(|class| self.label(class)).collect();
        self.unusable += survey.strays.len();
        let (mut labels, mut headers, mut used) = (Vec::new(), Vec::new(), Vec::new());
        for (index, header) in survey.headers.iter().enumerate() {
            let usable = header.as_ref().ok();
            let usable = usable.filter(|h| !survey.placeholders || h.format != ImageFormat::Gif);
            let Some(header) = usable else {
                self.unusable += 1;
                continue;
            };
            headers.push(Header {
                format: header.format,
                size: (header.width, header.height),
                bytes: survey.entries.get(index).place.length.into(),
                may_turn: header.may_turn,
            });
            labels.push(own[survey.entries.label(index) as usize]);
            used.push(index);
        }
        let from = From::Files(store.clone(), survey.entries, used);
        self.parts.push(Pictures { split: survey.split, labels, headers, from });
    }

    fn add_data(&mut self, data: Arc<dyn Dataset>, split: &str) {
        let own: Vec<usize> = data.classes().iter().map(|class| self.label(class)).collect();
        let labels = (0..data.len()).map(|index| own[data.label(index) as usize]).collect();
        let (split, headers) = (split.to_string(), Vec::new());
        self.parts.push(Pictures { split, labels, headers, from: From::Data(data) });
    }

    /// The number of a class; there are few, or they are those of the split before in their order.
    fn label(&mut self, class: &str) -> usize {
        let known = self.classes.iter().position(|known| known == class);
        known.unwrap_or_else(|| {
            self.classes.push(class.to_string());
            self.classes.len() - 1
        })
    }

    /// Usable pictures.
    pub fn images(&self) -> usize {
        self.parts.iter().map(Pictures::len).sum()
    }

    /// How many pictures a sample decodes.
    pub fn sampled(&self, sample: Sample) -> usize {
        let images = self.images();
        match sample {
            Sample::All => images,
            Sample::Pictures(most) => images.min(most),
            Sample::Usual => {
                let pixels = self.parts.iter().map(Pictures::pixels).sum::<u64>().max(1);
                let most = images as f64 * PIXELS as f64 / pixels as f64;
                images.min((most as usize).max(1))
            }
        }
    }

    /// The figures. `on` is told how many pictures were decoded.
    ///
    /// # Errors
    /// The system failed; a picture that is damaged is counted.
    pub fn stats(&self, sample: Sample, on: &(dyn Fn(usize) + Sync)) -> Result<Stats, DataError> {
        let looks = look::all(self, self.sampled(sample), on)?;
        let headers = || self.parts.iter().flat_map(|part| &part.headers);
        let sizes: Vec<(u32, u32)> = match headers().next() {
            Some(_) => headers().map(|header| header.size).collect(),
            None => {
                looks.iter().flat_map(|(_, look)| look.as_ref().map(|look| look.size)).collect()
            }
        };
        let bytes: Vec<u64> = headers().map(|header| header.bytes).collect();
        let turned = headers().filter(|h| h.may_turn && h.size.0 != h.size.1).count();
        let read = || looks.iter().flat_map(|(_, look)| look);
        Ok(Stats {
            source: self.source.clone(),
            images: self.images(),
            unusable: self.unusable,
            splits: (0..self.parts.len()).map(|part| self.of_split(part, &looks)).collect(),
            sizes: Sizes::of(sizes, turned),
            formats: figures::formats(headers().map(|header| (header.format, header.bytes))),
            total_bytes: bytes.iter().sum(),
            bytes: Range::of(bytes),
            decoded: looks.len(),
            damaged: looks.len() - read().count(),
            grey: read().filter(|look| look.grey).count(),
        })
    }

    fn of_split(&self, part: usize, looks: &[(usize, Option<Look>)]) -> SplitStats {
        let own = looks.iter().filter(|(of, _)| *of == part);
        let read: Vec<&Look> = own.filter_map(|(_, look)| look.as_ref()).collect();
        let (mean, std) = look::moments(&read);
        let pictures = &self.parts[part];
        let mut counts = vec![0; self.classes.len()];
        pictures.labels.iter().for_each(|&label| counts[label] += 1);
        let class = |(class, images): (&String, usize)| ClassCount { class: class.clone(), images };
        SplitStats {
            part: Part {
                split: pictures.split.clone(),
                images: pictures.len(),
                classes: self.classes.iter().zip(counts).map(class).collect(),
            },
            decoded: read.len(),
            mean,
            std,
        }
    }

    /// A few pictures of each class, of the first split that has some, at most `side` pixels a
    /// side. Of more than `classes` classes, as many evenly spaced ones.
    ///
    /// # Errors
    /// The system failed; pictures that cannot be decoded are left out.
    pub fn contacts(
        &self,
        classes: usize,
        each: usize,
        side: usize,
    ) -> Result<Vec<Contact>, DataError> {
        let shown = self.classes.len().min(classes);
        let mut contacts = Vec::with_capacity(shown);
        for place in 0..shown {
            let class = place * self.classes.len() / shown;
            let of_class = |part: &Pictures| -> Vec<usize> {
                let labels = part.labels.iter().enumerate();
                labels.filter(|(_, label)| **label == class).map(|(index, _)| index).collect()
            };
            let mut images = 0;
            let mut pictures = Vec::new();
            for part in &self.parts {
                let members = of_class(part);
                images += members.len();
                if !pictures.is_empty() {
                    continue;
                }
                for index in spaced(members.len(), each) {
                    let mut image = Image::default();
                    match part.read(members[index], &mut image) {
                        Ok(()) => {
                            pictures.push((part.name(members[index]), shrink(&image, side)));
                        }
                        Err(error) if error.is_of_system() => return Err(error),
                        Err(_) => {}
                    }
                }
            }
            contacts.push(Contact { class: self.classes[class].clone(), images, pictures });
        }
        Ok(contacts)
    }
}

/// `count` of so many places, evenly spaced, or all.
fn spaced(len: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(len);
    (0..count).map(move |i| (2 * i + 1) * len / (2 * count))
}

impl Pictures {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn pixels(&self) -> u64 {
        match &self.from {
            From::Files(..) => self.headers.iter().map(Header::pixels).sum(),
            From::Data(data) => {
                // Nothing is known of pictures that a program brings; they may be photos.
                let shape = data.shape().map_or(1 << 18, |shape| (shape.h * shape.w) as u64);
                shape * data.len() as u64
            }
        }
    }

    fn read(&self, index: usize, image: &mut Image) -> Result<(), DataError> {
        match &self.from {
            From::Files(store, entries, used) => {
                pictures::read(store.as_ref(), &entries.get(used[index]), image)
            }
            From::Data(data) => data.read(index, image),
        }
    }

    fn name(&self, index: usize) -> String {
        match &self.from {
            From::Files(store, entries, used) => {
                text::path(&store.name(&entries.get(used[index]))).to_string()
            }
            From::Data(data) => data.name(index),
        }
    }
}

impl Header {
    fn pixels(&self) -> u64 {
        u64::from(self.size.0) * u64::from(self.size.1)
    }
}

#[cfg(test)]
mod tests;
