//! What a probe finds, against PyTorch's autograd in f64.

use resnet::engine::exec;
use resnet::engine::graph::Shape;
use resnet::measure::probe::Probe;
use resnet::model;
use resnet::net::Arch;
use serde::Deserialize;

use crate::{fixture, hashed, trained};

/// Relative, of every number.
const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
struct Look {
    arch: String,
    salt: u32,
    batch: usize,
    side: usize,
    classes: usize,
    loss: f64,
    layers: Vec<Layer>,
    blocks: Vec<Block>,
}

#[derive(Deserialize)]
struct Layer {
    name: String,
    gradient_norm: f64,
    activation_gradient_norm: f64,
    weight_norm: f64,
    response_std: f64,
}

#[derive(Deserialize)]
struct Block {
    name: String,
    gradient_norm: f64,
    shortcut_norm: f64,
    branch_norm: f64,
    shortcut_share: f64,
}

fn close(what: &str, got: f64, want: f64) {
    let off = (got - want).abs() / want.abs();
    assert!(off <= TOLERANCE, "{what} is {got} and in PyTorch {want}: off by {off:.1e}");
}

#[test]
fn gradients_responses_and_terms_of_blocks() {
    for want in fixture::load::<Vec<Look>>("inspect") {
        let arch = Arch::parse(&want.arch).unwrap();
        let input = Shape::new(3, want.side, want.side);
        let graph = arch.graph(input, want.classes).unwrap();
        let prefix = format!("{}/{}/", want.arch, want.salt);
        let device = exec::cpu(2).unwrap();
        let mut probe = Probe::new(&graph, want.batch, device.as_ref()).unwrap();
        let session = probe.session();
        model::initialise(session, &graph, 0).unwrap();
        for p in trained(session) {
            let value = hashed::parameter(&prefix, &p.name, &p.param.dims);
            model::write(session, &p.param, p.value, &value).unwrap();
        }
        let (x, labels) = hashed::batch(&prefix, 0, want.batch, want.side, want.classes);
        let got = probe.measure(&x, &labels).unwrap();

        let arch = &want.arch;
        close(&format!("{arch} loss"), got.loss, want.loss);
        assert_eq!(got.layers.len(), want.layers.len(), "{arch}");
        for layer in &want.layers {
            let found = got.layers.iter().find(|l| l.name == layer.name).unwrap();
            let check =
                |what: &str, got, want| close(&format!("{arch} {} {what}", layer.name), got, want);
            check("|dL/dw|", found.gradient_norm, layer.gradient_norm);
            check("|dL/dy|", found.activation_gradient_norm, layer.activation_gradient_norm);
            check("|w|", found.weight_norm, layer.weight_norm);
            check("std", found.response_std, layer.response_std);
        }
        assert_eq!(got.blocks.len(), want.blocks.len(), "{arch}");
        for (found, block) in got.blocks.iter().zip(&want.blocks) {
            assert_eq!(found.name, block.name);
            let check =
                |what: &str, got, want| close(&format!("{arch} {} {what}", block.name), got, want);
            check("|dL/dx|", found.gradient_norm, block.gradient_norm);
            check("shortcut", found.shortcut_norm, block.shortcut_norm);
            check("branch", found.branch_norm, block.branch_norm);
            check("share", found.shortcut_share, block.shortcut_share);
            assert!(found.residue < 1e-6, "{arch} {}: {}", block.name, found.residue);
        }
    }
}
