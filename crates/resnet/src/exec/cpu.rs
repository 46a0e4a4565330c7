//! The CPU backend: one `match` over the kinds of steps, each arm borrowing its slots and calling one kernel.
//!
//! All memory is one allocation, made with the backend; running steps allocates nothing.

use std::ops::Range;

use resnet_kernels::{
    Conv2d, Conv2dShape, Epilogue, Pool2dShape, Residual, ResidualGrad, batch_norm, diagnose,
    elementwise, linear, loss, peak, pool2d, sgd,
};

use super::{Backend, Limits, NoMemory, Sgd};
use crate::plan::{Mode, Plan};
use crate::step::{Conv, Linear, NormGrad, Pool, SlotId, Space, StepKind};

/// Numbers in a cache line.
const CACHE_LINE: usize = 16;
/// Longest list of slots of a step.
const OPERANDS: usize = 10;

/// Runs plans on this machine's cores.
pub struct Cpu {
    cpu: resnet_kernels::Cpu,
    plan: Plan,
    /// The kernel of each convolution step.
    convs: Vec<Option<Conv2d>>,
    /// Weights of each forward convolution as its kernel reads them, in plans that infer: they are laid out once.
    packed: Vec<Vec<f32>>,
    /// Whether parameters were written since.
    stale: bool,
    memory: Vec<f32>,
    /// Where the memory's first cache line begins.
    start: usize,
    scratch: Vec<f32>,
    labels: Vec<u32>,
    /// As many as the widest norm with fixed statistics has channels.
    zeros: Vec<f32>,
    sgd: Sgd,
}

/// Name of the instruction set that kernels use on this machine, and whether Winograd's algorithm is switched off.
///
/// # Errors
/// `RESNET_ISA` names none, or `RESNET_WINOGRAD` is neither on nor off.
pub fn isa_in_use() -> Result<String, String> {
    let isa = resnet_kernels::Isa::best().map_err(|error| error.to_string())?;
    Ok(if resnet_kernels::winograd_switch()? {
        isa.to_string()
    } else {
        format!("{isa} without Winograd")
    })
}

impl Limits {
    /// Measures this machine with so many threads.
    pub fn measure(threads: usize) -> Limits {
        let cpu = resnet_kernels::Cpu::new(threads);
        Limits {
            flops: peak::flops(&cpu),
            bandwidth: peak::bandwidth(&cpu),
        }
    }
}

/// A forward pass with weights laid out before, or now.
fn forward(
    conv: Option<&Conv2d>,
    cpu: &resnet_kernels::Cpu,
    x: &[f32],
    w: &[f32],
    packed: Option<&[f32]>,
    epilogue: Epilogue,
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let conv = conv.expect(CHOSEN);
    match packed {
        Some(packed) => conv.forward_packed(cpu, x, packed, epilogue, y, scratch),
        None => conv.forward(cpu, x, w, epilogue, y, scratch),
    }
}

fn conv_shape(conv: Conv) -> Conv2dShape {
    let Conv {
        n,
        h,
        w,
        c_in,
        c_out,
        kernel,
        stride,
        padding,
        groups,
    } = conv;
    Conv2dShape {
        n,
        h,
        w,
        c_in,
        c_out,
        kernel,
        stride,
        padding,
        groups,
    }
}

fn pool_shape(pool: Pool) -> Pool2dShape {
    let Pool {
        n,
        h,
        w,
        c,
        kernel,
        stride,
        padding,
    } = pool;
    Pool2dShape {
        n,
        h,
        w,
        c,
        kernel,
        stride,
        padding,
    }
}

/// The kernel of each convolution step, and the scratch that the neediest step wants.
fn choose(cpu: &resnet_kernels::Cpu, plan: &Plan) -> (Vec<Option<Conv2d>>, usize) {
    let mut scratch = 0;
    let mut convs = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let mut chosen = None;
        let need = match step.kind {
            StepKind::Conv { conv, .. }
            | StepKind::ConvBackwardInput { conv, .. }
            | StepKind::ConvBackwardWeight { conv, .. } => {
                let conv = Conv2d::choose(cpu, &conv_shape(conv));
                let need = conv.scratch_len();
                chosen = Some(conv);
                need
            }
            StepKind::ConvNorm { conv, norm } => {
                let conv = Conv2d::choose(cpu, &conv_shape(conv));
                let need = conv.scratch_len() + 2 * norm.channels;
                chosen = Some(conv);
                need
            }
            StepKind::Norm(norm) | StepKind::NormBackward(NormGrad { norm, .. }) => {
                let x = &plan.slots[step.reads[0].0];
                batch_norm::scratch_len(x.len / norm.channels, norm.channels)
            }
            StepKind::Linear(l) => {
                let conv = Conv2d::choose(cpu, &linear::shape(l.n, l.c_in, l.c_out));
                let need = conv.scratch_len();
                chosen = Some(conv);
                need
            }
            StepKind::LinearBackwardInput { linear: l, .. } | StepKind::LinearBackwardWeight(l) => {
                linear::scratch_len(cpu, l.n, l.c_in, l.c_out)
            }
            _ => 0,
        };
        scratch = scratch.max(need);
        convs.push(chosen);
    }
    (convs, scratch)
}

/// Name of what runs each step of a plan on this machine, without taking memory for it.
pub fn kernel_names(plan: &Plan, threads: usize) -> Vec<String> {
    let cpu = resnet_kernels::Cpu::new(threads);
    let (convs, _) = choose(&cpu, plan);
    convs.iter().map(|conv| name(&cpu, conv.as_ref())).collect()
}

fn name(cpu: &resnet_kernels::Cpu, conv: Option<&Conv2d>) -> String {
    conv.map_or_else(|| cpu.isa().to_string(), |conv| conv.name().to_string())
}

/// Bytes of memory in this machine, where the system tells. A system that promises more than it has would kill the process
/// later instead of refusing now.
fn installed_memory() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Zeros, or none where the system refuses the memory.
fn zeros(len: usize) -> Option<Vec<f32>> {
    let mut probe: Vec<f32> = Vec::new();
    probe.try_reserve_exact(len).ok()?;
    drop(probe);
    Some(vec![0.0; len])
}

impl Cpu {
    /// Chooses kernels and takes memory for a plan. `threads` is at least 1.
    ///
    /// # Errors
    /// The system refuses the memory.
    pub fn new(plan: Plan, threads: usize) -> Result<Cpu, NoMemory> {
        let cpu = resnet_kernels::Cpu::new(threads);
        let (convs, scratch) = choose(&cpu, &plan);
        let no_memory = NoMemory {
            bytes: 4 * (plan.len() + scratch) as u64,
            batch: plan.options.batch,
        };
        if installed_memory().is_some_and(|installed| no_memory.bytes > installed) {
            return Err(no_memory);
        }
        let memory = zeros(plan.len() + CACHE_LINE).ok_or(no_memory)?;
        let packed = if plan.options.mode == Mode::Infer {
            let len = |conv: &Option<Conv2d>| conv.as_ref().map_or(0, Conv2d::packed_len);
            let packed = convs.iter().map(|conv| zeros(len(conv)));
            packed.collect::<Option<_>>().ok_or(no_memory)?
        } else {
            Vec::new()
        };
        let scratch = zeros(scratch).ok_or(no_memory)?;
        let start = memory.as_ptr().align_offset(4 * CACHE_LINE).min(CACHE_LINE);
        let labels = vec![0; plan.options.batch];
        let sgd = Sgd {
            lr: 0.0,
            momentum: 0.0,
            weight_decay: 0.0,
            decay_norm_bias: true,
            nesterov: false,
            backbone: 1.0,
            stage: 1.0,
        };
        let scaled = plan.steps.iter().map(|step| match step.kind {
            StepKind::NormScale { channels, .. } => channels,
            _ => 0,
        });
        let zeros = vec![0.0; scaled.max().unwrap_or(0)];
        Ok(Cpu {
            cpu,
            plan,
            convs,
            stale: !packed.is_empty(),
            packed,
            memory,
            start,
            scratch,
            labels,
            zeros,
            sgd,
        })
    }

    /// The numbers of a slot.
    pub fn view(&self, slot: SlotId) -> &[f32] {
        let range = self.plan.range(slot);
        &self.memory[self.start..][range]
    }

    /// Lays out the weights of the convolutions, of plans that infer.
    fn pack(&mut self) {
        for (index, packed) in self.packed.iter_mut().enumerate() {
            if let Some(conv) = &self.convs[index] {
                let range = self.plan.range(self.plan.steps[index].reads[1]);
                conv.pack(&self.cpu, &self.memory[self.start..][range], packed);
            }
        }
        self.stale = false;
    }

    fn step(&mut self, index: usize) {
        let step = &self.plan.steps[index];
        let mut ranges: [Range<usize>; OPERANDS] = std::array::from_fn(|_| 0..0);
        for (range, id) in ranges.iter_mut().zip(step.reads.iter().chain(&step.writes)) {
            *range = self.plan.range(*id);
        }
        let memory = &mut self.memory[self.start..];
        let operands = memory
            .get_disjoint_mut(ranges)
            .expect("slots that live at once do not overlap");
        let (cpu, scratch) = (&self.cpu, &mut self.scratch[..]);
        let conv = self.convs[index].as_ref();
        let packed = self.packed.get(index).map(Vec::as_slice);
        match step.kind {
            StepKind::Conv { bias: false, .. } => {
                let [x, w, y, ..] = operands;
                forward(conv, cpu, x, w, packed, Epilogue::default(), y, scratch);
            }
            StepKind::Conv { bias: true, .. } => {
                let [x, w, b, y, ..] = operands;
                let bias = Epilogue {
                    shift: Some(b),
                    ..Epilogue::default()
                };
                forward(conv, cpu, x, w, packed, bias, y, scratch);
            }
            StepKind::ConvNorm { norm, .. } => {
                let [x, w, gamma, beta, mean, var, a, b, ..] = operands;
                let (residual, y) = match norm.residual {
                    Some(_) => (Some(&*a), b),
                    None => (None, a),
                };
                let (factors, scratch) = scratch.split_at_mut(2 * norm.channels);
                let (scale, shift) = factors.split_at_mut(norm.channels);
                batch_norm::scale_and_shift(gamma, beta, mean, var, norm.eps, scale, shift);
                let epilogue = Epilogue {
                    scale: Some(scale),
                    shift: Some(shift),
                    residual,
                    relu: norm.relu,
                };
                forward(conv, cpu, x, w, packed, epilogue, y, scratch);
            }
            StepKind::Norm(norm) => {
                let (c, eps, relu) = (norm.channels, norm.eps, norm.relu);
                let wide = |values| {
                    norm.residual.map(|r| Residual {
                        values,
                        channels: r.channels,
                        offset: r.offset,
                    })
                };
                match (norm.train, norm.residual.is_some()) {
                    (true, false) => {
                        let [x, gamma, beta, y, mean, rstd, running_mean, running_var, ..] =
                            operands;
                        let running = batch_norm::Running {
                            mean: running_mean,
                            var: running_var,
                            momentum: norm.momentum,
                        };
                        batch_norm::forward_train(
                            cpu,
                            x,
                            c,
                            gamma,
                            beta,
                            eps,
                            None,
                            relu,
                            y,
                            mean,
                            rstd,
                            Some(running),
                            scratch,
                        );
                    }
                    (true, true) => {
                        let [
                            x,
                            gamma,
                            beta,
                            residual,
                            y,
                            mean,
                            rstd,
                            running_mean,
                            running_var,
                            ..,
                        ] = operands;
                        let running = batch_norm::Running {
                            mean: running_mean,
                            var: running_var,
                            momentum: norm.momentum,
                        };
                        batch_norm::forward_train(
                            cpu,
                            x,
                            c,
                            gamma,
                            beta,
                            eps,
                            wide(residual),
                            relu,
                            y,
                            mean,
                            rstd,
                            Some(running),
                            scratch,
                        );
                    }
                    (false, false) => {
                        let [x, gamma, beta, mean, var, y, ..] = operands;
                        batch_norm::forward_infer(
                            cpu, x, c, gamma, beta, mean, var, eps, None, relu, y,
                        );
                    }
                    (false, true) => {
                        let [x, gamma, beta, mean, var, residual, y, ..] = operands;
                        batch_norm::forward_infer(
                            cpu,
                            x,
                            c,
                            gamma,
                            beta,
                            mean,
                            var,
                            eps,
                            wide(residual),
                            relu,
                            y,
                        );
                    }
                }
            }
            StepKind::Relu => {
                let [x, y, ..] = operands;
                elementwise::relu_forward(cpu, x, y);
            }
            StepKind::Add {
                channels,
                residual,
                relu,
            } => {
                let [a, b, y, ..] = operands;
                let b = Residual {
                    values: b,
                    channels: residual.channels,
                    offset: residual.offset,
                };
                elementwise::add_forward(cpu, a, b, channels, relu, y);
            }
            StepKind::MaxPool(pool) => {
                let [x, y, ..] = operands;
                pool2d::max_forward(cpu, &pool_shape(pool), x, y);
            }
            StepKind::AvgPool(pool) => {
                let [x, y, ..] = operands;
                pool2d::avg_forward(cpu, &pool_shape(pool), x, y);
            }
            StepKind::GlobalAvgPool { n, pixels, c } => {
                let [x, y, ..] = operands;
                pool2d::global_avg_forward(cpu, n, pixels, c, x, y);
            }
            StepKind::Linear(_) => {
                let [x, w, b, y, ..] = operands;
                let bias = Epilogue {
                    shift: Some(b),
                    ..Epilogue::default()
                };
                forward(conv, cpu, x, w, packed, bias, y, scratch);
            }
            StepKind::SoftmaxCrossEntropy {
                classes, smoothing, ..
            } => {
                let [logits, losses, dlogits, ..] = operands;
                loss::softmax_cross_entropy(
                    cpu,
                    logits,
                    &self.labels,
                    classes,
                    smoothing,
                    losses,
                    Some(dlogits),
                );
            }
            StepKind::ConvBackwardInput { accumulate, .. } => {
                let [dy, w, dx, ..] = operands;
                conv.expect(CHOSEN)
                    .backward_input(cpu, dy, w, dx, accumulate, scratch);
            }
            StepKind::ConvBackwardWeight { bias, .. } => {
                let [x, dy, dw, db, ..] = operands;
                conv.expect(CHOSEN)
                    .backward_weight(cpu, x, dy, dw, bias.then_some(db), scratch);
            }
            StepKind::NormBackward(grad) => {
                let relu = grad.norm.relu;
                let [dy, x, gamma, mean, rstd, a, b, c, d, e, ..] = operands;
                let (y, dx, dgamma, dbeta, dr) = if relu {
                    (Some(&*a), b, c, d, e)
                } else {
                    (None, a, b, c, d)
                };
                let residual = grad.norm.residual.zip(grad.residual);
                let residual = residual.map(|(r, accumulate)| ResidualGrad {
                    values: dr,
                    channels: r.channels,
                    offset: r.offset,
                    accumulate,
                });
                batch_norm::backward(
                    cpu,
                    dy,
                    x,
                    y,
                    grad.norm.channels,
                    gamma,
                    mean,
                    rstd,
                    dx,
                    grad.accumulate,
                    residual,
                    dgamma,
                    dbeta,
                    scratch,
                );
            }
            StepKind::NormScale { channels, eps } => {
                // What the norm does to a map, with mean and beta zero.
                let [dy, gamma, var, dx, ..] = operands;
                let zeros = &self.zeros[..channels];
                batch_norm::forward_infer(
                    cpu, dy, channels, gamma, zeros, zeros, var, eps, None, false, dx,
                );
            }
            StepKind::ReluBackward { accumulate } => {
                let [dy, y, dx, ..] = operands;
                elementwise::relu_backward(cpu, dy, y, dx, accumulate);
            }
            StepKind::AddBackward(grad) => {
                let [dy, a, b, c, ..] = operands;
                let (y, first, second) = if grad.relu {
                    (Some(&*a), b, c)
                } else {
                    (None, a, b)
                };
                let (da, db) = match (grad.a, grad.b) {
                    (Some(a), Some(b)) => (Some((first, a)), Some((second, b))),
                    (Some(a), None) => (Some((first, a)), None),
                    (None, b) => (None, b.map(|b| (first, b))),
                };
                let residual = grad.residual;
                let db = db.map(|(values, accumulate)| ResidualGrad {
                    values,
                    channels: residual.channels,
                    offset: residual.offset,
                    accumulate,
                });
                elementwise::add_backward(cpu, dy, y, grad.channels, da, db);
            }
            StepKind::MaxPoolBackward { pool, accumulate } => {
                let [x, dy, dx, ..] = operands;
                pool2d::max_backward(cpu, &pool_shape(pool), x, dy, dx, accumulate);
            }
            StepKind::AvgPoolBackward { pool, accumulate } => {
                let [dy, dx, ..] = operands;
                pool2d::avg_backward(cpu, &pool_shape(pool), dy, dx, accumulate);
            }
            StepKind::GlobalAvgPoolBackward {
                n,
                pixels,
                c,
                accumulate,
            } => {
                let [dy, dx, ..] = operands;
                pool2d::global_avg_backward(cpu, n, pixels, c, dy, dx, accumulate);
            }
            StepKind::LinearBackwardInput {
                linear: Linear { n, c_in, c_out },
                accumulate,
            } => {
                let [dy, w, dx, ..] = operands;
                linear::backward_input(cpu, n, c_in, c_out, dy, w, dx, accumulate, scratch);
            }
            StepKind::LinearBackwardWeight(Linear { n, c_in, c_out }) => {
                let [x, dy, dw, db, ..] = operands;
                linear::backward_weight(cpu, n, c_in, c_out, x, dy, dw, Some(db), scratch);
            }
            StepKind::Sgd { weights, below } => {
                let [dw, w, v, ..] = operands;
                let decays = weights || self.sgd.decay_norm_bias;
                let sgd = sgd::Sgd {
                    lr: self.sgd.rate(below),
                    momentum: self.sgd.momentum,
                    weight_decay: if decays { self.sgd.weight_decay } else { 0.0 },
                    nesterov: self.sgd.nesterov,
                };
                sgd::update(cpu, &sgd, w, dw, v);
            }
        }
    }
}

const CHOSEN: &str = "a kernel was chosen for every convolution";

impl Backend for Cpu {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn run(&mut self, steps: Range<usize>) {
        if self.stale {
            self.pack();
        }
        for index in steps {
            self.step(index);
        }
    }

    fn set_labels(&mut self, labels: &[u32]) {
        self.labels.copy_from_slice(labels);
    }

    fn set_optimizer(&mut self, sgd: Sgd) {
        self.sgd = sgd;
    }

    fn write(&mut self, slot: SlotId, from: &[f32]) {
        let range = self.plan.range(slot);
        self.memory[self.start..][range].copy_from_slice(from);
        self.stale |= !self.packed.is_empty() && self.plan.slots[slot.0].space == Space::Param;
    }

    fn read(&self, slot: SlotId, into: &mut [f32]) {
        into.copy_from_slice(self.view(slot));
    }

    fn all_finite(&self, space: Space) -> bool {
        diagnose::all_finite(
            &self.cpu,
            &self.memory[self.start..][self.plan.region(space)],
        )
    }
}
