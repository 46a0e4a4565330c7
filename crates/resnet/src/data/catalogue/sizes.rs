//! The sizes of a split's pictures, and which of them counts as its own.
//!
//! Small pictures are made in one size, and a few of another are accidents: they are resized to
//! that of the others. Photos come as they are, and are resized whatever most of them are.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::Warning;
use super::super::header::Header;
use super::bytes::{Reading, Writing};
use resnet_engine::graph::Shape;

/// Longest side of a small picture, in pixels.
const SMALL: u32 = 128;
/// Of so many pictures, one may be of another size.
const ONE_IN: usize = 10;

/// How many pictures there are of each size.
#[derive(Default)]
pub(in crate::data) struct Sizes {
    /// By width and height.
    counts: BTreeMap<(u32, u32), usize>,
    /// Pictures that EXIF data may turn on their side, so that a header does not tell.
    turned: usize,
}

impl Sizes {
    pub(in crate::data) fn add(&mut self, header: &Header) {
        let &Header { width, height, may_turn, .. } = header;
        *self.counts.entry((width, height)).or_default() += 1;
        self.turned += usize::from(may_turn && width != height);
    }

    pub(super) fn write(&self, to: &mut Writing) {
        to.number(self.turned as u64);
        let counts: Vec<_> = self.counts.iter().collect();
        to.list(&counts, |to, &(&(width, height), &count)| {
            to.number(u64::from(width) << 32 | u64::from(height));
            to.number(count as u64);
        });
    }

    pub(super) fn read(from: &mut Reading) -> Option<Sizes> {
        let turned = usize::try_from(from.number()?).ok()?;
        let counts = from.list(|from| {
            let size = from.number()?;
            let count = u32::try_from(from.number()?).ok()?;
            Some((((size >> 32) as u32, size as u32), count as usize))
        })?;
        Some(Sizes { counts: counts.into_iter().collect(), turned })
    }

    fn total(&self) -> usize {
        self.counts.values().sum()
    }

    /// The size that counts, and how many pictures are of another.
    fn chosen(&self) -> Option<((u32, u32), usize)> {
        let (&size, &most) = self.counts.iter().max_by_key(|(_, count)| **count)?;
        let others = self.total() - most + self.turned;
        let few = size.0.max(size.1) <= SMALL && others * ONE_IN <= self.total();
        (others == 0 || few).then_some((size, others))
    }

    /// The shape of the pictures as RGB, where they have one.
    pub(in crate::data) fn shape(&self) -> Option<Shape> {
        let ((width, height), _) = self.chosen()?;
        Some(Shape::new(3, height as usize, width as usize))
    }

    /// The range of sizes, where no one counts.
    pub(in crate::data) fn range(&self) -> Option<String> {
        if self.chosen().is_some() {
            return None;
        }
        let area = |&&(w, h): &&(u32, u32)| u64::from(w) * u64::from(h);
        let (least, most) =
            (self.counts.keys().min_by_key(area)?, self.counts.keys().max_by_key(area)?);
        Some(format!("{} x {} to {} x {} pixels", least.0, least.1, most.0, most.1))
    }

    /// What to say of pictures that are not of the size that counts: here, or in the training
    /// split.
    pub(in crate::data) fn warning(&self, folder: &Path, train: Option<&Sizes>) -> Option<Warning> {
        let ((w, h), _) = train.unwrap_or(self).chosen()?;
        let same = self.counts.get(&(w, h)).copied().unwrap_or_default();
        let others = self.total() - same;
        if others == 0 {
            return None;
        }
        let (ow, oh) = self.counts.keys().find(|size| **size != (w, h))?;
        let of = if train.is_some() { "the training pictures" } else { "the others" };
        let (are, they) = if others == 1 { ("is", "it is") } else { ("are", "they are") };
        let message = format!(
            "{others} of {} pictures {are} not {w} x {h} pixels as {of} (but {ow} x {oh}, say); {they} resized to cover that",
            self.total()
        );
        Some(Warning::file(folder, message))
    }
}
