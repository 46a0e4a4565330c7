//! The pictures whose predictions a run tells at every evaluation, and a strip of small copies of
//! them in its directory.

use super::Run;
use crate::base::files;
use crate::data::{Dataset, Image, shrink};
use crate::measure::evaluate::{Evaluation, chosen};
use crate::page::charts::png;
use crate::train::TrainError;
use crate::train::directory::PICTURES;
use crate::train::event::{Event, Predicted, PredictedPicture};

/// Most pixels of a side of a small copy.
const SIDE: usize = 96;
/// What stands for a picture that cannot be read.
const GREY: u8 = 128;

impl Run<'_> {
    /// What an evaluation of the present weights took the pictures for.
    pub(super) fn shown(&self, evaluation: &Evaluation) -> Event {
        let name = |class: u32| self.job.task.classes[class as usize].clone();
        let rounded = |p: f32| (f64::from(p) * 1e4).round() / 1e4;
        let shown = evaluation.shown.iter().map(|shown| PredictedPicture {
            place: shown.place,
            index: shown.index,
            label: name(shown.label),
            top: shown.top.iter().map(|&(class, p)| (name(class), rounded(p))).collect(),
        });
        let (step, split) = (self.progress.step, self.job.task.eval_name.clone());
        Event::Predicted(Predicted { step, split, pictures: shown.collect() })
    }

    /// Writes the strip of small copies, where it is not there yet.
    pub(super) fn keep_pictures(&self) -> Result<(), TrainError> {
        let Some(directory) = self.record.directory() else { return Ok(()) };
        let path = directory.path(PICTURES);
        if files::is_there(&path)? {
            return Ok(());
        }
        let Some(png) = strip(self.job.task.eval.as_ref()) else { return Ok(()) };
        Ok(files::write_atomic(&path, |to| to.write_all(&png))?)
    }
}

/// The middle squares of the pictures, as large as the largest of them, side by side as a PNG.
fn strip(data: &dyn Dataset) -> Option<Vec<u8>> {
    let tiles: Vec<Image> = chosen(data.len())
        .into_iter()
        .map(|index| {
            let mut image = Image::default();
            match data.read(index as usize, &mut image) {
                Ok(()) => shrink(&square(&image), SIDE),
                Err(_) => Image::grey(1, 1, vec![GREY]),
            }
        })
        .collect();
    let side = tiles.iter().map(|tile| tile.width).max()?;
    let channels = tiles.iter().map(|tile| tile.channels).max()?;
    let mut pixels = Vec::with_capacity(side * side * tiles.len() * channels);
    for y in 0..side {
        for tile in &tiles {
            for x in 0..side {
                // Smaller ones are repeated pixel by pixel.
                let of =
                    (y * tile.height / side * tile.width + x * tile.width / side) * tile.channels;
                let pixel = &tile.pixels[of..of + tile.channels];
                pixels.extend((0..channels).map(|c| pixel[c.min(tile.channels - 1)]));
            }
        }
    }
    png::encode((side * tiles.len()) as u32, side as u32, channels, &pixels)
}

/// The largest square in the middle of a picture.
fn square(image: &Image) -> Image {
    let side = image.width.min(image.height);
    let (left, top) = ((image.width - side) / 2, (image.height - side) / 2);
    let row = image.width * image.channels;
    let rows = image.pixels.chunks_exact(row.max(1)).skip(top).take(side);
    let pixels = rows.flat_map(|row| &row[left * image.channels..][..side * image.channels]);
    let pixels = pixels.copied().collect();
    Image { width: side, height: side, channels: image.channels, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataError, from_fn};

    #[test]
    fn the_middle_square_is_cut_out() {
        let wide = Image::grey(4, 2, vec![0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(square(&wide), Image::grey(2, 2, vec![1, 2, 5, 6]));
        let tall = Image::rgb(1, 3, (0..9).collect());
        assert_eq!(square(&tall), Image::rgb(1, 1, vec![3, 4, 5]));
    }

    #[test]
    fn pictures_of_any_size_stand_in_one_strip() {
        let sizes = [(40, 30), (1, 1), (300, 200)];
        let read = move |index: usize, image: &mut Image| {
            let (width, height) = sizes[index.min(2)];
            *image = Image::rgb(width, height, vec![index as u8 * 10; width * height * 3]);
            match index {
                3 => Err(DataError::Loader("it is damaged".into())),
                _ => Ok(()),
            }
        };
        let data = from_fn(vec!["one".into()], vec![0; 4], read).unwrap();
        let strip = image::load_from_memory(&strip(&data).unwrap()).unwrap().into_rgb8();
        assert_eq!(strip.dimensions(), (4 * 96, 96));
        let at = |tile: u32| [0, 95].map(|x| strip.get_pixel(tile * 96 + x, 50).0);
        assert_eq!([at(0), at(1), at(2)], [0, 10, 20].map(|v| [[v; 3]; 2]));
        assert_eq!(at(3), [[GREY; 3]; 2]);
    }
}
