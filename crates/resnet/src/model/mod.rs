//! Parameters by name: how they start, and how they lie on disk and inside.
//!
//! On disk they have torchvision's names and PyTorch's layouts; inside, channels come last. Only
//! this module knows both.

pub mod export;
pub mod foreign;
mod head;
mod model;
mod opened;

use resnet_formats::{Array, Tensors};

use crate::base::rng::Rng;
use resnet_engine::exec::Backend;
use resnet_engine::graph::{Graph, Init};
use resnet_engine::op::{Param, Role};
use resnet_engine::plan::{ParamSlots, Plan};
use resnet_engine::step::SlotId;

pub(crate) use model::PIXEL_MEAN;
pub use model::{Model, ModelError};
pub use opened::Opened;

/// A parameter's starting value in its layout on disk: a function of the seed and its name, so that
/// networks which share a layer start it alike.
pub fn initial(name: &str, param: &Param, graph: &Graph, seed: u64) -> Vec<f32> {
    let constant = |value: f32| vec![value; param.len()];
    match param.role {
        Role::ConvWeight | Role::LinearWeight { .. } => {
            let receptive: usize = param.dims[2..].iter().product();
            let (fan_out, fan_in) = (param.dims[0] * receptive, param.dims[1] * receptive);
            let std = match graph.init {
                Init::He => (2.0 / fan_in as f64).sqrt(),
                Init::Xavier => (2.0 / (fan_in + fan_out) as f64).sqrt(),
                Init::Normal(std) => f64::from(std),
            } * f64::from(graph.gain);
            let mut rng = Rng::named(seed, name);
            (0..param.len()).map(|_| (rng.normal() * std) as f32).collect()
        }
        Role::Gamma { zero } => constant(if zero { 0.0 } else { 1.0 }),
        Role::RunningVar => constant(1.0),
        Role::Bias | Role::Beta | Role::RunningMean => constant(0.0),
    }
}

/// Writes starting values into a backend: parameters by name and seed, momentum at zero.
pub fn initialise(backend: &mut dyn Backend, graph: &Graph, seed: u64) {
    for slots in backend.plan().params.clone() {
        let value = initial(&slots.name, &slots.param, graph, seed);
        write(backend, &slots.param, slots.value, &value);
        if let Some(training) = slots.training {
            backend.write(training.momentum, &vec![0.0; value.len()]);
        }
    }
}

/// Copies numbers in a parameter's layout on disk into a slot: its value, gradient or momentum.
pub fn write(backend: &mut dyn Backend, param: &Param, slot: SlotId, disk: &[f32]) {
    write_through(backend, param, slot, disk, &mut Vec::new());
}

/// The same by way of memory that is used again: taking it anew for every parameter costs more than
/// the copy.
fn write_through(
    backend: &mut dyn Backend,
    param: &Param,
    slot: SlotId,
    disk: &[f32],
    inside: &mut Vec<f32>,
) {
    inside.resize(disk.len(), 0.0);
    permute(param, |disk_at, inside_at| {
        inside[inside_at] = disk[disk_at];
    });
    backend.write(slot, inside);
}

/// Copies a slot out, in the layout on disk.
pub fn read(backend: &dyn Backend, param: &Param, slot: SlotId) -> Vec<f32> {
    let mut values = vec![0.0; param.len()];
    backend.read(slot, &mut values);
    disk(param, &values)
}

/// Checks that tensors are those of a plan: all there, of the right shape, floats and finite.
///
/// # Errors
/// The first few that are not, and how many more.
pub fn fit(plan: &Plan, tensors: &Tensors) -> Result<(), String> {
    let problems = plan.params.iter();
    none_of(problems.filter_map(|slots| misfit(slots, tensors.get(&slots.name))))
}

/// What is wrong with a tensor as a parameter's value.
fn misfit(slots: &ParamSlots, array: Option<&Array>) -> Option<String> {
    let (name, dims) = (&slots.name, &slots.param.dims);
    let Some(array) = array else {
        return Some(format!("`{name}` is missing"));
    };
    if array.shape() != dims {
        return Some(format!("`{name}` is {:?}, expected {dims:?}", array.shape()));
    }
    match array.to_f32() {
        None => Some(format!("`{name}` does not hold floats")),
        Some(values) if values.iter().any(|x| !x.is_finite()) => {
            Some(format!("`{name}` holds numbers that are not finite"))
        }
        Some(_) => None,
    }
}

/// The first few problems, and how many more, as one error.
fn none_of(mut problems: impl Iterator<Item = String>) -> Result<(), String> {
    let first: Vec<String> = problems.by_ref().take(3).collect();
    match (first.is_empty(), problems.count()) {
        (true, _) => Ok(()),
        (false, 0) => Err(first.join("; ")),
        (false, more) => Err(format!("{}; and {more} more", first.join("; "))),
    }
}

/// Writes tensors that [`fit`] into a backend, one after another.
pub fn write_all(backend: &mut dyn Backend, tensors: &Tensors) {
    let mut inside = Vec::new();
    for slots in backend.plan().params.clone() {
        if let Some(values) = tensors.get(&slots.name).and_then(Array::to_f32) {
            write_through(backend, &slots.param, slots.value, &values, &mut inside);
        }
    }
}

/// Copies every parameter and running statistic from one backend to another whose plan is of the
/// same network.
pub fn copy(from: &dyn Backend, to: &mut dyn Backend) {
    let pairs: Vec<(ParamSlots, ParamSlots)> =
        from.plan().params.iter().cloned().zip(to.plan().params.iter().cloned()).collect();
    for (source, target) in pairs {
        let mut values = vec![0.0; source.param.len()];
        from.read(source.value, &mut values);
        to.write(target.value, &values);
    }
}

/// From the layout inside to the one on disk.
fn disk(param: &Param, inside: &[f32]) -> Vec<f32> {
    let mut values = vec![0.0; inside.len()];
    permute(param, |disk_at, inside_at| values[disk_at] = inside[inside_at]);
    values
}

/// Calls `pair` with every index on disk and the index inside that holds the same number:
/// convolutions are `[o, i, r, s]` on disk and `[r, s, i, o]` inside, linear weights `[o, (c, h,
/// w)]` and `[(h, w, c), o]`.
fn permute(param: &Param, pair: impl FnMut(usize, usize)) {
    let o_len = param.dims[0];
    match param.role {
        Role::ConvWeight => {
            let (i_len, taps) = (param.dims[1], param.dims[2] * param.dims[3]);
            transpose(o_len, i_len * taps, |k| k % taps * i_len + k / taps, pair);
        }
        Role::LinearWeight { input } => {
            let (c_len, pixels) = (input.c, input.h * input.w);
            transpose(o_len, c_len * pixels, |k| k % pixels * c_len + k / pixels, pair);
        }
        _ => transpose(1, param.len(), |k| k, pair),
    }
}

/// Output channels at a time: their rows on disk are read side by side, and a cache line inside is
/// written whole.
const SIDE_BY_SIDE: usize = 16;

/// Pairs `[o][k]` on disk with `[row(k)][o]` inside.
fn transpose(
    o_len: usize,
    k_len: usize,
    row: impl Fn(usize) -> usize,
    mut pair: impl FnMut(usize, usize),
) {
    for first in (0..o_len).step_by(SIDE_BY_SIDE) {
        for k in 0..k_len {
            let to = row(k) * o_len;
            for o in first..(first + SIDE_BY_SIDE).min(o_len) {
                pair(o * k_len + k, to + o);
            }
        }
    }
}
