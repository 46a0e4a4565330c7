//! How a run goes on that was killed or stopped at an awkward moment, or has another budget since.

#[path = "support/runs.rs"]
mod runs;

use std::fs;
use std::path::{Path, PathBuf};

use resnet::model::Model;
use resnet::train::event::Event;
use resnet::train::{self, Flow, Observer, Tick, Trainer};
use runs::{Folder, pictures};

/// Fifty pictures by ten: five steps an epoch.
fn trainer<'a>(base: Trainer<'a>, changes: &[(&str, &str)]) -> Trainer<'a> {
    let trainer =
        base.data(pictures("train", [25, 15, 10])).evaluate_on(pictures("eval", [9, 9, 9]));
    changes.iter().fold(trainer, |trainer, (key, value)| trainer.set(key, value))
}

fn new<'a>(changes: &[(&str, &str)]) -> Trainer<'a> {
    let fixed = [
        ("batch", "10"),
        ("precision", "f32"),
        // Bits are those of one device.
        ("device", "cpu"),
        ("schedule.kind", "constant"),
        ("warmup", "0it"),
        ("lr", "0.05"),
    ];
    trainer(Trainer::new("resnet8"), &[&fixed, changes].concat())
}

fn resume<'a>(run: &Path, changes: &[(&str, &str)]) -> Trainer<'a> {
    trainer(Trainer::resume(run), changes)
}

/// Stops after a step, or in the first evaluation behind the run's last.
#[derive(Default)]
struct Stop {
    after: Option<u64>,
    at_the_end: bool,
    measured: u64,
    total: u64,
}

impl Observer for Stop {
    fn event(&mut self, event: &Event) {
        if let Event::Evaluated(evaluated) = event {
            self.measured = evaluated.step;
        }
    }

    fn tick(&mut self, tick: &Tick) -> Flow {
        self.total = tick.total;
        if self.after == Some(tick.step) { Flow::Stop } else { Flow::Go }
    }

    fn evaluating(&mut self, _: u64, _: u64) -> Flow {
        let over = self.total > 0 && self.measured == self.total;
        if self.at_the_end && over { Flow::Stop } else { Flow::Go }
    }
}

fn stopped(trainer: Trainer<'static>, after: u64) {
    let stop = Box::leak(Box::new(Stop { after: Some(after), ..Stop::default() }));
    let trained = trainer.observer(stop).run().unwrap();
    assert!(trained.interrupted() && trained.ended.steps == after);
}

/// Copies a run's directory in the middle of a step: what a kill leaves there.
struct Kill {
    at: u64,
    run: PathBuf,
    left: PathBuf,
}

impl Observer for Kill {
    fn event(&mut self, _: &Event) {}

    fn tick(&mut self, tick: &Tick) -> Flow {
        if tick.step == self.at {
            copy(&self.run, &self.left);
        }
        Flow::Go
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.unwrap().path(), to);
        let to = to.join(entry.file_name().unwrap());
        match entry.is_dir() {
            true => copy(&entry, &to),
            false => _ = fs::copy(&entry, to).unwrap(),
        }
    }
}

/// Trains, and returns what a kill in step `at` leaves.
fn killed(folder: &Folder, at: u64, changes: &[(&str, &str)]) -> PathBuf {
    let (run, left) = (folder.path("alive"), folder.path("killed"));
    let mut kill = Kill { at, run: run.clone(), left: left.clone() };
    new(changes).out(&run).observer(&mut kill).run().unwrap();
    left
}

fn events(run: &Path) -> Vec<Event> {
    train::event::read(&run.join(train::EVENTS)).unwrap()
}

/// The steps that the log says the run is to have, in order.
fn budgets(run: &Path) -> Vec<u64> {
    let started = events(run).into_iter().filter_map(|event| match event {
        Event::RunStarted(started) => Some(started.steps),
        _ => None,
    });
    started.collect()
}

fn progress(checkpoint: &Path) -> serde_json::Value {
    let model = Model::load(checkpoint).unwrap();
    serde_json::from_str(&model.tensors.metadata["progress"]).unwrap()
}

fn tensors(run: &Path) -> Vec<(String, resnet_formats::Array)> {
    let model = Model::load(&run.join(train::MODEL)).unwrap();
    model.tensors.entries.into_iter().collect()
}

#[test]
fn what_is_changed_before_the_first_checkpoint_stays_changed() {
    let folder = Folder::new();
    let run = killed(&folder, 2, &[("epochs", "3")]);
    assert!(!run.join(train::LAST).exists());
    stopped(resume(&run, &[("epochs", "6")]), 7);
    assert_eq!(resume(&run, &[]).run().unwrap().ended.steps, 30);
}

#[test]
fn another_device_may_go_on_with_a_run() {
    let folder = Folder::new();
    let run = folder.path("run");
    stopped(new(&[("epochs", "2")]).out(&run), 3);
    let config = |run: &Path| fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config(&run).contains("device = \"cpu\"\n"), "{}", config(&run));
    assert_eq!(resume(&run, &[("device", "auto")]).run().unwrap().ended.steps, 10);
    assert!(config(&run).contains("device = \"auto\"\n"), "{}", config(&run));
    // A model says nothing of the machine that it was trained on.
    let model = Model::load(&run.join(train::MODEL)).unwrap();
    assert!(model.tensors.metadata["recipe"].contains("device = \"auto\"\n"));
    let wrong = resume(&run, &[("train.device", "quantum")]).run().err().unwrap().to_string();
    assert!(wrong.contains("train.device") && wrong.contains("`gpu:NUMBER`"), "{wrong}");
}

#[test]
fn a_freeze_that_is_over_does_not_come_back_with_more_epochs() {
    let folder = Folder::new();
    let whole = folder.path("whole");
    let common = [("keep", "last"), ("ema", "0.5")];
    new(&[&common[..], &[("epochs", "4"), ("freeze", "6it")]].concat()).out(&whole).run().unwrap();
    // 60 % of 10 steps are over, 60 % of 20 are not.
    let short = [&common[..], &[("epochs", "2"), ("freeze", "60%")]].concat();
    for known in [true, false] {
        let run = folder.path(if known { "known" } else { "unknown" });
        new(&short).out(&run).run().unwrap();
        if !known {
            // Other checkpoints do not say what was trained; their recipe does.
            let last = run.join(train::LAST);
            let mut model = Model::load(&last).unwrap();
            let mut before = progress(&last);
            assert_eq!(before.as_object_mut().unwrap().remove("frozen"), Some(false.into()));
            model.tensors.metadata.insert("progress".into(), before.to_string());
            model.save(&last).unwrap();
        }
        stopped(resume(&run, &[("epochs", "4")]), 11);
        resume(&run, &[]).run().unwrap();
        assert!(tensors(&run) == tensors(&whole), "other weights than with the same freeze");
    }
}

#[test]
fn a_freeze_that_fewer_epochs_have_ended_ends_when_the_run_goes_on() {
    let folder = Folder::new();
    let (run, whole) = (folder.path("run"), folder.path("whole"));
    let common = [("keep", "last"), ("ema", "0.5")];
    new(&[&common[..], &[("epochs", "3"), ("freeze", "11it")]].concat()).out(&whole).run().unwrap();
    // The thaw would be at step 12, and is at step 9 of the shorter run, which is past.
    stopped(new(&[&common[..], &[("epochs", "4"), ("freeze", "60%")]].concat()).out(&run), 11);
    resume(&run, &[("epochs", "3")]).run().unwrap();
    assert!(tensors(&run) == tensors(&whole), "other weights than with the same freeze");
    let told = |event: &Event| {
        matches!(event, Event::Entered { message, .. }
            if message == "all layers are trained from step 12 on")
    };
    assert!(events(&run).iter().any(told), "{:?}", events(&run));
}

#[test]
fn the_best_checkpoint_is_never_of_a_step_still_to_come() {
    let folder = Folder::new();
    // The first evaluation is the best by then, and no checkpoint is due.
    let run = killed(&folder, 7, &[("epochs", "4"), ("checkpoint_every", "3ep"), ("keep", "best")]);
    let (last, best) = (run.join(train::LAST), run.join(train::BEST));
    assert_eq!((&progress(&best)["step"], &progress(&last)["step"]), (&5.into(), &5.into()));
    // A kill between the two leaves the best one missing, or the one before it.
    let weights = fs::read(&best).unwrap();
    fs::remove_file(&best).unwrap();
    stopped(resume(&run, &[]), 6);
    assert_eq!(progress(&best)["step"], 5);
    let conv1 = |path: &Path| Model::load(path).unwrap().tensors.get("conv1.weight").cloned();
    let again = conv1(&best);
    fs::write(&best, weights).unwrap();
    assert!(again.is_some() && again == conv1(&best));
    assert!(conv1(&last) != conv1(&best), "a step changes weights");
}

#[test]
fn a_best_checkpoint_of_another_step_is_told_of_and_not_left() {
    let folder = Folder::new();
    let run = folder.path("run");
    let spoiled = [("epochs", "8"), ("phase", r#"[{from="75%", lr=60}]"#), ("keep", "best")];
    let trained = new(&spoiled).out(&run).run().unwrap();
    assert!(trained.ended.kept_step.is_some(), "the run must get worse at its end");
    fs::copy(run.join(train::LAST), run.join(train::BEST)).unwrap();
    let ended = resume(&run, &[]).run().unwrap().ended;
    assert_eq!((ended.kept_step, ended.stopped), (None, None));
    let told = |event: &Event| matches!(event, Event::Warned { message, .. } if message.contains("is of step 40"));
    assert!(events(&run).iter().any(told));
}

#[test]
fn the_log_of_a_run_that_goes_on_tells_its_new_budget_once() {
    let folder = Folder::new();
    let run = folder.path("run");
    new(&[("epochs", "2")]).out(&run).run().unwrap();
    assert!(!train::is_unfinished(&run));
    resume(&run, &[]).run().unwrap();
    assert_eq!(budgets(&run), [10]);
    stopped(resume(&run, &[("epochs", "4")]), 12);
    assert!(train::is_unfinished(&run), "its model is of step 10");
    stopped(resume(&run, &[]), 13);
    resume(&run, &[]).run().unwrap();
    assert_eq!(budgets(&run), [10, 20]);
    assert!(!train::is_unfinished(&run));
    assert!(!train::is_unfinished(&folder.path("nothing")));
}

#[test]
fn a_run_that_is_stopped_while_its_best_model_is_measured_ends_later_with_the_same() {
    let folder = Folder::new();
    let (run, whole) = (folder.path("run"), folder.path("whole"));
    let spoiled = [("epochs", "8"), ("phase", r#"[{from="75%", lr=60}]"#), ("keep", "best")];
    new(&spoiled).out(&whole).run().unwrap();
    let mut stop = Stop { at_the_end: true, ..Stop::default() };
    let trained = new(&spoiled).out(&run).observer(&mut stop).run().unwrap();
    assert!(trained.interrupted() && trained.ended.steps == 40);
    assert!(!run.join(train::MODEL).exists());
    resume(&run, &[]).run().unwrap();
    let model = |run: &Path| fs::read(run.join(train::MODEL)).unwrap();
    assert!(model(&run) == model(&whole), "another model");
}

/// Asks for a stop from outside, once, and remembers what was told meanwhile.
struct Ask {
    run: PathBuf,
    asked_after: Option<u64>,
    running: Option<bool>,
    heard: u32,
}

impl Observer for Ask {
    fn event(&mut self, _: &Event) {}

    fn tick(&mut self, tick: &Tick) -> Flow {
        if self.asked_after == Some(tick.step) {
            self.running = train::is_running(&self.run);
            train::ask_to_stop(&self.run).unwrap();
        }
        Flow::Go
    }

    fn asked_to_stop(&mut self) {
        self.heard += 1;
    }
}

#[test]
fn a_run_that_is_asked_to_stop_saves_and_forgets_that_it_was_asked() {
    let folder = Folder::new();
    let run = folder.path("run");
    let mut ask = Ask { run: run.clone(), asked_after: Some(2), running: None, heard: 0 };
    // Hours, if nobody looked.
    let trained = new(&[("steps", "1000000")]).out(&run).observer(&mut ask).run().unwrap();
    let steps = trained.ended.steps;
    assert!(trained.interrupted() && (2..1_000_000).contains(&steps), "{steps} steps");
    assert_eq!((ask.running, ask.heard), (Some(true), 1));
    assert_eq!(train::is_running(&run), Some(false));
    assert!(!train::is_asked_to_stop(&run) && run.join(train::LAST).exists());

    // What was asked of an earlier part of the run, or of one that had ended, is forgotten.
    train::ask_to_stop(&run).unwrap();
    stopped(resume(&run, &[]), steps + 1);
    assert!(!train::is_asked_to_stop(&run));
    let ended = folder.path("ended");
    fs::create_dir(&ended).unwrap();
    train::ask_to_stop(&ended).unwrap();
    assert!(!new(&[("steps", "3")]).out(&ended).run().unwrap().interrupted());
    assert!(!train::is_asked_to_stop(&ended));
    assert_eq!(train::is_running(&folder.path("nothing")), Some(false));
}

/// The log, without times and without `saved`, which a kill just after a checkpoint loses.
fn timeless(run: &Path) -> Vec<Event> {
    let events = events(run).into_iter().filter(|event| !matches!(event, Event::Saved { .. }));
    let timeless = events.map(|event| match event {
        Event::RunStarted(event) => {
            Event::RunStarted(Box::new(train::event::RunStarted { out: String::new(), ..*event }))
        }
        Event::Step(event) => {
            Event::Step(train::event::Step { images_per_s: 0.0, wait: 0.0, ..event })
        }
        Event::Evaluated(event) => {
            Event::Evaluated(train::event::Evaluated { seconds: 0.0, ..event })
        }
        Event::RunEnded(event) => {
            Event::RunEnded(train::event::RunEnded { seconds: 0.0, model: None, ..event })
        }
        other => other,
    });
    timeless.collect()
}

#[test]
fn what_a_few_pictures_are_taken_for_is_told_at_each_evaluation_of_the_same_ones() {
    let folder = Folder::new();
    let (run, whole) = (folder.path("run"), folder.path("whole"));
    let changes = [("epochs", "4"), ("checkpoint_every", "3it")];
    new(&changes).out(&whole).run().unwrap();
    let told: Vec<_> = events(&whole)
        .into_iter()
        .filter_map(|event| match event {
            Event::Predicted(predicted) => Some(predicted),
            _ => None,
        })
        .collect();
    assert_eq!(told.iter().map(|told| told.step).collect::<Vec<_>>(), [5, 10, 15, 20]);
    // Of 27 pictures sorted by class.
    let expected = [(1, "dark"), (6, "dark"), (9, "grey"), (12, "grey"), (16, "grey")];
    let expected = [&expected[..], &[(19, "light"), (22, "light"), (26, "light")]].concat();
    for told in &told {
        let found: Vec<_> = told.pictures.iter().map(|p| (p.index, p.label.as_str())).collect();
        assert_eq!(found, expected);
        for (place, picture) in told.pictures.iter().enumerate() {
            let sum: f64 = picture.top.iter().map(|(_, p)| p).sum();
            assert_eq!((picture.place, picture.top.len()), (place, 3));
            assert!((sum - 1.0).abs() < 2e-4, "{picture:?}");
            assert!(picture.top.is_sorted_by(|a, b| a.1 >= b.1), "{picture:?}");
        }
    }
    // Killed once and stopped once, the run leaves the same.
    fs::rename(killed(&folder, 12, &changes), &run).unwrap();
    let pictures = fs::read(whole.join(train::PICTURES)).unwrap();
    fs::remove_file(run.join(train::PICTURES)).unwrap();
    stopped(resume(&run, &[]), 17);
    resume(&run, &[]).run().unwrap();
    assert_eq!(timeless(&run), timeless(&whole));
    assert!(fs::read(run.join(train::PICTURES)).unwrap() == pictures);
}

#[test]
fn a_budget_that_would_move_what_was_done_is_refused() {
    let folder = Folder::new();
    let changes = [("epochs", "4"), ("phase", r#"[{from="50%", batch=20}]"#)];
    let run = killed(&folder, 13, &changes);
    let config = fs::read(run.join(train::CONFIG)).unwrap();
    let error = resume(&run, &[("epochs", "12")]).run().err().unwrap();
    assert!(error.is_usage() && error.to_string().contains("another phase"), "{error}");
    assert!(fs::read(run.join(train::CONFIG)).unwrap() == config, "nothing has changed");
    let ended = resume(&run, &[]).run().unwrap().ended;
    assert_eq!(ended.steps, 14);
}

#[test]
fn a_resume_that_is_refused_changes_nothing() {
    let folder = Folder::new();
    let run = killed(&folder, 7, &[("epochs", "4")]);
    let config = fs::read(run.join(train::CONFIG)).unwrap();
    let log = run.join(train::EVENTS);
    let whole = fs::read(&log).unwrap();
    fs::remove_file(&log).unwrap();
    let error = resume(&run, &[("epochs", "6")]).run().err().unwrap().to_string();
    assert!(error.contains("events.jsonl") && error.contains("has a checkpoint"), "{error}");
    assert!(fs::read(run.join(train::CONFIG)).unwrap() == config);
    fs::write(&log, whole).unwrap();
    assert_eq!(resume(&run, &[]).run().unwrap().ended.steps, 20);
}

#[cfg(unix)]
#[test]
fn what_the_system_refuses_is_not_absent() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let run = killed(&folder, 7, &[("epochs", "4")]);
    let checkpoints = run.join("checkpoints");
    let allow = |mode| fs::set_permissions(&checkpoints, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o000);
    // Root may enter all the same.
    let refused = fs::metadata(run.join(train::LAST)).is_err();
    let log = fs::read(run.join(train::EVENTS)).unwrap();
    let found = resume(&run, &[]).run();
    allow(0o755);
    if refused {
        let error = found.err().unwrap().to_string();
        assert!(error.contains("cannot read") && error.contains("last.safetensors"), "{error}");
        assert!(fs::read(run.join(train::EVENTS)).unwrap() == log, "the log is as it was");
    }
}
