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

/// Pictures that look like some of splits before their own, and are not the same.
pub(super) fn near(parts: &[Pictures], seen: &[Vec<Seen>], findings: &mut Findings) {
    let (mut shown, mut names) = (Vec::new(), Vec::new());
    for (split, (part, seen)) in parts.iter().zip(seen).enumerate() {
        for (picture, seen) in part.pictures.iter().zip(seen) {
            if let Ok((_, Some((hash, Some(look))))) = seen {
                shown.push(Shown { split, hash: *hash, look: *look });
                names.push(&picture.name);
            }
        }
    }
    for (like, name) in like_earlier(&shown).iter().zip(&names) {
        if let Some(Like { nearest, count, .. }) = like {
            let more = match count - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            findings.push((Kind::Near, format!("{}{more} ~ {name}", names[*nearest])));
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

    /// In how many bits two differ.
    fn apart(self, other: Look) -> u32 {
        (self.0 ^ other.0).count_ones()
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

/// A picture that is compared.
struct Shown {
    split: usize,
    hash: u128,
    look: Look,
}

/// What looks like a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Like {
    /// In how many bits the nearest differs.
    apart: u32,
    /// The nearest, the first of equals.
    nearest: usize,
    /// How many there are.
    count: usize,
}

/// For each picture, what looks like it in splits before its own; the pictures are in the order of
/// their splits.
///
/// Many pictures may look like many others, as those of a camera that does not move, so pairs are
/// counted and not kept.
fn like_earlier(shown: &[Shown]) -> Vec<Option<Like>> {
    let mut found: Vec<Option<Like>> = vec![None; shown.len()];
    // By which parts each picture was compared: two that have several in common count once.
    let mut compared = vec![0u8; shown.len()];
    for n in 0..PARTS {
        let mut groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (i, shown) in shown.iter().enumerate() {
            groups.entry(shown.look.part(n)).or_default().push(i);
        }
        for group in groups.values().filter(|group| (2..=CROWD).contains(&group.len())) {
            for (k, &later) in group.iter().enumerate() {
                for &earlier in &group[..k] {
                    let (a, b) = (&shown[earlier], &shown[later]);
                    let apart = a.look.apart(b.look);
                    let met = |m| compared[later] >> m & 1 == 1 && a.look.part(m) == b.look.part(m);
                    if a.split == b.split || a.hash == b.hash || apart > APART || (0..n).any(met) {
                        continue;
                    }
                    let like = Like { apart, nearest: earlier, count: 1 };
                    found[later] = Some(match found[later] {
                        None => like,
                        Some(old) => {
                            let first = (old.apart, old.nearest) < (apart, earlier);
                            Like { count: old.count + 1, ..if first { old } else { like } }
                        }
                    });
                }
            }
            group.iter().for_each(|&i| compared[i] |= 1 << n);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_picture_of_a_later_split_is_found_once_with_its_nearest() {
        // Frames of a camera that does not move, each in a few bits unlike the others.
        let look = |bits: &[u32]| Look(bits.iter().fold(7 << 60, |look, bit| look ^ 1u128 << *bit));
        let frame = |split, n: u32, look| Shown { split, hash: u128::from(n), look };
        let mut shown: Vec<Shown> = Vec::new();
        for split in 0..3 {
            let frames = (0..100).map(|n| frame(split, n + 1000 * split as u32, look(&[n])));
            shown.extend(frames);
        }
        // One that is the same picture as the first, and one unlike all others.
        shown.push(frame(2, 0, look(&[])));
        shown.push(frame(2, 9999, Look(u128::MAX)));
        let found = like_earlier(&shown);
        assert!(found[..100].iter().all(Option::is_none));
        for n in 0..100 {
            let like = |count| Some(Like { apart: 0, nearest: n, count });
            assert_eq!((found[100 + n], found[200 + n]), (like(100), like(200)));
        }
        assert_eq!(found[300], Some(Like { apart: 1, nearest: 1, count: 199 }));
        assert_eq!(found[301], None);
    }
}
