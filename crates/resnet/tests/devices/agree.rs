//! A step of training on both devices: everything that a session can show.

use resnet::engine::plan::{Frozen, Mode, Optimizer, ParamSlots};
use resnet::engine::step::{Rule, SlotId};

use super::*;

pub(crate) const CLASSES: usize = 5;
pub(crate) const BATCH: usize = 4;

/// Relative, of logits and losses; f32 is off by a few millionths behind twenty layers.
const TOLERANCE: f64 = 1e-4;
/// Relative, of each gradient, and of how far each parameter, statistic and buffer moved. Mostly
/// they are off by a hundred-thousandth; where rounding crosses a ReLU's kink, by some thousandths.
/// A wrong step is off by tenths.
const GRADIENT_TOLERANCE: f64 = 1e-2;

pub(crate) fn options() -> Options {
    Options {
        optimizer: Optimizer {
            rule: Rule::Sgd { momentum: 0.9, nesterov: true },
            weight_decay: 0.05,
            decay_norm_bias: false,
            backbone: 0.7,
            stage: 0.8,
        },
        ..Options::train(BATCH, 0.1)
    }
}

/// Numbers of some size around a middle, the same for the same name.
fn around(name: &str, len: usize, middle: f64, size: f64) -> Vec<f32> {
    let mut rng = Rng::named(9, name);
    (0..len).map(|_| (middle + rng.range(-size, size)) as f32).collect()
}

/// A session whose weights are those of a seed, and where all that then would be 0 or 1 is not.
pub(crate) fn prepared(device: &dyn Device, graph: &Graph, options: Options, seed: u64) -> Session {
    let mut session = Session::new(device, Plan::build(graph, options).unwrap()).unwrap();
    model::initialise(&mut session, graph, seed).unwrap();
    for ParamSlots { name, param, value, training, .. } in session.plan().clone().params.iter() {
        let middle = match param.role {
            Role::Gamma { .. } if name.ends_with(".bn3.weight") => Some(0.25),
            Role::Gamma { .. } | Role::RunningVar => Some(1.0),
            Role::Beta | Role::RunningMean | Role::Bias => Some(0.0),
            _ => None,
        };
        if let Some(middle) = middle {
            session
                .write(
                    *value,
                    &around(name, param.len(), middle, if middle == 0.25 { 0.1 } else { 0.3 }),
                )
                .unwrap();
        }
        for buffer in training.iter().flat_map(|training| &training.state) {
            session.write(*buffer, &around(name, param.len(), 0.0, 0.1)).unwrap();
        }
    }
    session
}

/// Images, soft targets and weights of a batch; the sum of the weights is not a whole number.
pub(crate) fn feed(session: &mut Session, batch: u64, batches: usize) {
    let plan = session.plan().clone();
    let mut rng = Rng::new(5, &[batch]);
    let x: Vec<f32> = (0..plan.slots[plan.input.0].len).map(|_| rng.normal() as f32).collect();
    let mut target = Vec::new();
    for _ in 0..BATCH {
        let row: Vec<f64> = (0..CLASSES).map(|_| rng.range(0.0, 1.0).powi(3)).collect();
        let sum: f64 = row.iter().sum();
        target.extend(row.iter().map(|t| (t / sum) as f32));
    }
    let weight: Vec<f32> = (0..BATCH).map(|_| rng.range(0.3, 2.0) as f32).collect();
    let total = weight.iter().sum::<f32>() * batches as f32;
    session.feed(&x, Target { target: &target, weight: &weight, total }).unwrap();
}

/// What is compared, by name, and how far it may be off.
pub(crate) type Numbers = Vec<(String, Vec<f32>, f64)>;

/// A step of training: every number that it leaves for the host, and how far what was there before
/// has moved.
pub(crate) fn step(session: &mut Session) -> Numbers {
    let plan = session.plan().clone();
    let get = |session: &Session, slot: SlotId| session.get(slot).unwrap();
    let mut stays = Vec::new();
    for p in &plan.params {
        stays.push((p.name.clone(), p.value));
        stays.extend(p.average.map(|slot| (format!("average of {}", p.name), slot)));
        let buffers = p.training.iter().flat_map(|training| &training.state);
        stays.extend(buffers.map(|slot| (format!("momentum of {}", p.name), *slot)));
    }
    let before: Vec<_> = stays.iter().map(|(_, slot)| get(session, *slot)).collect();
    let mut numbers = Numbers::new();
    let batches = if plan.options.accumulate { 2 } else { 1 };
    for batch in 0..batches {
        feed(session, batch as u64, batches);
        session.forward().unwrap();
        session.backward().unwrap();
        session.accumulate().unwrap();
        let (logits, losses) = (get(session, plan.logits), get(session, plan.loss.unwrap().losses));
        numbers.push((format!("logits of {batch}"), logits, TOLERANCE));
        numbers.push((format!("losses of {batch}"), losses, TOLERANCE));
        for p in &plan.params {
            let gradient = p.training.as_ref().map(|training| get(session, training.grad));
            let name = format!("gradient of {} by {batch}", p.name);
            numbers.extend(gradient.map(|gradient| (name, gradient, GRADIENT_TOLERANCE)));
        }
    }
    for p in &plan.params {
        let sum = p.training.as_ref().and_then(|training| training.sum);
        let name = format!("sum of {}", p.name);
        numbers.extend(sum.map(|sum| (name, get(session, sum), GRADIENT_TOLERANCE)));
    }
    session.update(exec::Rates { lr: 0.3, scale: 0.9, average: 0.4 }).unwrap();
    for ((name, slot), before) in stays.into_iter().zip(before) {
        let after = get(session, slot);
        let moved = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        numbers.push((format!("{name}, moved"), moved, GRADIENT_TOLERANCE));
    }
    for p in &plan.params {
        let sum = p.training.as_ref().and_then(|training| training.sum);
        assert!(sum.is_none_or(|sum| get(session, sum).iter().all(|x| *x == 0.0)), "{}", p.name);
    }
    numbers
}

/// Asserts that each is as near to the other as it must be.
pub(crate) fn assert_near(what: &str, found: &Numbers, expected: &Numbers) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for ((name, found, tolerance), (other, expected, _)) in found.iter().zip(expected) {
        assert_eq!(name, other, "{what}");
        let off = if expected == found { 0.0 } else { distance(found, expected) };
        assert!(off < *tolerance, "{what}: {name} is off by {off:e}");
    }
}

/// Between them they have every operation; with these seeds few numbers lie near a ReLU's kink.
pub(crate) const NETWORKS: [(&str, usize, u64); 6] = [
    ("resnet20", 16, 188),
    ("preresnet20", 16, 123),
    ("plain20", 16, 96),
    ("resnet20:shortcut=B", 16, 373),
    ("resnet20:norm=none", 16, 266),
    ("classic", 32, 1),
];

#[test]
fn a_step_of_training_comes_to_the_same_numbers() {
    for (arch, side, seed) in NETWORKS {
        let graph = graph(arch, Shape::new(3, side, side), CLASSES);
        for (fuse, more) in [(true, true), (false, false)] {
            let options = Options { fuse, accumulate: more, average: more, ..options() };
            let [found, expected] = [cpu(), reference()]
                .map(|device| step(&mut prepared(device.as_ref(), &graph, options, seed)));
            assert_near(arch, &found, &expected);
        }
    }
}

/// A rule that looks at one matrix at a time.
#[test]
fn fitted_rates_come_to_the_same_numbers() {
    let graph = graph("resnet20", Shape::new(3, 16, 16), CLASSES);
    for (nesterov, accumulate) in [(false, false), (true, true)] {
        let rule = Rule::Lars { momentum: 0.9, nesterov, trust: 0.02 };
        let optimizer = Optimizer { rule, ..options().optimizer };
        let options = Options { optimizer, accumulate, ..options() };
        let [found, expected] = [cpu(), reference()]
            .map(|device| step(&mut prepared(device.as_ref(), &graph, options, 188)));
        assert_near("lars", &found, &expected);
    }
}

/// What is frozen, and a network that explains an answer, go by steps of their own.
#[test]
fn frozen_layers_and_explanations_come_to_the_same_numbers() {
    let graph = graph("resnet20", Shape::new(3, 16, 16), CLASSES);
    for frozen in [Frozen { layers: graph.head().0, norm: false }, Frozen { layers: 0, norm: true }]
    {
        let options = Options { frozen, ..options() };
        let [found, expected] = [cpu(), reference()]
            .map(|device| step(&mut prepared(device.as_ref(), &graph, options, 188)));
        assert_near("frozen", &found, &expected);
    }
    let layer = graph.path_to(graph.output()).nth(3).unwrap();
    let options = Options { mode: Mode::Explain { layer }, ..Options::infer(BATCH) };
    let [found, expected] = [cpu(), reference()].map(|device| {
        let mut session = prepared(device.as_ref(), &graph, options, 188);
        let plan = session.plan().clone();
        let x = around("x", plan.slots[plan.input.0].len, 0.0, 1.0);
        let mut logits = vec![0.0; BATCH * CLASSES];
        session.infer(&x, &mut logits).unwrap();
        let end = plan.gradients.last().copied().flatten().unwrap();
        session.write(end, &around("end", logits.len(), 0.0, 1.0)).unwrap();
        session.backward().unwrap();
        let gradient = session.get(plan.gradients[layer.0].unwrap()).unwrap();
        vec![
            ("logits".to_string(), logits, TOLERANCE),
            ("gradient".to_string(), gradient, GRADIENT_TOLERANCE),
        ]
    });
    assert_near("explained", &found, &expected);
}
