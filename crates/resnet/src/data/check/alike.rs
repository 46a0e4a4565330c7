//! The same picture twice, by its content; and pictures of two splits that look the same: saved
//! again, resized, a little brighter, the next frame of a film.
//!
//! A picture is brought to a few grey cells, and a bit says of each pair of neighbours which is
//! brighter, across and down (a difference hash). Two pictures whose bits are nearly the same look
//! the same.

use std::collections::BTreeMap;

use super::super::Image;
use super::{Findings, Kind, Pictures, Seen};

/// The cells' side, and the bits of each direction a row.
const SIDE: usize = 8;
/// Bits that may differ: one picture in several sizes and qualities differs in fewer.
const APART: u32 = 5;
/// Bits that may be compared by having one of so many parts equal.
const PARTS: u32 = APART + 1;
/// Smallest side of a picture that is compared; icons and digits look alike without being the same.
const SMALLEST: usize = 48;
/// Least difference of two neighbouring cells, of 255: of less, noise decides.
const CONTRAST: u32 = 2;
/// Fewest pairs of neighbours with contrast: without, every empty picture would be every other.
const TOLD: u32 = 40;
/// Most pictures with one part in common that are compared with each other.
const CROWD: usize = 1000;

/// Pictures of equal content.
pub(super) fn same(parts: &[Pictures], seen: &[Vec<Seen>], findings: &mut Findings) {
    let mut groups: BTreeMap<u128, Vec<(usize, usize)>> = BTreeMap::new();
    for (p, seen) in seen.iter().enumerate() {
        for (i, seen) in seen.iter().enumerate() {
            if let Ok((_, Some((hash, _)))) = seen {
                groups.entry(*hash).or_default().push((p, i));
            }
        }
    }
    let mut groups: Vec<_> = groups.into_values().filter(|g| g.len() > 1).collect();
    groups.sort_unstable();
    for group in groups {
        let picture = |&(p, i): &(usize, usize)| &parts[p].pictures[i];
        let names: Vec<&str> = group.iter().map(|at| picture(at).name.as_str()).collect();
        let names = names.join(" = ");
        let (p, class) = (group[0].0, &picture(&group[0]).class);
        let across = group.iter().any(|at| at.0 != p);
        let conflict = group.iter().any(|at| picture(at).class != *class);
        if across {
            findings.push((Kind::Leak, names.clone()));
        }
        if conflict {
            findings.push((Kind::Conflict, names.clone()));
        }
        if !across && !conflict {
            findings.push((Kind::Duplicate, names));
        }
    }
}

/// Pictures of different splits that look the same and are not.
pub(super) fn near(parts: &[Pictures], seen: &[Vec<Seen>], findings: &mut Findings) {
    let (mut looks, mut pictures) = (Vec::new(), Vec::new());
    for (p, (part, seen)) in parts.iter().zip(seen).enumerate() {
        for (picture, seen) in part.pictures.iter().zip(seen) {
            if let Ok((_, Some((hash, Some(look))))) = seen {
                looks.push((p, *look));
                pictures.push((&picture.name, *hash));
            }
        }
    }
    for (i, j) in pairs(&looks) {
        if pictures[i].1 != pictures[j].1 {
            findings.push((Kind::Near, format!("{} ~ {}", pictures[i].0, pictures[j].0)));
        }
    }
}

/// What a picture looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look(u128);

impl Look {
    /// That of a picture; none where it is too small or too empty to tell.
    pub(super) fn of(image: &Image) -> Option<Look> {
        if image.width.min(image.height) < SMALLEST {
            return None;
        }
        let cells = cells(image);
        let at = |x: usize, y: usize| i64::from(cells[y * (SIDE + 1) + x]);
        let (mut bits, mut told) = (0, 0);
        for y in 0..SIDE {
            for x in 0..SIDE {
                for other in [at(x + 1, y), at(x, y + 1)] {
                    bits = bits << 1 | u128::from(at(x, y) > other);
                    told += u32::from((at(x, y) - other).unsigned_abs() >= u64::from(CONTRAST));
                }
            }
        }
        (told >= TOLD).then_some(Look(bits))
    }

    fn is_near(self, other: Look) -> bool {
        (self.0 ^ other.0).count_ones() <= APART
    }

    /// A part of the bits: where at most [`APART`] differ, one of [`PARTS`] is equal.
    fn part(self, n: u32) -> u32 {
        let width = u128::BITS / PARTS;
        (self.0 >> (n * width)) as u32 & ((1 << width) - 1)
    }
}

/// Grey means of the cells of a grid over the whole picture, of 255.
fn cells(image: &Image) -> Vec<u32> {
    const N: usize = SIDE + 1;
    let (w, h, c) = (image.width, image.height, image.channels);
    let mut cells = Vec::with_capacity(N * N);
    for row in 0..N {
        for column in 0..N {
            let (top, bottom) = (row * h / N, (row + 1) * h / N);
            let (left, right) = (column * w / N, (column + 1) * w / N);
            let rows =
                (top..bottom).map(|y| &image.pixels[(y * w + left) * c..(y * w + right) * c]);
            let sum: u64 = rows.flatten().map(|&v| u64::from(v)).sum();
            let count = ((bottom - top) * (right - left) * c) as u64;
            cells.push((sum / count.max(1)) as u32);
        }
    }
    cells
}

/// Pairs of pictures of different splits that look the same, each picture by its split and its
/// place in `looks`.
fn pairs(looks: &[(usize, Look)]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for n in 0..PARTS {
        let mut alike: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (i, (_, look)) in looks.iter().enumerate() {
            alike.entry(look.part(n)).or_default().push(i);
        }
        for group in alike.values().filter(|group| (2..=CROWD).contains(&group.len())) {
            for (k, &i) in group.iter().enumerate() {
                let near =
                    |j: &&usize| looks[i].0 != looks[**j].0 && looks[i].1.is_near(looks[**j].1);
                found.extend(group[k + 1..].iter().filter(near).map(|&j| (i, j)));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}
