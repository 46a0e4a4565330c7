//! Parameters by name: how they start, and how they lie on disk and inside.
//!
//! On disk they have torchvision's names and PyTorch's layouts; inside, channels come last. Only
//! this file knows both.

use resnet_engine::exec::{ExecError, Session};
use resnet_engine::graph::{Graph, Init};
use resnet_engine::op::{Param, Role};
use resnet_engine::plan::Plan;
use resnet_engine::step::SlotId;
use resnet_formats::{Array, Tensors};

use crate::base::rng::Rng;

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

/// Writes starting values into a session: parameters by name and seed, moving averages with them,
/// what the update rule keeps at zero.
///
/// # Errors
/// The device fails.
pub fn initialise(session: &mut Session, graph: &Graph, seed: u64) -> Result<(), ExecError> {
    let plan = session.plan().clone();
    for slots in &plan.params {
        let value = initial(&slots.name, &slots.param, graph, seed);
        write(session, &slots.param, slots.value, &value)?;
        if let Some(average) = slots.average {
            write(session, &slots.param, average, &value)?;
        }
        for buffer in slots.training.iter().flat_map(|training| &training.state) {
            session.write(*buffer, &vec![0.0; value.len()])?;
        }
    }
    Ok(())
}

/// Lets moving averages, where the plan keeps some, begin with the present values.
///
/// # Errors
/// The device fails.
pub fn begin_averages(session: &mut Session) -> Result<(), ExecError> {
    let plan = session.plan().clone();
    for slots in &plan.params {
        if let Some(average) = slots.average {
            let value = session.get(slots.value)?;
            session.write(average, &value)?;
        }
    }
    Ok(())
}

/// Copies numbers in a parameter's layout on disk into a slot: its value, gradient or a buffer.
///
/// # Errors
/// The device fails.
pub fn write(
    session: &mut Session,
    param: &Param,
    slot: SlotId,
    disk: &[f32],
) -> Result<(), ExecError> {
    write_through(session, param, slot, disk, &mut Vec::new())
}

/// The same by way of memory that is used again: taking it anew for every parameter costs more than
/// the copy.
pub(super) fn write_through(
    session: &mut Session,
    param: &Param,
    slot: SlotId,
    disk: &[f32],
    inside: &mut Vec<f32>,
) -> Result<(), ExecError> {
    inside.resize(disk.len(), 0.0);
    permute(param, |disk_at, inside_at| {
        inside[inside_at] = disk[disk_at];
    });
    session.write(slot, inside)
}

/// Copies a slot out, in the layout on disk.
///
/// # Errors
/// The device fails, or the slot is of weights that were not kept.
pub fn read(session: &Session, param: &Param, slot: SlotId) -> Result<Vec<f32>, ExecError> {
    Ok(disk(param, &session.get(slot)?))
}

/// Checks that tensors are those of a plan: all there, of the right shape, floats and finite.
///
/// # Errors
/// The first few that are not, and how many more.
pub(crate) fn fit(plan: &Plan, tensors: &Tensors) -> Result<(), String> {
    let problems = plan.params.iter();
    none_of(
        problems.filter_map(|slots| misfit(&slots.name, &slots.param, tensors.get(&slots.name))),
    )
}

/// What is wrong with a tensor as a parameter's value.
pub(super) fn misfit(name: &str, param: &Param, array: Option<&Array>) -> Option<String> {
    let Some(array) = array else { return misshapen(name, param, None) };
    unfit(name, param, array.shape(), array.to_f32().as_deref())
}

/// The same of its shape and its numbers, `None` if it holds no floats.
pub(super) fn unfit(
    name: &str,
    param: &Param,
    shape: &[usize],
    values: Option<&[f32]>,
) -> Option<String> {
    misshapen(name, param, Some(shape))
        .or_else(|| misvalued(name, param.role == Role::RunningVar, values))
}

/// What is wrong with the shape of a parameter's value; `None` stands for a tensor that is missing.
pub(super) fn misshapen(name: &str, param: &Param, found: Option<&[usize]>) -> Option<String> {
    let dims = &param.dims;
    match found {
        None => Some(format!("`{name}` is missing")),
        Some(found) if found != dims => Some(format!("`{name}` is {found:?}, expected {dims:?}")),
        Some(_) => None,
    }
}

/// What is wrong with the numbers of a parameter's value.
pub(super) fn misvalued(name: &str, variance: bool, values: Option<&[f32]>) -> Option<String> {
    let Some(values) = values else {
        return Some(format!("`{name}` does not hold floats"));
    };
    // All of them: a loop that may end anywhere looks at one number at a time.
    if !values.iter().fold(true, |finite, x| finite & x.is_finite()) {
        return Some(format!("`{name}` holds numbers that are not finite"));
    }
    if variance && values.iter().any(|&x| x < 0.0) {
        return Some(format!("`{name}` holds negative numbers, and variances have none"));
    }
    None
}

/// The first few problems, and how many more, as one error.
pub(super) fn none_of(mut problems: impl Iterator<Item = String>) -> Result<(), String> {
    let first: Vec<String> = problems.by_ref().take(3).collect();
    match (first.is_empty(), problems.count()) {
        (true, _) => Ok(()),
        (false, 0) => Err(first.join("; ")),
        (false, more) => Err(format!("{}; and {more} more", first.join("; "))),
    }
}

/// Writes tensors that [`fit`] into a session, one after another.
///
/// # Errors
/// The device fails.
pub(crate) fn write_all(session: &mut Session, tensors: &Tensors) -> Result<(), ExecError> {
    let plan = session.plan().clone();
    let mut inside = Vec::new();
    for slots in &plan.params {
        if let Some(values) = tensors.get(&slots.name).and_then(Array::to_f32) {
            write_through(session, &slots.param, slots.value, &values, &mut inside)?;
        }
    }
    Ok(())
}

/// Copies every parameter and running statistic to a session whose plan is of the same network: the
/// moving averages, where `averages` says so and the plan keeps some, or the values.
///
/// # Errors
/// A device fails.
pub fn copy(from: &Session, to: &mut Session, averages: bool) -> Result<(), ExecError> {
    let target = to.plan().clone();
    for (source, target) in from.plan().params.iter().zip(&target.params) {
        let average = source.average.filter(|_| averages);
        to.write(target.value, &from.get(average.unwrap_or(source.value))?)?;
    }
    Ok(())
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
