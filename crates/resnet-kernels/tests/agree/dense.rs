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

#[test]
fn cross_entropy_and_its_gradient() {
    for cpu in cpus() {
        for (n, classes, smoothing, size) in [
            (1, 1, 0.0, 1.0),
            (7, 10, 0.0, 3.0),
            (1000, 10, 0.1, 5.0),
            (33, 1000, 0.1, 1.0),
            (5, 3, 0.0, 1000.0),
        ] {
            let what = format!("{n} x {classes}, smoothing {smoothing}, logits up to {size}");
            let mut random = Random(6);
            let logits: Vec<f32> = random.reals(n * classes).iter().map(|z| z * size).collect();
            let labels: Vec<u32> = (0..n).map(|_| random.below(classes) as u32).collect();
            let (mut losses, mut dlogits) =
                (Fenced::new(&vec![f32::NAN; n]), Fenced::new(&vec![f32::NAN; logits.len()]));
            let gradient = Some(dlogits.get());
            loss::softmax_cross_entropy(
                &cpu,
                &logits,
                &labels,
                classes,
                smoothing,
                losses.get(),
                gradient,
            );
            let (losses, dlogits) = (losses.take(&what), dlogits.take(&what));
            let (expected, expected_dz) = reference::softmax_cross_entropy(
                &wide(&logits),
                &labels,
                classes,
                f64::from(smoothing),
            );
            let largest = expected.iter().fold(1.0, |a: f64, b| a.max(*b));
            assert_close(&what, &losses, &expected, 1e-6 * largest);
            assert_close(&what, &dlogits, &expected_dz, 1e-6 / n as f64);

            let mut again = vec![0.0; n];
            loss::softmax_cross_entropy(
                &Cpu::new(3),
                &logits,
                &labels,
                classes,
                smoothing,
                &mut again,
                None,
            );
            assert_same_bits(&what, &again, &losses);
        }
    }
}

#[test]
fn cross_entropy_of_even_logits_is_the_logarithm_of_the_classes() {
    let mut losses = [0.0];
    loss::softmax_cross_entropy(&Cpu::new(1), &[7.0; 10], &[3], 10, 0.0, &mut losses, None);
    assert_eq!(losses[0], 10f64.ln() as f32);
}

#[test]
fn a_nan_or_infinite_logit_shows_in_the_loss() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut losses = [0.0];
        loss::softmax_cross_entropy(
            &Cpu::new(1),
            &[1.0, bad, 2.0],
            &[0],
            3,
            0.0,
            &mut losses,
            None,
        );
        assert!(!losses[0].is_finite(), "{bad} gave {}", losses[0]);
    }
}

#[test]
#[should_panic(expected = "label 3 of 3 classes")]
fn a_label_outside_the_classes_is_named() {
    loss::softmax_cross_entropy(&Cpu::new(1), &[0.0; 3], &[3], 3, 0.0, &mut [0.0], None);
}
