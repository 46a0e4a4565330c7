//! What is frozen stays as it is and costs nothing backward; stages learn at their own rates.

use resnet::base::rng::Rng;
use resnet::engine::exec::{Backend, Cpu, Sgd};
use resnet::engine::graph::{Graph, Shape};
use resnet::engine::op::Role;
use resnet::engine::plan::{Frozen, Options, Plan};
use resnet::engine::step::{Space, StepKind};
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
const SGD: Sgd = Sgd {
    lr: 0.05,
    momentum: 0.9,
    weight_decay: 1e-4,
    decay_norm_bias: true,
    nesterov: true,
    backbone: 1.0,
    stage: 1.0,
};

fn graph(arch: &str) -> Option<Graph> {
    Arch::parse(arch).ok()?.graph(SHAPE, CLASSES).ok()
}

/// A network with weights and statistics away from where they start, a batch, and its labels.
fn prepared(graph: &Graph, options: Options, threads: usize) -> Cpu {
    let mut cpu = Cpu::new(Plan::build(graph, options).unwrap(), threads).unwrap();
    model::initialise(&mut cpu, graph, 3);
    for slots in cpu.plan().params.clone() {
        let mut rng = Rng::named(9, &slots.name);
        let mut near = |middle: f64| -> Vec<f32> {
            (0..slots.param.len()).map(|_| (middle + rng.range(-0.3, 0.3)) as f32).collect()
        };
        match slots.param.role {
            Role::Gamma { .. } | Role::RunningVar => cpu.write(slots.value, &near(1.0)),
            Role::Beta | Role::RunningMean => cpu.write(slots.value, &near(0.0)),
            _ => {}
        }
    }
    let mut rng = Rng::new(5, &[]);
    let images: Vec<f32> = (0..options.batch * SHAPE.len()).map(|_| rng.normal() as f32).collect();
    let labels: Vec<u32> = (0..options.batch).map(|i| (i % CLASSES) as u32).collect();
    cpu.write(cpu.plan().input, &images);
    cpu.set_labels(&labels);
    cpu
}

fn gradients(cpu: &mut Cpu) -> f64 {
    let plan = cpu.plan();
    let (steps, losses) = (plan.forward.start..plan.backward.end, plan.losses.unwrap());
    cpu.run(steps);
    let losses = cpu.view(losses);
    losses.iter().map(|&l| f64::from(l)).sum::<f64>() / losses.len() as f64
}

fn update(cpu: &mut Cpu, sgd: Sgd) {
    cpu.set_optimizer(sgd);
    let update = cpu.plan().update.clone();
    cpu.run(update);
}

fn values(cpu: &Cpu) -> Vec<(usize, Vec<u32>)> {
    let plan = cpu.plan();
    let bits = |slot| cpu.view(slot).iter().map(|v| v.to_bits()).collect();
    plan.params.iter().map(|p| (p.layer.0, bits(p.value))).collect()
}

#[test]
fn a_frozen_backbone_is_inference_with_a_head_that_learns() {
    for arch in NETWORKS {
        let Some(graph) = graph(arch) else { continue };
        let head = graph.head();
        let frozen = Frozen { layers: head.0, norm: false };
        let options = Options { frozen, ..Options::train(BATCH, 0.1) };
        let mut cpu = prepared(&graph, options, 2);
        let plan = cpu.plan().clone();
        for step in &plan.steps[plan.backward.start..] {
            assert_eq!(step.layer, head, "{arch}: a step for a frozen layer");
        }
        let of_head = plan.params.iter().filter(|p| p.layer == head);
        let trained: usize = of_head.map(|p| p.param.len()).sum();
        assert_eq!(plan.region(Space::Grad).len(), trained, "{arch}");

        let before = values(&cpu);
        gradients(&mut cpu);
        let logits = cpu.view(plan.logits).to_vec();
        let mut infer = prepared(&graph, Options::infer(BATCH), 2);
        let forward = infer.plan().forward.clone();
        infer.run(forward);
        assert_eq!(infer.view(infer.plan().logits), logits, "{arch}: other logits than inference");

        update(&mut cpu, SGD);
        gradients(&mut cpu);
        update(&mut cpu, SGD);
        for ((layer, before), (_, after)) in before.iter().zip(values(&cpu)) {
            assert_eq!(*before != after, *layer == head.0, "{arch}, layer {layer}");
        }
    }
}

#[test]
fn gradients_through_fixed_statistics_agree_with_differences() {
    for arch in NETWORKS {
        let Some(graph) = graph(arch) else { continue };
        let frozen = Frozen { layers: 0, norm: true };
        for fuse in [true, false] {
            let options = Options { frozen, fuse, ..Options::train(BATCH, 0.1) };
            let mut cpu = prepared(&graph, options, 2);
            gradients(&mut cpu);
            let plan = cpu.plan().clone();
            let norms = |p: &&resnet::engine::plan::ParamSlots| {
                matches!(p.param.role, Role::Gamma { .. } | Role::Beta)
            };
            assert!(plan.params.iter().filter(norms).all(|p| p.training.is_none()));
            let slots: Vec<_> =
                plan.params.iter().filter_map(|p| p.training.map(|t| (p.value, t.grad))).collect();
            let mut rng = Rng::new(11, &[]);
            let grads: Vec<f64> =
                slots.iter().flat_map(|(_, g)| cpu.view(*g).to_vec()).map(f64::from).collect();
            let total = grads.iter().map(|g| g * g).sum::<f64>().sqrt();
            let mut predicted = 0.0;
            let mut moves = Vec::new();
            for (value, grad) in &slots {
                let grad = cpu.view(*grad).to_vec();
                let size: f64 = grad.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
                let scale = (size / grad.len() as f64).sqrt();
                let direction: Vec<f64> =
                    grad.iter().map(|&g| (f64::from(g) + scale * rng.normal()) / total).collect();
                predicted +=
                    direction.iter().zip(&grad).map(|(d, &g)| d * f64::from(g)).sum::<f64>();
                moves.push((*value, direction, cpu.view(*value).to_vec()));
            }
            let mut loss_at = |h: f64| {
                for (slot, direction, start) in &moves {
                    let moved = start.iter().zip(direction);
                    let moved: Vec<f32> =
                        moved.map(|(&w, d)| (f64::from(w) + h * d) as f32).collect();
                    cpu.write(*slot, &moved);
                }
                gradients(&mut cpu)
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
    let graph = graph("resnet20").unwrap();
    let train = Options::train(BATCH, 0.0);
    let staged = Options { staged: true, ..train };
    let after = |options, sgd| {
        let mut cpu = prepared(&graph, options, 2);
        for _ in 0..2 {
            gradients(&mut cpu);
            update(&mut cpu, sgd);
        }
        values(&cpu)
    };
    assert!(after(train, SGD) == after(staged, SGD), "equal rates are no rates");

    let mut cpu = prepared(&graph, staged, 2);
    let before = cpu.view(cpu.plan().params[0].value).to_vec();
    gradients(&mut cpu);
    let grad = cpu.view(cpu.plan().params[0].training.unwrap().grad).to_vec();
    let sgd = Sgd {
        momentum: 0.0,
        weight_decay: 0.0,
        nesterov: false,
        backbone: 0.5,
        stage: 0.25,
        ..SGD
    };
    update(&mut cpu, sgd);
    // conv1 and the first stage of 16 maps are three stages below the head.
    let rate = 0.05 * 0.5 * 0.25 * 0.25;
    let now = cpu.view(cpu.plan().params[0].value);
    for ((w, g), now) in before.iter().zip(&grad).zip(now) {
        assert!(
            (w - rate * g - now).abs() <= 1e-6 * (1.0 + w.abs()),
            "{w} - {rate} * {g} is not {now}"
        );
    }
    let stages: Vec<usize> = (cpu.plan().steps.iter())
        .filter_map(|step| match step.kind {
            StepKind::Sgd { below, .. } => Some(below),
            _ => None,
        })
        .collect();
    assert_eq!(stages, [3, 2, 1, 0, 3, 2, 1, 0]);
}
