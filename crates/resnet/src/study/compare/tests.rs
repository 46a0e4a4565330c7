use std::fs;
use std::path::PathBuf;

use super::verdict::{about_length, findings};
use super::{Look, Outcome, Record, Request, State, Watch, groups, run, twins};
use crate::base::files::TestDir;
use crate::train::event::{self, Evaluated, Event, RunStarted};
use crate::train::recipe::Recipe;
use crate::train::task::{self, Task};
use crate::train::{CONFIG, EVENTS, Observer};

fn record(arch: &str, seed: u64, train_error: f64, changes: &[(&str, &str)]) -> Record {
    let mut all =
        vec![("model.arch".to_string(), arch.to_string()), ("train.seed".into(), seed.to_string())];
    all.extend(changes.iter().map(|(k, v)| (k.to_string(), v.to_string())));
    let recipe = Recipe::load("depth", &all).unwrap();
    let evaluated = Evaluated {
        epoch: 1,
        step: 200,
        split: "test".into(),
        count: 2000,
        top1: 0.5,
        top5: 0.9,
        loss: 1.5,
        train_loss: 1.0,
        train_top1: 1.0 - train_error,
        lr: 0.1,
        seconds: 10.0,
    };
    Record {
        directory: PathBuf::from(format!("{arch}-{seed}")),
        arch: task::network(&recipe).unwrap(),
        started: RunStarted {
            classes: 0,
            start: String::new(),
            pace: Vec::new(),
            arch: arch.into(),
            params: 1,
            macs: 2,
            data: "builtin".into(),
            train_images: 12_000,
            test_images: 2000,
            epochs: 2,
            steps: 200,
            batch: 64,
            seed,
            threads: 1,
            isa: "scalar".into(),
            precision: "f32".into(),
            precision_why: None,
            device: "cpu".into(),
            device_why: None,
            sizes: None,
            ranks: 1,
            carrier: String::new(),
            shards: 1,
            out: String::new(),
        },
        recipe,
        outcome: Outcome::Finished,
        split: "test".into(),
        train_error,
        train_count: 3200,
        test_error: 0.5,
        seconds: 10.0,
        steps: Vec::new(),
        evaluations: vec![evaluated],
        monitored: Vec::new(),
    }
}

#[test]
fn depths_become_twins() {
    assert_eq!(twins(&[20, 56]), ["plain20", "resnet20", "plain56", "resnet56"]);
}

#[test]
fn seeds_are_joined_and_recipes_kept_apart() {
    let records = [
        record("resnet20", 2, 0.2, &[]),
        record("plain20", 1, 0.3, &[]),
        record("resnet20", 1, 0.4, &[("train.threads", "1")]),
        record("resnet20", 1, 0.5, &[("optimizer.lr", "0.2")]),
    ];
    let groups = groups(&records);
    let labels: Vec<&str> = groups.iter().map(|g| g.label.as_str()).collect();
    assert_eq!(labels, ["plain20", "resnet20 (lr=0.05)", "resnet20 (lr=0.2)"]);
    let two = &groups[1];
    let seeds: Vec<u64> = two.runs.iter().map(|run| run.recipe.train.seed).collect();
    assert_eq!(seeds, [1, 2]);
    let error = two.train_error();
    assert!((error.mean - 0.3).abs() < 1e-12);
    assert!((error.deviation.unwrap() - 0.02f64.sqrt()).abs() < 1e-12);
    assert_eq!(groups[0].train_error().deviation, None);
}

#[test]
fn seeds_that_agree_by_chance_make_no_finding_of_a_few_pictures() {
    let of = |arch: &'static str, error: f64| [1, 2].map(|seed| record(arch, seed, error, &[]));
    let records = [of("plain20", 0.2), of("plain56", 0.2 + 2.0 / 12_000.0)].concat();
    let groups = groups(&records);
    let error = groups[0].train_error();
    assert_eq!(error.deviation, Some(0.0));
    // 2 x 3200 pictures, a fifth of them wrong.
    assert!((error.error - 0.005).abs() < 1e-12, "{error:?}");
    let found = findings(&groups);
    assert!(found[0].text.contains("beyond chance"), "{found:?}");
}

#[test]
fn conclusions_follow_from_the_numbers() {
    let told = |errors: [f64; 4]| {
        let names = ["plain20", "plain56", "resnet20", "resnet56"];
        let records: Vec<Record> =
            names.iter().zip(errors).map(|(n, e)| record(n, 1, e, &[])).collect();
        let found = findings(&groups(&records));
        found.into_iter().map(|f| (f.as_published, f.text)).collect::<Vec<_>>()
    };
    let as_published = told([0.2, 0.6, 0.2, 0.1]);
    assert_eq!(as_published.len(), 3);
    assert!(as_published.iter().all(|(yes, _)| *yes), "{as_published:?}");
    assert!(as_published[0].1.contains("plain56 ends at 60.0"), "{as_published:?}");
    let reversed = told([0.6, 0.2, 0.2, 0.3]);
    assert!(reversed.iter().all(|(yes, _)| !yes), "{reversed:?}");
    assert!(reversed[0].1.starts_with("No degradation here"));
    // What few steps give: no sentence may claim what another denies.
    let short = told([0.264, 0.768, 0.254, 0.372]);
    assert!(short[0].0 && short[0].1.starts_with("Degradation"), "{short:?}");
    assert!(
        !short[1].0 && short[1].1.starts_with("The shortcut repairs 77\u{a0}% of it"),
        "{short:?}"
    );
    let behind =
        "the deeper network is behind after so much training, by 11.8 points and not by 50.4";
    assert!(short[2].1.contains(behind), "{short:?}");
    let alone = told([0.3, 0.2, 0.1, 0.2]);
    assert!(alone[2].1.contains("behind after so much training. resnet56"), "{alone:?}");
    assert!(as_published[1].1.starts_with("The shortcut repairs it"), "{as_published:?}");
    let level = told([0.2, 0.201, 0.2, 0.2]);
    assert!(level.iter().all(|(yes, text)| !yes && text.contains("beyond chance")), "{level:?}");
}

#[test]
fn short_runs_say_what_they_cannot_show() {
    let mut records = ["plain20", "plain56"].map(|name| record(name, 1, 0.2, &[]));
    let text = about_length(&groups(&records)).expect("a short run").text;
    assert!(text.starts_with("These runs saw each picture about 1.1 times."), "{text}");
    assert_eq!(about_length(&groups(&records[..1])), None, "nothing is said about depth");
    records.iter_mut().for_each(|record| record.started.steps = 64_000);
    assert_eq!(about_length(&groups(&records)), None);
}

#[test]
fn a_log_whose_evaluations_go_back_is_refused() {
    let dir = TestDir::new("compare-order");
    let record = record("resnet20", 1, 0.2, &[]);
    fs::write(dir.0.join(CONFIG), record.recipe.to_toml()).unwrap();
    let evaluated = |step| Event::Evaluated(Evaluated { step, ..record.evaluations[0].clone() });
    let log = |steps: [u64; 2]| {
        let events = [
            Event::RunStarted(Box::new(RunStarted { batch: u64::MAX, ..record.started.clone() })),
            evaluated(steps[0]),
            evaluated(steps[1]),
            event::tests::ended(200),
        ];
        let lines = events.map(|event| serde_json::to_string(&event).unwrap() + "\n");
        fs::write(dir.0.join(EVENTS), lines.concat()).unwrap();
    };
    log([200, 100]);
    let error = Record::read(&dir.0).unwrap_err().to_string();
    assert!(error.contains("after 200 steps before one after 100"), "{error}");
    log([100, 200]);
    assert_eq!(Record::read(&dir.0).unwrap().train_count, u64::MAX, "as many as a number holds");
}

/// Was told to stop before anything began.
struct Stopped;

impl Watch for Stopped {
    fn run(&mut self, _: usize, _: usize, name: &str, _: State) {
        panic!("{name} begins");
    }

    fn tell(&mut self, _: &str) {}

    fn observer(&mut self) -> &mut dyn Observer {
        panic!("nothing is to be watched")
    }

    fn goes_on(&mut self) -> bool {
        false
    }
}

#[test]
fn a_comparison_that_is_told_to_stop_begins_nothing_more() {
    let dir = TestDir::new("compare-stop");
    let records = [record("resnet8", 1, 0.2, &[]), record("plain8", 1, 0.2, &[])];
    let recipe = records[0].recipe.clone();
    let request = Request {
        archs: vec!["resnet8".into()],
        seeds: 1,
        recipe: recipe.clone(),
        out: dir.0.join("out"),
        runs: Vec::new(),
        command: String::new(),
    };
    assert!(run(&request, &mut Stopped).unwrap().is_none());
    assert!(!request.out.exists());
    let task = Task::open(recipe).unwrap();
    let mut asked = 0;
    let look = Look::into(&task, &groups(&records), &mut || {
        asked += 1;
        false
    });
    assert!(look.unwrap().is_none() && asked == 1);
}

#[test]
fn a_diverged_run_is_named_and_left_out() {
    let mut bad = record("plain56", 1, f64::NAN, &[]);
    bad.outcome = Outcome::Diverged { step: 3, reason: "a loss".into() };
    let records = [record("plain20", 1, 0.2, &[]), bad];
    let found = findings(&groups(&records));
    assert_eq!(found.len(), 1);
    assert!(found[0].text.contains("plain56 diverged in 1 of 1 runs"));
}

#[test]
fn only_what_was_trained_alike_is_concluded_from() {
    let records = [
        record("plain20", 1, 0.2, &[]),
        record("plain56", 1, 0.6, &[("train.batch", "32")]),
        record("resnet56:norm=none", 1, 0.1, &[]),
        record("preresnet56", 1, 0.1, &[]),
    ];
    let found = findings(&groups(&records));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].text.contains("train.batch (64 and 32)"), "{found:?}");
    let records = [record("resnet20:residual=false", 1, 0.6, &[]), record("resnet20", 1, 0.2, &[])];
    assert!(findings(&groups(&records))[0].text.starts_with("The shortcut helps"));
}
