//! Parameters by name: how they start, and how they lie on disk and inside.
//!
//! On disk they have torchvision's names and PyTorch's layouts; inside, channels come last. Only this module knows both.

pub mod foreign;
mod head;
mod model;

use resnet_formats::{Array, Tensors};

use crate::exec::Backend;
use crate::graph::{Graph, Init};
use crate::op::{Param, Role};
use crate::plan::{ParamSlots, Plan};
use crate::rng::Rng;
use crate::step::SlotId;

pub(crate) use model::PIXEL_MEAN;
pub use model::{Model, ModelError};

/// A parameter's starting value in its layout on disk: a function of the seed and its name, so that networks which share
/// a layer start it alike.
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
            (0..param.len())
                .map(|_| (rng.normal() * std) as f32)
                .collect()
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
    backend.write(slot, &inside(param, disk));
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
    let mut problems = plan.params.iter().filter_map(|slots| {
        let (name, dims) = (&slots.name, &slots.param.dims);
        let Some(array) = tensors.get(name) else {
            return Some(format!("`{name}` is missing"));
        };
        if array.shape() != dims {
            return Some(format!(
                "`{name}` is {:?}, expected {dims:?}",
                array.shape()
            ));
        }
        match array.to_f32() {
            None => Some(format!("`{name}` does not hold floats")),
            Some(values) if values.iter().any(|x| !x.is_finite()) => {
                Some(format!("`{name}` holds numbers that are not finite"))
            }
            Some(_) => None,
        }
    });
    let first: Vec<String> = problems.by_ref().take(3).collect();
    match (first.is_empty(), problems.count()) {
        (true, _) => Ok(()),
        (false, 0) => Err(first.join("; ")),
        (false, more) => Err(format!("{}; and {more} more", first.join("; "))),
    }
}

/// Writes tensors that [`fit`] into a backend, one after another.
pub fn write_all(backend: &mut dyn Backend, tensors: &Tensors) {
    for slots in backend.plan().params.clone() {
        if let Some(values) = tensors.get(&slots.name).and_then(Array::to_f32) {
            write(backend, &slots.param, slots.value, &values);
        }
    }
}

/// Copies every parameter and running statistic from one backend to another whose plan is of the same network.
pub fn copy(from: &dyn Backend, to: &mut dyn Backend) {
    let pairs: Vec<(ParamSlots, ParamSlots)> = from
        .plan()
        .params
        .iter()
        .cloned()
        .zip(to.plan().params.iter().cloned())
        .collect();
    for (source, target) in pairs {
        let mut values = vec![0.0; source.param.len()];
        from.read(source.value, &mut values);
        to.write(target.value, &values);
    }
}

/// From the layout on disk to the one inside.
fn inside(param: &Param, disk: &[f32]) -> Vec<f32> {
    let mut values = vec![0.0; disk.len()];
    permute(param, |disk_at, inside_at| {
        values[inside_at] = disk[disk_at]
    });
    values
}

/// From the layout inside to the one on disk.
fn disk(param: &Param, inside: &[f32]) -> Vec<f32> {
    let mut values = vec![0.0; inside.len()];
    permute(param, |disk_at, inside_at| {
        values[disk_at] = inside[inside_at]
    });
    values
}

/// Calls `pair` with every index on disk and the index inside that holds the same number:
/// convolutions are `[o, i, r, s]` on disk and `[r, s, i, o]` inside, linear weights `[o, (c, h, w)]` and `[(h, w, c), o]`.
fn permute(param: &Param, mut pair: impl FnMut(usize, usize)) {
    match param.role {
        Role::ConvWeight => {
            let [o_len, i_len, r_len, s_len] = param.dims[..] else {
                unreachable!("convolution weights have 4 dimensions")
            };
            let taps = r_len * s_len;
            for o in 0..o_len {
                for i in 0..i_len {
                    for tap in 0..taps {
                        pair((o * i_len + i) * taps + tap, (tap * i_len + i) * o_len + o);
                    }
                }
            }
        }
        Role::LinearWeight { input } => {
            let (o_len, pixels) = (param.dims[0], input.h * input.w);
            for o in 0..o_len {
                for c in 0..input.c {
                    for pixel in 0..pixels {
                        pair(
                            (o * input.c + c) * pixels + pixel,
                            (pixel * input.c + c) * o_len + o,
                        );
                    }
                }
            }
        }
        _ => (0..param.len()).for_each(|i| pair(i, i)),
    }
}
