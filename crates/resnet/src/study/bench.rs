//! Times a network: a whole step of training or inference, and each step of its plan against what
//! the machine can do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::base::rng::Rng;
use crate::model;
use resnet_engine::exec::{Device, ExecError, Kernel, Limits, Rates, Session, Target};
use resnet_engine::graph::Graph;
use resnet_engine::op::ShapeError;
use resnet_engine::plan::{Mode, Optimizer, Options, Plan};
use resnet_engine::step::{Precision, StepKind};

/// What is timed.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Training or inference.
    pub mode: Mode,
    /// Images in a batch.
    pub batch: usize,
    /// How maps are stored.
    pub precision: Precision,
    /// How long to measure, after warm-up.
    pub time: Duration,
    /// Whether each step is timed as well.
    pub steps: bool,
}

/// Why a network cannot be timed.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A layer cannot read its inputs.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The device; the plan may need too much memory.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl BenchError {
    /// Whether the caller asked for something that does not exist or does not fit, rather than
    /// something failing.
    pub fn is_usage(&self) -> bool {
        match self {
            BenchError::Shape(_) => true,
            BenchError::Exec(_) => false,
        }
    }
}

/// How fast a network is.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// Images a second: the median batch.
    pub images_per_s: f64,
    /// Milliseconds of a batch: the median.
    pub ms_per_batch: f64,
    /// The fastest and the slowest batch, in milliseconds.
    pub ms_range: (f64, f64),
    /// Batches measured.
    pub batches: usize,
    /// 1e9 floating-point operations in a second, two a multiply-add, in convolutions and linear
    /// layers.
    pub gflops: f64,
    /// What the machine can do at best, in bf16 where a step multiplies that.
    pub peak_gflops: f64,
    /// `gflops` over `peak_gflops`.
    pub fraction_of_peak: f64,
    /// Whether a step multiplies bf16.
    pub multiplies_bf16: bool,
    /// Most memory that the process has had, in MiB, where the system tells.
    pub peak_rss_mib: Option<f64>,
    /// What the machine can do, measured in the same sitting.
    pub limits: Limits,
    /// Each step of the plan, where asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepTime>,
}

/// A step of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct StepTime {
    /// Its place in the plan.
    pub step: usize,
    /// The layer.
    pub layer: String,
    /// What it computes.
    pub operation: &'static str,
    /// The kernel that runs it.
    pub kernel: String,
    /// Its shape, of a convolution.
    pub shape: String,
    /// Milliseconds: the median.
    pub ms: f64,
    /// 1e9 floating-point operations in a second.
    pub gflops: f64,
    /// Megabytes that it reads and writes, each operand once.
    pub megabytes: f64,
    /// The least time that arithmetic and memory allow (the roofline) over the time it took. Above
    /// 1 where operands lie in caches.
    pub fraction_of_roofline: f64,
}

/// Times a network on random images.
///
/// # Errors
/// [`BenchError`].
pub fn bench(graph: &Graph, device: &dyn Device, request: Request) -> Result<Bench, BenchError> {
    let options = match request.mode {
        Mode::Train { label_smoothing } => Options::train(request.batch, label_smoothing),
        mode => Options { mode, ..Options::infer(request.batch) },
    };
    let optimizer = Optimizer { weight_decay: 1e-4, ..Optimizer::default() };
    let options = Options { precision: request.precision, optimizer, ..options };
    let plan = Arc::new(Plan::build(graph, options)?);
    let kernels = device.kernels(&plan);
    let mut session = Session::to_run(device, plan.clone())?;
    prepare(&mut session, graph)?;

    let times = timed(request.time, || {
        session.run(0..plan.steps.len())?;
        session.wait()
    })?;
    let seconds = median(&times);
    // Before the limits, whose measurement takes memory of its own.
    let peak_rss_mib = peak_rss();
    let limits = device.limits();
    let flops: f64 = plan.steps.iter().map(|s| flops(&s.kind)).sum();
    let steps = match request.steps {
        true => layers(&mut session, &kernels, &limits, request.time)?,
        false => Vec::new(),
    };
    let ms = |seconds: f64| seconds * 1e3;
    let multiplies_bf16 = kernels.iter().any(|kernel| kernel.multiplies_bf16);
    let peak = peak(&limits, multiplies_bf16);
    Ok(Bench {
        images_per_s: request.batch as f64 / seconds,
        ms_per_batch: ms(seconds),
        ms_range: (ms(times[0]), ms(times[times.len() - 1])),
        batches: times.len(),
        gflops: flops / seconds / 1e9,
        peak_gflops: peak / 1e9,
        fraction_of_peak: flops / seconds / peak,
        multiplies_bf16,
        peak_rss_mib,
        limits,
        steps,
    })
}

/// Weights, images, targets, and a learning rate so small that no number ever overflows.
fn prepare(session: &mut Session, graph: &Graph) -> Result<(), ExecError> {
    model::initialise(session, graph, 1)?;
    let plan = session.plan().clone();
    let mut rng = Rng::new(1, &[]);
    let len = plan.slots[plan.input.0].len;
    let x: Vec<f32> = (0..len).map(|_| rng.normal() as f32).collect();
    if plan.loss.is_none() {
        return session.write(plan.input, &x);
    }
    let batch = plan.options.batch;
    let mut target = vec![0.0; batch * plan.classes];
    for (i, row) in target.chunks_exact_mut(plan.classes).enumerate() {
        row[i % plan.classes] = 1.0;
    }
    let weight = vec![1.0; batch];
    session.feed(&x, Target { target: &target, weight: &weight, total: batch as f32 })?;
    session.set_rates(Rates { lr: 1e-6, scale: 1.0, average: 0.0 });
    Ok(())
}

/// Batches that only warm caches and clocks up.
const WARM_UP: usize = 2;
/// Batches measured at least.
const LEAST: usize = 5;

/// Seconds of each run, ascending.
fn timed(
    time: Duration,
    mut run: impl FnMut() -> Result<(), ExecError>,
) -> Result<Vec<f64>, ExecError> {
    for _ in 0..WARM_UP {
        run()?;
    }
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < LEAST || begin.elapsed() < time {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// Whole batches again, a clock around each step.
fn layers(
    session: &mut Session,
    kernels: &[Kernel],
    limits: &Limits,
    time: Duration,
) -> Result<Vec<StepTime>, ExecError> {
    let plan = session.plan().clone();
    let count = plan.steps.len();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); count];
    let begin = Instant::now();
    while times[0].len() < LEAST || begin.elapsed() < time {
        let took = session.run_timed(0..count)?;
        times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
    }
    times.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let of = |step: usize| {
        let it = &plan.steps[step];
        let seconds = median(&times[step]);
        let flops = flops(&it.kind);
        let operands = it.reads.iter().chain(&it.writes);
        let bytes = 4.0 * operands.map(|id| plan.slots[id.0].words() as f64).sum::<f64>();
        let peak = peak(limits, kernels[step].multiplies_bf16);
        let least = (flops / peak).max(bytes / limits.bandwidth);
        StepTime {
            step,
            layer: plan.layer_names[it.layer.0].clone(),
            operation: Plan::kind_name(&it.kind),
            kernel: kernels[step].name.clone(),
            shape: shape(&it.kind),
            ms: seconds * 1e3,
            gflops: flops / seconds / 1e9,
            megabytes: bytes / 1e6,
            fraction_of_roofline: least / seconds,
        }
    };
    Ok((0..count).map(of).collect())
}

/// Operations a second that the machine does at best, on bf16 or on f32.
fn peak(limits: &Limits, bf16: bool) -> f64 {
    limits.bf16_flops.filter(|_| bf16).unwrap_or(limits.flops)
}

fn flops(kind: &StepKind) -> f64 {
    2.0 * Plan::macs(kind) as f64
}

fn shape(kind: &StepKind) -> String {
    match *kind {
        StepKind::Conv { conv, .. }
        | StepKind::ConvNorm { conv, .. }
        | StepKind::ConvBackwardInput { conv, .. }
        | StepKind::ConvBackwardWeight { conv, .. } => format!(
            "{}x{}x{} {}->{} {}x{}/{}",
            conv.n, conv.h, conv.w, conv.c_in, conv.c_out, conv.kernel, conv.kernel, conv.stride
        ),
        _ => String::new(),
    }
}

/// Most memory of this process so far.
fn peak_rss() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::{Request, bench};
    use crate::net::Arch;
    use resnet_engine::exec;
    use resnet_engine::graph::Shape;
    use resnet_engine::plan::Mode;
    use resnet_engine::step::Precision;
    use std::time::Duration;

    #[test]
    fn every_step_is_timed_and_the_sums_agree() {
        let graph = Arch::parse("resnet8").unwrap().graph(Shape::new(3, 16, 16), 10).unwrap();
        let device = exec::cpu(1).unwrap();
        let train = Mode::Train { label_smoothing: 0.0 };
        for (mode, precision) in
            [(train, Precision::F32), (train, Precision::Bf16), (Mode::Infer, Precision::F32)]
        {
            let request = Request { mode, batch: 4, precision, time: Duration::ZERO, steps: true };
            let found = bench(&graph, device.as_ref(), request).unwrap();
            assert!(found.images_per_s > 0.0 && found.gflops > 0.0 && found.fraction_of_peak > 0.0);
            assert!(
                found.ms_range.0 <= found.ms_per_batch && found.ms_per_batch <= found.ms_range.1
            );
            assert!(found.steps.iter().all(|s| s.ms > 0.0 && s.megabytes > 0.0));
            let convs = found
                .steps
                .iter()
                .filter(|s| s.operation.starts_with("conv") && !s.operation.contains(" d"));
            assert_eq!(convs.count(), 7);
        }
    }
}
