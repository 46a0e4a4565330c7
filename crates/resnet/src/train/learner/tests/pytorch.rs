//! Steps over a batch in shards, against PyTorch's in f64.

use serde::Deserialize;

use super::*;
use crate::data::Memory;
use fixture::{Digests, assert_close, compare_all};

#[allow(dead_code)]
#[path = "../../../../tests/pytorch/fixture.rs"]
mod fixture;
#[allow(dead_code)]
#[path = "../../../../tests/pytorch/hashed.rs"]
mod hashed;

/// Relative, of tensors and losses.
const TOLERANCE: f64 = 1e-4;
/// The same of how far something moved: a difference of numbers that are near each other in f32.
const MOVED_TOLERANCE: f64 = 1e-3;

#[derive(Deserialize)]
struct LargeBatch {
    arch: String,
    salt: u32,
    side: usize,
    classes: usize,
    shards: ShardedSteps,
}

#[derive(Deserialize)]
struct ShardedSteps {
    sgd: Sgd,
    shards: usize,
    batch: usize,
    steps: Vec<Want>,
}

#[derive(Deserialize)]
struct Sgd {
    lr: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
}

#[derive(Deserialize)]
struct Want {
    loss: f64,
    gradients: Digests,
    moved: Digests,
    buffers: Digests,
}

/// A task of the fixture's network; its pictures only give batches their size.
fn sharded(want: &LargeBatch) -> Task {
    let LargeBatch { side, classes, shards: ShardedSteps { sgd, shards, batch, .. }, .. } = want;
    let count = 4 * batch;
    let pixels = (0..count * side * side * 3).map(|i| (i * 7 % 251) as u8).collect();
    let labels = (0..count).map(|i| (i % classes) as u32).collect();
    let names = (0..*classes).map(|class| class.to_string()).collect();
    let data = Memory::new("sizes", Shape::new(3, *side, *side), pixels, labels, names).unwrap();
    let changes = [
        ("arch", want.arch.clone()),
        ("batch", batch.to_string()),
        ("shards", shards.to_string()),
        ("steps", "3".into()),
        ("precision", "f32".into()),
        ("momentum", sgd.momentum.to_string()),
        ("nesterov", sgd.nesterov.to_string()),
        ("weight_decay", sgd.weight_decay.to_string()),
    ];
    let changes: Vec<_> = changes.into_iter().map(|(key, value)| (key.into(), value)).collect();
    let recipe = Recipe::load("default", &changes).unwrap();
    let device = resnet_engine::exec::cpu(2).unwrap();
    Task::of_data(recipe, Arc::new(data), None, None, device).unwrap()
}

#[test]
fn shards_of_one_process_are_pytorchs_accumulated_gradients() {
    let want: LargeBatch = fixture::load("large_batch");
    let prefix = format!("{}/{}/", want.arch, want.salt);
    let task = sharded(&want);
    let calendar = task.recipe.calendar(task.train.len() as u64).unwrap();
    let mut learner = Learner::new(&task, calendar.phases()[0]).unwrap();
    let start = |p: &ParamSlots| hashed::parameter(&prefix, &p.name, &p.param.dims);
    let plan = learner.session.plan().clone();
    for p in &plan.params {
        model::write(&mut learner.session, &p.param, p.value, &start(p)).unwrap();
    }
    let ShardedSteps { sgd, shards, batch, steps } = &want.shards;
    let (each, pixels) = (batch / shards, want.side * want.side * 3);
    for (step, want_step) in steps.iter().enumerate() {
        let (x, labels) = hashed::batch(&prefix, step, *batch, want.side, want.classes);
        // The batches of the loader, with other pictures in them.
        let batches = learner.loader.epoch(step as u64, 0).enumerate().map(|(shard, own)| {
            let mut own = own?;
            own.x.copy_from_slice(&x[shard * each * pixels..][..each * pixels]);
            own.labels.copy_from_slice(&labels[shard * each..][..each]);
            own.target.fill(0.0);
            for (row, &label) in own.target.chunks_exact_mut(want.classes).zip(&own.labels) {
                row[label as usize] = 1.0;
            }
            Ok(own)
        });
        let batches: Vec<_> = batches.take(*shards).collect();
        let mut batches = batches.into_iter();
        let gradient = learner.gradient(&mut batches, false, &mut |_| Ok(())).unwrap().unwrap();
        assert_eq!(gradient.images, *batch as u64);
        let what = |what: &str| format!("{what} of step {step}");
        assert_close(&what("loss"), &[gradient.loss], &[want_step.loss], TOLERANCE);
        let session = &learner.session;
        let read = |p: &ParamSlots, slot: SlotId| -> Vec<f64> {
            let values = model::read(session, &p.param, slot).unwrap();
            values.into_iter().map(f64::from).collect()
        };
        let trained = || plan.params.iter().filter_map(|p| Some((p, p.training.as_ref()?)));
        let gradients = trained().map(|(p, t)| (p.name.clone(), read(p, t.grad))).collect();
        compare_all(&what("gradients"), gradients, &want_step.gradients, TOLERANCE);
        let state = plan.params.iter().filter(|p| p.training.is_none());
        let statistics = state.map(|p| (p.name.clone(), read(p, p.value))).collect();
        compare_all(&what("statistics"), statistics, &want_step.buffers, TOLERANCE);
        learner.update(&gradient, &task.recipe, sgd.lr, step as u64).unwrap();
        let session = &learner.session;
        let moved = trained().map(|(p, _)| {
            let now = model::read(session, &p.param, p.value).unwrap();
            let moved = now.iter().zip(start(p)).map(|(w, start)| f64::from(w - start));
            (p.name.clone(), moved.collect())
        });
        compare_all(&what("way"), moved.collect(), &want_step.moved, MOVED_TOLERANCE);
    }
}
