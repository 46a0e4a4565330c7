//! Passes over maps of bf16 compute what the same passes over maps of f32 compute, rounded once: so
//! the tests of f32 against the reference hold for them as well.

use resnet_kernels::batch_norm::{self, Mask};
use resnet_kernels::{Bf16, Number, Pool2dShape, Residual, ResidualGrad, elementwise, pool2d};

use crate::support::{Fenced, Random, assert_near, assert_same_bits, cpus, rounded, wide};

/// Numbers that bf16 holds, and the same as bf16.
fn map(random: &mut Random, len: usize) -> (Vec<f32>, Vec<Bf16>) {
    let values = rounded::<Bf16>(random.reals(len));
    let stored = values.iter().map(|&x| Bf16::of(x)).collect();
    (values, stored)
}

/// Asserts that the buffer holds the numbers, rounded.
fn assert_rounded(what: &str, mut found: Fenced<Bf16>, expected: Vec<f32>) {
    assert_same_bits(what, &found.take(what), &rounded::<Bf16>(expected));
}

/// The same where a sum was stored in between: one more rounding.
fn assert_rounded_twice(what: &str, mut found: Fenced<Bf16>, expected: &[f32]) {
    assert_near(what, &found.take(what), &wide(expected), 1e-2, 1e-2);
}

#[test]
fn relu_and_addition() {
    for cpu in cpus() {
        for (pixels, channels, narrow, offset) in
            [(50, 16, 16, 0), (3000, 7, 7, 0), (513, 32, 16, 8), (300, 7, 3, 4), (1, 1, 1, 0)]
        {
            let what = format!("{pixels}x{channels}, {narrow}, {}", cpu.isa());
            let mut random = Random(3);
            let len = pixels * channels;
            let ((a, a16), (b, b16)) = (map(&mut random, len), map(&mut random, pixels * narrow));
            let (dy, dy16) = map(&mut random, len);
            for relu in [false, true] {
                let (mut y, mut y16) = (vec![0.0; len], Fenced::scratch(len));
                let (r, r16) =
                    (wide_residual(&b, narrow, offset), wide_residual(&b16, narrow, offset));
                elementwise::add_forward(&cpu, &a, r, channels, relu, &mut y);
                elementwise::add_forward(&cpu, &a16, r16, channels, relu, y16.get());
                assert_rounded(&what, y16, y);
            }
            let (mut y, mut y16) = (vec![0.0; len], Fenced::scratch(len));
            elementwise::relu_forward(&cpu, &a, &mut y);
            elementwise::relu_forward(&cpu, &a16, y16.get());
            assert_rounded(&what, y16, y);
            for accumulate in [false, true] {
                let (mut dx, mut dx16) = (b[..1].repeat(len), Fenced::new(&b[..1].repeat(len)));
                elementwise::relu_backward(&cpu, &dy, &a, &mut dx, accumulate);
                elementwise::relu_backward(&cpu, &dy16, &a16, dx16.get(), accumulate);
                assert_rounded(&what, dx16, dx);
                let (mut da, mut da16) = (a.clone(), Fenced::new(&a));
                let (mut db, mut db16) = (b.clone(), Fenced::new(&b));
                let grad = wide_gradient(&mut db, narrow, offset, accumulate);
                let first = Some((&mut da[..], accumulate));
                elementwise::add_backward(&cpu, &dy, Some(&a), channels, first, Some(grad));
                let grad = wide_gradient(db16.get(), narrow, offset, accumulate);
                let first = Some((da16.get(), accumulate));
                elementwise::add_backward(&cpu, &dy16, Some(&a16), channels, first, Some(grad));
                assert_rounded(&what, da16, da);
                assert_rounded(&what, db16, db);
            }
        }
    }
}

fn wide_residual<T>(values: &[T], channels: usize, offset: usize) -> Residual<'_, T> {
    Residual { values, channels, offset }
}

fn wide_gradient<T>(
    values: &mut [T],
    channels: usize,
    offset: usize,
    accumulate: bool,
) -> ResidualGrad<'_, T> {
    ResidualGrad { values, channels, offset, accumulate }
}

#[test]
fn batch_norm() {
    for cpu in cpus() {
        for (pixels, c, narrow, offset) in
            [(1, 3, 0, 0), (77, 16, 16, 0), (2000, 16, 0, 0), (600, 40, 20, 10), (33, 600, 600, 0)]
        {
            let mut random = Random(pixels as u64);
            let len = pixels * c;
            let ((x, x16), (dy, dy16)) = (map(&mut random, len), map(&mut random, len));
            let (r, r16) = map(&mut random, pixels * narrow);
            let (gamma, beta) = (random.reals(c), random.reals(c));
            let mut scratch = vec![0.0; batch_norm::scratch_len(pixels, c)];
            for relu in [false, true] {
                let what = format!("{pixels}x{c}, {narrow}, relu {relu}, {}", cpu.isa());
                let mut y = vec![0.0; len];
                let mut y16 = Fenced::<Bf16>::scratch(len);
                let mut s = [(); 4].map(|()| vec![0.0; c]);
                let [mean, rstd, mean16, rstd16] = &mut s;
                let residual = (narrow > 0).then(|| wide_residual(&r, narrow, offset));
                batch_norm::forward_train(
                    &cpu,
                    &x,
                    c,
                    &gamma,
                    &beta,
                    1e-5,
                    residual,
                    relu,
                    &mut y,
                    mean,
                    rstd,
                    None,
                    &mut scratch,
                );
                let residual = (narrow > 0).then(|| wide_residual(&r16, narrow, offset));
                batch_norm::forward_train(
                    &cpu,
                    &x16,
                    c,
                    &gamma,
                    &beta,
                    1e-5,
                    residual,
                    relu,
                    y16.get(),
                    mean16,
                    rstd16,
                    None,
                    &mut scratch,
                );
                assert_same_bits(&what, mean16, mean);
                assert_same_bits(&what, rstd16, rstd);
                let mut again = Fenced::scratch(len);
                batch_norm::normalise(
                    &cpu,
                    &x16,
                    c,
                    &gamma,
                    &beta,
                    mean,
                    rstd,
                    residual,
                    relu,
                    again.get(),
                    &mut scratch,
                );
                assert_same_bits(&what, &again.take(&what), &y16.take(&what));
                if narrow == 0 || narrow == c {
                    assert_rounded(&what, y16, y);
                } else {
                    assert_rounded_twice(&what, y16, &y);
                }
                // Any map has signs for the mask.
                let (mask, mask16) = match relu {
                    true => (Mask::Output(&dy[..]), Mask::Output(&dy16[..])),
                    false => (Mask::None, Mask::None),
                };
                for accumulate in [false, true] {
                    let (mut dx, mut dx16) = (x.clone(), Fenced::new(&x));
                    let (mut dr, mut dr16) = (r.clone(), Fenced::new(&r));
                    let mut g = [(); 4].map(|()| vec![0.0; c]);
                    let [dgamma, dbeta, dgamma16, dbeta16] = &mut g;
                    let d =
                        (narrow > 0).then(|| wide_gradient(&mut dr, narrow, offset, accumulate));
                    batch_norm::backward(
                        &cpu,
                        &dy,
                        &x,
                        mask,
                        c,
                        &gamma,
                        mean,
                        rstd,
                        &mut dx,
                        accumulate,
                        d,
                        dgamma,
                        dbeta,
                        &mut scratch,
                    );
                    let d =
                        (narrow > 0).then(|| wide_gradient(dr16.get(), narrow, offset, accumulate));
                    batch_norm::backward(
                        &cpu,
                        &dy16,
                        &x16,
                        mask16,
                        c,
                        &gamma,
                        mean,
                        rstd,
                        dx16.get(),
                        accumulate,
                        d,
                        dgamma16,
                        dbeta16,
                        &mut scratch,
                    );
                    assert_same_bits(&what, dgamma16, dgamma);
                    assert_same_bits(&what, dbeta16, dbeta);
                    assert_rounded(&what, dx16, dx);
                    assert_rounded(&what, dr16, dr);
                }
            }
        }
    }
}

#[test]
fn conversions() {
    for cpu in cpus() {
        for len in [0, 1, 17, 40_001] {
            let x = Random(8).reals(len);
            let mut narrow = Fenced::scratch(len);
            elementwise::convert(&cpu, &x, narrow.get(), false);
            let mut back = Fenced::<f32>::new(&x);
            elementwise::convert(&cpu, narrow.get(), back.get(), true);
            let sum = x.iter().map(|&x| x + Bf16::of(x).get()).collect::<Vec<_>>();
            assert_same_bits("widened and added", &back.take("convert"), &sum);
            assert_rounded("narrowed", narrow, x);
        }
    }
}

#[test]
fn pools() {
    for cpu in cpus() {
        for [n, h, w, c, kernel, stride, padding] in [
            [2, 12, 12, 64, 3, 2, 1],
            [3, 7, 5, 70, 3, 2, 1],
            [1, 8, 8, 3, 2, 2, 0],
            [2, 5, 7, 130, 3, 1, 0],
        ] {
            let shape = Pool2dShape { n, h, w, c, kernel, stride, padding };
            let what = format!("{shape:?}, {}", cpu.isa());
            let mut random = Random(5);
            let (x, x16) = map(&mut random, shape.x_len());
            let (dy, dy16) = map(&mut random, shape.y_len());
            let (mut y, mut y16) = (vec![0.0; dy.len()], Fenced::scratch(dy.len()));
            pool2d::max_forward(&cpu, &shape, &x, &mut y);
            pool2d::max_forward(&cpu, &shape, &x16, y16.get());
            assert_rounded(&what, y16, y);
            for accumulate in [false, true] {
                let (mut dx, mut dx16) = (x.clone(), Fenced::new(&x));
                pool2d::max_backward(&cpu, &shape, &x, &dy, &mut dx, accumulate);
                pool2d::max_backward(&cpu, &shape, &x16, &dy16, dx16.get(), accumulate);
                assert_rounded_twice(&what, dx16, &dx);
            }
            if padding > 0 {
                continue;
            }
            let (mut y, mut y16) = (vec![0.0; dy.len()], Fenced::scratch(dy.len()));
            pool2d::avg_forward(&cpu, &shape, &x, &mut y);
            pool2d::avg_forward(&cpu, &shape, &x16, y16.get());
            assert_rounded(&what, y16, y);
            for accumulate in [false, true] {
                let (mut dx, mut dx16) = (x.clone(), Fenced::new(&x));
                pool2d::avg_backward(&cpu, &shape, &dy, &mut dx, accumulate);
                pool2d::avg_backward(&cpu, &shape, &dy16, dx16.get(), accumulate);
                assert_rounded_twice(&what, dx16, &dx);
            }
        }
        let (n, pixels, c) = (3, 49, 70);
        let mut random = Random(6);
        let ((x, x16), dy) = (map(&mut random, n * pixels * c), random.reals(n * c));
        let mut y = [vec![0.0; n * c], vec![0.0; n * c]];
        pool2d::global_avg_forward(&cpu, n, pixels, c, &x, &mut y[0]);
        pool2d::global_avg_forward(&cpu, n, pixels, c, &x16, &mut y[1]);
        assert_same_bits("global", &y[1], &y[0]);
        for accumulate in [false, true] {
            let (mut dx, mut dx16) = (x.clone(), Fenced::new(&x));
            pool2d::global_avg_backward(&cpu, n, pixels, c, &dy, &mut dx, accumulate);
            pool2d::global_avg_backward(&cpu, n, pixels, c, &dy, dx16.get(), accumulate);
            assert_rounded("global", dx16, dx);
        }
    }
}
