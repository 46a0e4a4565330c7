//! A map of Grad-CAM over its picture. The picture is grey and the map is not, so that the map is
//! seen whatever the colours of the picture are.

use super::Predictor;
use super::cam::Cam;
use super::legend;
use crate::data::{self, Image};
use crate::page::charts::palette::HEAT;
use crate::page::charts::png;

/// Longest side of an overlay in pixels, and what small pictures are enlarged to at most.
const LONGEST: usize = 640;
const ENLARGED: usize = 384;
/// How strongly the map covers the picture at most.
const COVER: f32 = 0.7;
/// How dark the part of the picture is that the network did not see, and its stripes.
const UNSEEN: f32 = 0.45;
const STRIPE: (usize, [u8; 3]) = (10, [128; 3]);
/// Strength along which a line is drawn, as a part of the strongest.
const CONTOUR: f32 = 0.5;

/// The colour of a strength from 0 to 1.
pub(super) fn heat(strength: f32) -> [f32; 3] {
    let at = strength.clamp(0.0, 1.0) * (HEAT.len() - 1) as f32;
    let low = (at as usize).min(HEAT.len() - 2);
    let part = at - low as f32;
    let (low, high) = (HEAT[low].map(f32::from), HEAT[low + 1].map(f32::from));
    std::array::from_fn(|c| low[c] * (1.0 - part) + high[c] * part)
}

/// The strength in a pixel; none where the network did not see it.
type Strengths = Vec<Option<f32>>;

impl Predictor {
    /// The map over the upright picture it is of, as a PNG file: the picture in grey under the
    /// map's colours, a line in white and black around what is at least half as strong as the
    /// strongest place, stripes over what the network did not see, and below it all a legend with
    /// the class. Small pictures are enlarged.
    pub fn overlay(&self, cam: &Cam, image: &Image) -> Vec<u8> {
        let small = data::shrink(image, LONGEST);
        let enlarged = (ENLARGED / small.height.max(small.width).max(1)).max(1);
        let (rows, columns) = (small.height * enlarged, small.width * enlarged);
        let strengths = self.strengths(cam, image, rows, columns);
        let mut pixels = Vec::with_capacity(rows * columns);
        for (i, strength) in strengths.iter().enumerate() {
            let (y, x) = (i / columns, i % columns);
            let at = (y / enlarged * small.width + x / enlarged) * small.channels;
            let grey = grey(&small.pixels[at..at + small.channels]);
            pixels.push(match (strength, line(&strengths, columns, i)) {
                (_, Some(line)) => [line; 3],
                (Some(strength), None) => {
                    let cover = COVER * strength.sqrt();
                    heat(*strength).map(|h| (grey * (1.0 - cover) + h * cover).round() as u8)
                }
                (None, None) if (x + y) % STRIPE.0 == 0 => STRIPE.1,
                (None, None) => [(grey * UNSEEN).round() as u8; 3],
            });
        }
        let class = &self.classes[cam.class];
        let nothing = cam.values.iter().all(|v| *v <= 0.0);
        let (width, pixels) = legend::below(pixels, columns, class, nothing);
        let height = pixels.len() / width;
        let bytes = pixels.as_flattened();
        png::encode(width as u32, height as u32, 3, bytes).expect("size and bytes fit")
    }

    fn strengths(&self, cam: &Cam, image: &Image, rows: usize, columns: usize) -> Strengths {
        let [top, left, height, width] = self.transform.seen(image);
        let most = cam.values.iter().copied().fold(0.0, f32::max);
        let place = |i: usize, n: usize, of: usize| (i as f64 + 0.5) * n as f64 / of as f64;
        let strength = |i: usize| {
            let py = place(i / columns, image.height, rows);
            let px = place(i % columns, image.width, columns);
            let (v, u) = ((py - top) / height, (px - left) / width);
            let seen = (0.0..1.0).contains(&u) && (0.0..1.0).contains(&v);
            seen.then(|| if most > 0.0 { cam.at(v, u) / most } else { 0.0 })
        };
        (0..rows * columns).map(strength).collect()
    }
}

/// White on the inner side of the contour, black on its outer one.
fn line(strengths: &Strengths, columns: usize, i: usize) -> Option<u8> {
    let strong = |i: usize| strengths[i].map(|s| s >= CONTOUR);
    let (here, x) = (strong(i)?, i % columns);
    let beside = [
        (x > 0).then(|| i - 1),
        (x + 1 < columns).then_some(i + 1),
        i.checked_sub(columns),
        Some(i + columns).filter(|j| *j < strengths.len()),
    ];
    let crosses = beside.into_iter().flatten().filter_map(strong).any(|there| there != here);
    crosses.then_some(if here { 255 } else { 0 })
}

/// How bright a pixel is to the eye (ITU-R BT.601).
fn grey(pixel: &[u8]) -> f32 {
    match *pixel {
        [r, g, b, ..] => 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b),
        [grey, ..] => f32::from(grey),
        [] => 0.0,
    }
}

#[cfg(test)]
mod tests;
