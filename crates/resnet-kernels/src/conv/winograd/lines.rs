//! The matrices of F(4x4, 3x3) and F(2x2, 3x3), each as the additions and multiplications that it
//! takes on a line of numbers, and a plane transformed by lines twice.

use crate::Number;
use crate::simd::Simd;

/// A matrix O x I applied to a line.
pub(in crate::conv) trait Line<const I: usize, const O: usize> {
    fn apply<S: Simd>(s: S, x: [S::V; I]) -> [S::V; O];
}

/// F(O x O, 3x3), with its matrices.
pub(in crate::conv) trait Algorithm<const O: usize, const I: usize> {
    type Input: Line<I, I>;
    type Weight: Line<3, I>;
    type Output: Line<I, O>;
    type OutputGradient: Line<O, I>;
    type WeightGradient: Line<I, 3>;
}

/// The algorithms there are.
pub(in crate::conv) struct F;

impl Algorithm<4, 6> for F {
    type Input = Input;
    type Weight = Weight;
    type Output = Output;
    type OutputGradient = OutputGradient;
    type WeightGradient = WeightGradient;
}

impl Algorithm<2, 4> for F {
    type Input = Input;
    type Weight = Weight;
    type Output = Output;
    type OutputGradient = OutputGradient;
    type WeightGradient = WeightGradient;
}

/// Bᵀ: inputs to as many points.
pub(in crate::conv) struct Input;

impl Line<6, 6> for Input {
    #[inline(always)]
    fn apply<S: Simd>(s: S, x: [S::V; 6]) -> [S::V; 6] {
        let [x0, x1, x2, x3, x4, x5] = x;
        let (two, four) = (s.splat(2.0), s.splat(4.0));
        let (minus_two, minus_four, minus_five) = (s.splat(-2.0), s.splat(-4.0), s.splat(-5.0));
        let (even, odd) = (s.fma(minus_four, x2, x4), s.fma(minus_four, x1, x3));
        let (even2, odd2) = (s.sub(x4, x2), s.sub(x3, x1));
        [
            s.fma(four, x0, s.fma(minus_five, x2, x4)),
            s.add(even, odd),
            s.sub(even, odd),
            s.fma(two, odd2, even2),
            s.fma(minus_two, odd2, even2),
            s.fma(four, x1, s.fma(minus_five, x3, x5)),
        ]
    }
}

impl Line<4, 4> for Input {
    #[inline(always)]
    fn apply<S: Simd>(s: S, x: [S::V; 4]) -> [S::V; 4] {
        let [x0, x1, x2, x3] = x;
        [s.sub(x0, x2), s.add(x1, x2), s.sub(x2, x1), s.sub(x1, x3)]
    }
}

/// Aᵀ: points to outputs.
pub(in crate::conv) struct Output;

impl Line<6, 4> for Output {
    #[inline(always)]
    fn apply<S: Simd>(s: S, m: [S::V; 6]) -> [S::V; 4] {
        let [m0, m1, m2, m3, m4, m5] = m;
        let (even, odd) = (s.add(m1, m2), s.sub(m1, m2));
        let (even2, odd2) = (s.add(m3, m4), s.sub(m3, m4));
        [
            s.add(s.add(m0, even), even2),
            s.fma(s.splat(2.0), odd2, odd),
            s.fma(s.splat(4.0), even2, even),
            s.add(s.fma(s.splat(8.0), odd2, odd), m5),
        ]
    }
}

impl Line<4, 2> for Output {
    #[inline(always)]
    fn apply<S: Simd>(s: S, m: [S::V; 4]) -> [S::V; 2] {
        let [m0, m1, m2, m3] = m;
        [s.add(m0, s.add(m1, m2)), s.sub(s.sub(m1, m2), m3)]
    }
}

/// A: output gradients to the points.
pub(in crate::conv) struct OutputGradient;

impl Line<4, 6> for OutputGradient {
    #[inline(always)]
    fn apply<S: Simd>(s: S, dy: [S::V; 4]) -> [S::V; 6] {
        let [y0, y1, y2, y3] = dy;
        let (even, odd) = (s.add(y0, y2), s.add(y1, y3));
        let even2 = s.fma(s.splat(4.0), y2, y0);
        let odd2 = s.fma(s.splat(4.0), y3, y1);
        [
            y0,
            s.add(even, odd),
            s.sub(even, odd),
            s.fma(s.splat(2.0), odd2, even2),
            s.fma(s.splat(-2.0), odd2, even2),
            y3,
        ]
    }
}

impl Line<2, 4> for OutputGradient {
    #[inline(always)]
    fn apply<S: Simd>(s: S, dy: [S::V; 2]) -> [S::V; 4] {
        let [y0, y1] = dy;
        [y0, s.add(y0, y1), s.sub(y0, y1), s.sub(s.splat(0.0), y1)]
    }
}

/// G: three weights to the points.
pub(in crate::conv) struct Weight;

impl Line<3, 6> for Weight {
    #[inline(always)]
    fn apply<S: Simd>(s: S, w: [S::V; 3]) -> [S::V; 6] {
        let [w0, w1, w2] = w;
        let zero = s.splat(0.0);
        let even = s.fma(s.splat(-1.0 / 6.0), s.add(w0, w2), zero);
        let sixth = s.fma(s.splat(1.0 / 6.0), w2, zero);
        let even2 = s.fma(s.splat(1.0 / 24.0), w0, sixth);
        [
            s.fma(s.splat(0.25), w0, zero),
            s.fma(s.splat(-1.0 / 6.0), w1, even),
            s.fma(s.splat(1.0 / 6.0), w1, even),
            s.fma(s.splat(1.0 / 12.0), w1, even2),
            s.fma(s.splat(-1.0 / 12.0), w1, even2),
            w2,
        ]
    }
}

impl Line<3, 4> for Weight {
    #[inline(always)]
    fn apply<S: Simd>(s: S, w: [S::V; 3]) -> [S::V; 4] {
        let [w0, w1, w2] = w;
        let (zero, half) = (s.splat(0.0), s.splat(0.5));
        let even = s.fma(half, s.add(w0, w2), zero);
        [w0, s.fma(half, w1, even), s.fma(s.splat(-0.5), w1, even), w2]
    }
}

/// Gᵀ: points to the gradients of three weights.
pub(in crate::conv) struct WeightGradient;

impl Line<6, 3> for WeightGradient {
    #[inline(always)]
    fn apply<S: Simd>(s: S, p: [S::V; 6]) -> [S::V; 3] {
        let [p0, p1, p2, p3, p4, p5] = p;
        let zero = s.splat(0.0);
        let sixth = s.fma(s.splat(-1.0 / 6.0), s.add(p1, p2), zero);
        let (sum, difference) = (s.add(p3, p4), s.sub(p3, p4));
        [
            s.fma(s.splat(0.25), p0, s.fma(s.splat(1.0 / 24.0), sum, sixth)),
            s.fma(s.splat(1.0 / 12.0), difference, s.fma(s.splat(1.0 / 6.0), s.sub(p2, p1), zero)),
            s.add(s.fma(s.splat(1.0 / 6.0), sum, sixth), p5),
        ]
    }
}

impl Line<4, 3> for WeightGradient {
    #[inline(always)]
    fn apply<S: Simd>(s: S, p: [S::V; 4]) -> [S::V; 3] {
        let [p0, p1, p2, p3] = p;
        let (half, minus_half) = (s.splat(0.5), s.splat(-0.5));
        let sum = s.fma(half, s.add(p1, p2), s.splat(0.0));
        [s.add(p0, sum), s.fma(half, p1, s.fma(minus_half, p2, s.splat(0.0))), s.add(sum, p3)]
    }
}

/// L · X · Lᵀ for the vectors X[i][j] at `from[i][j] + at`.
///
/// # Safety
/// Every `from[i][j] + at` is valid for reading a vector.
#[inline(always)]
pub(super) unsafe fn plane<S: Simd, T: Number, L: Line<I, O>, const I: usize, const O: usize>(
    s: S,
    from: &[[*const T; I]; I],
    at: usize,
) -> [[S::V; O]; O] {
    let zero = s.splat(0.0);
    let mut half = [[zero; I]; O];
    for j in 0..I {
        let mut column = [zero; I];
        for i in 0..I {
            // SAFETY: as the caller vouches.
            column[i] = unsafe { T::load(s, from[i][j].add(at)) };
        }
        let column = L::apply(s, column);
        for i in 0..O {
            half[i][j] = column[i];
        }
    }
    let mut whole = [[zero; O]; O];
    for i in 0..O {
        whole[i] = L::apply(s, half[i]);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Scalar;

    fn line<L: Line<I, O>, const I: usize, const O: usize>(x: [f32; I]) -> [f32; O] {
        L::apply(Scalar, x.map(|x| [x; 4])).map(|x| x[0])
    }

    /// Column j of a matrix: what it makes of the j-th unit vector.
    fn matrix<L: Line<I, O>, const I: usize, const O: usize>() -> [[f32; O]; I] {
        std::array::from_fn(|j| line::<L, I, O>(std::array::from_fn(|i| (i == j) as u8 as f32)))
    }

    #[test]
    fn a_line_of_outputs_is_the_correlation() {
        let (x, w) = ([3.0, -1.0, 4.0, 1.0, -5.0, 9.0], [2.0, -6.0, 5.0]);
        let (v, u) = (line::<Input, 6, 6>(x), line::<Weight, 3, 6>(w));
        let y = line::<Output, 6, 4>(std::array::from_fn(|i| u[i] * v[i]));
        for i in 0..4 {
            let expected: f32 = (0..3).map(|t| x[i + t] * w[t]).sum();
            assert!((y[i] - expected).abs() < 1e-4, "{y:?}");
        }
    }

    #[test]
    fn a_short_line_of_outputs_is_the_correlation() {
        let (x, w) = ([3.0, -1.0, 4.0, 1.0], [2.0, -6.0, 5.0]);
        let (v, u) = (line::<Input, 4, 4>(x), line::<Weight, 3, 4>(w));
        let y = line::<Output, 4, 2>(std::array::from_fn(|i| u[i] * v[i]));
        for i in 0..2 {
            let expected: f32 = (0..3).map(|t| x[i + t] * w[t]).sum();
            assert!((y[i] - expected).abs() < 1e-5, "{y:?}");
        }
    }

    #[test]
    fn the_gradients_matrices_are_the_transposed_ones() {
        let (a, at) = (matrix::<OutputGradient, 4, 6>(), matrix::<Output, 6, 4>());
        let (g, gt) = (matrix::<Weight, 3, 6>(), matrix::<WeightGradient, 6, 3>());
        for i in 0..6 {
            assert!((0..4).all(|j| a[j][i] == at[i][j]));
            assert!((0..3).all(|j| g[j][i] == gt[i][j]), "{g:?} {gt:?}");
        }
        let (a, at) = (matrix::<OutputGradient, 2, 4>(), matrix::<Output, 4, 2>());
        let (g, gt) = (matrix::<Weight, 3, 4>(), matrix::<WeightGradient, 4, 3>());
        for i in 0..4 {
            assert!((0..2).all(|j| a[j][i] == at[i][j]));
            assert!((0..3).all(|j| g[j][i] == gt[i][j]), "{g:?} {gt:?}");
        }
    }
}
