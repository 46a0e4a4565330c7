//! A trained network learns other classes: what is frozen stays, what is stopped goes on bit for
//! bit, and the average of the weights is what is kept.

#[path = "support/runs.rs"]
#[allow(dead_code, reason = "its pictures in memory are for others")]
mod runs;

use std::fs;
use std::path::{Path, PathBuf};

use resnet::base::rng::Rng;
use resnet::model::Model;
use resnet::train::event::{Event, RunEnded};
use resnet::train::finetune::{Finetune, RECIPE};
use resnet::train::recipe::Recipe;
use resnet::train::{self, Flow, Observer, Tick, Trainer};

use runs::Folder;

/// Photos of three classes that differ in brightness, many of the first and few of the last.
fn photos(folder: &Folder) -> String {
    let mut rng = Rng::new(2, &[]);
    for (split, counts) in [("train", [24, 12, 6]), ("val", [6, 6, 6])] {
        for (class, (name, count)) in ["dark", "grey", "light"].iter().zip(counts).enumerate() {
            let folder = folder.path("photos").join(split).join(name);
            fs::create_dir_all(&folder).unwrap();
            for i in 0..count {
                let (width, height) = (20 + i % 3, 18);
                let pixel = |_: u32, _: u32| {
                    let v = (30 + 90 * class + rng.below(30)) as u8;
                    image::Rgb([v, v, v / 2])
                };
                let picture = image::RgbImage::from_fn(width, height, pixel);
                picture.save(folder.join(format!("{i}.png"))).unwrap();
            }
        }
    }
    folder.path("photos").to_str().unwrap().to_string()
}

/// A model that has learned a little of something else.
fn base(folder: &Folder) -> PathBuf {
    let recipe =
        recipe("default", &["arch=resnet8", "steps=8", "batch=16", "data.val_fraction=0.1"]);
    train(recipe, &folder.path("base"));
    folder.path("base").join(train::MODEL)
}

fn changes(texts: &[&str]) -> Vec<(String, String)> {
    let split = |text: &&str| {
        let (key, value) = text.split_once('=').unwrap();
        (key.to_string(), value.to_string())
    };
    texts.iter().map(split).collect()
}

fn recipe(name: &str, texts: &[&str]) -> Recipe {
    Recipe::load(name, &changes(texts)).unwrap()
}

fn prepare(model: &Path, data: &str, texts: &[&str]) -> Finetune {
    let loaded = Model::load(model).unwrap();
    Finetune::prepare(model, &loaded, data, RECIPE, &changes(texts)).unwrap()
}

fn train(recipe: Recipe, out: &Path) -> RunEnded {
    Trainer::of(recipe).out(out).run().unwrap().ended
}

/// Stops after some steps, and remembers what happened.
#[derive(Default)]
struct Watch {
    stop: Option<u64>,
    events: Vec<Event>,
}

impl Observer for Watch {
    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }

    fn tick(&mut self, tick: &Tick) -> Flow {
        if self.stop == Some(tick.step) { Flow::Stop } else { Flow::Go }
    }
}

/// Everything that training can do to a batch and to weights, in two phases.
const EVERYTHING: &[&str] = &[
    "epochs=4",
    "batch=6",
    "freeze=50%",
    "freeze_norm=false",
    "mixup=0.4",
    "class_weights=balanced",
    "sampling=balanced",
    "ema=0.8",
    "checkpoint_every=1ep",
];

#[test]
fn a_stopped_run_goes_on_bit_for_bit_before_at_and_after_the_thaw() {
    let folder = Folder::new();
    let (data, base) = (photos(&folder), base(&folder));
    let run = |name: &str, stop: Option<u64>, threads: &str| {
        let threads = format!("threads={threads}");
        let texts = [EVERYTHING, &[&threads]].concat();
        let mut watch = Watch { stop, ..Watch::default() };
        let job = prepare(&base, &data, &texts);
        let trainer = Trainer::of(job.recipe).out(folder.path(name));
        let ended = trainer.observer(&mut watch).run().unwrap().ended;
        assert_eq!(ended.stopped.is_some(), stop.is_some());
        (ended, watch.events)
    };
    let (ended, events) = run("whole", None, "2");
    let total = ended.steps;
    assert_eq!(total, 28, "42 photos, 7 steps an epoch");
    let thawed = |e: &Event| matches!(e, Event::Entered { message, step: 15 } if message.contains("all layers"));
    assert!(events.iter().any(thawed), "{events:?}");
    let read = |name: &str| fs::read(folder.path(name).join(train::MODEL)).unwrap();
    let whole = read("whole");
    let (_, _) = run("one", None, "1");
    assert!(read("one") == whole, "1 thread gives other bits than 2");
    for stop in [1, 13, 14, 15, 27] {
        let name = format!("stop{stop}");
        run(&name, Some(stop), "2");
        // The model it started from is not needed any more.
        let hidden = folder.path("hidden");
        fs::rename(&base, &hidden).unwrap();
        let resumed = Trainer::resume(folder.path(&name)).set("threads", 3).run();
        let ended = resumed.unwrap().ended;
        fs::rename(&hidden, &base).unwrap();
        assert_eq!(ended.steps, total);
        assert!(read(&name) == whole, "stopped after step {stop}, it ends with other bits");
    }
}

#[test]
fn what_is_frozen_stays_and_the_head_learns() {
    let folder = Folder::new();
    let (data, base) = (photos(&folder), base(&folder));
    let before = Model::load(&base).unwrap();
    let cases: [(&str, &[&str]); 2] = [
        ("frozen", &["freeze=100%", "ema=0.5", "epochs=12"]),
        ("no-rate", &["freeze=0it", "freeze_norm=true", "backbone_lr=0", "ema=0", "epochs=12"]),
    ];
    for (name, texts) in cases {
        let job = prepare(&base, &data, texts);
        let ended = train(job.recipe, &folder.path(name));
        assert!(ended.top1.unwrap() > 0.9, "{name}: {ended:?}");
        let after = Model::load(&folder.path(name).join(train::MODEL)).unwrap();
        assert_eq!(after.classes, ["dark", "grey", "light"]);
        assert_eq!(after.preprocess.shape, before.preprocess.shape);
        assert_eq!(after.preprocess.normalize, before.preprocess.normalize);
        for (tensor, array) in &before.tensors.entries {
            let same = after.tensors.get(tensor) == Some(array);
            assert_eq!(same, !tensor.starts_with("fc."), "{name}: {tensor}");
        }
        assert_eq!(after.tensors.get("fc.weight").unwrap().shape()[0], 3);
    }
}

#[test]
fn checkpoints_hold_the_average_under_plain_names() {
    let folder = Folder::new();
    let (data, base) = (photos(&folder), base(&folder));
    let job = prepare(&base, &data, &["epochs=2", "ema=0.9", "freeze=50%", "keep=last"]);
    train(job.recipe, &folder.path("run"));
    let model = Model::load(&folder.path("run").join(train::MODEL)).unwrap();
    let last = Model::load(&folder.path("run").join(train::LAST)).unwrap();
    for name in ["fc.weight", "conv1.weight", "bn1.running_mean"] {
        let average = last.tensors.get(name);
        assert_eq!(average, model.tensors.get(name), "{name}");
        let raw = last.tensors.get(&format!("optimizer.weight.{name}"));
        let frozen = name.starts_with("bn1"); // by freeze_norm, as the data is small
        assert_eq!(raw == average, frozen, "{name}");
    }
}

#[test]
fn the_same_classes_keep_their_head() {
    let folder = Folder::new();
    let (data, base) = (photos(&folder), base(&folder));
    let first = prepare(&base, &data, &["epochs=10", "freeze=100%"]);
    train(first.recipe, &folder.path("first"));
    let model = folder.path("first").join(train::MODEL);
    let again = prepare(&model, &data, &["epochs=1"]);
    assert!(again.recipe.train.freeze.is_zero());
    let ended = train(again.recipe, &folder.path("again"));
    assert!(ended.top1.unwrap() > 0.9, "{ended:?}");
}

#[test]
fn choices_follow_the_data_and_give_way_to_changes() {
    let folder = Folder::new();
    let (data, base) = (photos(&folder), base(&folder));
    let photos = Path::new(&data);
    fs::copy(photos.join("train/grey/1.png"), photos.join("val/grey/leak.png")).unwrap();
    let chosen = prepare(&base, &data, &[]);
    let recipe = &chosen.recipe;
    assert_eq!((recipe.train.batch, recipe.train.epochs), (4, Some(11)));
    assert_eq!(recipe.train.class_weights, resnet::train::recipe::ClassWeights::Balanced);
    assert!(recipe.train.freeze_norm && recipe.train.ema > 0.9);
    assert_eq!(recipe.model.arch, "resnet8");
    assert_eq!(recipe.model.start, base.to_str().unwrap());
    let notes = chosen.notes();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("more than one split") && notes[0].contains("leak.png"), "{notes:?}");
    assert!(notes[1].contains("`light`: 6, the largest 24"), "{notes:?}");
    let given = prepare(&base, &data, &["steps=9", "batch=8", "freeze=2it", "ema=0"]).recipe;
    assert_eq!((given.train.steps, given.train.epochs, given.train.batch), (Some(9), None, 8));
    assert_eq!(given.train.ema, 0.0);
    let calendar = given.calendar(42).unwrap();
    let phases: Vec<_> = calendar.phases().iter().map(|phase| (phase.from, phase.freeze)).collect();
    assert_eq!(phases, [(0, true), (2, false)]);

    let missing = recipe_error(&base, "no-such-folder");
    assert!(missing.contains("no-such-folder"), "{missing}");
}

fn recipe_error(model: &Path, data: &str) -> String {
    let loaded = Model::load(model).unwrap();
    let prepared = Finetune::prepare(model, &loaded, data, RECIPE, &[]);
    prepared.expect_err("there is no such data").to_string()
}

/// Looks for the page of a run at every step.
struct Reader {
    report: PathBuf,
    /// What each step found.
    found: Vec<Option<String>>,
}

impl Observer for Reader {
    fn event(&mut self, _: &Event) {}

    fn tick(&mut self, _: &Tick) -> Flow {
        self.found.push(fs::read_to_string(&self.report).ok());
        Flow::Go
    }
}

#[test]
fn a_report_exists_while_a_run_goes_on() {
    let folder = Folder::new();
    let (data, base) = (photos(&folder), base(&folder));
    let job = prepare(&base, &data, &["epochs=2", "batch=14", "eval_every=1ep"]);
    let out = folder.path("run");
    let mut reader = Reader { report: out.join(train::REPORT), found: Vec::new() };
    Trainer::of(job.recipe).out(&out).observer(&mut reader).run().unwrap();
    let found = &reader.found;
    assert_eq!(found.len(), 6, "42 photos, 3 steps an epoch");
    assert!(found[..3].iter().all(Option::is_none));
    for text in &found[3..] {
        let text = text.as_ref().expect("the first evaluation writes it");
        assert!(text.contains("Running: 3 of 6"), "it says that the run goes on");
    }
    let last = fs::read_to_string(&reader.report).unwrap();
    assert!(last.contains("Finished: 2 epochs") && !last.contains("Running"));
}

#[test]
fn very_few_pictures_train_the_last_layer_alone_at_a_rate_for_their_batch() {
    let folder = Folder::new();
    let (data, base) = (photos(&folder), base(&folder));
    let recipe = prepare(&base, &data, &[]).recipe;
    assert_eq!((recipe.train.batch, recipe.optimizer.lr), (4, 0.0025));
    let phases = recipe.calendar(42).unwrap().phases().to_vec();
    assert!(phases[0].freeze, "{phases:?}");
    assert_eq!(phases.last().unwrap().from, recipe.calendar(42).unwrap().total(), "{phases:?}");
    let given = prepare(&base, &data, &["batch=8", "freeze=50%"]).recipe;
    assert_eq!((given.train.batch, given.optimizer.lr), (8, 0.005));
    let given = prepare(&base, &data, &["lr=0.02"]).recipe;
    assert_eq!((given.train.batch, given.optimizer.lr), (4, 0.02));
}
