//! Speed of each pass of the convolutions in shape files: `bench_conv [threads=N] FILE...`
//!
//! Prints GFLOP/s (2 per MAC of the sum as written) of the fastest of some repetitions, for every kernel that takes a shape,
//! and the time of all lines with their multiplicities and the first kernel of each.

use std::time::Instant;

use resnet_kernels::{Conv2d, Conv2dShape, Cpu, Epilogue};

fn main() {
    let mut cpu = Cpu::new(Cpu::default_threads());
    for arg in std::env::args().skip(1) {
        if let Some(threads) = arg.strip_prefix("threads=") {
            cpu = Cpu::new(threads.parse().expect("threads=N"));
            continue;
        }
        let text = std::fs::read_to_string(&arg).unwrap_or_else(|error| panic!("{arg}: {error}"));
        println!("{arg}, {} threads, {}", cpu.threads(), cpu.isa());
        println!(
            "{:>2} {:50} {:>8} {:>8} {:>8}  GFLOP/s",
            "", "", "forward", "dx", "dw"
        );
        let (mut seconds, mut flops) = ([0.0; 3], 0.0);
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        {
            let (times, shape) = line.split_once(' ').expect("a count and a shape");
            let times: f64 = times.parse().expect("a count");
            let shape: Conv2dShape = shape.parse().unwrap_or_else(|error| panic!("{error}"));
            let work = 2.0 * shape.macs() as f64;
            let candidates = Conv2d::candidates(&cpu, &shape);
            for (i, conv) in candidates.iter().enumerate() {
                let best = measure(&cpu, conv);
                let [forward, dx, dw] = best.map(|seconds| work / seconds / 1e9);
                println!(
                    "{times:>2} {:50} {forward:8.1} {dx:8.1} {dw:8.1}  {}",
                    shape.to_string(),
                    conv.name()
                );
                if i == 0 {
                    (0..3).for_each(|i| seconds[i] += times * best[i]);
                    flops += times * work;
                }
            }
        }
        let [forward, dx, dw] = seconds.map(|seconds| flops / seconds / 1e9);
        println!("{:53} {forward:8.1} {dx:8.1} {dw:8.1}  GFLOP/s", "all");
        let [forward, dx, dw] = seconds.map(|seconds| seconds * 1e3);
        println!("{:53} {forward:8.1} {dx:8.1} {dw:8.1}  ms", "all");
    }
}

/// Seconds of the fastest repetition of each pass.
fn measure(cpu: &Cpu, conv: &Conv2d) -> [f64; 3] {
    let shape = conv.shape();
    let fill = |len: usize| {
        (0..len)
            .map(|i| (i % 13) as f32 / 13.0 - 0.5)
            .collect::<Vec<f32>>()
    };
    let (x, w, dy) = (
        fill(shape.x_len()),
        fill(shape.w_len()),
        fill(shape.y_len()),
    );
    let (mut y, mut dx, mut dw) = (fill(dy.len()), fill(x.len()), fill(w.len()));
    let mut scratch = vec![0.0; conv.scratch_len()];
    let forward = best(|| conv.forward(cpu, &x, &w, Epilogue::default(), &mut y, &mut scratch));
    let backward_input = best(|| conv.backward_input(cpu, &dy, &w, &mut dx, false, &mut scratch));
    let backward_weight = best(|| conv.backward_weight(cpu, &x, &dy, &mut dw, None, &mut scratch));
    [forward, backward_input, backward_weight]
}

fn best(mut pass: impl FnMut()) -> f64 {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    for i in 0.. {
        let start = Instant::now();
        pass();
        best = best.min(start.elapsed().as_secs_f64());
        if i >= 2 && begin.elapsed().as_secs_f64() > 0.3 {
            break;
        }
    }
    best
}
