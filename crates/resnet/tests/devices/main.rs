//! A device that is not the CPU, and everything above the engine on it: whatever a plan, a
//! training loop or an evaluation does, it does on any device, and comes to the same numbers.

mod agree;
mod gpu;
mod library;
mod reference;
mod steps;

use std::sync::Arc;

use resnet::base::rng::Rng;
use resnet::engine::exec::{self, Device, Session, Target};
use resnet::engine::graph::{Graph, Shape};
use resnet::engine::op::Role;
use resnet::engine::plan::{Options, Plan};
use resnet::model;
use resnet::net::Arch;

use reference::Reference;

/// The device that everything runs on where no other is named.
fn cpu() -> Arc<dyn Device> {
    exec::cpu(2).unwrap()
}

fn reference() -> Arc<dyn Device> {
    Arc::new(Reference { threads: 2 })
}

fn graph(arch: &str, shape: Shape, classes: usize) -> Graph {
    Arch::parse(arch).unwrap().graph(shape, classes).unwrap()
}

fn length(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// Length of the difference over the length of what it should be.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let difference: Vec<f32> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
    length(&difference) / length(expected)
}
