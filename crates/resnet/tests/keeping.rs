//! What a run leaves, when it ends, and how it goes on after its end.

#[path = "support/runs.rs"]
mod runs;

use std::fs;
use std::path::Path;

use resnet::model::Model;
use resnet::train::event::{Evaluated, Event};
use resnet::train::{self, TrainError, Trained, Trainer};
use runs::{Folder, pictures};

fn trainer<'a>(base: Trainer<'a>) -> Trainer<'a> {
    base.data(pictures("train", [25, 15, 10])).evaluate_on(pictures("eval", [9, 9, 9]))
}

fn new<'a>(changes: &[(&str, &str)]) -> Trainer<'a> {
    let fixed = [
        ("batch", "10"),
        ("precision", "f32"),
        ("schedule.kind", "constant"),
        ("warmup", "0it"),
        ("lr", "0.05"),
    ];
    let fixed = fixed
        .iter()
        .chain(changes)
        .fold(Trainer::new("resnet8"), |trainer, (key, value)| trainer.set(key, value));
    trainer(fixed)
}

fn evaluations(run: &Path) -> Vec<Evaluated> {
    let events = train::event::read(&run.join(train::EVENTS)).unwrap();
    let evaluated = events.into_iter().filter_map(|event| match event {
        Event::Evaluated(evaluated) => Some(evaluated),
        _ => None,
    });
    evaluated.collect()
}

/// The first of the best evaluations.
fn best(run: &Path) -> Evaluated {
    let mut best: Option<Evaluated> = None;
    for evaluated in evaluations(run) {
        if best.as_ref().is_none_or(|best| evaluated.top1 > best.top1) {
            best = Some(evaluated);
        }
    }
    best.unwrap()
}

fn weights(model: &Model) -> &resnet_formats::Array {
    model.tensors.get("conv1.weight").unwrap()
}

/// Rates far too high in the end, which spoil what was learned.
const SPOILED: [(&str, &str); 2] = [("epochs", "8"), ("phase", r#"[{from="75%", lr=60}]"#)];

#[test]
fn the_model_is_that_of_the_best_evaluation() {
    let folder = Folder::new();
    let run = folder.path("best");
    let kept: Trained = new(&[&SPOILED[..], &[("keep", "auto")]].concat()).out(&run).run().unwrap();
    let best = best(&run);
    let last = evaluations(&run).pop().unwrap();
    assert!(best.top1 > last.top1, "the run must get worse at its end to show anything");
    assert_eq!(kept.ended.kept_step, Some(best.step));
    let page = fs::read_to_string(run.join(train::REPORT)).unwrap();
    let told = format!("at the best evaluation, after step {}", best.step);
    assert!(page.contains(&told), "the page says which weights these are");
    let saved = Model::load(&run.join(train::MODEL)).unwrap();
    let checkpoint = Model::load(&run.join(train::BEST)).unwrap();
    assert!(weights(&saved) == weights(&checkpoint));
    assert!(weights(&saved) == weights(&kept.model));
    assert!(!saved.tensors.entries.keys().any(|name| name.starts_with("optimizer.")));
    assert_eq!(kept.evaluation.as_ref().unwrap().value("top1"), best.top1);
    let metrics = &saved.tensors.metadata["metrics"];
    let metrics: serde_json::Value = serde_json::from_str(metrics).unwrap();
    assert_eq!(metrics["top1"], best.top1);

    // The same without a directory, and told otherwise.
    let memory = new(&[&SPOILED[..], &[("keep", "best")]].concat()).run().unwrap();
    assert!(weights(&memory.model) == weights(&saved));
    let other = new(&[&SPOILED[..], &[("keep", "last")]].concat()).run().unwrap();
    assert_eq!(other.ended.kept_step, None);
    assert_eq!(other.evaluation.unwrap().value("top1"), last.top1);
    assert!(weights(&other.model) != weights(&saved));
}

#[test]
fn a_best_model_that_is_lost_is_told_of_at_once_and_costs_nothing_else() {
    let folder = Folder::new();
    let run = folder.path("lost");
    let changes = [&SPOILED[..], &[("keep", "best")]].concat();
    new(&changes).out(&run).run().unwrap();
    let first = Model::load(&run.join(train::MODEL)).unwrap();
    fs::remove_file(run.join(train::BEST)).unwrap();
    let resumed = trainer(Trainer::resume(&run)).set("epochs", 9).run().unwrap();
    assert_eq!(resumed.ended.kept_step, None, "the last weights are left");
    let events = train::event::read(&run.join(train::EVENTS)).unwrap();
    let warned = events.iter().position(
        |e| matches!(e, Event::Warned { message, .. } if message.contains("restore it before")),
    );
    let later = events.iter().rposition(|e| matches!(e, Event::Step(_)));
    assert!(warned.is_some() && warned < later, "told before it trains: {warned:?} {later:?}");
    // What a best model says of its recipe is what the run goes by.
    let recipe = |model: &Model| model.tensors.metadata["recipe"].clone();
    assert!(recipe(&first).contains("epochs = 8"));
    let kept = folder.path("kept");
    new(&changes).out(&kept).run().unwrap();
    let resumed = trainer(Trainer::resume(&kept)).set("epochs", 9).run().unwrap();
    assert!(resumed.ended.kept_step.is_some());
    assert!(recipe(&Model::load(&kept.join(train::MODEL)).unwrap()).contains("epochs = 9"));
}

#[test]
fn a_run_ends_when_nothing_gets_better() {
    let folder = Folder::new();
    let run = folder.path("patient");
    let changes = [("epochs", "40"), ("patience", "3")];
    let ended = new(&changes).out(&run).run().unwrap().ended;
    assert_eq!((ended.patience_spent, &ended.stopped), (Some(3), &None));
    assert!(ended.steps < 200 && run.join(train::MODEL).is_file());
    let (best, last) = (best(&run), evaluations(&run).pop().unwrap());
    assert_eq!((last.step, last.epoch), (ended.steps, best.epoch + 3));
    // To go on means to have more patience.
    let same = trainer(Trainer::resume(&run)).run().unwrap().ended;
    assert_eq!(same.steps, ended.steps);
    let more = trainer(Trainer::resume(&run)).set("patience", 5).run().unwrap().ended;
    assert!(more.steps > ended.steps);
}

#[test]
fn a_finished_run_goes_on_with_more_epochs() {
    let folder = Folder::new();
    let (short, long) = (folder.path("short"), folder.path("long"));
    new(&[("epochs", "3"), ("keep", "last")]).out(&short).run().unwrap();
    let extended = trainer(Trainer::resume(&short)).set("epochs", 5).run().unwrap();
    // At a constant rate this is the run that had as many from the start.
    new(&[("epochs", "5"), ("keep", "last")]).out(&long).run().unwrap();
    let tensors = |run: &Path| Model::load(&run.join(train::MODEL)).unwrap().tensors.entries;
    assert!(tensors(&short) == tensors(&long), "other weights");
    assert_eq!((extended.ended.steps, evaluations(&short).len()), (25, 5));
    let config = fs::read_to_string(short.join(train::CONFIG)).unwrap();
    assert!(config.contains("epochs = 5"), "{config}");
    let error = trainer(Trainer::resume(&short)).set("epochs", 2).run().unwrap_err();
    assert!(error.to_string().contains("25 steps, more than its budget of 10"), "{error}");
    assert!(error.is_usage());
    assert_eq!(fs::read_to_string(short.join(train::CONFIG)).unwrap(), config);
}

#[test]
fn what_was_edited_since_is_named() {
    let folder = Folder::new();
    let run = folder.path("edited");
    new(&[("epochs", "2")]).out(&run).run().unwrap();
    let config = fs::read_to_string(run.join(train::CONFIG)).unwrap();
    let edits = [
        ("lr = 0.05", "lr = 0.2", "optimizer.lr"),
        ("seed = 1", "seed = 2", "train.seed"),
        ("batch = 10", "batch = 5", "train.batch"),
        ("flip = true", "flip = false", "augment.flip"),
        ("kind = \"constant\"", "kind = \"linear\"", "schedule.kind"),
        ("momentum = 0.9", "momentum = 0.8", "optimizer.momentum"),
        ("label_smoothing = 0.0", "label_smoothing = 0.1", "train.label_smoothing"),
    ];
    for (from, to, key) in edits {
        assert!(config.contains(from), "{from}");
        fs::write(run.join(train::CONFIG), config.replace(from, to)).unwrap();
        match trainer(Trainer::resume(&run)).run() {
            Err(error @ TrainError::Checkpoint { .. }) => {
                assert!(error.to_string().contains(&format!("`{key}` was")), "{error}");
            }
            other => panic!("{key}: {:?}", other.map(|trained| trained.ended)),
        }
    }
    fs::write(run.join(train::CONFIG), config).unwrap();
    let other = Trainer::resume(&run).data(pictures("train", [24, 16, 10]));
    let error = other.evaluate_on(pictures("eval", [9, 9, 9])).run().unwrap_err();
    assert!(error.to_string().contains("the data has changed"), "{error}");
}

#[test]
fn a_lost_table_is_made_again() {
    let folder = Folder::new();
    let run = folder.path("lost");
    new(&[("epochs", "2")]).out(&run).run().unwrap();
    let table = run.join("metrics.csv");
    let whole = fs::read_to_string(&table).unwrap();
    fs::remove_file(&table).unwrap();
    trainer(Trainer::resume(&run)).set("epochs", 3).run().unwrap();
    let again = fs::read_to_string(&table).unwrap();
    assert!(again.starts_with(&whole) && again.lines().count() == whole.lines().count() + 1);
}
