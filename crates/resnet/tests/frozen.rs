//! What is frozen stays as it is and costs nothing backward; stages learn at their own rates.

mod support;

use resnet::base::rng::Rng;
use resnet::engine::exec::{self, Rates, Session};
use resnet::engine::graph::{Graph, Shape};
use resnet::engine::op::Role;
use resnet::engine::plan::{Frozen, Optimizer, Options, Plan};
use resnet::engine::step::{Rule, Space, StepKind};
use resnet::model;
use resnet::net::Arch;

const NETWORKS: &[&str] = &[
    "plain20",
    "resnet20",
    "resnet20:shortcut=B",
    "preresnet20",
    "resnet18:stem=cifar",
    "resnext50_32x4d:stem=cifar",
];
const SHAPE: Shape = Shape::new(3, 16, 16);
const CLASSES: usize = 5;
const BATCH: usize = 4;
const SGD: Optimizer = Optimizer {
    rule: Rule::Sgd { momentum: 0.9, nesterov: true },
    weight_decay: 1e-4,
    decay_norm_bias: true,
    backbone: 1.0,
    stage: 1.0,
};

fn graph(arch: &str) -> Graph {
    Arch::parse(arch).unwrap().graph(SHAPE, CLASSES).unwrap()
}

/// A network with weights and statistics away from where they start, a batch, and its labels where
/// it trains.
fn prepared(graph: &Graph, options: Options, threads: usize) -> Session {
    let plan = Plan::build(graph, options).unwrap();
    let mut session = Session::new(exec::cpu(threads).unwrap().as_ref(), plan).unwrap();
    model::initialise(&mut session, graph, 3).unwrap();
    for slots in session.plan().params.clone() {
        let mut rng = Rng::named(9, &slots.name);
        let mut near = |middle: f64| -> Vec<f32> {
            (0..slots.param.len()).map(|_| (middle + rng.range(-0.3, 0.3)) as f32).collect()
        };
        match slots.param.role {
            Role::Gamma { .. } | Role::RunningVar => {
                session.write(slots.value, &near(1.0)).unwrap();
            }
            Role::Beta | Role::RunningMean => session.write(slots.value, &near(0.0)).unwrap(),
            _ => {}
        }
    }
    let mut rng = Rng::new(5, &[]);
    let images: Vec<f32> = (0..options.batch * SHAPE.len()).map(|_| rng.normal() as f32).collect();
    let labels: Vec<u32> = (0..options.batch).map(|i| (i % CLASSES) as u32).collect();
    match session.plan().loss {
        Some(_) => support::feed(&mut session, &images, &labels),
        None => session.write(session.plan().input, &images).unwrap(),
    }
    session
}

fn gradients(session: &mut Session) -> f64 {
    session.forward().unwrap();
    session.backward().unwrap();
    session.sum_of_losses().unwrap() / session.plan().options.batch as f64
}

fn update(session: &mut Session, lr: f32) {
    session.update(Rates { lr, scale: 1.0, average: 0.0 }).unwrap();
}

fn values(session: &Session) -> Vec<(usize, Vec<u32>)> {
    let plan = session.plan();
    let bits = |slot| session.get(slot).unwrap().iter().map(|v| v.to_bits()).collect();
    plan.params.iter().map(|p| (p.layer.0, bits(p.value))).collect()
}

#[test]
fn a_frozen_backbone_is_inference_with_a_head_that_learns() {
    for arch in NETWORKS {
        let graph = graph(arch);
        let head = graph.head();
        let frozen = Frozen { layers: head.0, norm: false };
        let options = Options { frozen, optimizer: SGD, ..Options::train(BATCH, 0.1) };
        let mut session = prepared(&graph, options, 2);
        let plan = session.plan().clone();
        for step in &plan.steps[plan.backward.start..] {
            assert_eq!(step.layer, head, "{arch}: a step for a frozen layer");
        }
        let of_head = plan.params.iter().filter(|p| p.layer == head);
        let trained: usize = of_head.map(|p| p.param.len()).sum();
        assert_eq!(plan.region(Space::Grad).len(), trained, "{arch}");

        let before = values(&session);
        gradients(&mut session);
        let logits = session.get(plan.logits).unwrap();
        let mut infer = prepared(&graph, Options::infer(BATCH), 2);
        infer.forward().unwrap();
        let of_inference = infer.get(infer.plan().logits).unwrap();
        assert_eq!(of_inference, logits, "{arch}: other logits than inference");

        update(&mut session, 0.05);
        gradients(&mut session);
        update(&mut session, 0.05);
        for ((layer, before), (_, after)) in before.iter().zip(values(&session)) {
            assert_eq!(*before != after, *layer == head.0, "{arch}, layer {layer}");
        }
    }
}

#[test]
fn gradients_through_fixed_statistics_agree_with_differences() {
    for arch in NETWORKS {
        let graph = graph(arch);
        let frozen = Frozen { layers: 0, norm: true };
        for fuse in [true, false] {
            let options = Options { frozen, fuse, ..Options::train(BATCH, 0.1) };
            let mut session = prepared(&graph, options, 2);
            gradients(&mut session);
            let plan = session.plan().clone();
            let norms = |p: &&resnet::engine::plan::ParamSlots| {
                matches!(p.param.role, Role::Gamma { .. } | Role::Beta)
            };
            assert!(plan.params.iter().filter(norms).all(|p| p.training.is_none()));
            let params = plan.params.iter();
            let slots: Vec<_> =
                params.filter_map(|p| Some((p.value, p.training.as_ref()?.grad))).collect();
            let get = |slot| session.get(slot).unwrap();
            let mut rng = Rng::new(11, &[]);
            let grads: Vec<f64> = slots.iter().flat_map(|(_, g)| get(*g)).map(f64::from).collect();
            let total = grads.iter().map(|g| g * g).sum::<f64>().sqrt();
            let mut predicted = 0.0;
            let mut moves = Vec::new();
            for (value, grad) in &slots {
                let grad = get(*grad);
                let size: f64 = grad.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
                let scale = (size / grad.len() as f64).sqrt();
                let direction: Vec<f64> =
                    grad.iter().map(|&g| (f64::from(g) + scale * rng.normal()) / total).collect();
                predicted +=
                    direction.iter().zip(&grad).map(|(d, &g)| d * f64::from(g)).sum::<f64>();
                moves.push((*value, direction, get(*value)));
            }
            let mut loss_at = |h: f64| {
                for (slot, direction, start) in &moves {
                    let moved = start.iter().zip(direction);
                    let moved: Vec<f32> =
                        moved.map(|(&w, d)| (f64::from(w) + h * d) as f32).collect();
                    session.write(*slot, &moved).unwrap();
                }
                gradients(&mut session)
            };
            let errors: Vec<f64> = [1e-3, 3e-4, 1e-4, 3e-5]
                .iter()
                .map(|&h| {
                    ((loss_at(h) - loss_at(-h)) / (2.0 * h) - predicted).abs() / predicted.abs()
                })
                .collect();
            let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(best < 3e-2, "{arch}, fuse {fuse}: relative errors {errors:?} of {predicted}");
        }
    }
}

#[test]
fn stages_learn_at_their_own_rates() {
    let graph = graph("resnet20");
    let train = |optimizer| Options { optimizer, ..Options::train(BATCH, 0.0) };
    // Equal rates give equal bits, by stages or for all at once. Both updates are along the same
    // gradient, which a head of another rate would change.
    let after = |optimizer, lr| {
        let mut session = prepared(&graph, train(optimizer), 2);
        gradients(&mut session);
        update(&mut session, lr);
        update(&mut session, lr);
        values(&session)
    };
    let staged = after(Optimizer { backbone: 0.5, ..SGD }, 0.1);
    let (slow, fast) = (after(SGD, 0.05), after(SGD, 0.1));
    for (found, (slow, fast)) in staged.iter().zip(slow.iter().zip(&fast)) {
        assert!(found == if found.0 < graph.head().0 { slow } else { fast }, "layer {}", found.0);
    }
    assert!(slow != fast);

    let sgd = Optimizer {
        rule: Rule::Sgd { momentum: 0.0, nesterov: false },
        weight_decay: 0.0,
        backbone: 0.5,
        stage: 0.25,
        ..SGD
    };
    let mut session = prepared(&graph, train(sgd), 2);
    let plan = session.plan().clone();
    let conv1 = &plan.params[0];
    let before = session.get(conv1.value).unwrap();
    gradients(&mut session);
    let grad = session.get(conv1.training.as_ref().unwrap().grad).unwrap();
    update(&mut session, 0.05);
    // conv1 and the first stage of 16 maps are three stages below the head.
    let rate = 0.05 * 0.5 * 0.25 * 0.25;
    let now = session.get(conv1.value).unwrap();
    for ((w, g), now) in before.iter().zip(&grad).zip(now) {
        assert!(
            (w - rate * g - now).abs() <= 1e-6 * (1.0 + w.abs()),
            "{w} - {rate} * {g} is not {now}"
        );
    }
    let stages: Vec<[f32; 2]> = (plan.steps.iter())
        .filter_map(|step| match step.kind {
            StepKind::Update(update) => Some(update.lr_factors),
            _ => None,
        })
        .collect();
    let below = [[0.5, 0.0625], [0.5, 0.25], [0.5, 1.0], [1.0, 1.0]];
    assert_eq!(stages, [below, below].concat());
}
