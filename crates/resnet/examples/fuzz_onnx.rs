//! Damages ONNX files of small networks, reads their graphs and runs them for a given time:
//! `cargo run --release -p resnet --example fuzz_onnx -- SECONDS [SEED]`.
//!
//! Stops with a panic, and writes the file that caused it to `fuzz-failure.onnx`.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use resnet::base::rng::Rng;
use resnet::data::{Normalize, Preprocess};
use resnet::engine::exec::{self, Device, Session};
use resnet::engine::graph::{Graph, Shape};
use resnet::engine::{op, plan};
use resnet::model::export::{Options, onnx};
use resnet::model::{self, Model};
use resnet::net::Arch;
use resnet_formats::{Array, Tensors};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let seconds = arguments.next().and_then(Result::ok).unwrap_or(60);
    let seed = arguments.next().and_then(Result::ok).unwrap_or(1);
    let seeds: Vec<Vec<u8>> = ["resnet8", "preresnet8:shortcut=B", "classic"].map(file).into();
    let mut rng = Rng::named(seed, "fuzz");
    let device = exec::cpu(1).expect("a CPU that runs the program has its instructions");
    let (begin, mut slowest) = (Instant::now(), Duration::ZERO);
    let (mut executions, mut decoded, mut understood) = (0u64, 0u64, 0u64);
    while begin.elapsed() < Duration::from_secs(seconds) {
        let mut bytes = seeds[rng.below(seeds.len())].clone();
        damage(&mut bytes, &mut rng);
        let start = Instant::now();
        let read = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let proto = resnet_formats::onnx::read(bytes.clone()).ok()?;
            let network = onnx::network(&proto).ok();
            // A graph that is understood can be planned and run, or is refused with a reason.
            Some(network.map(|n| runs(&n.graph, device.as_ref())))
        }));
        match read {
            Ok(read) => {
                decoded += u64::from(read.is_some());
                understood += u64::from(read.flatten().is_some());
            }
            Err(panic) => {
                std::fs::write("fuzz-failure.onnx", &bytes).expect("a writable folder");
                std::panic::resume_unwind(panic);
            }
        }
        slowest = slowest.max(start.elapsed());
        executions += 1;
    }
    println!(
        "onnx graphs: {executions} executions, {decoded} decoded, {understood} understood; slowest {slowest:?}"
    );
    // Linux says how much memory the process held at most.
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find(|line| line.starts_with("VmHWM"));
        println!("{}", peak.unwrap_or_default());
    }
}

/// Most words of memory of a plan that is run.
const MOST_WORDS: usize = 1 << 22;

/// Whether a graph can be planned; if its plan is small, a picture of zeros passes through it.
fn runs(graph: &Graph, device: &dyn Device) -> bool {
    let Ok(plan) = plan::Plan::build(graph, plan::Options::infer(1)) else {
        return false;
    };
    if plan.len() <= MOST_WORDS {
        let (x, classes) = (vec![0.0; graph.input.len()], plan.classes);
        let mut session = Session::to_run(device, plan).expect("memory for a small plan");
        session.infer(&x, &mut vec![0.0; classes]).expect("a CPU does not fail");
    }
    true
}

/// The ONNX file of an untrained network that reads bytes.
fn file(arch: &str) -> Vec<u8> {
    let arch = Arch::parse(arch).expect("a network of the catalogue");
    let shape = Shape::new(3, 8, 8);
    let graph = arch.graph(shape, 2).expect("images of 8 pixels are enough");
    let shapes = op::shapes(&graph).expect("images of 8 pixels are enough");
    let mut tensors = Tensors::default();
    for (_, name, param) in op::all_params(&graph, &shapes) {
        let values = model::initial(&name, &param, &graph, 1);
        tensors.insert(name, Array::f32(param.dims, values));
    }
    let preprocess = Preprocess {
        shape,
        resize: None,
        normalize: Normalize::Channel { mean: vec![0.5; 3], std: vec![0.5; 3] },
    };
    let model = Model::new(arch, vec!["a".into(), "b".into()], preprocess, tensors);
    let options = Options { preprocessing: true, ..Options::default() };
    let proto = onnx::from_model(&model, &options).expect("a whole model");
    let mut bytes = Vec::new();
    resnet_formats::onnx::write(&proto, &mut bytes).expect("memory takes every byte");
    bytes
}

/// Changes one to four places, most of them among the nodes, which stand before the weights.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..1 + rng.below(4) {
        let part = if rng.below(4) == 0 { bytes.len() } else { 8000 };
        let at = rng.below(part.min(bytes.len()).max(1)).min(bytes.len().saturating_sub(1));
        let end = (at + rng.below(12)).min(bytes.len());
        match rng.below(6) {
            0 | 1 => bytes[at] ^= 1 << rng.below(8),
            2 => bytes[at] = rng.below(256) as u8,
            3 => bytes[at] = bytes[at].wrapping_add(1),
            4 => {
                let piece = bytes[at..end].to_vec();
                let to = rng.below(8000.min(bytes.len()));
                bytes[to..].iter_mut().zip(piece).for_each(|(old, new)| *old = new);
            }
            _ if rng.below(8) == 0 => bytes.truncate(at.max(1)),
            _ => {}
        }
    }
}
