//! Every kernel's text in the languages of all drivers: SPIR-V, Metal's and DirectX's.

use std::collections::{BTreeMap, BTreeSet};

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ValidationFlags, Validator};

use resnet_engine::graph::{Graph, LayerId, Op, Shape, Window};
use resnet_engine::plan::{Frozen, Mode, Optimizer, Options, Plan};
use resnet_engine::step::{Precision, Rule, SlotId};

use crate::{op, program};

/// A network with every operation; both halves of a block have a residual of their own.
fn graph() -> Graph {
    let mut graph = Graph::new(Shape::new(4, 32, 32));
    let conv = |c_out, kernel, stride, groups| Op::Conv2d {
        c_out,
        kernel,
        stride,
        padding: kernel / 2,
        groups,
        bias: false,
    };
    let norm = Op::BatchNorm { eps: 1e-5, momentum: 0.1, zero_init: false };
    let mut x = graph.push("conv1", conv(16, 7, 2, 1), &[LayerId(0)]);
    x = graph.push("bn1", norm, &[x]);
    x = graph.push("relu1", Op::Relu, &[x]);
    x = graph.push("max", Op::MaxPool2d { kernel: 3, stride: 1, padding: 1 }, &[x]);
    for (i, (c_out, groups)) in [(32, 1), (128, 2)].into_iter().enumerate() {
        let name = |what: &str| format!("block{i}.{what}");
        let window = Window::Square { kernel: 2, stride: 2 };
        let mut branch = graph.push(name("conv1"), conv(c_out, 3, 2, 1), &[x]);
        branch = graph.push(name("bn1"), norm, &[branch]);
        branch = graph.push(name("relu1"), Op::Relu, &[branch]);
        branch = graph.push(name("conv2"), conv(c_out, 3, 1, groups), &[branch]);
        branch = graph.push(name("bn2"), norm, &[branch]);
        let short = graph.push(name("avg"), Op::AvgPool2d(window), &[x]);
        x = graph.push(name("add"), Op::Add, &[branch, short]);
        x = graph.push(name("relu2"), Op::Relu, &[x]);
    }
    x = graph.push("again", Op::Relu, &[x]);
    x = graph.push("sum", Op::Add, &[x, LayerId(x.0 - 1)]);
    let bias = Op::Conv2d { c_out: 64, kernel: 1, stride: 1, padding: 0, groups: 1, bias: true };
    x = graph.push("conv2", bias, &[x]);
    x = graph.push("pool", Op::AvgPool2d(Window::Global), &[x]);
    graph.push("fc", Op::Linear { out: 6 }, &[x]);
    graph
}

/// The texts of all kernels, and those kinds of steps that have some.
fn texts() -> (BTreeMap<String, &'static str>, BTreeSet<&'static str>) {
    let (mut texts, mut kinds, graph) = (BTreeMap::new(), BTreeSet::new(), graph());
    let train = Options::train(4, 0.1);
    let lars = Rule::Lars { momentum: 0.9, nesterov: false, trust: 0.1 };
    let plain = Rule::Sgd { momentum: 0.9, nesterov: true };
    let layer = LayerId(4);
    for options in [
        Options { accumulate: true, average: true, ..train },
        Options { shards: Some(2), optimizer: optimizer(lars), ..train },
        Options { fuse: false, recompute: false, optimizer: optimizer(plain), ..train },
        Options { frozen: Frozen { layers: 0, norm: true }, ..train },
        Options { mode: Mode::Explain { layer }, ..Options::infer(2) },
        Options { fuse: false, ..Options::infer(300) },
    ] {
        for precision in [Precision::F32, Precision::Bf16] {
            let plan = Plan::build(&graph, Options { precision, ..options }).unwrap();
            let whole = |spans: &[SlotId]| op::uncut(&plan, spans);
            let (kernels, _) = program::kernels(&plan, &whole);
            for (step, kernels) in plan.steps.iter().zip(kernels) {
                kinds.insert(Plan::kind_name(&step.kind));
                texts.extend(kernels.iter().map(|kernel| (kernel.text(), kernel.name)));
            }
        }
    }
    (texts, kinds)
}

fn optimizer(rule: Rule) -> Optimizer {
    Optimizer { rule, weight_decay: 1e-4, ..Optimizer::default() }
}

#[test]
fn every_kernel_is_translated_for_every_driver() {
    let (texts, kinds) = texts();
    assert!(texts.len() > 60 && kinds.len() > 25, "{} {kinds:?}", texts.len());
    for (text, name) in &texts {
        let module = naga::front::wgsl::parse_str(text)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
        // No feature of a device is asked for.
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
        let info = validator.validate(&module).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let words = spv::write_vec(&module, &info, &spv::Options::default(), None).unwrap();
        assert!(words.len() > 100, "{name}");
        let options = msl::PipelineOptions::default();
        let (metal, _) =
            msl::write_string(&module, &info, &msl::Options::default(), &options).unwrap();
        assert!(metal.contains("kernel void"), "{name}: {metal}");
        let mut direct = String::new();
        let (options, pipeline) = (hlsl::Options::default(), hlsl::PipelineOptions::default());
        hlsl::Writer::new(&mut direct, &options, &pipeline).write(&module, &info, None).unwrap();
        assert!(direct.contains("numthreads"), "{name}: {direct}");
    }
}
