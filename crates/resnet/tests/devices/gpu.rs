//! A GPU against the CPU: each step of plans from the same inputs, then whole steps of training.
//!
//! Any device that a driver answers for will do, software too. Where there is none, these tests say
//! that they were skipped; with RESNET_TEST_GPU set they fail, and take the device of that name.

use resnet::engine::graph::{LayerId, Op, Window};
use resnet::engine::plan::{BLOCK, Frozen, Optimizer};
use resnet::engine::step::{Precision, Rule, SlotId};
use resnet_gpu::Which;

use super::*;

/// The device that is tested.
pub(crate) fn gpu() -> Option<Arc<dyn Device>> {
    let wanted = std::env::var("RESNET_TEST_GPU").ok();
    let which = match &wanted {
        Some(name) => Which::Named(name.clone()),
        None => Which::Index(0),
    };
    match (resnet_gpu::open(&which, 2), wanted) {
        (Ok(device), _) => Some(device),
        (Err(error), Some(_)) => panic!("{error}"),
        (Err(error), None) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// Numbers of some size, the same for the same name.
fn numbers(name: &str, len: usize) -> Vec<f32> {
    let mut rng = Rng::named(3, name);
    (0..len).map(|_| rng.normal() as f32).collect()
}

/// How far a step's output may be off, relative. Sums of bf16 maps are rounded when they are
/// stored: half a unit of 8 digits, and where a device sums in another order now and then one more.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-4,
        Precision::Bf16 => 4e-3,
    }
}

/// Runs every step of a plan on both devices from what the CPU has before it, and compares what it
/// writes. What trained weights would be by then, numbers of the seed are.
fn each_step(arch: &str, shape: Shape, batch: usize, options: Options) {
    each_step_of(&graph(arch, shape, 5), Options { batch, ..options });
}

/// The same of any network of five classes.
fn each_step_of(graph: &Graph, options: Options) {
    let Some(gpu) = gpu() else { return };
    let batch = options.batch;
    let plan = Arc::new(Plan::build(graph, options).unwrap());
    let mut expected = Session::new(cpu().as_ref(), plan.clone()).unwrap();
    let mut found = Session::new(gpu.as_ref(), plan.clone()).unwrap();
    model::initialise(&mut expected, graph, 5).unwrap();
    let x = numbers("x", plan.slots[plan.input.0].len);
    if let Some(loss) = plan.loss {
        let (mut rng, mut target) = (Rng::new(1, &[]), Vec::new());
        for _ in 0..batch {
            let row: Vec<f64> = (0..5).map(|_| rng.range(0.0, 1.0)).collect();
            let sum: f64 = row.iter().sum();
            target.extend(row.iter().map(|t| (t / sum) as f32));
        }
        let weight: Vec<f32> = (0..batch).map(|_| rng.range(0.3, 2.0) as f32).collect();
        let total = weight.iter().sum();
        expected.feed(&x, Target { target: &target, weight: &weight, total }).unwrap();
        assert!(plan.slots[loss.losses.0].len == batch);
    } else {
        expected.write(plan.input, &x).unwrap();
    }
    let rates = exec::Rates { lr: 0.3, scale: 0.9, average: 0.4 };
    expected.set_rates(rates);
    found.set_rates(rates);
    for (index, step) in plan.steps.iter().enumerate() {
        for slot in step.reads.iter().chain(&step.writes) {
            // What is not there yet may be anything, on both.
            let values = expected.get(*slot).unwrap();
            let values: Vec<f32> =
                values.iter().map(|x| if x.is_finite() { *x } else { 0.5 }).collect();
            expected.write(*slot, &values).unwrap();
            found.write(*slot, &values).unwrap();
        }
        let before: Vec<_> = step.writes.iter().map(|slot| expected.get(*slot).unwrap()).collect();
        expected.run(index..index + 1).unwrap();
        found.run(index..index + 1).unwrap();
        for (slot, before) in step.writes.iter().zip(before) {
            near(&plan, &step.kind, *slot, &found, &expected, &before);
        }
    }
}

/// Asserts that a step wrote the same, and that it moved what it changed as far.
fn near(
    plan: &Plan,
    kind: &resnet::engine::step::StepKind,
    slot: SlotId,
    found: &Session,
    expected: &Session,
    before: &[f32],
) {
    let (found, expected) = (found.get(slot).unwrap(), expected.get(slot).unwrap());
    let name = &plan.slots[slot.0].name;
    if found == expected {
        return;
    }
    let off = distance(&found, &expected);
    let most = tolerance(plan.slots[slot.0].precision);
    assert!(off < most, "{kind:?}: `{name}` is off by {off:e}");
    // A change that is small beside what it changes would hide in it.
    let moved = |after: &[f32]| -> Vec<f32> {
        after.iter().zip(before).map(|(after, before)| after - before).collect()
    };
    let (by, wanted) = (moved(&found), moved(&expected));
    if length(&wanted) > 1e-5 * length(before) {
        let off = distance(&by, &wanted);
        assert!(off < 0.02, "{kind:?}: `{name}` moved by what is off by {off:e}");
    }
}

/// Options of a step of training with all that it may have.
fn training() -> Options {
    Options {
        optimizer: Optimizer {
            rule: Rule::Sgd { momentum: 0.9, nesterov: true },
            weight_decay: 0.05,
            ..Optimizer::default()
        },
        accumulate: true,
        average: true,
        ..Options::train(4, 0.1)
    }
}

#[test]
fn each_step_of_training_writes_what_the_cpu_writes() {
    for precision in [Precision::F32, Precision::Bf16] {
        for (arch, side) in [("resnet20", 16), ("preresnet20", 16), ("classic", 32)] {
            let options = Options { precision, ..training() };
            each_step(arch, Shape::new(3, side, side), 4, options);
        }
        let options = Options { precision, fuse: false, recompute: false, ..training() };
        each_step("resnet20:shortcut=B", Shape::new(3, 12, 20), 3, options);
    }
}

#[test]
fn each_step_of_large_networks_writes_what_the_cpu_writes() {
    for (arch, precision) in [
        ("resnet18", Precision::F32),
        ("resnet18", Precision::Bf16),
        ("resnext50_32x4d", Precision::F32),
    ] {
        let options = Options { precision, accumulate: false, average: false, ..training() };
        each_step(arch, Shape::new(3, 32, 32), 2, options);
    }
}

/// Kernels smaller and larger than their stride, windows that hang over, numbers that nothing
/// divides.
#[test]
fn each_step_of_unusual_shapes_writes_what_the_cpu_writes() {
    let conv = |c_out, kernel, stride, padding, groups| Op::Conv2d {
        c_out,
        kernel,
        stride,
        padding,
        groups,
        bias: true,
    };
    let max = |kernel, stride, padding| Op::MaxPool2d { kernel, stride, padding };
    let avg = |kernel, stride| Op::AvgPool2d(Window::Square { kernel, stride });
    let norm = Op::BatchNorm { eps: 1e-5, momentum: 0.1, zero_init: false };
    let layers = [
        vec![conv(6, 5, 3, 2, 3), max(3, 1, 1), conv(18, 1, 2, 0, 2), norm],
        vec![conv(10, 2, 3, 0, 1), Op::Relu, avg(2, 2), conv(7, 3, 1, 3, 1), norm, max(2, 2, 0)],
        vec![avg(3, 2), conv(70, 3, 2, 1, 1), norm, Op::Relu, conv(130, 1, 1, 0, 10)],
    ];
    for layers in layers {
        let mut graph = Graph::new(Shape::new(3, 23, 31));
        for (i, op) in layers.iter().enumerate() {
            let mut op = *op;
            // A later norm takes away what a bias adds, and leaves rounding of its gradient.
            if let Op::Conv2d { bias, .. } = &mut op {
                *bias = !layers[i..].contains(&norm);
            }
            graph.push(format!("layer{i}"), op, &[LayerId(i)]);
        }
        let last = graph.output();
        let last = graph.push("pool", Op::AvgPool2d(Window::Global), &[last]);
        graph.push("fc", Op::Linear { out: 5 }, &[last]);
        each_step_of(&graph, Options { batch: 3, ..training() });
        each_step_of(&graph, Options { fuse: false, ..Options::infer(3) });
    }
}

#[test]
fn each_step_of_inference_and_of_frozen_networks_writes_what_the_cpu_writes() {
    let shape = Shape::new(3, 16, 16);
    for precision in [Precision::F32, Precision::Bf16] {
        each_step("resnet20", shape, 3, Options { precision, ..Options::infer(3) });
        each_step("preresnet20", shape, 3, Options { precision, fuse: false, ..Options::infer(3) });
        let frozen = Frozen { layers: 0, norm: true };
        each_step("resnet20", shape, 3, Options { precision, frozen, ..training() });
    }
    let rule = Rule::Lars { momentum: 0.9, nesterov: false, trust: 0.02 };
    let optimizer = Optimizer { rule, ..training().optimizer };
    each_step("resnet20", shape, 3, Options { optimizer, ..training() });
}

/// Batch norms amplify what differs, so gradients are compared as those of the CPU and f64 are.
#[test]
fn a_step_of_training_comes_to_the_cpus_numbers() {
    let Some(gpu) = gpu() else { return };
    for (arch, side, seed) in agree::NETWORKS {
        let graph = graph(arch, Shape::new(3, side, side), agree::CLASSES);
        let options = Options { accumulate: true, average: true, ..agree::options() };
        let [found, expected] = [gpu.clone(), cpu()].map(|device| {
            agree::step(&mut agree::prepared(device.as_ref(), &graph, options, seed))
        });
        agree::assert_near(arch, &found, &expected);
    }
}

/// Losses of ten steps, and the bits of all parameters behind them.
fn ten_losses(device: &dyn Device) -> (Vec<f32>, Vec<u32>) {
    let graph = graph("resnet20", Shape::new(3, 16, 16), agree::CLASSES);
    let mut session = agree::prepared(device, &graph, agree::options(), 188);
    let mut losses = Vec::new();
    for _ in 0..10 {
        agree::feed(&mut session, 0, 1);
        session.forward().unwrap();
        losses.push(session.sum_of_losses().unwrap() as f32);
        session.backward().unwrap();
        session.update(exec::Rates { lr: 0.003, scale: 1.0, average: 0.0 }).unwrap();
    }
    let plan = session.plan().clone();
    let values = plan.params.iter().flat_map(|p| session.get(p.value).unwrap());
    (losses, values.map(f32::to_bits).collect())
}

#[test]
fn ten_steps_lose_what_they_do_on_the_cpu_and_have_the_same_bits_again() {
    let Some(gpu) = gpu() else { return };
    let (found, bits) = ten_losses(gpu.as_ref());
    let (expected, _) = ten_losses(cpu().as_ref());
    assert!(expected[9] < expected[0], "{expected:?}");
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-3 * expected.abs(), "{found} {expected}");
    }
    assert_eq!(ten_losses(gpu.as_ref()), (found, bits));
}

/// What is not finite is seen, wherever it is and however it is stored.
#[test]
fn numbers_that_are_not_finite_are_seen() {
    let Some(gpu) = gpu() else { return };
    let graph = graph("resnet8", Shape::new(3, 8, 8), 5);
    for precision in [Precision::F32, Precision::Bf16] {
        let plan = Plan::build(&graph, Options { precision, ..Options::train(2, 0.0) }).unwrap();
        let mut session = Session::new(gpu.as_ref(), plan).unwrap();
        let plan = session.plan().clone();
        let (input, space) = (plan.input, resnet::engine::step::Space::Grad);
        let mut x = numbers("x", plan.slots[input.0].len);
        session.write(input, &x).unwrap();
        assert!(session.is_finite(input).unwrap() && session.all_finite(space).unwrap());
        let last = x.len() - 1;
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            x[last] = bad;
            session.write(input, &x).unwrap();
            assert!(!session.is_finite(input).unwrap(), "{bad}");
        }
        let grad = plan.params.last().unwrap().training.as_ref().unwrap().grad;
        let mut values = vec![0.0; plan.slots[grad.0].len];
        *values.last_mut().unwrap() = f32::NAN;
        session.write(grad, &values).unwrap();
        assert!(!session.all_finite(space).unwrap());
        // The loss of what is not finite is none.
        let (mut target, weight) = (vec![0.0; 10], [1.0; 2]);
        (target[0], target[5]) = (1.0, 1.0);
        session.feed(&x, Target { target: &target, weight: &weight, total: 2.0 }).unwrap();
        session.forward().unwrap();
        assert!(session.sum_of_losses().unwrap().is_nan());
    }
}

#[test]
fn weights_that_are_shared_stay_as_they_are() {
    let Some(gpu) = gpu() else { return };
    let graph = graph("resnet8", Shape::new(3, 8, 8), 5);
    let mut first =
        Session::to_run(gpu.as_ref(), Plan::build(&graph, Options::infer(2)).unwrap()).unwrap();
    model::initialise(&mut first, &graph, 1).unwrap();
    let x = numbers("x", first.plan().slots[first.plan().input.0].len);
    let mut logits = [vec![0.0; 10], vec![0.0; 5]];
    first.infer(&x, &mut logits[0]).unwrap();
    let one = Arc::new(Plan::build(&graph, Options::infer(1)).unwrap());
    let mut fork = first.fork(Some(one)).unwrap();
    fork.infer(&x[..x.len() / 2], &mut logits[1]).unwrap();
    assert!(distance(&logits[1], &logits[0][..5]) < 1e-5);
    let weight = first.plan().params[0].value;
    let values = first.get(weight).unwrap();
    assert!(matches!(first.write(weight, &values), Err(exec::ExecError::Shared)));
    drop(fork);
    first.write(weight, &values).unwrap();
}

/// Memory for maps of 64 KiB a picture, of as many layers, all of them kept.
fn maps(device: &dyn Device, layers: usize, batch: usize) -> Result<Session, exec::ExecError> {
    let mut graph = Graph::new(Shape::new(16, 32, 32));
    for layer in 0..layers {
        graph.push(format!("relu{layer}"), Op::Relu, &[LayerId(layer)]);
    }
    let options = Options { keep_all: true, ..Options::infer(batch) };
    Session::new(device, Plan::build(&graph, options).unwrap())
}

#[test]
fn arrays_that_are_too_long_are_refused_with_a_batch_that_fits() {
    let Some(gpu) = gpu() else { return };
    // Drivers let arrays be 128 MiB at least and a few GiB at most: 2^11 to 2^17 pictures.
    let refused = maps(gpu.as_ref(), 1, 1 << 18).err();
    let Some(exec::ExecError::Memory(memory)) = refused else { panic!("{refused:?}") };
    let fits = memory.fits.unwrap();
    assert!((2000..1 << 18).contains(&fits), "{memory}");
    assert!(memory.to_string().contains(&format!("batches of at most about {fits}")), "{memory}");
    maps(gpu.as_ref(), 1, fits.min(4096)).unwrap();
}

/// Software that takes memory when it is written to promises any amount of it.
#[test]
fn memory_that_is_not_there_is_refused() {
    let Some(gpu) = gpu() else { return };
    if !gpu.about().contains("SwiftShader") {
        return println!("skipped: {} promises memory that is not there", gpu.about());
    }
    let refused = maps(gpu.as_ref(), 200, 12_000).err();
    let Some(exec::ExecError::Memory(memory)) = refused else { panic!("{refused:?}") };
    assert!(memory.fits.is_some_and(|fits| fits < 12_000), "{memory}");
}
/// A device whose pieces of memory are of a block, as all have, takes the largest networks.
#[test]
fn slots_of_large_networks_are_in_one_block_each() {
    let graph = graph("resnet152", Shape::new(3, 224, 224), 1000);
    for recompute in [true, false] {
        let options = Options { recompute, ..Options::train(256, 0.0) };
        let plan = Plan::build(&graph, options).unwrap();
        assert!(plan.len() > 20 * BLOCK);
        let activations = (plan.slots.iter().enumerate())
            .filter(|(_, slot)| slot.space == resnet::engine::step::Space::Activation)
            .map(|(id, _)| plan.range(SlotId(id)));
        for range in activations.filter(|range| !range.is_empty()) {
            assert_eq!(range.start / BLOCK, (range.end - 1) / BLOCK, "{range:?}");
        }
    }
}
