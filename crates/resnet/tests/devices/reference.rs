//! A second device: every step by the plain f64 loops of `resnet_kernels::reference`.
//!
//! It shares nothing with the CPU but the plan. Each slot has memory of its own, so what a plan
//! lays over each other by lifetime cannot meet here, and activations are NaN until a step or the
//! host writes them, so nobody can rely on what they held. Numbers are f64 from step to step; a
//! slot of bf16 rounds what it stores, and the host reads f32.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use resnet::engine::exec::{
    Backend, Device, ExecError, Keep, Kernel, Limits, NoMemory, Rates, Reduce,
};
use resnet::engine::plan::Plan;
use resnet::engine::step::{Memory, Precision, SlotId, Space, Step};
use resnet_kernels::{Bf16, Number, reference};

use crate::steps;

/// A device whose backends run beside each other, each on its caller's thread.
pub(crate) struct Reference {
    /// How many of them are wanted at once.
    pub(crate) threads: usize,
}

impl Device for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn about(&self) -> String {
        "plain f64 loops".into()
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn precision(&self) -> (Precision, &'static str) {
        (Precision::F32, "it computes in f64 whatever is stored")
    }

    fn limits(&self) -> Limits {
        const SIDE: usize = 256;
        let (x, w) = (vec![1.0; SIDE * SIDE], vec![0.5; SIDE * SIDE]);
        let began = Instant::now();
        black_box(reference::linear_forward(SIDE, SIDE, SIDE, &x, &w, None));
        let flops = 2.0 * (SIDE as f64).powi(3) / began.elapsed().as_secs_f64();
        let numbers = vec![1.0f64; 1 << 22];
        let began = Instant::now();
        black_box(black_box(&numbers).clone());
        let bytes = 2.0 * size_of_val(&numbers[..]) as f64;
        Limits { flops, bf16_flops: None, bandwidth: bytes / began.elapsed().as_secs_f64() }
    }

    fn kernels(&self, plan: &Plan) -> Vec<Kernel> {
        let kernel = Kernel { name: "f64 loops".into(), multiplies_bf16: false };
        vec![kernel; plan.steps.len()]
    }

    fn prepare(&self, plan: Arc<Plan>, keep: Keep) -> Result<Box<dyn Backend>, ExecError> {
        let values = plan.params.iter().map(|p| numbers(&plan, p.param.len(), 0.0));
        let values = values.collect::<Result<_, _>>()?;
        let kept = keep == Keep::Values || plan.options.mode.trains();
        let weights = Arc::new(Weights { values, kept });
        Ok(Box::new(ReferenceBackend::on(plan, weights)?))
    }
}

fn numbers(plan: &Plan, len: usize, value: f64) -> Result<Vec<f64>, NoMemory> {
    let bytes = (plan.len() * size_of::<f64>()) as u64;
    let mut numbers = Vec::new();
    let taken = numbers.try_reserve_exact(len);
    taken.map_err(|_| NoMemory { bytes, batch: plan.options.batch, fits: None })?;
    numbers.resize(len, value);
    Ok(numbers)
}

/// Parameters and running statistics in the order of [`Plan::params`], the same for all plans that
/// share them.
struct Weights {
    values: Vec<Vec<f64>>,
    /// Whether they can be read back.
    kept: bool,
}

/// Where a slot's numbers are.
#[derive(Clone)]
enum Place {
    /// The weights, by index.
    Weights(usize),
    /// The backend's own, under the slot's index.
    Own,
    /// Those slots', one after another.
    Span(Vec<SlotId>),
}

/// A plan on that device.
struct ReferenceBackend {
    plan: Arc<Plan>,
    /// Of each slot.
    places: Vec<Place>,
    weights: Arc<Weights>,
    /// Numbers of each slot that is its own.
    own: Vec<Vec<f64>>,
    rates: Rates,
}

/// Where the numbers of each slot of a plan are.
fn places(plan: &Plan) -> Vec<Place> {
    let spans: HashSet<SlotId> = (plan.steps.iter())
        .filter(|step| step.kind.spans())
        .flat_map(|step| step.reads.iter().chain(&step.writes).copied())
        .collect();
    let mut places = vec![Place::Own; plan.slots.len()];
    for (index, p) in plan.params.iter().enumerate() {
        places[p.value.0] = Place::Weights(index);
    }
    for span in &spans {
        let (space, whole) = (plan.slots[span.0].space, plan.range(*span));
        let inside = |id: &SlotId| {
            let range = plan.range(*id);
            plan.slots[id.0].space == space
                && whole.start <= range.start
                && range.end <= whole.end
                && !spans.contains(id)
        };
        let mut covered: Vec<SlotId> = (0..plan.slots.len()).map(SlotId).filter(inside).collect();
        covered.sort_by_key(|id| plan.range(*id).start);
        let whole: usize = covered.iter().map(|id| plan.slots[id.0].len).sum();
        assert_eq!(whole, plan.slots[span.0].len, "`{}` has gaps", plan.slots[span.0].name);
        places[span.0] = Place::Span(covered);
    }
    places
}

impl ReferenceBackend {
    /// A backend on weights that are there.
    fn on(plan: Arc<Plan>, weights: Arc<Weights>) -> Result<ReferenceBackend, ExecError> {
        let places = places(&plan);
        let own = plan.slots.iter().zip(&places).map(|(slot, place)| match (place, slot.space) {
            (Place::Own, Space::Activation) => numbers(&plan, slot.len, f64::NAN),
            (Place::Own, _) => numbers(&plan, slot.len, 0.0),
            _ => Ok(Vec::new()),
        });
        let own = own.collect::<Result<_, _>>()?;
        let rates = Rates { lr: 0.0, scale: 1.0, average: 0.0 };
        Ok(ReferenceBackend { plan, places, weights, own, rates })
    }

    /// What a slot holds.
    fn values(&self, id: SlotId) -> Cow<'_, [f64]> {
        match &self.places[id.0] {
            Place::Weights(index) => Cow::Borrowed(&self.weights.values[*index]),
            Place::Own => Cow::Borrowed(&self.own[id.0]),
            Place::Span(slots) => {
                slots.iter().flat_map(|slot| self.values(*slot).into_owned()).collect()
            }
        }
    }

    /// Fills a slot.
    fn fill(&mut self, id: SlotId, values: &[f64]) -> Result<(), ExecError> {
        let slot = &self.plan.slots[id.0];
        assert_eq!(values.len(), slot.len, "`{}` is of another length", slot.name);
        let bf16 = slot.precision == Precision::Bf16;
        let rounded = |&x: &f64| if bf16 { f64::from(Bf16::of(x as f32).get()) } else { x };
        let numbers = match self.places[id.0].clone() {
            Place::Own => &mut self.own[id.0],
            Place::Weights(index) => {
                let weights = Arc::get_mut(&mut self.weights).ok_or(ExecError::Shared)?;
                &mut weights.values[index]
            }
            Place::Span(slots) => {
                let mut rest = values;
                for slot in slots {
                    let (part, more) = rest.split_at(self.plan.slots[slot.0].len);
                    self.fill(slot, part)?;
                    rest = more;
                }
                return Ok(());
            }
        };
        numbers.clear();
        numbers.extend(values.iter().map(rounded));
        Ok(())
    }

    /// A slot as the host may see it.
    fn visible(&self, id: SlotId) -> Result<Cow<'_, [f64]>, ExecError> {
        let slot = &self.plan.slots[id.0];
        if slot.space.memory() == Memory::Weights && !self.weights.kept {
            return Err(ExecError::NotKept(slot.name.clone()));
        }
        Ok(self.values(id))
    }

    /// What a step writes into each of its slots.
    fn computed(&self, step: &Step) -> Vec<Vec<f64>> {
        let all = |ids: &[SlotId]| ids.iter().map(|id| self.values(*id)).collect::<Vec<_>>();
        steps::outputs(&step.kind, &all(&step.reads), &all(&step.writes), self.rates)
    }
}

impl Backend for ReferenceBackend {
    fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    fn run(&mut self, steps: Range<usize>) -> Result<(), ExecError> {
        let plan = self.plan.clone();
        for step in &plan.steps[steps] {
            let writes = |id: &SlotId| plan.slots[id.0].space.memory();
            if step.writes.iter().any(|id| writes(id) == Memory::Weights) {
                Arc::get_mut(&mut self.weights).ok_or(ExecError::Shared)?;
            }
            let outputs = self.computed(step);
            assert_eq!(outputs.len(), step.writes.len(), "{:?}", step.kind);
            for (id, values) in step.writes.iter().zip(outputs) {
                self.fill(*id, &values)?;
            }
        }
        Ok(())
    }

    fn set_rates(&mut self, rates: Rates) {
        self.rates = rates;
    }

    fn write(&mut self, slot: SlotId, from: &[f32]) -> Result<(), ExecError> {
        let wide: Vec<f64> = from.iter().map(|&x| f64::from(x)).collect();
        self.fill(slot, &wide)
    }

    fn read(&self, slot: SlotId, into: &mut [f32]) -> Result<(), ExecError> {
        let values = self.visible(slot)?;
        assert_eq!(into.len(), values.len(), "`{}`", self.plan.slots[slot.0].name);
        into.iter_mut().zip(&*values).for_each(|(into, &x)| *into = x as f32);
        Ok(())
    }

    fn reduce(&self, slot: SlotId, what: Reduce) -> Result<f64, ExecError> {
        let values = self.visible(slot)?;
        Ok(match what {
            Reduce::Finite => f64::from(u8::from(values.iter().all(|x| x.is_finite()))),
            Reduce::Sum => values.iter().sum(),
            Reduce::Squares => values.iter().map(|x| x * x).sum(),
            Reduce::Dead { channels } => {
                let of_channels = (0..channels).map(|c| values.iter().skip(c).step_by(channels));
                let alive = of_channels.filter_map(|mut x| x.find(|x| **x > 0.0)).count();
                (channels - alive) as f64
            }
        })
    }

    fn all_finite(&self, space: Space) -> Result<bool, ExecError> {
        let slots = (0..self.plan.slots.len()).map(SlotId);
        for slot in slots.filter(|slot| self.plan.slots[slot.0].space == space) {
            if self.visible(slot)?.iter().any(|x| !x.is_finite()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fork(&mut self, plan: Option<Arc<Plan>>) -> Result<Box<dyn Backend>, ExecError> {
        let plan = plan.unwrap_or_else(|| self.plan.clone());
        if !plan.shares_weights_with(&self.plan) {
            return Err(ExecError::OtherWeights);
        }
        Ok(Box::new(ReferenceBackend::on(plan, self.weights.clone())?))
    }

    // A run is its caller's thread alone whatever is asked for, so the bits are the same.
    fn set_gang(&mut self, _: bool) {}
}
