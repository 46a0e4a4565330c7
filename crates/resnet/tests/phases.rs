//! Runs whose images, batches, rates and frozen layers change on the way: each phase does what it
//! says, and a run that is stopped anywhere ends with the bits of one that never was.

#[path = "support/runs.rs"]
mod runs;

use std::fs;
use std::path::Path;

use resnet::model::Model;
use resnet::train::event::{Event, RunEnded};
use resnet::train::{self, Flow, Observer, Tick, TrainError, Trainer};
use runs::{Folder, pictures};

/// A recipe's changes.
type Changes = [(&'static str, &'static str)];

/// A run of fifty pictures by ten, so five steps an epoch, or the rest of one.
fn trainer<'a>(base: Trainer<'a>, changes: &Changes) -> Trainer<'a> {
    let trainer =
        base.data(pictures("train", [25, 15, 10])).evaluate_on(pictures("eval", [4, 4, 4]));
    changes.iter().fold(trainer, |trainer, (key, value)| trainer.set(key, value))
}

fn new<'a>(network: &str, changes: &Changes) -> Trainer<'a> {
    let fixed = Trainer::new(network).set("batch", 10).set("precision", "f32").set("workers", 1);
    trainer(fixed, changes)
}

/// Stops after some steps, or in the evaluation behind some step, and remembers what happened.
#[derive(Default)]
struct Watch {
    stop: Option<u64>,
    stop_evaluating: Option<u64>,
    events: Vec<Event>,
    ticks: Vec<Tick>,
}

impl Watch {
    /// The rate of each step.
    fn rates(&self) -> Vec<f64> {
        let steps = self.events.iter().filter_map(|event| match event {
            Event::Step(step) => Some(step.lr),
            _ => None,
        });
        steps.collect()
    }
}

impl Observer for Watch {
    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }

    fn tick(&mut self, tick: &Tick) -> Flow {
        self.ticks.push(*tick);
        if self.stop == Some(tick.step) { Flow::Stop } else { Flow::Go }
    }

    fn evaluating(&mut self, done: u64, of: u64) -> Flow {
        assert!(done <= of);
        let step = self.ticks.last().map(|tick| tick.step);
        let stop = self.stop_evaluating.is_some() && self.stop_evaluating == step;
        if stop { Flow::Stop } else { Flow::Go }
    }
}

/// A run in memory.
fn watched(network: &str, changes: &Changes) -> Watch {
    let mut watch = Watch::default();
    new(network, changes).observer(&mut watch).run().unwrap();
    watch
}

/// What a run's log says at which step, times apart.
fn told(run: &Path) -> Vec<String> {
    let events = resnet::train::event::read(&run.join(train::EVENTS)).unwrap();
    let line = |event: Event| match event {
        Event::Step(step) => {
            Some(format!("{}: {} {} {}", step.step, step.loss, step.top1, step.lr))
        }
        Event::Evaluated(seen) => Some(format!("{}: {} {}", seen.step, seen.loss, seen.train_loss)),
        Event::Monitored(seen) => Some(format!("{}: {:?}", seen.step, seen.measurement)),
        Event::Entered { message, step } => Some(format!("{step}: {message}")),
        _ => None,
    };
    events.into_iter().filter_map(line).collect()
}

/// Stops a run after each of these steps and resumes it with another number of threads: it must
/// end with the bits of the run that was never stopped, and have told the same.
fn goes_on(changes: &Changes, total: u64, stops: &[u64]) {
    let folder = Folder::new();
    let model = |name: &str| fs::read(folder.path(name).join(train::MODEL)).unwrap();
    let finished = |ended: &RunEnded| assert_eq!((ended.steps, &ended.stopped), (total, &None));
    let whole = new("resnet8", changes).set("threads", 2).out(folder.path("whole")).run().unwrap();
    finished(&whole.ended);
    let after_steps =
        stops.iter().map(|&step| (step, Watch { stop: Some(step), ..Watch::default() }));
    let evaluated =
        [5, total].map(|step| (step, Watch { stop_evaluating: Some(step), ..Watch::default() }));
    let evaluated = evaluated.into_iter().filter(|(step, _)| {
        let events = resnet::train::event::read(&folder.path("whole").join(train::EVENTS)).unwrap();
        events.iter().any(|event| matches!(event, Event::Evaluated(seen) if seen.step == *step))
    });
    for (number, (stop, mut watch)) in after_steps.chain(evaluated).enumerate() {
        let name = format!("stop{number}");
        let run = new("resnet8", changes).set("threads", 2).out(folder.path(&name));
        let stopped = run.observer(&mut watch).run().unwrap();
        assert!(stopped.interrupted() && stopped.ended.steps == stop);
        let resumed = trainer(Trainer::resume(folder.path(&name)), &[]).set("threads", 1);
        finished(&resumed.run().unwrap().ended);
        assert!(model(&name) == model("whole"), "{changes:?}: other bits after a stop at {stop}");
        assert_eq!(told(&folder.path(&name)), told(&folder.path("whole")), "stop at {stop}");
    }
}

const SIDES: &Changes =
    &[("epochs", "4"), ("phase", r#"[{from="0it", side=8}, {from="50%", side=12, lr=0.5}]"#)];

#[test]
fn a_run_of_two_image_sizes_goes_on_bit_for_bit() {
    goes_on(SIDES, 20, &[1, 9, 10, 11, 19]);
}

#[test]
fn a_run_of_two_batch_sizes_goes_on_bit_for_bit() {
    let batches =
        [("epochs", "4"), ("phase", r#"[{from="1ep", batch=5}, {from="75%", batch=25}]"#)];
    goes_on(&batches, 5 + 20 + 2, &[4, 5, 6, 24, 25, 26]);
}

#[test]
fn a_run_that_sums_batches_goes_on_bit_for_bit() {
    let sums = [("accumulate", "2"), ("epochs", "4"), ("class_weights", "balanced")];
    goes_on(&sums, 8, &[1, 2, 3, 7]);
}

#[test]
fn a_run_with_a_frozen_start_and_averaged_weights_goes_on_bit_for_bit() {
    let changes = [("freeze", "40%"), ("ema", "0.8"), ("epochs", "4")];
    goes_on(&changes, 20, &[1, 7, 8, 9, 19]);
}

/// What is frozen again keeps its average moving, and what it was is thawed with.
#[test]
fn a_run_that_freezes_twice_goes_on_bit_for_bit() {
    let phases = r#"[{from="0it", freeze=true}, {from="6it", freeze=false},
        {from="11it", freeze=true, lr=2}, {from="14it", freeze=false}]"#;
    let changes = [("ema", "0.9"), ("epochs", "4"), ("phase", phases)];
    goes_on(&changes, 20, &[5, 6, 10, 11, 13, 14, 15]);
}

#[test]
fn a_run_with_everything_goes_on_bit_for_bit() {
    let phases = r#"[{from="0it", side=8, freeze=true}, {from="3it", freeze=false},
        {from="2ep", side=12, batch=5, lr=0.5}, {from="90%", freeze=true}]"#;
    let changes = [
        ("accumulate", "2"),
        ("epochs", "5"),
        ("phase", phases),
        ("ema", "0.7"),
        ("mixup", "0.4"),
        ("class_weights", "balanced"),
        ("sampling", "balanced"),
        ("label_smoothing", "0.1"),
        ("stage_lr", "0.5"),
        ("monitor_every", "3it"),
        ("precision", "bf16"),
    ];
    // Two steps an epoch, then five.
    goes_on(&changes, 4 + 15, &[2, 3, 4, 5, 16, 17, 18]);
}

#[test]
fn a_phase_trains_on_images_of_its_size() {
    let watch = watched("resnet8", SIDES);
    let told = watch.events.iter().filter_map(|event| match event {
        Event::Entered { message, step } => Some((*step, message.as_str())),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let expected = "images are 12 x 12 pixels, the learning rate is multiplied by 0.5 from step \
                    11 on";
    assert_eq!(told, [(11, expected)]);
    // The same run in small images alone parts from it with the phase, and not before.
    let small = watched("resnet8", &[("epochs", "4"), ("phase", r#"[{from="0it", side=8}]"#)]);
    let losses = |watch: &Watch| watch.ticks.iter().map(|t| t.loss).collect::<Vec<_>>();
    assert_eq!(losses(&watch)[..10], losses(&small)[..10]);
    assert_ne!(losses(&watch)[10], losses(&small)[10]);
    let own = watched("resnet8", &[("epochs", "4")]);
    assert_ne!(losses(&watch)[0], losses(&own)[0]);
}

#[test]
fn a_phase_multiplies_the_rate_and_sets_the_batch() {
    let phases = r#"[{from="3it", lr=0.1}, {from="2ep", batch=25, lr=3}]"#;
    let watch = watched("resnet8", &[("epochs", "4"), ("phase", phases), ("warmup", "0it")]);
    let images: Vec<usize> = watch.ticks.iter().map(|tick| tick.images).collect();
    assert_eq!(images, [vec![10; 10], vec![25; 4]].concat());
    let epochs: Vec<u64> = watch.ticks.iter().map(|tick| tick.epoch).collect();
    assert_eq!(epochs, [vec![1; 5], vec![2; 5], vec![3; 2], vec![4; 2]].concat());
    // The course goes on below the factors: half a cosine over all 14 steps.
    let cosine = |step: usize| 0.05 * (1.0 + (std::f64::consts::PI * step as f64 / 14.0).cos());
    let factor = |step: usize| {
        if step < 3 {
            1.0
        } else if step < 10 {
            0.1
        } else {
            3.0
        }
    };
    let rates = watch.rates();
    assert_eq!(rates.len(), 14);
    for (step, rate) in rates.iter().enumerate() {
        let expected = cosine(step) * factor(step);
        assert!((rate - expected).abs() < 1e-12, "step {step}: {rate}, expected {expected}");
    }
}

/// The backbone stays to the bit while it is frozen, at the end of a run too.
#[test]
fn a_phase_freezes_all_but_the_head() {
    let folder = Folder::new();
    let run = folder.path("run");
    let changes = [("epochs", "4"), ("phase", r#"[{from="12it", freeze=true}]"#)];
    let mut watch = Watch { stop: Some(5), ..Watch::default() };
    let first = new("resnet8", &changes).out(&run).observer(&mut watch).run();
    let start = first.unwrap().model;
    watch.stop = Some(12);
    let resumed = trainer(Trainer::resume(&run), &[]).observer(&mut watch).run();
    let before = resumed.unwrap().model;
    let after = trainer(Trainer::resume(&run), &[]).run().unwrap().model;
    let same = |a: &Model, b: &Model, name: &str| a.tensors.get(name) == b.tensors.get(name);
    for name in before.tensors.entries.keys() {
        assert_eq!(same(&before, &after, name), !name.starts_with("fc."), "{name}");
        assert!(!same(&start, &before, name), "{name}");
    }
}

/// Without batch norm and augmentation a step is the same by one batch or by several.
#[test]
fn a_sum_of_batches_is_a_batch_of_all() {
    let common = [("norm", "none"), ("init", "normal:0.05"), ("epochs", "3"), ("lr", "0.02")];
    for extra in [("class_weights", "none"), ("class_weights", "balanced")] {
        let run = |own: [(&'static str, &'static str); 2]| {
            watched("resnet8", &[common.as_slice(), &[extra], &own].concat())
        };
        let one = run([("batch", "10"), ("accumulate", "1")]);
        let two = run([("batch", "5"), ("accumulate", "2")]);
        let five = run([("batch", "2"), ("accumulate", "5")]);
        assert_eq!(one.ticks.len(), 15);
        for other in [&two, &five] {
            assert_eq!(other.ticks.len(), 15);
            for (a, b) in one.ticks.iter().zip(&other.ticks) {
                assert_eq!((a.step, a.epoch, a.images), (b.step, b.epoch, b.images));
                let off = (a.loss - b.loss).abs() / a.loss;
                assert!(off < 1e-4, "{extra:?}, step {}: {} and {}", a.step, a.loss, b.loss);
            }
        }
        let (first, last) = (one.ticks[0].loss, one.ticks[14].loss);
        assert!(last < 0.95 * first, "{extra:?}: the loss goes from {first} to {last}");
    }
}

/// A network that reads maps pixel by pixel has other weights for other images.
#[test]
fn a_phase_of_other_weights_is_refused() {
    let phases = ("phase", r#"[{from="1ep", side=16}]"#);
    let error = new("classic", &[("epochs", "2"), phases]).run().err().unwrap();
    assert!(matches!(error, TrainError::Phase { side: 16, .. }), "{error}");
    assert!(error.to_string().contains("16 x 16"), "{error}");
}
