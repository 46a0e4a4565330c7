//! The reference's gradients against central differences, in f64: for a fixed random cotangent d,
//! the derivative of Σ d·f(x) with respect to x must be what the backward function returns for dy =
//! d.

use resnet_kernels::{Conv2dShape, Pool2dShape, reference};

use crate::support::{Random, wide};

fn reals(seed: u64, len: usize) -> Vec<f64> {
    wide(&Random(seed).reals(len))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Asserts that `gradient` is that of `f` at `x`.
fn check(what: &str, x: &[f64], gradient: &[f64], f: impl Fn(&[f64]) -> f64) {
    assert_eq!(x.len(), gradient.len(), "{what}");
    let mut x = x.to_vec();
    for i in 0..x.len() {
        let (h, old) = (1e-5, x[i]);
        x[i] = old + h;
        let above = f(&x);
        x[i] = old - h;
        let below = f(&x);
        x[i] = old;
        let difference = (above - below) / (2.0 * h);
        let error = (difference - gradient[i]).abs();
        assert!(
            error < 1e-7 * (1.0 + difference.abs()),
            "{what}: element {i} is {}, the difference quotient {difference}",
            gradient[i]
        );
    }
}

#[test]
fn convolution() {
    for shape in [
        "n2 ic4 ih5 iw4 oc6 k3 s2 p1 g2",
        "n1 ic3 ih4 oc2 k2",
        "n1 ic2 ih5 oc3 k1 s2",
        "n1 ic1 ih2 oc2 k3 p2",
    ] {
        let s: Conv2dShape = shape.parse().unwrap();
        let (x, w, b, d) =
            (reals(1, s.x_len()), reals(2, s.w_len()), reals(3, s.c_out), reals(4, s.y_len()));
        let f = |x: &[f64], w: &[f64], b: &[f64]| {
            dot(&d, &reference::conv2d_forward(&s, x, w, Some(b)))
        };
        check("dx", &x, &reference::conv2d_backward_input(&s, &d, &w), |x| f(x, &w, &b));
        check("dw", &w, &reference::conv2d_backward_weight(&s, &x, &d), |w| f(&x, w, &b));
        check("db", &b, &reference::conv2d_backward_bias(s.c_out, &d), |b| f(&x, &w, b));
    }
}

#[test]
fn batch_norm_with_its_tail() {
    let (channels, pixels, eps) = (3, 7, 1e-3);
    let len = channels * pixels;
    let (x, gamma, beta, d) =
        (reals(1, len), reals(2, channels), reals(3, channels), reals(4, len));
    let residual = reals(5, pixels * 2);
    let y = |x: &[f64], gamma: &[f64], beta: &[f64], residual: &[f64]| {
        let (mut y, _, _) = reference::batch_norm_train(x, gamma, beta, eps);
        reference::add_residual(&mut y, channels, residual, 2, 1);
        reference::relu(&y)
    };
    let f = |x: &[f64], gamma: &[f64], beta: &[f64], r: &[f64]| dot(&d, &y(x, gamma, beta, r));
    let (_, mean, rstd) = reference::batch_norm_train(&x, &gamma, &beta, eps);
    let g = reference::relu_backward(&d, &y(&x, &gamma, &beta, &residual));
    let gradients = reference::batch_norm_backward(&g, &x, &gamma, &mean, &rstd);
    check("dx", &x, &gradients.dx, |x| f(x, &gamma, &beta, &residual));
    check("dgamma", &gamma, &gradients.dgamma, |gamma| f(&x, gamma, &beta, &residual));
    check("dbeta", &beta, &gradients.dbeta, |beta| f(&x, &gamma, beta, &residual));
    let d_residual = reference::residual_gradient(&g, channels, 2, 1);
    check("d_residual", &residual, &d_residual, |r| f(&x, &gamma, &beta, r));
}

#[test]
fn pools() {
    for (kernel, stride, padding) in [(3, 2, 1), (2, 2, 0), (3, 1, 0)] {
        let s = Pool2dShape { n: 2, h: 5, w: 6, c: 2, kernel, stride, padding };
        let (x, d) = (reals(1, s.x_len()), reals(2, s.y_len()));
        let max = |x: &[f64]| dot(&d, &reference::max_pool_forward(&s, x));
        check("max", &x, &reference::max_pool_backward(&s, &x, &d), max);
        if padding == 0 {
            let mean = |x: &[f64]| dot(&d, &reference::avg_pool_forward(&s, x));
            check("average", &x, &reference::avg_pool_backward(&s, &d), mean);
        }
    }
}

#[test]
fn linear_and_loss() {
    let (n, c_in, c_out) = (3, 4, 5);
    let (x, w, b, d) =
        (reals(1, n * c_in), reals(2, c_in * c_out), reals(3, c_out), reals(4, n * c_out));
    let f = |x: &[f64], w: &[f64], b: &[f64]| {
        dot(&d, &reference::linear_forward(n, c_in, c_out, x, w, Some(b)))
    };
    let (dw, db) = reference::linear_backward_weight(n, c_in, c_out, &x, &d);
    check("dx", &x, &reference::linear_backward_input(n, c_in, c_out, &d, &w), |x| f(x, &w, &b));
    check("dw", &w, &dw, |w| f(&x, w, &b));
    check("db", &b, &db, |b| f(&x, &w, b));
    let (target, weight, total) =
        ([[0.0, 0.3, 0.0, 0.7, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0], [0.2; 5]], [0.5, 2.0, 1.25], 3.75);
    for smoothing in [0.0, 0.2] {
        let loss = |z: &[f64]| {
            reference::softmax_cross_entropy(z, &target.concat(), &weight, total, c_out, smoothing)
        };
        let mean = |z: &[f64]| loss(z).0.iter().sum::<f64>() / total;
        check("dlogits", &d, &loss(&d).1, mean);
    }
}
