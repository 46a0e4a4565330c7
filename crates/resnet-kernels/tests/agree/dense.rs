use resnet_kernels::{Cpu, Scratch, linear, loss, reference};

use crate::support::{Fenced, Random, assert_close, assert_same_bits, cpus, wide};

#[test]
fn linear_is_exact_on_integers() {
    for cpu in cpus() {
        for (n, c_in, c_out) in
            [(1, 1, 1), (4, 64, 10), (13, 100, 33), (2, 1000, 17), (1, 512, 1000), (70, 5, 3)]
        {
            let what = format!("{n} x {c_in} -> {c_out}, {}", cpu.isa());
            let mut random = Random(8);
            let (x, w, b) =
                (random.integers(n * c_in), random.integers(c_in * c_out), random.integers(c_out));
            let (dy, old) = (random.integers(n * c_out), random.integers(n * c_in));
            let (wide_x, wide_w, wide_dy) = (wide(&x), wide(&w), wide(&dy));
            let len = linear::scratch_len(&cpu, n, c_in, c_out);
            let mut memory = Fenced::scratch(len.total(&cpu));
            let mut scratch = Scratch::new(&cpu, memory.get(), len);
            for b in [None, Some(&b[..])] {
                let mut y = Fenced::new(&vec![f32::NAN; n * c_out]);
                linear::forward(&cpu, n, c_in, c_out, &x, &w, b, y.get(), scratch.again());
                let expected = reference::linear_forward(
                    n,
                    c_in,
                    c_out,
                    &wide_x,
                    &wide_w,
                    b.map(wide).as_deref(),
                );
                assert_close(&what, &y.take(&what), &expected, 0.0);
            }
            let dx_expected = reference::linear_backward_input(n, c_in, c_out, &wide_dy, &wide_w);
            for accumulate in [false, true] {
                let mut dx = Fenced::new(&old);
                linear::backward_input(
                    &cpu,
                    n,
                    c_in,
                    c_out,
                    &dy,
                    &w,
                    dx.get(),
                    accumulate,
                    scratch.again(),
                );
                let keep = f64::from(u8::from(accumulate));
                let expected: Vec<f64> =
                    dx_expected.iter().zip(wide(&old)).map(|(g, old)| g + keep * old).collect();
                assert_close(&what, &dx.take(&what), &expected, 0.0);
            }
            let (mut dw, mut db) =
                (Fenced::new(&vec![f32::NAN; w.len()]), Fenced::new(&vec![f32::NAN; c_out]));
            let out = (dw.get(), Some(db.get()));
            linear::backward_weight(&cpu, n, c_in, c_out, &x, &dy, out.0, out.1, scratch);
            let (dw_expected, db_expected) =
                reference::linear_backward_weight(n, c_in, c_out, &wide_x, &wide_dy);
            assert_close(&what, &dw.take(&what), &dw_expected, 0.0);
            assert_close(&what, &db.take(&what), &db_expected, 0.0);
            memory.take(&what);
        }
    }
}

/// n, classes, smoothing, size of the logits.
const LOSSES: [(usize, usize, f32, f32); 5] = [
    (1, 1, 0.0, 1.0),
    (7, 10, 0.0, 3.0),
    (1000, 10, 0.1, 5.0),
    (33, 1000, 0.1, 1.0),
    (5, 3, 0.0, 1000.0),
];

fn logits(random: &mut Random, len: usize, size: f32) -> Vec<f32> {
    random.reals(len).iter().map(|z| z * size).collect()
}

/// Rows of zeros but for a one at each label.
fn one_hot(labels: &[usize], classes: usize) -> Vec<f32> {
    let mut target = vec![0.0; labels.len() * classes];
    labels.iter().enumerate().for_each(|(i, label)| target[i * classes + label] = 1.0);
    target
}

/// Rows that sum to 1: shares of all classes, of two of them, and of one, in turns.
fn soft(random: &mut Random, n: usize, classes: usize) -> Vec<f32> {
    let mut target = vec![0.0; n * classes];
    for (i, row) in target.chunks_mut(classes).enumerate() {
        let share = random.below(257) as f32 / 256.0;
        match i % 3 {
            0 => row.fill(1.0 / classes as f32),
            1 => row[random.below(classes)] = 1.0,
            _ => {
                row[random.below(classes)] += share;
                row[random.below(classes)] += 1.0 - share;
            }
        }
    }
    target
}

#[test]
fn cross_entropy_and_its_gradient() {
    for cpu in cpus() {
        for (n, classes, smoothing, size) in LOSSES {
            let what = format!("{n} x {classes}, smoothing {smoothing}, logits up to {size}");
            let mut random = Random(6);
            let logits = logits(&mut random, n * classes, size);
            let target = soft(&mut random, n, classes);
            let weight: Vec<f32> = (0..n).map(|_| random.below(9) as f32 / 4.0).collect();
            let total = weight.iter().sum::<f32>() + 0.5;
            let (mut losses, mut dlogits) =
                (Fenced::new(&vec![f32::NAN; n]), Fenced::new(&vec![f32::NAN; logits.len()]));
            let gradient = Some(dlogits.get());
            loss::softmax_cross_entropy(
                &cpu,
                &logits,
                &target,
                &weight,
                total,
                classes,
                smoothing,
                losses.get(),
                gradient,
            );
            let (losses, dlogits) = (losses.take(&what), dlogits.take(&what));
            let (expected, expected_dz) = reference::softmax_cross_entropy(
                &wide(&logits),
                &wide(&target),
                &wide(&weight),
                f64::from(total),
                classes,
                f64::from(smoothing),
            );
            let largest = expected.iter().fold(1.0, |a: f64, b| a.max(*b));
            assert_close(&what, &losses, &expected, 1e-6 * largest);
            assert_close(&what, &dlogits, &expected_dz, 1e-6 / f64::from(total));

            let (mut again, mut dlogits_again) = (vec![0.0; n], vec![0.0; logits.len()]);
            loss::softmax_cross_entropy(
                &Cpu::new(3),
                &logits,
                &target,
                &weight,
                total,
                classes,
                smoothing,
                &mut again,
                Some(&mut dlogits_again),
            );
            assert_same_bits(&what, &again, &losses);
            assert_same_bits(&what, &dlogits_again, &dlogits);
            loss::softmax_cross_entropy(
                &cpu, &logits, &target, &weight, total, classes, smoothing, &mut again, None,
            );
            assert_same_bits(&what, &again, &losses);
        }
    }
}

/// Loss and gradient of one label, as PyTorch's formula with labels has them.
fn of_label(z: &[f32], label: usize, smoothing: f64, n: f64, dz: &mut [f32]) -> f32 {
    let max = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = |z: f32| f64::from(z) - f64::from(max);
    let log_sum = z.iter().map(|&z| shifted(z).exp()).sum::<f64>().ln();
    let mean = z.iter().map(|&z| shifted(z)).sum::<f64>() / z.len() as f64;
    let share = smoothing / z.len() as f64;
    for (k, (dz, &z)) in dz.iter_mut().zip(z).enumerate() {
        let target = share + if k == label { 1.0 - smoothing } else { 0.0 };
        *dz = (((shifted(z) - log_sum).exp() - target) / n) as f32;
    }
    (log_sum - (1.0 - smoothing) * shifted(z[label]) - smoothing * mean) as f32
}

#[test]
fn one_hot_targets_give_the_bits_of_labels() {
    for cpu in cpus() {
        for (n, classes, smoothing, size) in LOSSES {
            let what = format!("{n} x {classes}, smoothing {smoothing}, logits up to {size}");
            let mut random = Random(16);
            let mut logits = logits(&mut random, n * classes, size);
            if smoothing > 0.0 {
                logits[classes - 1] = f32::NEG_INFINITY;
            }
            let labels: Vec<usize> = (0..n).map(|_| random.below(classes)).collect();
            let mut expected_dz = vec![0.0; logits.len()];
            let rows = logits.chunks(classes).zip(expected_dz.chunks_mut(classes));
            let expected: Vec<f32> = rows
                .zip(&labels)
                .map(|((z, dz), &label)| of_label(z, label, f64::from(smoothing), n as f64, dz))
                .collect();
            let (mut losses, mut dlogits) = (vec![0.0; n], vec![0.0; logits.len()]);
            loss::softmax_cross_entropy(
                &cpu,
                &logits,
                &one_hot(&labels, classes),
                &vec![1.0; n],
                n as f32,
                classes,
                smoothing,
                &mut losses,
                Some(&mut dlogits),
            );
            assert_same_bits(&what, &losses, &expected);
            assert_same_bits(&what, &dlogits, &expected_dz);
        }
    }
}

/// Loss and gradient of one sample of three classes, the first being its label.
fn one_sample(logits: [f32; 3], weight: f32, total: f32) -> ([f32; 1], [f32; 3]) {
    let (mut losses, mut dlogits) = ([7.0], [7.0; 3]);
    loss::softmax_cross_entropy(
        &Cpu::new(1),
        &logits,
        &[1.0, 0.0, 0.0],
        &[weight],
        total,
        3,
        0.0,
        &mut losses,
        Some(&mut dlogits),
    );
    (losses, dlogits)
}

#[test]
fn cross_entropy_of_even_logits_is_the_logarithm_of_the_classes() {
    let (losses, _) = one_sample([7.0; 3], 1.0, 1.0);
    assert_eq!(losses[0], 3f64.ln() as f32);
}

#[test]
fn samples_that_weigh_nothing_have_gradients_of_zero() {
    assert_eq!(one_sample([1.0, 5.0, 2.0], 0.0, 0.0), ([0.0], [0.0; 3]));
}

#[test]
fn a_nan_or_infinite_logit_shows_in_loss_and_gradient() {
    for bad in [f32::NAN, f32::INFINITY] {
        for (weight, total) in [(1.0, 1.0), (0.0, 1.0), (0.0, 0.0)] {
            let (losses, dlogits) = one_sample([1.0, bad, 2.0], weight, total);
            assert!(!losses[0].is_finite(), "{bad} of weight {weight} gave {losses:?}");
            assert!(dlogits.iter().any(|dz| !dz.is_finite()), "{bad} of weight {weight}");
        }
    }
}

#[test]
#[should_panic(expected = "target must be [1, 3]")]
fn a_target_of_a_wrong_length_is_named() {
    loss::softmax_cross_entropy(
        &Cpu::new(1),
        &[0.0; 3],
        &[1.0; 2],
        &[1.0],
        1.0,
        3,
        0.0,
        &mut [0.0],
        None,
    );
}
