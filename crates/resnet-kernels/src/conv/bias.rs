//! Gradient of the bias.

use super::shape::Conv2dShape;
use crate::columns::{Columns, PARTIAL, Partial, Sums, as_f64, block_sums, f64_scratch};
use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::{Cpu, Number};

/// Numbers of scratch.
pub(super) fn scratch_len(shape: &Conv2dShape) -> usize {
    let columns = Columns::new(shape.y_len() / shape.c_out, shape.c_out);
    f64_scratch(PARTIAL * columns.width() * columns.chunks())
}

/// db[o] = Σ dy[pixel][o].
pub(super) fn backward<T: Number>(cpu: &Cpu, dy: &[T], db: &mut [f32], scratch: &mut [f32]) {
    let columns = Columns::new(dy.len() / db.len(), db.len());
    let size = PARTIAL * columns.width();
    let partial = as_f64(scratch, size * columns.chunks());
    let parts = Parts::new(partial);
    cpu.parallel(columns.chunks(), |chunk| {
        // SAFETY: each chunk has its own part.
        let partial = unsafe { parts.get(chunk * size..(chunk + 1) * size) };
        cpu.run(BiasSums { columns, chunk, dy, partial });
    });
    for (o, db) in db.iter_mut().enumerate() {
        let chunks = partial.chunks_exact(size);
        *db = chunks
            .flat_map(|sums| sums[o..columns.width()].iter().step_by(columns.channels))
            .sum::<f64>() as f32;
    }
}

struct BiasSums<'a, T> {
    columns: Columns,
    chunk: usize,
    dy: &'a [T],
    partial: &'a mut [f64],
}

#[derive(Clone, Copy)]
struct Plain<T> {
    dy: *const T,
}

impl<T: Number> Sums for Plain<T> {
    #[inline(always)]
    unsafe fn add<S: Simd>(
        self,
        s: S,
        at: usize,
        _: usize,
        _: S::V,
        s1: S::V,
        s2: S::V,
    ) -> (S::V, S::V) {
        // SAFETY: the caller vouches for the vector at `at`.
        (s.add(s1, unsafe { T::load(s, self.dy.add(at)) }), s2)
    }
}

impl<T: Number> Task for BiasSums<'_, T> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let BiasSums { columns, chunk, dy, partial } = self;
        let (start, rows, rest) = columns.chunk(chunk);
        let width = columns.width();
        let op = Plain { dy: dy[start * columns.channels..][..rows * width + rest].as_ptr() };
        let Partial { first: sums, shift, s1, s2, .. } = Partial::new(partial, width);
        shift.fill(0.0);
        let mut row = 0;
        while row < rows || (row == rows && rest > 0) {
            let (size, end) =
                if row < rows { (columns.block().min(rows - row), width) } else { (1, rest) };
            let (shift, s1, s2) = (&shift[..end], &mut s1[..end], &mut s2[..end]);
            // SAFETY: dy was cut to this chunk, whose rows hold `end` columns.
            unsafe { block_sums(s, op, row * width, size, width, shift, s1, s2) };
            for (sum, &s1) in sums.iter_mut().zip(&*s1) {
                *sum += f64::from(s1);
            }
            row += size;
        }
    }
}
