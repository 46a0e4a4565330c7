//! Speed of the passes that are bound by memory, at the sizes of ResNet-20 with batch 128:
//! `bench_passes [threads]`
//!
//! Prints milliseconds of the fastest of some repetitions, and the memory they move in GB/s.

use std::time::Instant;

use resnet_kernels::batch_norm::{self, Mask, Running};
use resnet_kernels::{Cpu, Residual, ResidualGrad, Sgd, sgd};

fn main() {
    let threads = std::env::args()
        .nth(1)
        .map_or(Cpu::default_threads(), |n| n.parse().expect("a number of threads"));
    let cpu = Cpu::new(threads);
    println!("{} threads, {}", cpu.threads(), cpu.isa());
    for (pixels, c) in
        [(128 * 1024, 16), (128 * 256, 32), (128 * 64, 64), (8 * 3136, 256), (4 * 49, 2048)]
    {
        let len = pixels * c;
        let fill =
            |len: usize| (0..len).map(|i| (i * 7 % 29) as f32 / 29.0 - 0.5).collect::<Vec<f32>>();
        let (x, r, dy) = (fill(len), fill(len), fill(len));
        let (mut y, mut dx, mut dr) = (fill(len), fill(len), fill(len));
        let (gamma, beta) = (vec![1.0; c], vec![0.1; c]);
        let [mut mean, mut rstd, mut rm, mut rv, mut dgamma, mut dbeta] =
            [(); 6].map(|()| vec![1.0; c]);
        let mut scratch = vec![0.0; batch_norm::scratch_len(pixels, c)];
        let report = |what: &str, maps: usize, seconds: f64| {
            let rate = (maps * len * 4) as f64 / seconds / 1e9;
            println!("{pixels:>7} x {c:<4} {what:28} {:8.3} ms {rate:7.1} GB/s", seconds * 1e3);
        };
        for with in [false, true] {
            let tail = if with { " + residual" } else { "" };
            let seconds = best(|| {
                let residual = with.then_some(Residual { values: &r, channels: c, offset: 0 });
                let running = Some(Running { mean: &mut rm, var: &mut rv, momentum: 0.1 });
                batch_norm::forward_train(
                    &cpu,
                    &x,
                    c,
                    &gamma,
                    &beta,
                    1e-5,
                    residual,
                    true,
                    &mut y,
                    &mut mean,
                    &mut rstd,
                    running,
                    &mut scratch,
                );
            });
            report(&format!("norm{tail} + relu"), 3 + usize::from(with), seconds);
            let seconds = best(|| {
                let d = ResidualGrad { values: &mut dr, channels: c, offset: 0, accumulate: false };
                batch_norm::backward(
                    &cpu,
                    &dy,
                    &x,
                    Mask::Output(&y),
                    c,
                    &gamma,
                    &mean,
                    &rstd,
                    &mut dx,
                    false,
                    with.then_some(d),
                    &mut dgamma,
                    &mut dbeta,
                    &mut scratch,
                );
            });
            report(&format!("norm{tail} + relu, backward"), 7 + usize::from(with), seconds);
        }
        let seconds = best(|| {
            let settings =
                Sgd { lr: 1e-3, scale: 1.0, momentum: 0.9, weight_decay: 1e-4, nesterov: false };
            sgd::update(&cpu, &settings, &mut y, &dy, &mut dx);
        });
        report("sgd", 5, seconds);
    }
}

fn best(mut pass: impl FnMut()) -> f64 {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    for i in 0.. {
        let start = Instant::now();
        pass();
        best = best.min(start.elapsed().as_secs_f64());
        if i >= 2 && begin.elapsed().as_secs_f64() > 0.2 {
            break;
        }
    }
    best
}
