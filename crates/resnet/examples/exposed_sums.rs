//! How much of a step of training on several machines is spent waiting for sums of gradients: the
//! steps of the backward pass are timed here, what the network between the machines takes is
//! computed.
//!
//! `cargo run --release -p resnet --example exposed_sums [ARCH] [BATCH] [GBIT/S] [LATENCY in us]`
//!
//! A bucket of gradients leaves when its last gradient is made, and buckets follow one another.
//! With n ranks and b bytes, 2 b (n - 1) / n leave and reach each rank, in 2 (n - 1) messages one
//! after another at worst.

use std::env;
use std::error::Error;
use std::str::FromStr;
use std::time::Instant;

use resnet::Shape;
use resnet::engine::exec::{Session, Target, cpu};
use resnet::engine::plan::{Options, Plan};
use resnet::model::initialise;
use resnet::net::Arch;

/// Passes that are timed, after one that is not; each step counts with its fastest.
const PASSES: usize = 5;

fn argument<T: FromStr>(at: usize, default: T) -> Result<T, T::Err> {
    env::args().nth(at).map_or(Ok(default), |text| text.parse())
}

fn main() -> Result<(), Box<dyn Error>> {
    let (arch, batch) = (argument(1, String::from("resnet50"))?, argument(2, 32)?);
    let (gbit, latency): (f64, f64) = (argument(3, 10.0)?, argument(4, 20.0)?);
    let graph = Arch::parse(&arch)?.graph(Shape::new(3, 224, 224), 1000)?;
    let plan = Plan::build(&graph, Options { shards: Some(0), ..Options::train(batch, 0.0) })?;
    let mut session = Session::new(cpu(0)?.as_ref(), plan)?;
    initialise(&mut session, &graph, 1)?;
    let plan = session.plan().clone();
    let x: Vec<f32> =
        (0..batch * 3 * 224 * 224).map(|i| (i * 7 % 255) as f32 / 128.0 - 1.0).collect();
    let mut target = vec![0.0; batch * 1000];
    (0..batch).for_each(|i| target[i * 1000 + i] = 1.0);
    let weight = vec![1.0; batch];
    let mut fastest = vec![f64::INFINITY; plan.backward.end];
    for _ in 0..=PASSES {
        let total = batch as f32;
        session.feed(&x, Target { target: &target, weight: &weight, total })?;
        for (step, fastest) in fastest.iter_mut().enumerate() {
            let began = Instant::now();
            session.run(step..step + 1)?;
            *fastest = fastest.min(began.elapsed().as_secs_f64());
        }
    }
    let forward: f64 = fastest[plan.forward.clone()].iter().sum();
    let whole: f64 = fastest.iter().sum();
    println!(
        "{arch}, batch {batch}: forward {:.1} ms, backward {:.1} ms",
        forward * 1e3,
        (whole - forward) * 1e3
    );
    let buckets: Vec<(f64, usize)> = plan
        .buckets
        .iter()
        .map(|bucket| (fastest[..bucket.made].iter().sum(), plan.slots[bucket.grad.0].len * 4))
        .collect();
    println!(
        "{} buckets, {:.1} MB",
        buckets.len(),
        buckets.iter().map(|b| b.1).sum::<usize>() as f64 / 1e6
    );
    for (made, bytes) in &buckets {
        println!(
            "  made at {:7.1} ms of {:.1}: {:6.2} MB",
            made * 1e3,
            whole * 1e3,
            *bytes as f64 / 1e6
        );
    }
    println!("{:>6} {:>14} {:>14} {:>10}", "ranks", "sums in ms", "exposed in ms", "of a step");
    for ranks in [2, 4, 8, 64, 1024] {
        let others = f64::from(ranks - 1);
        let takes = |bytes: usize| {
            let sent = 2.0 * bytes as f64 * others / f64::from(ranks);
            sent / (gbit * 1e9 / 8.0) + 2.0 * others * latency * 1e-6
        };
        let end =
            buckets.iter().fold(0.0, |end: f64, (made, bytes)| end.max(*made) + takes(*bytes));
        let sums: f64 = buckets.iter().map(|(_, bytes)| takes(*bytes)).sum();
        let exposed = (end - whole).max(0.0);
        let share = 100.0 * exposed / (whole + exposed);
        println!("{ranks:>6} {:>14.1} {:>14.2} {share:>8.2} %", sums * 1e3, exposed * 1e3);
    }
    Ok(())
}
