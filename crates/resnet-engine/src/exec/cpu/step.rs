//! One step: its slots borrowed, its kernel called.

use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use resnet_kernels::batch_norm::{self, Mask};
use resnet_kernels::{
    Bf16, Conv2d, Epilogue, Map, Number, Residual, ResidualGrad, Scratch, elementwise, lars,
    linear, loss, pool2d, sgd,
};

use super::chosen::Chosen;
use super::executor::Executor;
use super::shapes::pool_shape;
use crate::exec::device::Rates;
use crate::exec::error::ExecError;
use crate::step::{self, Linear, Memory, Precision, Rule, StepKind};

/// Longest list of slots of a step.
const OPERANDS: usize = 10;
const CHOSEN: &str = "a kernel was chosen for every convolution";

/// A slot's words.
enum Words<'a> {
    Own(&'a mut [f32]),
    /// Of weights that other executors read as well.
    Shared(&'a [f32]),
}

/// A slot's memory. What is always f32, parameters and statistics among it, is read as it stands; a
/// map in its precision.
struct Operand<'a> {
    words: Words<'a>,
    len: usize,
    precision: Precision,
}

const SHARED: &str = "steps that write weights do not run on shared ones";

impl<'a> Words<'a> {
    fn own(self) -> &'a mut [f32] {
        match self {
            Words::Own(words) => words,
            Words::Shared(_) => panic!("{SHARED}"),
        }
    }
}

impl<'a> Operand<'a> {
    fn map<T: Number>(&self) -> &[T] {
        self.check::<T>();
        T::view(self, self.len)
    }

    fn map_mut<T: Number>(self) -> &'a mut [T] {
        self.check::<T>();
        T::view_mut(self.words.own(), self.len)
    }

    fn check<T: Number>(&self) {
        assert_eq!(self.precision.name(), T::NAME, "a step's maps are of one precision");
    }
}

impl Deref for Operand<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.words {
            Words::Own(words) => words,
            Words::Shared(words) => words,
        }
    }
}

impl DerefMut for Operand<'_> {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.words {
            Words::Own(words) => words,
            Words::Shared(_) => panic!("{SHARED}"),
        }
    }
}

/// What steps share.
struct Context<'a> {
    cpu: &'a resnet_kernels::Cpu,
    scratch: Scratch<'a>,
    /// The step's weights as its kernel reads them, where they were laid out before.
    packed: Option<&'a [f32]>,
    zeros: &'a [f32],
    rates: Rates,
}

/// A forward pass with weights laid out before, or now.
fn forward<T: Map>(
    conv: Option<&Conv2d<T>>,
    cpu: &resnet_kernels::Cpu,
    x: &[T],
    w: &[f32],
    packed: Option<&[f32]>,
    epilogue: Epilogue<T>,
    y: &mut [T],
    scratch: Scratch,
) {
    let conv = conv.expect(CHOSEN);
    match packed {
        Some(packed) => conv.forward_packed(cpu, x, packed, epilogue, y, scratch),
        None => conv.forward(cpu, x, w, epilogue, y, scratch),
    }
}

/// Where a residual is added, and its memory.
type Added<'a> = Option<(step::Residual, Operand<'a>)>;

/// The residual and y: of two operands, or y alone.
fn either<'a>(
    wide: Option<step::Residual>,
    a: Operand<'a>,
    b: Operand<'a>,
) -> (Added<'a>, Operand<'a>) {
    match wide {
        Some(wide) => (Some((wide, a)), b),
        None => (None, a),
    }
}

/// A residual as kernels take it.
fn residual<'a, T: Number>(added: &'a Added) -> Option<Residual<'a, T>> {
    added.as_ref().map(|(wide, values)| Residual {
        values: values.map(),
        channels: wide.channels,
        offset: wide.offset,
    })
}

impl Executor {
    pub(super) fn step(&mut self, index: usize) -> Result<(), ExecError> {
        let step = &self.plan.steps[index];
        // Ranges of each memory, empty where the operand is in the other one.
        let mut ranges: [[Range<usize>; OPERANDS]; 2] =
            std::array::from_fn(|_| std::array::from_fn(|_| 0..0));
        let mut kinds = [(0, Precision::F32, Memory::Arena); OPERANDS];
        let mut precision = Precision::F32;
        for (i, id) in step.reads.iter().chain(&step.writes).enumerate() {
            let slot = &self.plan.slots[id.0];
            let memory = slot.space.memory();
            ranges[memory as usize][i] = self.plan.range(*id);
            kinds[i] = (slot.len, slot.precision, memory);
            if slot.precision == Precision::Bf16 {
                precision = Precision::Bf16;
            }
        }
        self.changed |= matches!(step.kind, StepKind::Update(_));
        let [weights, arena] = ranges;
        let apart = "slots that live at once do not overlap";
        let mut arena = self.arena.get_disjoint_mut(arena).expect(apart).into_iter();
        let places = &self.places;
        let packed;
        let mut weights: [Option<Words>; OPERANDS] = match Arc::get_mut(&mut self.weights) {
            Some(own) => {
                let (values, layouts) = own.split();
                packed = layouts.packed(places, index);
                values.get_disjoint_mut(weights).expect(apart).map(|words| Some(Words::Own(words)))
            }
            None => {
                let writes = |id: &step::SlotId| self.plan.slots[id.0].space.memory();
                if step.writes.iter().any(|id| writes(id) == Memory::Weights) {
                    return Err(ExecError::Shared);
                }
                packed = self.weights.layouts().packed(places, index);
                weights.map(|range| Some(Words::Shared(&self.weights.values[range])))
            }
        };
        let operands = std::array::from_fn(|i| {
            let (len, precision, memory) = kinds[i];
            let own = arena.next().map(Words::Own);
            let words = match memory {
                Memory::Arena => own,
                Memory::Weights => weights[i].take(),
            };
            Operand { words: words.expect("as many words as operands"), len, precision }
        });
        let crew = if let (false, Some(solo)) = (self.all, &self.solo) { solo } else { &self.gang };
        let context = Context {
            cpu: &crew.cpu,
            scratch: Scratch::new(&crew.cpu, &mut self.scratch, crew.scratch_len),
            packed,
            zeros: &self.zeros,
            rates: self.rates,
        };
        let chosen = crew.convs[index].as_ref();
        let (f32, bf16) = (chosen.and_then(Chosen::f32), chosen.and_then(Chosen::bf16));
        match precision {
            Precision::F32 => run(step.kind, operands, f32, f32, context),
            Precision::Bf16 => run::<Bf16>(step.kind, operands, bf16, f32, context),
        }
        Ok(())
    }
}

/// Runs a step whose maps are stored as `T`. `linear` is the kernel of what is f32 always.
fn run<T: Map>(
    kind: StepKind,
    operands: [Operand; OPERANDS],
    conv: Option<&Conv2d<T>>,
    linear: Option<&Conv2d>,
    context: Context,
) {
    let Context { cpu, mut scratch, packed, zeros, rates } = context;
    match kind {
        StepKind::Conv { bias: false, .. } => {
            let [x, w, y, ..] = operands;
            let epilogue = Epilogue::default();
            forward(conv, cpu, x.map(), &w, packed, epilogue, y.map_mut(), scratch);
        }
        StepKind::Conv { bias: true, .. } => {
            let [x, w, b, y, ..] = operands;
            let bias = Epilogue { shift: Some(&*b), ..Epilogue::default() };
            forward(conv, cpu, x.map(), &w, packed, bias, y.map_mut(), scratch);
        }
        StepKind::ConvNorm { norm, .. } => {
            let [x, w, gamma, beta, mean, var, a, b, ..] = operands;
            let (added, y) = either(norm.residual, a, b);
            let factors = scratch.take(2 * norm.channels);
            let (scale, shift) = factors.split_at_mut(norm.channels);
            batch_norm::scale_and_shift(&gamma, &beta, &mean, &var, norm.eps, scale, shift);
            let epilogue = Epilogue {
                scale: Some(scale),
                shift: Some(shift),
                residual: added.as_ref().map(|(_, values)| values.map()),
                relu: norm.relu,
            };
            forward(conv, cpu, x.map(), &w, packed, epilogue, y.map_mut(), scratch);
        }
        StepKind::Norm(norm) if norm.train => {
            let [x, gamma, beta, a, b, c, d, e, f, ..] = operands;
            let (added, [y, mut mean, mut rstd, mut running_mean, mut running_var]) =
                match norm.residual {
                    Some(wide) => (Some((wide, a)), [b, c, d, e, f]),
                    None => (None, [a, b, c, d, e]),
                };
            let running = batch_norm::Running {
                mean: &mut running_mean,
                var: &mut running_var,
                momentum: norm.momentum,
            };
            batch_norm::forward_train::<T>(
                cpu,
                x.map(),
                norm.channels,
                &gamma,
                &beta,
                norm.eps,
                residual(&added),
                norm.relu,
                y.map_mut(),
                &mut mean,
                &mut rstd,
                Some(running),
                scratch.shared(),
            );
        }
        StepKind::Norm(norm) => {
            let [x, gamma, beta, mean, var, a, b, ..] = operands;
            let (added, y) = either(norm.residual, a, b);
            batch_norm::forward_infer::<T>(
                cpu,
                x.map(),
                norm.channels,
                &gamma,
                &beta,
                &mean,
                &var,
                norm.eps,
                residual(&added),
                norm.relu,
                y.map_mut(),
                scratch.shared(),
            );
        }
        StepKind::NormAgain(norm) => {
            let [x, gamma, beta, mean, rstd, a, b, ..] = operands;
            let (added, y) = either(norm.residual, a, b);
            batch_norm::normalise::<T>(
                cpu,
                x.map(),
                norm.channels,
                &gamma,
                &beta,
                &mean,
                &rstd,
                residual(&added),
                norm.relu,
                y.map_mut(),
                scratch.shared(),
            );
        }
        StepKind::Relu => {
            let [x, y, ..] = operands;
            elementwise::relu_forward::<T>(cpu, x.map(), y.map_mut());
        }
        StepKind::Add { channels, residual: wide, relu } => {
            let [a, b, y, ..] = operands;
            let b = Residual { values: b.map(), channels: wide.channels, offset: wide.offset };
            elementwise::add_forward::<T>(cpu, a.map(), b, channels, relu, y.map_mut());
        }
        StepKind::MaxPool(pool) => {
            let [x, y, ..] = operands;
            pool2d::max_forward::<T>(cpu, &pool_shape(pool), x.map(), y.map_mut());
        }
        StepKind::AvgPool(pool) => {
            let [x, y, ..] = operands;
            pool2d::avg_forward::<T>(cpu, &pool_shape(pool), x.map(), y.map_mut());
        }
        StepKind::GlobalAvgPool { n, pixels, c } => {
            let [x, mut y, ..] = operands;
            pool2d::global_avg_forward::<T>(cpu, n, pixels, c, x.map(), &mut y);
        }
        StepKind::Widen => {
            let [x, mut y, ..] = operands;
            elementwise::convert::<T, f32>(cpu, x.map(), &mut y, false);
        }
        StepKind::Linear(_) => {
            let [x, w, b, mut y, ..] = operands;
            let bias = Epilogue { shift: Some(&*b), ..Epilogue::default() };
            forward(linear, cpu, &x, &w, packed, bias, &mut y, scratch);
        }
        StepKind::SoftmaxCrossEntropy { classes, smoothing, .. } => {
            let [logits, target, weight, total, mut losses, mut dlogits, ..] = operands;
            loss::softmax_cross_entropy(
                cpu,
                &logits,
                &target,
                &weight,
                total[0],
                classes,
                smoothing,
                &mut losses,
                Some(&mut dlogits),
            );
        }
        StepKind::ConvBackwardInput { accumulate, .. } => {
            let [dy, w, dx, ..] = operands;
            let conv = conv.expect(CHOSEN);
            conv.backward_input(cpu, dy.map(), &w, dx.map_mut(), accumulate, scratch);
        }
        StepKind::ConvBackwardWeight { bias, .. } => {
            let [x, dy, mut dw, mut db, ..] = operands;
            let (conv, db) = (conv.expect(CHOSEN), bias.then_some(&mut *db));
            conv.backward_weight(cpu, x.map(), dy.map(), &mut dw, db, scratch);
        }
        StepKind::NormBackward(grad) => {
            let [dy, x, gamma, mean, rstd, a, b, c, d, e, ..] = operands;
            let (a, [dx, mut dgamma, mut dbeta, dr]) = match grad.norm.relu {
                true => (Some(a), [b, c, d, e]),
                false => (None, [a, b, c, d]),
            };
            let mask = match (&a, grad.norm.residual) {
                (None, _) => Mask::None,
                (Some(beta), None) => Mask::Again(beta),
                (Some(y), Some(_)) => Mask::Output(y.map()),
            };
            let wanted = grad.norm.residual.zip(grad.residual);
            let d_residual = wanted.map(|(wide, accumulate)| ResidualGrad {
                values: dr.map_mut(),
                channels: wide.channels,
                offset: wide.offset,
                accumulate,
            });
            batch_norm::backward::<T>(
                cpu,
                dy.map(),
                x.map(),
                mask,
                grad.norm.channels,
                &gamma,
                &mean,
                &rstd,
                dx.map_mut(),
                grad.accumulate,
                d_residual,
                &mut dgamma,
                &mut dbeta,
                scratch.shared(),
            );
        }
        StepKind::NormScale { channels, eps } => {
            // What the norm does to a map, with mean and beta zero.
            let [dy, gamma, var, dx, ..] = operands;
            let (dy, dx, none) = (dy.map::<T>(), dx.map_mut(), &zeros[..channels]);
            batch_norm::forward_infer(
                cpu,
                dy,
                channels,
                &gamma,
                none,
                none,
                &var,
                eps,
                None,
                false,
                dx,
                scratch.shared(),
            );
        }
        StepKind::ReluBackward { accumulate } => {
            let [dy, y, dx, ..] = operands;
            elementwise::relu_backward::<T>(cpu, dy.map(), y.map(), dx.map_mut(), accumulate);
        }
        StepKind::AddBackward(grad) => {
            let [dy, a, b, c, ..] = operands;
            let (y, first, second) = match grad.relu {
                true => (Some(a), b, c),
                false => (None, a, b),
            };
            let (da, db) = match (grad.a, grad.b) {
                (Some(a), Some(b)) => (Some((first, a)), Some((second, b))),
                (Some(a), None) => (Some((first, a)), None),
                (None, b) => (None, b.map(|b| (first, b))),
            };
            let da = da.map(|(values, accumulate)| (values.map_mut(), accumulate));
            let db = db.map(|(values, accumulate)| ResidualGrad {
                values: values.map_mut(),
                channels: grad.residual.channels,
                offset: grad.residual.offset,
                accumulate,
            });
            let y = y.as_ref().map(Operand::map);
            elementwise::add_backward::<T>(cpu, dy.map(), y, grad.channels, da, db);
        }
        StepKind::MaxPoolBackward { pool, accumulate } => {
            let [x, dy, dx, ..] = operands;
            let (pool, dx) = (pool_shape(pool), dx.map_mut());
            pool2d::max_backward::<T>(cpu, &pool, x.map(), dy.map(), dx, accumulate);
        }
        StepKind::AvgPoolBackward { pool, accumulate } => {
            let [dy, dx, ..] = operands;
            let (pool, dx) = (pool_shape(pool), dx.map_mut());
            pool2d::avg_backward::<T>(cpu, &pool, dy.map(), dx, accumulate);
        }
        StepKind::GlobalAvgPoolBackward { n, pixels, c, accumulate } => {
            let [dy, dx, ..] = operands;
            pool2d::global_avg_backward::<T>(cpu, n, pixels, c, &dy, dx.map_mut(), accumulate);
        }
        StepKind::WidenBackward { accumulate } => {
            let [dy, dx, ..] = operands;
            elementwise::convert::<f32, T>(cpu, &dy, dx.map_mut(), accumulate);
        }
        StepKind::LinearBackwardInput { linear: Linear { n, c_in, c_out }, accumulate } => {
            let [dy, w, mut dx, ..] = operands;
            linear::backward_input(cpu, n, c_in, c_out, &dy, &w, &mut dx, accumulate, scratch);
        }
        StepKind::LinearBackwardWeight(Linear { n, c_in, c_out }) => {
            let [x, dy, mut dw, mut db, ..] = operands;
            let db = Some(&mut *db);
            linear::backward_weight(cpu, n, c_in, c_out, &x, &dy, &mut dw, db, scratch);
        }
        StepKind::Accumulate => {
            let [dw, mut sum, ..] = operands;
            sgd::accumulate(cpu, &mut sum, &dw);
        }
        StepKind::Keep => {
            let [sum, mut kept, ..] = operands;
            elementwise::convert::<f32, f32>(cpu, &sum, &mut kept, false);
        }
        StepKind::Clear => {
            let [mut sum, ..] = operands;
            sum.fill(0.0);
        }
        StepKind::Update(update) => {
            let [dw, mut w, mut v, ..] = operands;
            let (lr, scale, weight_decay) = (update.lr(rates.lr), rates.scale, update.weight_decay);
            match update.rule {
                Rule::Sgd { momentum, nesterov } => {
                    let sgd = sgd::Sgd { lr, scale, momentum, weight_decay, nesterov };
                    sgd::update(cpu, &sgd, &mut w, &dw, &mut v);
                }
                Rule::Lars { momentum, nesterov, trust } => {
                    let trust = update.fitted.then_some(trust);
                    let lars = lars::Lars { lr, scale, momentum, weight_decay, nesterov, trust };
                    lars::update(cpu, &lars, &mut w, &dw, &mut v);
                }
            }
        }
        StepKind::Average => {
            let [w, mut a, ..] = operands;
            sgd::average(cpu, &mut a, &w, rates.average);
        }
    }
}
