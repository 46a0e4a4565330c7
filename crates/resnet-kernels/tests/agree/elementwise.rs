use resnet_kernels::{
    Bf16, Cpu, Isa, Lars, Number, Residual, ResidualGrad, Sgd, diagnose, elementwise, lars,
    reference, sgd, sgd::update,
};

use crate::support::{Fenced, Random, assert_close, assert_same_bits, cpus, wide};

/// Lengths around vectors, chunks and nothing.
const LENGTHS: [usize; 8] = [0, 1, 7, 8, 33, 1000, 16384, 40001];

#[test]
fn relu_both_ways() {
    for cpu in cpus() {
        for len in LENGTHS {
            let mut random = Random(len as u64);
            let (mut x, dy, old) =
                (random.integers(len), random.integers(len), random.integers(len));
            if len > 6 {
                x[6] = f32::NAN;
            }
            let mut y = Fenced::new(&old);
            elementwise::relu_forward(&cpu, &x, y.get());
            let y = y.take("relu");
            assert_close("relu", &y, &reference::relu(&wide(&x)), 0.0);
            let g = reference::relu_backward(&wide(&dy), &wide(&y));
            for accumulate in [false, true] {
                let mut dx = Fenced::new(&old);
                elementwise::relu_backward(&cpu, &dy, &y, dx.get(), accumulate);
                let keep = f64::from(u8::from(accumulate));
                let expected: Vec<f64> =
                    g.iter().zip(wide(&old)).map(|(g, old)| g + keep * old).collect();
                assert_close("relu backward", &dx.take("relu backward"), &expected, 0.0);
            }
        }
    }
}

#[test]
fn add_both_ways() {
    for cpu in cpus() {
        for (pixels, channels, narrow, offset) in [
            (1, 1, 1, 0),
            (50, 16, 16, 0),
            (3000, 7, 7, 0),
            (513, 32, 16, 8),
            (300, 7, 3, 4),
            (9, 5, 1, 4),
            (0, 4, 2, 1),
        ] {
            for (relu, accumulate) in [(false, false), (true, true), (true, false), (false, true)] {
                let what = format!(
                    "{pixels}x{channels}, {narrow} from {offset}, relu {relu}, add {accumulate}"
                );
                let mut random = Random(9);
                let (a, b) = (random.integers(pixels * channels), random.integers(pixels * narrow));
                let mut y = Fenced::new(&vec![f32::NAN; a.len()]);
                let residual = Residual { values: &b, channels: narrow, offset };
                elementwise::add_forward(&cpu, &a, residual, channels, relu, y.get());
                let mut expected = wide(&a);
                if narrow > 0 {
                    reference::add_residual(&mut expected, channels, &wide(&b), narrow, offset);
                }
                let expected = if relu { reference::relu(&expected) } else { expected };
                let y = y.take(&what);
                assert_close(&what, &y, &expected, 0.0);

                let dy = random.integers(a.len());
                let g =
                    if relu { reference::relu_backward(&wide(&dy), &wide(&y)) } else { wide(&dy) };
                let part = if narrow > 0 {
                    reference::residual_gradient(&g, channels, narrow, offset)
                } else {
                    Vec::new()
                };
                let (mut da, mut db) = (Fenced::new(&a), Fenced::new(&b));
                let grad = ResidualGrad { values: db.get(), channels: narrow, offset, accumulate };
                let mask = relu.then_some(&y[..]);
                elementwise::add_backward(
                    &cpu,
                    &dy,
                    mask,
                    channels,
                    Some((da.get(), accumulate)),
                    Some(grad),
                );
                let keep = f64::from(u8::from(accumulate));
                let with = |g: &[f64], old: &[f32]| -> Vec<f64> {
                    g.iter().zip(wide(old)).map(|(g, old)| g + keep * old).collect()
                };
                assert_close(&what, &da.take(&what), &with(&g, &a), 0.0);
                assert_close(&what, &db.take(&what), &with(&part, &b), 0.0);
            }
        }
    }
}

#[test]
fn sgd_follows_the_formula_over_several_steps() {
    for cpu in cpus() {
        for len in LENGTHS {
            for (nesterov, scale) in [(false, 1.0), (true, 1.0), (false, 0.25), (true, 0.3)] {
                let sgd = Sgd { lr: 0.1, scale, momentum: 0.9, weight_decay: 1e-2, nesterov };
                let mut random = Random(2);
                let (w, dw) = (random.reals(len), random.reals(len));
                let (mut w_found, mut v_found) = (Fenced::new(&w), Fenced::new(&vec![0.0; len]));
                let (mut w_expected, mut v_expected) = (wide(&w), vec![0.0; len]);
                for _ in 0..5 {
                    update(&cpu, &sgd, w_found.get(), &dw, v_found.get());
                    (w_expected, v_expected) =
                        reference::sgd_update(&sgd, &w_expected, &wide(&dw), &v_expected);
                }
                assert_close("w", &w_found.take("sgd"), &w_expected, 3e-6);
                assert_close("v", &v_found.take("sgd"), &v_expected, 3e-6);
            }
        }
    }
}

/// Ten steps by hand: w = 1, dw = 1, momentum 0.5, so v = 1, 1.5, 1.75, ...
#[test]
fn momentum_has_the_form_that_a_changed_rate_acts_on_at_once() {
    let cpu = &cpus()[0];
    let (mut w, mut v) = ([1.0], [0.0]);
    for (lr, expected_w, expected_v) in
        [(1.0, 0.0, 1.0), (1.0, -1.5, 1.5), (0.0, -1.5, 1.75), (2.0, -5.25, 1.875)]
    {
        sgd::update(
            cpu,
            &Sgd { lr, scale: 1.0, momentum: 0.5, weight_decay: 0.0, nesterov: false },
            &mut w,
            &[1.0],
            &mut v,
        );
        assert_eq!((w, v), ([expected_w], [expected_v]));
    }
}

/// The update with no scale, one operation after the other.
fn unscaled(sgd: &Sgd, w: f32, dw: f32, v: f32) -> (f32, f32) {
    let g = dw + sgd.weight_decay * w;
    let v = sgd.momentum * v + g;
    (w - sgd.lr * if sgd.nesterov { g + sgd.momentum * v } else { v }, v)
}

#[test]
fn a_scale_of_one_changes_no_bit() {
    for cpu in cpus() {
        for nesterov in [false, true] {
            let sgd = Sgd { lr: 0.1, scale: 1.0, momentum: 0.9, weight_decay: 1e-2, nesterov };
            let mut random = Random(5);
            let [mut w, dw, mut v] = [(); 3].map(|()| random.reals(40_001));
            let expected = (0..w.len()).map(|i| unscaled(&sgd, w[i], dw[i], v[i]));
            let (w_expected, v_expected): (Vec<f32>, Vec<f32>) = expected.unzip();
            update(&cpu, &sgd, &mut w, &dw, &mut v);
            assert_same_bits("w", &w, &w_expected);
            assert_same_bits("v", &v, &v_expected);
        }
    }
}

const LARS: Lars = Lars {
    lr: 0.5,
    scale: 1.0,
    momentum: 0.9,
    weight_decay: 0.05,
    nesterov: false,
    trust: Some(0.02),
};

#[test]
fn lars_follows_the_formula_over_several_steps() {
    for cpu in cpus() {
        for len in LENGTHS {
            for (nesterov, scale, trust) in [
                (false, 1.0, Some(0.02)),
                (true, 0.25, Some(0.02)),
                (false, -0.3, Some(1.0)),
                (true, 0.3, None),
            ] {
                let mut settings = Lars { scale, nesterov, trust, ..LARS };
                let mut random = Random(2);
                let (w, dw) = (random.reals(len), random.reals(len));
                let (mut w_found, mut v_found) = (Fenced::new(&w), Fenced::new(&vec![0.0; len]));
                let (mut w_expected, mut v_expected) = (wide(&w), vec![0.0; len]);
                // v keeps the rate that it was made with.
                for lr in [0.5, 0.5, 0.1, 0.1, 2.0] {
                    settings.lr = lr;
                    lars::update(&cpu, &settings, w_found.get(), &dw, v_found.get());
                    (w_expected, v_expected) =
                        reference::lars_update(&settings, &w_expected, &wide(&dw), &v_expected);
                }
                assert_close("w", &w_found.take("lars"), &w_expected, 3e-6);
                assert_close("v", &v_found.take("lars"), &v_expected, 3e-6);
            }
        }
    }
}

/// w = (3, 4) is of length 5 and g = (0, 2) of length 2, so the local rate is 0.75 · 5 / 2 = 1.875
/// without decay, and 0.8125 · 5 / (2 + 0.25 · 5) = 1.25 with.
#[test]
fn local_rates_by_hand() {
    let cpu = &cpus()[0];
    let step = |settings: &Lars, w: [f32; 2], dw: [f32; 2]| {
        let (mut w, mut v) = (w, [0.0; 2]);
        lars::update(cpu, settings, &mut w, &dw, &mut v);
        w
    };
    let plain = Lars { lr: 1.0, weight_decay: 0.0, trust: Some(0.75), ..LARS };
    assert_eq!(step(&plain, [3.0, 4.0], [0.0, 2.0]), [3.0, 0.25]);
    // Sums of four batches, of which the mean counts.
    let sums = Lars { scale: 0.25, ..plain };
    assert_eq!(step(&sums, [3.0, 4.0], [0.0, 8.0]), [3.0, 0.25]);
    let decay = Lars { lr: 0.5, weight_decay: 0.25, trust: Some(0.8125), ..plain };
    assert_eq!(step(&decay, [3.0, 4.0], [0.0, 2.0]), [2.53125, 2.125]);
    // Where a length is zero the rate is as it is.
    assert_eq!(step(&plain, [0.0, 0.0], [0.0, 2.0]), [0.0, -2.0]);
    assert_eq!(step(&decay, [8.0, 0.0], [0.0, 0.0]), [7.0, 0.0]);
    assert_eq!(step(&Lars { trust: None, ..plain }, [3.0, 4.0], [0.0, 2.0]), [3.0, 2.0]);
    // The shortest gradient there is.
    let least = f32::from_bits(1);
    assert!(step(&plain, [3.0, 4.0], [least, 0.0])[0].is_finite());
    assert!(step(&plain, [3.0, 4.0], [f32::NAN, 0.0])[0].is_nan());
    assert!(step(&plain, [3.0, 4.0], [f32::INFINITY, 0.0])[0].is_nan());
}

#[test]
fn lars_has_the_same_bits_for_any_number_of_threads() {
    for isa in Isa::available() {
        let mut random = Random(7);
        let [w, dw, v] = [(); 3].map(|()| random.reals(300_001));
        let results = [1, 2, 5].map(|threads| {
            let cpu = Cpu::with_isa(isa, threads).unwrap();
            let (mut w, mut v) = (w.clone(), v.clone());
            lars::update(&cpu, &LARS, &mut w, &dw, &mut v);
            (w, v)
        });
        for (w, v) in &results[1..] {
            assert_same_bits("w", w, &results[0].0);
            assert_same_bits("v", v, &results[0].1);
        }
    }
}

#[test]
fn sums_and_averages() {
    for cpu in cpus() {
        for len in LENGTHS {
            let mut random = Random(11);
            let [a, w] = [(); 2].map(|()| random.reals(len));
            let mut sum = Fenced::new(&a);
            sgd::accumulate(&cpu, sum.get(), &w);
            let sum = sum.take("accumulate");
            assert_close("sum", &sum, &reference::accumulate(&wide(&a), &wide(&w)), 1.2e-7);
            for rate in [0.0, 0.3, 1.0] {
                let mut average = Fenced::new(&a);
                sgd::average(&cpu, average.get(), &w, rate);
                let found = average.take("average");
                let bits: Vec<f32> = a.iter().zip(&w).map(|(a, w)| a + rate * (w - a)).collect();
                assert_same_bits("average", &found, &bits);
                let expected = reference::average(&wide(&a), &wide(&w), f64::from(rate));
                assert_close("average", &found, &expected, 3e-7);
            }
        }
    }
}

#[test]
fn diagnoses() {
    diagnoses_as::<f32>();
    diagnoses_as::<Bf16>();
}

fn diagnoses_as<T: Number>() {
    let number = |x: &f32| T::of(*x);
    for cpu in cpus() {
        for len in LENGTHS {
            let x = Random(4).integers(len);
            let (sum, squares) = wide(&x).iter().fold((0.0, 0.0), |a, x| (a.0 + x, a.1 + x * x));
            let mut x: Vec<T> = x.iter().map(number).collect();
            assert_eq!(diagnose::sums(&cpu, &x), (sum, squares), "{len} numbers");
            assert_eq!(diagnose::sum_of_squares(&cpu, &x), squares, "{len} numbers");
            assert!(diagnose::all_finite(&cpu, &x));
            for (i, bad) in [
                (0, f32::NAN),
                (len / 2, f32::INFINITY),
                (len.saturating_sub(1), f32::NEG_INFINITY),
            ] {
                if len > 0 {
                    let good = std::mem::replace(&mut x[i], T::of(bad));
                    assert!(!diagnose::all_finite(&cpu, &x), "{bad} at {i} of {len}");
                    assert!(!diagnose::sums(&cpu, &x).1.is_finite(), "{bad} at {i} of {len}");
                    x[i] = good;
                }
            }
        }
        let most = f32::from_bits(0x7f7f_0000);
        let finite = [most, -most, f32::MIN_POSITIVE / 2.0, -0.0];
        assert!(diagnose::all_finite(&cpu, &finite.each_ref().map(number)));
    }
}

#[test]
fn sums_of_reals_have_one_order() {
    // More numbers than the pieces that are summed apart, and some left over.
    let x = Random(12).reals((256 << 14) + 77);
    // They are whole multiples of 2^-23, whose sum has fewer bits than f64.
    let whole = |x: &f32| (x * (1 << 23) as f32) as i128;
    let expected = x.iter().map(whole).sum::<i128>() as f64 / (1u64 << 23) as f64;
    let of_squares = x.iter().map(|x| whole(x).pow(2)).sum::<i128>() as f64 / (1u64 << 46) as f64;
    for isa in Isa::available() {
        let sums = |threads| diagnose::sums(&Cpu::with_isa(isa, threads).unwrap(), &x);
        let (sum, squares) = sums(1);
        assert_eq!(sum, expected, "{isa}");
        assert!((squares - of_squares).abs() < 1e-12 * of_squares, "{isa}: {squares}");
        for threads in [2, 3, 7] {
            let same = |(a, b): (f64, f64)| {
                (a.to_bits(), b.to_bits()) == (sum.to_bits(), squares.to_bits())
            };
            assert!(same(sums(threads)), "{isa}, {threads} threads");
        }
    }
}

#[test]
fn channels_that_are_never_positive_are_counted() {
    channels_that_are_never_positive_are_counted_as::<f32>();
    channels_that_are_never_positive_are_counted_as::<Bf16>();
}

fn channels_that_are_never_positive_are_counted_as<T: Number>() {
    for cpu in cpus() {
        for (pixels, channels) in
            [(0, 3), (1, 1), (1, 9), (700, 64), (40_001, 5), (9, 2048), (21, 4500)]
        {
            let mut random = Random(13);
            let mut y = vec![0.0; pixels * channels];
            let mut dead = 0;
            for c in 0..channels {
                // Of what is not positive there are all kinds.
                for pixel in y.chunks_mut(channels) {
                    pixel[c] = [0.0, -0.0, -3.0, f32::NEG_INFINITY, f32::NAN][random.below(5)];
                }
                if pixels > 0 && random.below(3) > 0 {
                    y[random.below(pixels) * channels + c] = f32::MIN_POSITIVE;
                } else {
                    dead += 1;
                }
            }
            let y: Vec<T> = y.iter().map(|&y| T::of(y)).collect();
            assert_eq!(diagnose::dead_channels(&cpu, &y, channels), dead, "{pixels} x {channels}");
        }
    }
}
