//! Sizes, formats and bytes in numbers.

use std::collections::BTreeMap;

use image::ImageFormat;
use serde::Serialize;

/// Sizes that are told one by one.
const COMMON: usize = 5;

/// The least, the middle and the most of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Range<T> {
    /// The least.
    pub least: T,
    /// The one in the middle; the higher of two.
    pub median: T,
    /// The most.
    pub most: T,
}

impl<T: Copy + PartialOrd> Range<T> {
    /// The range of some numbers; `None` of none.
    pub(super) fn of(mut numbers: Vec<T>) -> Option<Range<T>> {
        numbers.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        let (least, most) = (*numbers.first()?, *numbers.last()?);
        Some(Range { least, median: numbers[numbers.len() / 2], most })
    }
}

/// The sizes of pictures, in pixels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sizes {
    /// Pictures that were looked at.
    pub images: usize,
    /// Widths.
    pub width: Range<u32>,
    /// Heights.
    pub height: Range<u32>,
    /// Width over height.
    pub aspect: Range<f64>,
    /// Wider than high, square, and higher than wide.
    pub landscape: usize,
    /// As wide as high.
    pub square: usize,
    /// Higher than wide.
    pub portrait: usize,
    /// Different sizes.
    pub distinct: usize,
    /// The most frequent sizes.
    pub common: Vec<SizeCount>,
    /// Pictures that EXIF data may turn, so that width and height change places.
    pub may_turn: usize,
}

/// Pictures of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeCount {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pictures.
    pub images: usize,
}

impl Sizes {
    pub(super) fn of(sizes: Vec<(u32, u32)>, may_turn: usize) -> Option<Sizes> {
        let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        sizes.iter().for_each(|size| *counts.entry(*size).or_default() += 1);
        let aspects = sizes.iter().map(|&(w, h)| f64::from(w) / f64::from(h)).collect();
        let distinct = counts.len();
        let mut common: Vec<SizeCount> = counts
            .into_iter()
            .map(|((width, height), images)| SizeCount { width, height, images })
            .collect();
        common.sort_by_key(|size| std::cmp::Reverse(size.images));
        common.truncate(COMMON);
        let landscape = sizes.iter().filter(|(w, h)| w > h).count();
        let square = sizes.iter().filter(|(w, h)| w == h).count();
        Some(Sizes {
            images: sizes.len(),
            aspect: Range::of(aspects)?,
            landscape,
            square,
            portrait: sizes.len() - landscape - square,
            width: Range::of(sizes.iter().map(|size| size.0).collect())?,
            height: Range::of(sizes.iter().map(|size| size.1).collect())?,
            distinct,
            common,
            may_turn,
        })
    }
}

/// Files of one format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FormatCount {
    /// The format.
    pub format: &'static str,
    /// Files.
    pub images: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// How many files there are of each format, the most frequent first.
pub(super) fn formats(files: impl Iterator<Item = (ImageFormat, u64)>) -> Vec<FormatCount> {
    let mut found: Vec<FormatCount> = Vec::new();
    for (format, bytes) in files {
        let format = name(format);
        match found.iter_mut().find(|known| known.format == format) {
            Some(known) => {
                known.images += 1;
                known.bytes += bytes;
            }
            None => found.push(FormatCount { format, images: 1, bytes }),
        }
    }
    found.sort_by_key(|count| (std::cmp::Reverse(count.images), count.format));
    found
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Pnm => "PNM",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_sizes_are_counted() {
        assert_eq!(Range::of(vec![3, 1, 2]), Some(Range { least: 1, median: 2, most: 3 }));
        assert_eq!(Range::of(vec![1, 2]).map(|range| range.median), Some(2));
        assert_eq!(Range::<u32>::of(Vec::new()), None);
        let sizes = Sizes::of(vec![(4, 2), (2, 4), (4, 2), (3, 3)], 1).unwrap();
        assert_eq!((sizes.landscape, sizes.square, sizes.portrait), (2, 1, 1));
        assert_eq!(sizes.common[0], SizeCount { width: 4, height: 2, images: 2 });
        assert_eq!((sizes.distinct, sizes.aspect.least, sizes.aspect.most), (3, 0.5, 2.0));
    }
}
