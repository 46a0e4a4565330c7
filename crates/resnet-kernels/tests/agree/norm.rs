use std::ops::Range;

use resnet_kernels::batch_norm::{self, Mask, Running};
use resnet_kernels::{Bf16, CACHE_LINE, Cpu, Isa, Number, Residual, ResidualGrad, reference};

use crate::support::{Fenced, Random, assert_close, assert_same_bits, cpus, wide};

/// Pixels, channels; residual's channels and offset (none if 0).
const CASES: &[(usize, usize, usize, usize)] = &[
    (1, 1, 0, 0),
    (1, 64, 64, 0),
    (2, 3, 0, 0),
    (7, 5, 5, 0),
    (100, 16, 16, 0),
    (4099, 16, 16, 0),
    (513, 32, 16, 8),
    (300, 7, 3, 2),
    (257, 64, 32, 16),
    (129, 130, 130, 0),
    (196, 256, 256, 0),
    (98, 2048, 0, 0),
    (5000, 1, 1, 0),
    (33000, 3, 0, 0),
    // The last of two chunks has fewer pixels than a wide row.
    (10946, 3, 0, 0),
];

struct Case {
    pixels: usize,
    channels: usize,
    narrow: usize,
    offset: usize,
    relu: bool,
    accumulate: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(pixels, channels, narrow, offset) in CASES {
        for (relu, accumulate) in [(false, true), (true, false), (true, true)] {
            cases.push(Case { pixels, channels, narrow, offset, relu, accumulate });
        }
    }
    cases
}

/// y, mean, rstd, running mean, running var, inference y, dx, d_residual, dgamma, dbeta.
const NAMES: [&str; 10] = [
    "y",
    "mean",
    "rstd",
    "running mean",
    "running var",
    "inference",
    "dx",
    "d_residual",
    "dgamma",
    "dbeta",
];

struct Operands {
    x: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    residual: Vec<f32>,
    dy: Vec<f32>,
    old_mean: Vec<f32>,
    old_var: Vec<f32>,
    dx: Vec<f32>,
    d_residual: Vec<f32>,
}

const EPS: f32 = 1e-5;

impl Operands {
    fn new(case: &Case) -> Operands {
        let mut random = Random(case.pixels as u64 * 31 + case.channels as u64);
        let len = case.pixels * case.channels;
        Operands {
            // A mean that dwarfs the deviation shows cancellation.
            x: random
                .reals(len)
                .iter()
                .enumerate()
                .map(|(i, x)| x + 30.0 * (i % case.channels % 3) as f32)
                .collect(),
            gamma: random.reals(case.channels),
            beta: random.reals(case.channels),
            residual: random.reals(case.pixels * case.narrow),
            dy: random.reals(len),
            old_mean: random.reals(case.channels),
            old_var: random.reals(case.channels).iter().map(|x| 1.5 + x).collect(),
            dx: random.reals(len),
            d_residual: random.reals(case.pixels * case.narrow),
        }
    }
}

fn run(cpu: &Cpu, case: &Case, o: &Operands) -> [Vec<f32>; 10] {
    let c = case.channels;
    let nan = |len| Fenced::new(&vec![f32::NAN; len]);
    let mut scratch = Fenced::scratch(batch_norm::scratch_len(case.pixels, c));
    let residual = (case.narrow > 0).then_some(Residual {
        values: &o.residual,
        channels: case.narrow,
        offset: case.offset,
    });
    let [mut y, mut mean, mut rstd, mut inferred] =
        [nan(o.x.len()), nan(c), nan(c), nan(o.x.len())];
    let (mut running_mean, mut running_var) = (Fenced::new(&o.old_mean), Fenced::new(&o.old_var));
    let running = Running { mean: running_mean.get(), var: running_var.get(), momentum: 0.1 };
    batch_norm::forward_train(
        cpu,
        &o.x,
        c,
        &o.gamma,
        &o.beta,
        EPS,
        residual,
        case.relu,
        y.get(),
        mean.get(),
        rstd.get(),
        Some(running),
        scratch.get(),
    );
    batch_norm::forward_infer(
        cpu,
        &o.x,
        c,
        &o.gamma,
        &o.beta,
        &o.old_mean,
        &o.old_var,
        EPS,
        residual,
        case.relu,
        inferred.get(),
        scratch.get(),
    );
    let (mut dx, mut d_residual) = (nan(o.x.len()), nan(o.residual.len()));
    if case.accumulate {
        dx = Fenced::new(&o.dx);
        d_residual = Fenced::new(&o.d_residual);
    }
    let (mut dgamma, mut dbeta) = (nan(c), nan(c));
    let d = (case.narrow > 0).then(|| ResidualGrad {
        values: d_residual.get(),
        channels: case.narrow,
        offset: case.offset,
        accumulate: case.accumulate,
    });
    let (y_values, mean_values, rstd_values) =
        (y.get().to_vec(), mean.get().to_vec(), rstd.get().to_vec());
    let mask = match (case.relu, case.narrow) {
        (false, _) => Mask::None,
        (true, 0) if case.accumulate => Mask::Again(&o.beta),
        (true, _) => Mask::Output(&y_values[..]),
    };
    batch_norm::backward(
        cpu,
        &o.dy,
        &o.x,
        mask,
        c,
        &o.gamma,
        &mean_values,
        &rstd_values,
        dx.get(),
        case.accumulate,
        d,
        dgamma.get(),
        dbeta.get(),
        scratch.get(),
    );
    scratch.take("scratch");
    [y, mean, rstd, running_mean, running_var, inferred, dx, d_residual, dgamma, dbeta]
        .map(|mut b| b.take("batch norm"))
}

/// The same from the reference; the mask comes from the kernel's own y, which may round to the
/// other side of zero.
fn expected(case: &Case, o: &Operands, y_found: &[f32]) -> [Vec<f64>; 10] {
    let c = case.channels;
    let tail = |mut y: Vec<f64>| {
        if case.narrow > 0 {
            reference::add_residual(&mut y, c, &wide(&o.residual), case.narrow, case.offset);
        }
        if case.relu { reference::relu(&y) } else { y }
    };
    let (x, gamma, beta) = (wide(&o.x), wide(&o.gamma), wide(&o.beta));
    let eps = f64::from(EPS);
    let (y, mean, rstd) = reference::batch_norm_train(&x, &gamma, &beta, eps);
    let m = case.pixels as f64;
    let running = |old: &[f32], new: &dyn Fn(usize) -> f64| {
        wide(old).iter().enumerate().map(|(c, old)| 0.9 * old + 0.1 * new(c)).collect::<Vec<_>>()
    };
    let var = |c: usize| (1.0 / (rstd[c] * rstd[c]) - eps).max(0.0) * m / (m - 1.0).max(1.0);
    let running_mean = running(&o.old_mean, &|c| mean[c]);
    let running_var = running(&o.old_var, &var);
    let inferred =
        reference::batch_norm_infer(&x, &gamma, &beta, &wide(&o.old_mean), &wide(&o.old_var), eps);
    let g = if case.relu {
        reference::relu_backward(&wide(&o.dy), &wide(y_found))
    } else {
        wide(&o.dy)
    };
    let reference::BatchNormGradients { dx, dgamma, dbeta } =
        reference::batch_norm_backward(&g, &x, &gamma, &mean, &rstd);
    let d_residual = if case.narrow > 0 {
        reference::residual_gradient(&g, c, case.narrow, case.offset)
    } else {
        Vec::new()
    };
    let add = |a: Vec<f64>, old: &[f32]| -> Vec<f64> {
        let old = wide(old);
        a.iter().zip(old).map(|(a, old)| if case.accumulate { a + old } else { *a }).collect()
    };
    let (dx, d_residual) = (add(dx, &o.dx), add(d_residual, &o.d_residual));
    [tail(y), mean, rstd, running_mean, running_var, tail(inferred), dx, d_residual, dgamma, dbeta]
}

#[test]
fn agrees_with_the_reference() {
    for cpu in cpus() {
        for case in cases() {
            let operands = Operands::new(&case);
            let found = run(&cpu, &case, &operands);
            let expected = expected(&case, &operands, &found[0]);
            for i in 0..10 {
                let Case { pixels, channels, narrow, relu, .. } = case;
                let what = format!(
                    "{}, {pixels}x{channels}, residual {narrow}, relu {relu}, {}",
                    NAMES[i],
                    cpu.isa()
                );
                // With one pixel rstd is 1/√eps and multiplies the rounding of x - mean.
                let size = expected[i].iter().fold(1.0, |a: f64, b| a.max(b.abs()));
                let scale = if pixels < 8 { 300.0 } else { 30.0 };
                assert_close(
                    &what,
                    &found[i],
                    &expected[i],
                    scale * f64::from(f32::EPSILON) * size,
                );
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for isa in Isa::available() {
        for case in cases() {
            let operands = Operands::new(&case);
            let one = run(&Cpu::with_isa(isa, 1).unwrap(), &case, &operands);
            for threads in [2, 3, 7] {
                let more = run(&Cpu::with_isa(isa, threads).unwrap(), &case, &operands);
                for i in 0..10 {
                    let what = format!(
                        "{}, {}x{}, {threads} threads",
                        NAMES[i], case.pixels, case.channels
                    );
                    assert_same_bits(&what, &more[i], &one[i]);
                }
            }
        }
    }
}

/// Mean 10,000, deviation 1: E[x²] - E[x]² in f32 has no correct digit of the variance.
#[test]
fn statistics_survive_a_large_mean() {
    for cpu in cpus() {
        for channels in [1, 16, 100] {
            let x: Vec<f32> =
                Random(3).reals(3000 * channels).iter().map(|x| 10_000.0 + x).collect();
            let one = vec![1.0; channels];
            let (mut y, mut mean, mut rstd) = (x.clone(), one.clone(), one.clone());
            let mut scratch = vec![0.0; batch_norm::scratch_len(3000, channels)];
            let outputs = (&mut y, &mut mean, &mut rstd);
            let (y, mean, rstd) = outputs;
            batch_norm::forward_train(
                &cpu,
                &x,
                channels,
                &one,
                &one,
                EPS,
                None,
                false,
                y,
                mean,
                rstd,
                None,
                &mut scratch,
            );
            let gamma = vec![1.0; channels];
            let (_, _, expected) =
                reference::batch_norm_train(&wide(&x), &gamma, &gamma, f64::from(EPS));
            assert_close("rstd", rstd, &expected, 3e-6);
        }
    }
}

/// A NaN in a channel spoils that channel and no other.
#[test]
fn nan_stays_in_its_channel() {
    for cpu in cpus() {
        let mut x = Random(5).reals(600 * 5);
        x[5 * 77 + 3] = f32::NAN;
        let one = vec![1.0; 5];
        let (mut y, mut mean, mut rstd) = (x.clone(), one.clone(), one.clone());
        let mut scratch = vec![0.0; batch_norm::scratch_len(600, 5)];
        let (y, mean, rstd) = (&mut y, &mut mean, &mut rstd);
        batch_norm::forward_train(
            &cpu,
            &x,
            5,
            &one,
            &one,
            EPS,
            None,
            true,
            y,
            mean,
            rstd,
            None,
            &mut scratch,
        );
        for (i, y) in y.iter().enumerate() {
            assert_eq!(y.is_nan(), i % 5 == 3, "element {i} is {y}");
        }
    }
}

/// Maps of 16 MiB go past the caches where vectors are aligned: they begin `first` numbers behind a
/// cache line. `narrow` channels of the residual.
fn large<T: Number>(isa: Isa, first: usize, channels: usize, narrow: usize) {
    let what = format!("{}, {isa}, {channels} channels from {first}", T::NAME);
    let cpu = Cpu::with_isa(isa, 2).unwrap();
    let pixels = (16 << 20) / channels / size_of::<T>() + 77;
    let len = pixels * channels;
    let mut random = Random(5);
    let mut map = |len: usize| -> Vec<T> {
        let numbers = random.reals(4099);
        (0..len).map(|i| T::of(numbers[i % 4099])).collect()
    };
    let (x, dy, residual) = (map(len), map(len), map(pixels * narrow));
    let [gamma, beta, mean, rstd] = [1, 2, 3, 4].map(|seed| Random(seed).reals(channels));
    let mut scratch = vec![0.0; batch_norm::scratch_len(pixels, channels)];
    let zeros = |len: usize| {
        let memory = vec![T::default(); len + first + CACHE_LINE];
        let start = memory.as_ptr().align_offset(CACHE_LINE) + first;
        (memory, start..start + len)
    };
    let same = |name: &str, a: &[T], b: &[T]| {
        let mut both = a.iter().zip(b);
        assert!(both.all(|(a, b)| a.get() == b.get()), "{name} of {what}");
    };

    let mut normalise = |pixels: Range<usize>, y: &mut [T]| {
        let residual = Residual {
            values: &residual[pixels.start * narrow..pixels.end * narrow],
            channels: narrow,
            offset: 0,
        };
        batch_norm::normalise(
            &cpu,
            &x[pixels.start * channels..pixels.end * channels],
            channels,
            &gamma,
            &beta,
            &mean,
            &rstd,
            Some(residual),
            true,
            y,
            &mut scratch,
        );
    };
    let (mut whole, at) = zeros(len);
    normalise(0..pixels, &mut whole[at.clone()]);
    let (mut parts, half) = (vec![T::default(); len], pixels / 2);
    normalise(0..half, &mut parts[..half * channels]);
    normalise(half..pixels, &mut parts[half * channels..]);
    same("y", &whole[at], &parts);

    // What is added to is written through the caches.
    let mut backward = |accumulate: bool| {
        let ((mut dx, at), (mut d_residual, at_residual)) = (zeros(len), zeros(pixels * narrow));
        batch_norm::backward(
            &cpu,
            &dy,
            &x,
            Mask::Output(&parts),
            channels,
            &gamma,
            &mean,
            &rstd,
            &mut dx[at.clone()],
            accumulate,
            Some(ResidualGrad {
                values: &mut d_residual[at_residual.clone()],
                channels: narrow,
                offset: 0,
                accumulate,
            }),
            &mut vec![0.0; channels],
            &mut vec![0.0; channels],
            &mut scratch,
        );
        [dx[at].to_vec(), d_residual[at_residual].to_vec()]
    };
    let (streamed, added) = (backward(false), backward(true));
    same("dx", &streamed[0], &added[0]);
    same("d_residual", &streamed[1], &added[1]);
}

#[test]
fn large_maps_are_written_like_small_ones() {
    for isa in Isa::available() {
        large::<f32>(isa, 0, 64, 64);
        large::<Bf16>(isa, 0, 64, 64);
    }
    let isa = Isa::best_up_to(Isa::Amx);
    large::<f32>(isa, 1, 64, 64);
    large::<Bf16>(isa, 16, 64, 64);
    large::<Bf16>(isa, 3, 64, 64);
    // Rows that are aligned now and then, and residuals of fewer channels.
    large::<f32>(isa, 0, 75, 75);
    large::<Bf16>(isa, 0, 75, 40);
    large::<Bf16>(isa, 0, 64, 32);
}
