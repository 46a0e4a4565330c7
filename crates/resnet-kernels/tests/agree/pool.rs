use resnet_kernels::{Cpu, Isa, Pool2dShape, pool2d, reference};

use crate::support::{Fenced, Random, assert_close, cpus, wide};

/// n, h, w, c, kernel, stride, padding.
const SHAPES: [[usize; 7]; 16] = [
    [2, 12, 12, 64, 3, 2, 1],
    [1, 8, 8, 3, 2, 2, 0],
    [3, 7, 5, 70, 3, 2, 1],
    [1, 5, 5, 129, 3, 1, 1],
    [2, 6, 6, 16, 1, 2, 0],
    [1, 4, 4, 5, 4, 4, 0],
    [1, 9, 9, 2, 2, 3, 1],
    [1, 1, 1, 7, 1, 1, 0],
    [2, 5, 7, 8, 3, 1, 0],
    [1, 1, 1, 3, 3, 1, 1],
    [1, 10, 10, 34, 3, 2, 1],
    [1, 28, 28, 32, 3, 2, 1],
    [1, 112, 9, 4, 3, 2, 1],
    [1, 13, 9, 5, 3, 5, 1],
    [2, 2, 1, 19, 3, 1, 1],
    [1, 4, 5, 16, 3, usize::MAX, 1],
];

fn shapes() -> impl Iterator<Item = Pool2dShape> {
    let shape = |[n, h, w, c, kernel, stride, padding]: [usize; 7]| Pool2dShape {
        n,
        h,
        w,
        c,
        kernel,
        stride,
        padding,
    };
    SHAPES.into_iter().map(shape)
}

fn with(old: &[f32], g: Vec<f64>, accumulate: bool) -> Vec<f64> {
    let keep = f64::from(u8::from(accumulate));
    g.iter().zip(wide(old)).map(|(g, old)| g + keep * old).collect()
}

#[test]
fn a_few_images_are_cut_for_any_number_of_threads() {
    for threads in [1, 2, 3, 4, 5, 7, 8, 16] {
        let cpu = Cpu::with_isa(Isa::Scalar, threads).unwrap();
        for shape in shapes() {
            let x = Random(3).reals(shape.x_len());
            let mut y = vec![f32::NAN; shape.y_len()];
            pool2d::max_forward(&cpu, &shape, &x, &mut y);
            let expected = reference::max_pool_forward(&shape, &wide(&x));
            assert_close(&format!("{shape:?}, {threads} threads"), &y, &expected, 0.0);
        }
    }
}

#[test]
fn max_pool_takes_the_first_maximum() {
    for cpu in cpus() {
        for shape in shapes() {
            let what = format!("{shape:?}, {}", cpu.isa());
            let mut random = Random(1);
            // Seven values in every window: ties are the rule.
            let mut x = random.integers(shape.x_len());
            for spoil in [false, true] {
                if spoil {
                    (0..x.len()).step_by(11).for_each(|i| x[i] = f32::NAN);
                }
                let dy = random.integers(shape.y_len());
                let mut y = Fenced::new(&vec![1e9; shape.y_len()]);
                pool2d::max_forward(&cpu, &shape, &x, y.get());
                assert_close(
                    &what,
                    &y.take(&what),
                    &reference::max_pool_forward(&shape, &wide(&x)),
                    0.0,
                );
                for accumulate in [false, true] {
                    let old = random.integers(shape.x_len());
                    let mut dx = Fenced::new(&old);
                    pool2d::max_backward(&cpu, &shape, &x, &dy, dx.get(), accumulate);
                    let expected = reference::max_pool_backward(&shape, &wide(&x), &wide(&dy));
                    assert_close(&what, &dx.take(&what), &with(&old, expected, accumulate), 0.0);
                }
            }
        }
    }
}

#[test]
fn average_pool() {
    for cpu in cpus() {
        for shape in shapes().filter(|shape| shape.padding == 0) {
            let what = format!("{shape:?}, {}", cpu.isa());
            let mut random = Random(2);
            let (x, dy, old) = (
                random.reals(shape.x_len()),
                random.reals(shape.y_len()),
                random.reals(shape.x_len()),
            );
            let mut y = Fenced::new(&vec![f32::NAN; shape.y_len()]);
            pool2d::avg_forward(&cpu, &shape, &x, y.get());
            assert_close(
                &what,
                &y.take(&what),
                &reference::avg_pool_forward(&shape, &wide(&x)),
                1e-6,
            );
            for accumulate in [false, true] {
                let mut dx = Fenced::new(&old);
                pool2d::avg_backward(&cpu, &shape, &dy, dx.get(), accumulate);
                let expected = reference::avg_pool_backward(&shape, &wide(&dy));
                assert_close(&what, &dx.take(&what), &with(&old, expected, accumulate), 1e-6);
            }
        }
    }
}

/// The global pool is the pool whose window is the map.
#[test]
fn global_average_pool() {
    for cpu in cpus() {
        for (n, side, c) in [(3, 8, 64), (1, 1, 5), (2, 7, 70)] {
            let shape = Pool2dShape { n, h: side, w: side, c, kernel: side, stride: 1, padding: 0 };
            let mut random = Random(3);
            let (x, dy, old) =
                (random.reals(shape.x_len()), random.reals(n * c), random.reals(shape.x_len()));
            let mut y = Fenced::new(&vec![f32::NAN; n * c]);
            pool2d::global_avg_forward(&cpu, n, side * side, c, &x, y.get());
            assert_close(
                "global",
                &y.take("global"),
                &reference::avg_pool_forward(&shape, &wide(&x)),
                1e-6,
            );
            for accumulate in [false, true] {
                let mut dx = Fenced::<f32>::new(&old);
                pool2d::global_avg_backward(&cpu, n, side * side, c, &dy, dx.get(), accumulate);
                let expected = reference::avg_pool_backward(&shape, &wide(&dy));
                assert_close("global", &dx.take("global"), &with(&old, expected, accumulate), 1e-6);
            }
        }
    }
}

#[test]
fn impossible_pools_say_why() {
    let shape = Pool2dShape { n: 1, h: 2, w: 2, c: 1, kernel: 3, stride: 1, padding: 0 };
    assert_eq!(shape.check(), Err("window 3 is larger than the 2x2 input with padding 0".into()));
    let rim = Pool2dShape { padding: 2, ..shape };
    assert_eq!(rim.check(), Err("padding 2 is more than half of window 3".into()));
    assert!(Pool2dShape { stride: 0, ..shape }.check().is_err());
}
