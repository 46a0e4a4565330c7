//! The text of a product of matrices, from a tile's sizes and what its operands are.

use std::fmt::Write as _;

use crate::gpu::GROUPS;
use crate::kernel::Kernel;

/// Sizes of a tile: rows and columns of C that a group computes, and how far it looks at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) name: &'static str,
    /// Rows of a group.
    pub(super) bm: usize,
    /// Columns of a group, a multiple of 4.
    pub(super) bn: usize,
    /// Columns of A and rows of B in the group's memory.
    pub(super) bk: usize,
    /// Rows of a thread.
    tm: usize,
}

/// Tiles, by how many columns they are for. Each takes at most 256 threads and 16 KiB of a group's
/// memory, which every device has.
pub(super) const TILES: [Tile; 3] = [
    Tile { name: "gemm 128x16x16", bm: 128, bn: 16, bk: 16, tm: 4 },
    Tile { name: "gemm 128x32x16", bm: 128, bn: 32, bk: 16, tm: 4 },
    Tile { name: "gemm 64x64x16", bm: 64, bn: 64, bk: 16, tm: 4 },
];

impl Tile {
    /// The tile for so many columns.
    pub(super) fn of(n: usize) -> Tile {
        let fits = |tile: &&Tile| n <= tile.bn;
        *TILES.iter().find(fits).unwrap_or(&TILES[TILES.len() - 1])
    }

    /// Adds what the text reads to a kernel's constants, and runs it: `m` rows and `n` columns at
    /// most, for so many members, each in so many parts.
    pub(super) fn run(
        self,
        kernel: Kernel,
        text: String,
        m: usize,
        n: usize,
        members: usize,
        parts: usize,
    ) -> Kernel {
        let (m_tiles, n_tiles) = (m.div_ceil(self.bm).max(1), n.div_ceil(self.bn).max(1));
        let rows = m_tiles.div_ceil(GROUPS as usize);
        let groups = [m_tiles.div_ceil(rows), rows * n_tiles, members * parts];
        let kernel = kernel.constant("n_tiles", n_tiles).constant("parts", parts);
        kernel.run(text, groups.map(|groups| groups as u32))
    }

    fn columns(&self) -> usize {
        self.bn / 4
    }

    fn threads(&self) -> usize {
        self.columns() * (self.bm / self.tm)
    }
}

/// Along which index neighbours lie side by side in memory, so that neighbouring threads bring
/// neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Along {
    /// A's and B's common index.
    K,
    /// The index of rows, of A, or columns, of B.
    Other,
}

const TEMPLATE: &str = include_str!("../wgsl/gemm.wgsl");

/// The text of a product. `operands` defines
/// `extent(member, part) -> Extent`, `row(member, m) -> vec4<i32>`,
/// `key(member, k, extent) -> vec4<i32>`, `a(member, row, key) -> f32`,
/// `b(member, k, n, extent) -> f32`, which are zero outside, and
/// `finish(member, part, m, n, v: vec4<f32>)`. A member is a product of its own, such as a group of
/// channels; parts of one have parts of k.
pub(super) fn text(tile: Tile, a: Along, b: Along, operands: &str) -> String {
    // A line more than rows, so that columns of threads do not meet in one bank.
    let stride = tile.bm + 4;
    let mut text = TEMPLATE.to_string();
    let pieces = [
        ("DECLARE_SUMS", each_row(tile, "var sum_I = vec4<f32>(0.0);")),
        ("DECLARE_ROWS", rows(tile, a)),
        ("LOAD_A", load_a(tile, a, stride)),
        ("LOAD_B", load_b(tile, b)),
        ("MULTIPLY", each_row(tile, "sum_I = fma(vec4<f32>(tile_a[a_at + Iu]), b4, sum_I);")),
        (
            "STORE",
            each_row(
                tile,
                "if (m_first + m_thread + Iu < shape.m) \
                 { finish(member, part, m_first + m_thread + Iu, n, sum_I); }",
            ),
        ),
        ("TILE_A", (tile.bk * stride).to_string()),
        ("TILE_B", (tile.bk * tile.columns()).to_string()),
        ("THREADS", tile.threads().to_string()),
        ("COLUMNSu", format!("{}u", tile.columns())),
        ("STRIDE_Au", format!("{stride}u")),
        ("BMu", format!("{}u", tile.bm)),
        ("BNu", format!("{}u", tile.bn)),
        ("BKu", format!("{}u", tile.bk)),
        ("TMu", format!("{}u", tile.tm)),
    ];
    for (from, to) in pieces {
        text = text.replace(from, &to);
    }
    format!("struct Extent {{ m: u32, k_first: u32, k_end: u32 }}\n{operands}\n{text}")
}

/// A statement for each row of a thread, `I`.
fn each_row(tile: Tile, statement: &str) -> String {
    let lines = (0..tile.tm).map(|i| statement.replace('I', &i.to_string()));
    lines.collect::<Vec<_>>().join("\n    ")
}

/// Where a thread's rows of A are: they stay the same for all k.
fn rows(tile: Tile, a: Along) -> String {
    let threads = tile.threads();
    match a {
        Along::K => {
            let each = tile.bm * tile.bk / threads;
            let step = threads / tile.bk;
            let line = |i: usize| {
                let m = format!("m_first + thread / {}u + {}u", tile.bk, i * step);
                format!("let row_{i} = row(member, {m});\n    ")
            };
            (0..each).map(line).collect()
        }
        Along::Other => {
            format!("let row_0 = row(member, m_first + thread % {}u);", tile.bm)
        }
    }
}

fn load_a(tile: Tile, a: Along, stride: usize) -> String {
    let (threads, mut text) = (tile.threads(), String::new());
    let each = tile.bm * tile.bk / threads;
    match a {
        Along::K => {
            let (bk, step) = (tile.bk, threads / tile.bk);
            let _ = write!(text, "let key_0 = key(member, k_first + thread % {bk}u, shape);");
            for i in 0..each {
                let at = format!("(thread % {bk}u) * {stride}u + thread / {bk}u + {}u", i * step);
                let _ = write!(text, "\n        tile_a[{at}] = a(member, row_{i}, key_0);");
            }
        }
        Along::Other => {
            let (bm, step) = (tile.bm, threads / tile.bm);
            for i in 0..each {
                let k = format!("thread / {bm}u + {}u", i * step.max(1));
                let at = format!("({k}) * {stride}u + thread % {bm}u");
                let key = format!("key(member, k_first + {k}, shape)");
                let _ = write!(text, "\n        tile_a[{at}] = a(member, row_0, {key});");
            }
        }
    }
    text
}

fn load_b(tile: Tile, b: Along) -> String {
    let (threads, columns, mut text) = (tile.threads(), tile.columns(), String::new());
    // Four columns at once.
    let all = tile.bk * columns;
    for i in 0..all.div_ceil(threads) {
        let e = format!("(thread + {}u)", i * threads);
        let (k, n) = match b {
            Along::Other => (format!("{e} / {columns}u"), format!("{e} % {columns}u")),
            Along::K => (format!("{e} % {}u", tile.bk), format!("{e} / {}u", tile.bk)),
        };
        let load = |j: usize| format!("b(member, kb_{i}, nb_{i} + {j}u, shape)");
        let lines = format!(
            "let kb_{i} = k_first + {k};\n            let nb_{i} = n_first + ({n}) * 4u;
            tile_b[({k}) * {columns}u + {n}] = vec4<f32>({}, {}, {}, {});",
            load(0),
            load(1),
            load(2),
            load(3)
        );
        let guard = !all.is_multiple_of(threads) && i == all / threads;
        let open = if guard { format!("if ({e} < {all}u) ") } else { String::new() };
        let _ = write!(text, "\n        {open}{{ {lines} }}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_what_every_device_has_room_for() {
        for tile in TILES {
            let words = tile.bk * (tile.bm + 4) + tile.bk * tile.bn;
            assert!(tile.threads() <= 256 && words * 4 <= 16384, "{tile:?}");
            // Each thread brings whole numbers of A by either way.
            assert_eq!(tile.threads() % tile.bk, 0);
            assert_eq!(tile.bm * tile.bk % tile.threads(), 0);
            assert!(tile.threads() % tile.bm == 0, "{tile:?}");
        }
        assert_eq!([10, 17, 33, 1000].map(|n| Tile::of(n).bn), [16, 32, 64, 64]);
    }
}
