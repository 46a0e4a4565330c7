//! Whole networks through plan and session: gradients, fusion, memory, threads, learning.

mod support;

use std::collections::HashSet;

use resnet::base::rng::Rng;
use resnet::engine::exec::{self, ExecError, Rates, Session};
use resnet::engine::graph::Shape;
use resnet::engine::plan::{Optimizer, Options, Plan};
use resnet::engine::step::{Precision, Rule, SlotId, Space, Step, StepKind};
use resnet::model;
use resnet::net::Arch;

/// Networks that between them use every operation and every shape of block.
const NETWORKS: &[&str] = &[
    "classic",
    "plain20",
    "resnet20",
    "resnet20:shortcut=B",
    "resnet20:norm=none",
    "resnet20:zero_init=true",
    "preresnet20",
    "preresnet20:block=bottleneck",
    "resnet18:stem=cifar",
    "resnet50:stem=cifar",
    "resnext50_32x4d:stem=cifar",
];

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

/// A plan that trains, with maps stored in `precision`.
fn train(batch: usize, label_smoothing: f32, precision: Precision) -> Options {
    Options { precision, ..Options::train(batch, label_smoothing) }
}

const SHAPE: Shape = Shape::new(3, 16, 16);
const CLASSES: usize = 5;
const BATCH: usize = 4;

struct Run {
    session: Session,
    images: Vec<f32>,
    labels: Vec<u32>,
}

impl Run {
    fn new(arch: &str, options: Options, threads: usize) -> Run {
        let graph = Arch::parse(arch).unwrap().graph(SHAPE, CLASSES).unwrap();
        let plan = Plan::build(&graph, options).unwrap();
        let mut session = Session::new(exec::cpu(threads).unwrap().as_ref(), plan).unwrap();
        model::initialise(&mut session, &graph, 3).unwrap();
        let mut rng = Rng::new(5, &[]);
        let images = (0..options.batch * SHAPE.len()).map(|_| rng.normal() as f32).collect();
        let labels = (0..options.batch).map(|i| (i % CLASSES) as u32).collect();
        Run { session, images, labels }
    }

    /// One step of training without the update; returns the mean loss.
    fn gradients(&mut self) -> f64 {
        support::feed(&mut self.session, &self.images, &self.labels);
        self.session.forward().unwrap();
        self.session.backward().unwrap();
        self.session.sum_of_losses().unwrap() / self.labels.len() as f64
    }

    fn update(&mut self) {
        self.session.update(Rates { lr: 0.05, scale: 1.0, average: 0.0 }).unwrap();
    }

    fn all_gradients(&self) -> Vec<(String, Vec<f32>)> {
        let params = self.session.plan().params.iter();
        let trained = params.filter_map(|p| Some((p, p.training.as_ref()?.grad)));
        trained
            .map(|(p, grad)| (p.name.clone(), model::read(&self.session, &p.param, grad).unwrap()))
            .collect()
    }
}

/// SGD with momentum 0.9.
fn sgd(weight_decay: f32, nesterov: bool) -> Optimizer {
    let rule = Rule::Sgd { momentum: 0.9, nesterov };
    Optimizer { rule, weight_decay, ..Optimizer::default() }
}

fn length(x: impl Iterator<Item = f64>) -> f64 {
    x.map(|v| v * v).sum::<f64>().sqrt()
}

/// Along a random direction the loss changes as the gradient says.
#[test]
fn gradients_agree_with_differences() {
    // A zero branch adds exactly 0 to what a ReLU has cut off: the kink of the next ReLU, where
    // differences are no judge.
    for arch in NETWORKS.iter().filter(|arch| !arch.contains("zero_init")) {
        let mut run = Run::new(arch, Options::train(BATCH, 0.1), 2);
        run.gradients();
        let plan = run.session.plan().clone();
        let params = plan.params.iter();
        let slots: Vec<_> =
            params.filter_map(|p| Some((p.value, p.training.as_ref()?.grad))).collect();
        let mut rng = Rng::new(11, &[]);
        let mut predicted = 0.0;
        let mut step = Vec::new();
        let get = |slot| run.session.get(slot).unwrap();
        let total = length(slots.iter().flat_map(|(_, g)| get(*g)).map(f64::from));
        for (value, grad) in &slots {
            // Half along the gradient, half at random, so that the change stands out from rounding.
            let grad = get(*grad);
            let scale = length(grad.iter().map(|&g| f64::from(g))) / (grad.len() as f64).sqrt();
            let direction: Vec<f64> =
                grad.iter().map(|&g| (f64::from(g) + scale * rng.normal()) / total).collect();
            predicted += direction.iter().zip(&grad).map(|(d, &g)| d * f64::from(g)).sum::<f64>();
            step.push((*value, direction, get(*value)));
        }
        let mut loss_at = |h: f64| {
            for (slot, direction, start) in &step {
                let moved: Vec<f32> = start
                    .iter()
                    .zip(direction)
                    .map(|(&w, d)| (f64::from(w) + h * d) as f32)
                    .collect();
                run.session.write(*slot, &moved).unwrap();
            }
            run.gradients()
        };
        // A kink of a ReLU between the two points spoils one step width, not all of them.
        let errors: Vec<f64> = [1e-3, 3e-4, 1e-4, 3e-5, 1e-5]
            .iter()
            .map(|&h| ((loss_at(h) - loss_at(-h)) / (2.0 * h) - predicted).abs() / predicted.abs())
            .collect();
        let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(best < 3e-2, "{arch}: relative errors {errors:?} of {predicted}");
    }
}

#[test]
fn fused_and_unfused_agree() {
    for arch in NETWORKS {
        let fused = Options::train(BATCH, 0.0);
        let unfused = Options { fuse: false, keep_all: true, ..fused };
        let (mut a, mut b) = (Run::new(arch, fused, 2), Run::new(arch, unfused, 2));
        assert!(a.session.plan().steps.len() <= b.session.plan().steps.len());
        let (x, y) = (a.gradients(), b.gradients());
        assert!((x - y).abs() < 1e-6 * y.abs(), "{arch}: loss {x} fused, {y} unfused");
        for ((name, g), (_, h)) in a.all_gradients().iter().zip(&b.all_gradients()) {
            let off = length(g.iter().zip(h).map(|(g, h)| f64::from(g - h)));
            let size = length(h.iter().map(|&h| f64::from(h)));
            assert!(off <= 2e-4 * size + 1e-7, "{arch}: d {name} differs by {off} of {size}");
        }
    }
}

#[test]
fn norms_computed_again_give_the_same_bits_in_less_memory() {
    // Maps of 16 MiB, in chains.
    let large = [("resnet20", 1024, Precision::F32), ("resnet20", 2048, Precision::Bf16)];
    let small =
        NETWORKS.iter().flat_map(|&arch| PRECISIONS.map(|precision| (arch, BATCH, precision)));
    for (in_chains, (arch, batch, precision)) in
        small.map(|case| (false, case)).chain(large.map(|case| (true, case)))
    {
        let again = train(batch, 0.0, precision);
        let kept = Options { recompute: false, ..again };
        let (mut a, mut b) = (Run::new(arch, again, 2), Run::new(arch, kept, 2));
        assert_eq!(a.gradients().to_bits(), b.gradients().to_bits(), "{arch}");
        for ((name, g), (_, h)) in a.all_gradients().iter().zip(&b.all_gradients()) {
            let same = g.iter().zip(h).all(|(g, h)| g.to_bits() == h.to_bits());
            assert!(same, "{arch}: d {name}");
        }
        let plan = a.session.plan();
        let is_again = |step: &&Step| matches!(step.kind, StepKind::NormAgain(_));
        let slots = |of: fn(&Step) -> &Vec<SlotId>| -> HashSet<SlotId> {
            let steps = plan.steps.iter().filter(is_again);
            steps.flat_map(of).copied().collect()
        };
        let chained = !slots(|s| &s.reads).is_disjoint(&slots(|s| &s.writes));
        assert_eq!(chained, in_chains, "{arch}");
        let memory = |run: &Run| run.session.plan().region(Space::Activation).len() as f64;
        let share = memory(&a) / memory(&b);
        let has_norms =
            a.session.plan().steps.iter().any(|step| matches!(step.kind, StepKind::Norm(_)));
        let most = if has_norms { 0.9 } else { 1.0 };
        assert!(share <= most, "{arch}: {share} of the memory");
    }
}

/// Half the memory for maps, and gradients that point where those of f32 do. Depth amplifies any
/// rounding while weights are random, so deep branches start at zero here.
#[test]
fn bf16_is_near_f32_in_half_the_memory() {
    for arch in [
        "classic",
        "resnet20",
        "resnet20:norm=none",
        "preresnet20",
        "resnet18:stem=cifar,zero_init=true",
        "resnet50:stem=cifar,zero_init=true",
        "resnext50_32x4d:stem=cifar,zero_init=true",
    ] {
        let [mut f32, mut bf16] = PRECISIONS.map(|p| Run::new(arch, train(16, 0.1, p), 2));
        let (exact, found) = (f32.gradients(), bf16.gradients());
        assert!(
            (exact - found).abs() < 0.02 * exact,
            "{arch}: loss {found} in bf16, {exact} in f32"
        );
        let flat = |run: &Run| -> Vec<f64> {
            let all = run.all_gradients();
            all.iter().flat_map(|(_, g)| g).map(|&g| f64::from(g)).collect()
        };
        let (g, h) = (flat(&f32), flat(&bf16));
        let along = g.iter().zip(&h).map(|(g, h)| g * h).sum::<f64>();
        let cosine = along / (length(g.into_iter()) * length(h.into_iter()));
        assert!(cosine > 0.93, "{arch}: cosine {cosine}");
        let memory = |run: &Run| run.session.plan().region(Space::Activation).len() as f64;
        let share = memory(&bf16) / memory(&f32);
        assert!(share < 0.55, "{arch}: {share} of the memory");
    }
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let archs = ["resnet20", "preresnet20", "resnext50_32x4d", "classic"];
    for (arch, precision) in archs.iter().flat_map(|arch| PRECISIONS.map(|p| (arch, p))) {
        let weights_after = |threads| {
            let optimizer = sgd(1e-4, true);
            let options = Options { optimizer, ..train(BATCH, 0.1, precision) };
            let mut run = Run::new(arch, options, threads);
            for _ in 0..3 {
                run.gradients();
                run.update();
            }
            let bits = |space| -> Vec<u32> {
                let plan = run.session.plan();
                let of_space = plan.params.iter().filter(|p| plan.slots[p.value.0].space == space);
                let values = of_space.flat_map(|p| run.session.get(p.value).unwrap());
                values.map(f32::to_bits).collect()
            };
            (bits(Space::Param), bits(Space::State))
        };
        let one = weights_after(1);
        for threads in [2, 3, 7] {
            assert!(
                weights_after(threads) == one,
                "{arch}, {precision}: {threads} threads give other bits than 1"
            );
        }
    }
}

#[test]
fn a_network_learns_32_images_by_heart() {
    let archs = ["resnet20", "plain20", "preresnet20"];
    for (arch, precision) in archs.iter().flat_map(|arch| PRECISIONS.map(|p| (arch, p))) {
        let options = Options { optimizer: sgd(0.0, false), ..train(32, 0.0, precision) };
        let mut run = Run::new(arch, options, 2);
        let first = run.gradients();
        let mut last = first;
        for _ in 0..60 {
            run.update();
            last = run.gradients();
        }
        assert!(first > 1.0 && last < 0.05, "{arch}, {precision}: loss from {first} to {last}");
    }
}

/// Weights that only their kernels have give the same logits, also when they are written again, and
/// cannot be read back.
#[test]
fn weights_that_were_taken_give_the_same_logits() {
    for (arch, precision) in NETWORKS.iter().flat_map(|arch| PRECISIONS.map(|p| (arch, p))) {
        let options = Options { precision, ..Options::infer(2) };
        let logits = |mut run: Run| {
            let graph = Arch::parse(arch).unwrap().graph(SHAPE, CLASSES).unwrap();
            let mut all = Vec::new();
            for seed in [3, 4] {
                model::initialise(&mut run.session, &graph, seed).unwrap();
                all.push(infer(&mut run.session, &run.images));
            }
            assert_ne!(all[0], all[1], "{arch}");
            all
        };
        let kept = logits(Run::new(arch, options, 2));
        let mut taking = Run::new(arch, options, 2);
        taking.session = to_run(&taking.session);
        assert_eq!(logits(taking), kept, "{arch}, {precision}");
    }
}

/// Another session for the same plan, which only runs.
fn to_run(session: &Session) -> Session {
    Session::to_run(exec::cpu(2).unwrap().as_ref(), session.plan().clone()).unwrap()
}

/// Logits of images.
fn infer(session: &mut Session, images: &[f32]) -> Vec<f32> {
    let mut logits = vec![0.0; session.plan().options.batch * CLASSES];
    session.infer(images, &mut logits).unwrap();
    logits
}

#[test]
fn weights_that_were_taken_cannot_be_read() {
    let run = to_run(&Run::new("resnet8", Options::infer(1), 1).session);
    let conv = &run.plan().params[0];
    let refused = |read: Result<f64, ExecError>| {
        assert_eq!(read, Err(ExecError::NotKept(conv.name.clone())));
    };
    refused(run.get(conv.value).map(|values| f64::from(values[0])));
    refused(run.norm(conv.value));
    refused(run.is_finite(conv.value).map(f64::from));
    refused(run.all_finite(Space::Param).map(f64::from));
    assert_eq!(run.all_finite(Space::State), Ok(true));
    refused(model::read(&run, &conv.param, conv.value).map(|values| f64::from(values[0])));
    let mut other = Run::new("resnet8", Options::infer(1), 1).session;
    refused(model::copy(&run, &mut other, false).map(|()| 0.0));
    // What no kernel lays out is kept.
    let gamma = run.plan().params.iter().find(|p| p.name == "bn1.weight").unwrap();
    assert_eq!(run.get(gamma.value).unwrap().len(), gamma.param.len());
}

#[test]
fn inference_takes_new_weights() {
    let optimizer = sgd(1e-4, true);
    let mut run = Run::new("resnet20", Options { optimizer, ..Options::train(8, 0.0) }, 2);
    let mut used = Run::new("resnet20", Options::infer(8), 2);
    let mut before = Vec::new();
    for _ in 0..2 {
        run.gradients();
        run.update();
        let logits = |session: &mut Session| {
            model::copy(&run.session, session, false).unwrap();
            infer(session, &run.images)
        };
        let found = logits(&mut used.session);
        let fresh = logits(&mut Run::new("resnet20", Options::infer(8), 2).session);
        assert_eq!(found, fresh, "weights of before were used");
        assert_ne!(found, before);
        before = found;
    }
}

#[test]
fn inference_uses_running_statistics_row_by_row() {
    let graph = Arch::parse("resnet20").unwrap().graph(SHAPE, CLASSES).unwrap();
    let mut trained = Run::new("resnet20", Options::train(8, 0.0), 2);
    trained.gradients();
    let images = &trained.images;
    let logits = |batch: usize, images: &[f32]| {
        let plan = Plan::build(&graph, Options::infer(batch)).unwrap();
        let mut session = Session::new(exec::cpu(2).unwrap().as_ref(), plan).unwrap();
        model::copy(&trained.session, &mut session, false).unwrap();
        let images = images.chunks(batch * SHAPE.len());
        images.flat_map(|images| infer(&mut session, images)).collect::<Vec<f32>>()
    };
    let mut turned = images.clone();
    turned.rotate_left(SHAPE.len());
    let mut expected = logits(8, images);
    expected.rotate_left(CLASSES);
    assert_eq!(
        logits(8, &turned),
        expected,
        "an image's logits depend on what else is in the batch"
    );
    // Larger batches may take other kernels, which round differently.
    expected.rotate_right(CLASSES);
    let largest = expected.iter().fold(0f32, |a, b| a.max(b.abs()));
    for (one, eight) in logits(1, images).iter().zip(&expected) {
        assert!((one - eight).abs() < 1e-5 * largest, "{one} and {eight}");
    }
}
