//! Tiles of 16 rows, each a channel's pixels: for AMX, and for what neither of the other ways
//! accepts.
//!
//! ```text
//!  x transposed: a channel's pixels in a row         dy: pairs of pixels, a panel of 32 channels
//!
//!      ┌──────────────────────────┐                    ┌────┬────┐
//!      │ zeros of the rim, pixels │                    │    │    │ a pixel
//!   16 │ [···32···]               │  channels          ├────┼────┤
//!      │   [···32···]             │                    │  zeros  │ no output's position
//!      └──────────────────────────┘                    └────┴────┘
//!          a tap is another place to begin
//! ```
//!
//! Blocks are laid out as in the forward pass, with the rim, and transposed; dy is laid out by the
//! same positions. Then a tile of x for one tap is 16 rows of 32 neighbouring positions, and all
//! taps use the same dy. Tiles of dw stay in registers over the positions whose dy fits the
//! first-level cache, wait in a panel of sums of the second-level cache meanwhile, and are added to
//! dw once a block. Where there are too few channels to fill a tile, each tap's rows are copied
//! out, so that tiles take rows of several taps.

use super::plan::{Gradient, PART, Plan};
use super::transpose;
use crate::conv::axis::Map;
use crate::conv::unit::{MOST, PANEL, Product, Registers, SIDE, STEP, height, padded, panels};
use crate::each::{Each, each};
use crate::simd::Simd;
use crate::{Bf16, Number, scratch};

/// Lengths of a thread's parts of scratch: copy, x transposed, rows copied out, offsets of dy, dy
/// in pairs, steps, sums, tiles.
pub(super) fn parts(plan: &Plan) -> [usize; 8] {
    let (steps, pitch) = plan.pitch();
    let waiting = if steps > PART { plan.tiles() } else { MOST };
    [
        Bf16::words(plan.layout.len(&plan.blocks)),
        plan.transposed_rows() * pitch,
        plan.copied_rows() * pitch,
        steps * STEP,
        steps * STEP / 2 * plan.together(),
        2 * steps,
        waiting * SIDE * PANEL,
        3 * plan.tiles(),
    ]
}

/// One task's gradient.
#[inline(always)]
pub(super) fn run<S: Simd>(s: S, work: Gradient) {
    let Gradient { plan, unit, group, chunk, part, channels, x, dy, dw, scratch, .. } = work;
    let (shape, layout) = (&plan.shape, &plan.layout);
    let c_out = shape.c_out;
    let [copy, transposed, copied, at, pairs, steps, sums, tiles] =
        scratch::split(scratch, parts(plan));
    let [at, pairs, steps, tiles] = [at, pairs, steps, tiles].map(scratch::as_u32);
    let step_table = steps.as_chunks_mut::<2>().0;
    for (i, step) in step_table.iter_mut().enumerate() {
        *step = [i * STEP * size_of::<Bf16>(), STEP / 2].map(|number| number as u32);
    }
    let map = Map { values: x, channels: shape.c_in, groups: shape.groups * plan.split_in };
    let (_, pitch) = plan.pitch();
    for (i, tile) in tiles.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        *tile = plan.tile(i, 2 * pitch);
    }
    let first_channel = group * (c_out / shape.groups);
    let image = shape.h_out() * shape.w_out() * c_out;
    let mut panel = Panel {
        plan,
        registers: Registers::new(unit),
        tiles: tiles.as_chunks().0,
        steps: step_table,
        // A group's parts of input channels follow each other in dw.
        dw: dw.wrapping_add(part * plan.channels * c_out),
        sums,
        add: false,
    };
    for block in plan.chunk(chunk) {
        let laid = layout.block(block.images, block.rows);
        let copy = Bf16::view_mut(copy, layout.len(&plan.blocks));
        let x = layout.stage(map, group * plan.split_in + part, block, copy, false);
        for plane in 0..layout.planes {
            let (from, cells) = if layout.copies() {
                (&x[plane * laid.plane * layout.cell..], laid.plane)
            } else {
                (x, (x.len() - layout.cell) / layout.distance + 1)
            };
            let to = &mut transposed[plane * plan.plane_rows() * pitch..];
            transpose::transpose(s, from, layout.distance, cells, layout.cell, to, pitch);
        }
        let steps = plan.place(block.images, block.row..block.row + block.rows, at);
        if !copied.is_empty() {
            copy_rows(plan, transposed, copied, steps, pitch);
        }
        let a = if copied.is_empty() { &*transposed } else { &*copied };
        let a = Bf16::view(a, 2 * a.len());
        let dy = &dy[block.image * image..(block.image + block.images) * image];
        for start in channels.clone().step_by(plan.together()) {
            let channels = start..(start + plan.together()).min(channels.end);
            let of_group = first_channel + start..first_channel + channels.end;
            transpose::pairs(s, dy, &at[..steps * STEP], of_group, pairs);
            for (n, count) in panels(channels) {
                let b = &pairs[(n - start) * steps * STEP / 2..];
                panel.run(s, a, b, steps, first_channel + n, count);
            }
        }
        panel.add = true;
    }
}

/// Copies out the row of x transposed for each row of dw, moved so that all begin at the outputs'
/// positions.
#[inline(always)]
fn copy_rows(plan: &Plan, transposed: &[f32], copied: &mut [f32], steps: usize, pitch: usize) {
    let transposed = Bf16::view(transposed, 2 * transposed.len());
    let kernel = plan.shape.kernel;
    for (k, to) in copied.chunks_exact_mut(pitch).enumerate() {
        let (tap, c) = (k / plan.channels, k % plan.channels);
        let (row, column) = (tap / kernel, tap % kernel);
        let from = plan.row(row, column, c) * 2 * pitch + plan.shift(row, column);
        let to = Bf16::view_mut(to, steps * STEP);
        to.copy_from_slice(&transposed[from..][..steps * STEP]);
    }
}

/// What computes one panel of dw for one block.
struct Panel<'a> {
    plan: &'a Plan,
    registers: Registers,
    /// What [`Plan::tile`] says of each.
    tiles: &'a [[u32; 3]],
    /// Offsets in bytes, and pairs.
    steps: &'a [[u32; 2]],
    dw: *mut f32,
    sums: &'a mut [f32],
    /// Whether there is a block before this one.
    add: bool,
}

impl Panel<'_> {
    /// `count` columns of dw from `channel` on, of x transposed `a` and dy in pairs `b`.
    #[inline(always)]
    fn run<S: Simd>(
        &mut self,
        s: S,
        a: &[Bf16],
        b: &[u32],
        steps: usize,
        channel: usize,
        count: usize,
    ) {
        let plan = self.plan;
        let lanes = padded(count);
        let (_, pitch) = plan.pitch();
        let together = height(count);
        let part = steps.div_ceil(steps.div_ceil(PART));
        for start in (0..steps).step_by(part) {
            let end = (start + part).min(steps);
            let b = &b[start * STEP / 2 * lanes..][..(end - start) * STEP / 2 * lanes];
            for (i, group) in self.tiles.chunks(together).enumerate() {
                let first = if part < steps { i * together * SIDE * PANEL } else { 0 };
                let sums = &mut self.sums[first..][..group.len() * SIDE * PANEL];
                let mut product = Product {
                    a: [std::ptr::null(); MOST],
                    c: [std::ptr::null_mut(); MOST],
                    steps: self.steps[start..end].as_ptr(),
                    b: b.as_ptr().cast(),
                    a_stride: 2 * pitch * size_of::<Bf16>(),
                    c_stride: PANEL * size_of::<f32>(),
                    count: end - start,
                    overlaps: false,
                    add: usize::from(start > 0),
                    ahead: std::ptr::null(),
                };
                let mut heights = [0; MOST];
                for (i, &[at, rows, _]) in group.iter().enumerate() {
                    product.a[i] = a[at as usize..].as_ptr();
                    product.c[i] = sums[i * SIDE * PANEL..].as_mut_ptr();
                    heights[i] = rows as usize;
                }
                // SAFETY: tiles' rows are rows of `a`, `pitch` words apart, which hold all steps
                // from every tap's shift on; `sums` holds 16 rows for each tile and was written by
                // the part before this one; b was cut to the steps.
                unsafe {
                    self.registers.multiply(&mut product, &heights[..group.len()], lanes, None);
                }
                if end < steps {
                    continue;
                }
                for (&[_, rows, k], sums) in group.iter().zip(sums.chunks_exact(SIDE * PANEL)) {
                    let (rows, k) = (rows as usize, k as usize);
                    let c_out = plan.shape.c_out;
                    for (r, sums) in sums.chunks_exact(PANEL).take(rows).enumerate() {
                        let dw = self.dw.wrapping_add((k + r) * c_out + channel);
                        // SAFETY: dw has all of w's rows from the part's first channel on, of which
                        // this task alone touches these columns; they were written by the block
                        // before, if there is one.
                        unsafe { add_row(s, sums, dw, count, self.add) };
                    }
                }
            }
        }
    }
}

/// dw (+)= sums, for `count` numbers.
///
/// # Safety
/// `dw` is valid for `count` numbers (initialised if `add`), of which `sums` holds as many.
#[inline(always)]
unsafe fn add_row<S: Simd>(s: S, sums: &[f32], dw: *mut f32, count: usize, add: bool) {
    assert!(sums.len() >= count);
    let work = AddRow { sums: sums.as_ptr(), dw, add };
    // SAFETY: as the caller vouches.
    unsafe { each(s, count, work) };
}

struct AddRow {
    sums: *const f32,
    dw: *mut f32,
    add: bool,
}

impl Each for AddRow {
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, s: S, at: usize) {
        // SAFETY: the caller vouches for a vector at `at`.
        unsafe {
            let (sum, dw) = (s.load(self.sums.add(at)), self.dw.add(at));
            s.store(dw, if self.add { s.add(s.load(dw), sum) } else { sum });
        }
    }
}
