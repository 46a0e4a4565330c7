//! A new user's first pictures: few, of one class, evaluated again, looked at while a run goes on.

use crate::support::{Folder, png};

/// `photos/train` and `photos/val` with so many pictures of each of two classes.
fn photos(train: usize, val: usize) -> Folder {
    let folder = Folder::new();
    for (split, count) in [("train", train), ("val", val)] {
        for (class, grey) in [("dark", 20), ("light", 220)] {
            for i in 0..count {
                let picture = png(20, 20, grey + i as u8);
                folder.write(&format!("photos/{split}/{class}/{i}.png"), &picture);
            }
        }
    }
    folder
}

const TRAIN: [&str; 8] =
    ["train", "resnet8", "--data", "photos", "--epochs", "2", "--threads", "1"];

fn train(folder: &Folder, more: &[&str]) -> crate::support::Outcome {
    folder.run(&[&TRAIN[..], more].concat())
}

#[test]
fn a_batch_that_nobody_asked_for_follows_few_pictures() {
    let folder = photos(3, 1);
    let outcome = train(&folder, &["--out", "run"]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.err.contains("2 steps of 6"), "{}", outcome.err);
    let config = std::fs::read_to_string(folder.path("run/config.toml")).unwrap();
    assert!(config.contains("batch = 6"), "{config}");
    // One that was asked for is refused as before.
    let outcome = train(&folder, &["--out", "other", "--batch", "7"]);
    assert_eq!(outcome.code, 1, "{}", outcome.err);
    assert!(outcome.err.contains("batch of 6 or"), "{}", outcome.err);

    // Of four pictures two are held out.
    for i in 0..2 {
        folder.write(&format!("four/dark/{i}.png"), &png(20, 20, i));
        folder.write(&format!("four/light/{i}.png"), &png(20, 20, 200 + i));
    }
    let tune = "finetune run --data four --epochs 1 --out tuned --threads 1";
    folder.ok(&tune.split(' ').collect::<Vec<_>>());
}

#[test]
fn few_pictures_suggest_a_trained_network_in_a_line() {
    let folder = photos(3, 1);
    let outcome = train(&folder, &["--out", "run"]);
    let line = "this starts from a trained network: resnet finetune resnet50 --data photos";
    assert!(outcome.err.contains(line), "{}", outcome.err);
    assert!(outcome.err.contains("2 images to test on tell little"), "{}", outcome.err);
    assert!(outcome.err.contains("(of 2 images; 95 % interval"), "{}", outcome.err);
    // Not where that is what is done, nor where there are many.
    let tuned = "finetune run --data photos --epochs 1 --out tuned --threads 1";
    let outcome = folder.ok(&tuned.split(' ').collect::<Vec<_>>());
    assert!(!outcome.err.contains("this starts from"), "{}", outcome.err);
    let built_in = "train resnet8 --steps 1 --out other --threads 1";
    let outcome = folder.ok(&built_in.split(' ').collect::<Vec<_>>());
    assert!(!outcome.err.contains("this starts from"), "{}", outcome.err);
}

#[test]
fn a_folder_of_one_class_is_evaluated() {
    let folder = photos(3, 1);
    assert_eq!(train(&folder, &["--out", "run"]).code, 0);
    for i in 0..4 {
        folder.write(&format!("only/light/{i}.png"), &png(20, 20, 200 + i));
    }
    let args = ["eval", "run", "--data", "only", "--json"];
    let found = folder.ok(&args).json().remove(0);
    assert_eq!((&found["count"], &found["split"]), (&4.into(), &"train".into()));
    // The same pictures in batches of another size are as right and as wrong.
    let other = folder.ok(&[&args[..], &["--batch", "3"]].concat()).json().remove(0);
    assert_eq!(other["wrong"], found["wrong"]);
    assert_eq!(folder.run(&[&args[..], &["--batch", "0"]].concat()).code, 2);
    // To learn from, one class is too few.
    let outcome = folder.run(&["train", "--data", "only"]);
    assert_eq!(outcome.code, 1, "{}", outcome.err);
    assert!(outcome.err.contains("at least two classes"), "{}", outcome.err);
}

#[test]
fn a_run_is_evaluated_on_what_it_was_evaluated_on() {
    let folder = photos(4, 3);
    // Without a second split a part of the pictures is held out: the same part again.
    std::fs::rename(folder.path("photos/train"), folder.path("all")).unwrap();
    let run = "train resnet8 --data all --epochs 1 --out run --threads 1 val_fraction=0.5 \
               --precision f32 --json";
    let events = folder.ok(&run.split_whitespace().collect::<Vec<_>>()).json();
    let evaluated = events.iter().rfind(|event| event["event"] == "evaluated").unwrap();
    let again = folder.ok(&["eval", "run", "--json", "--threads", "1"]).json().remove(0);
    for key in ["split", "count", "top1", "loss"] {
        assert_eq!(again[key], evaluated[key], "{key}");
    }
    let train = folder.ok(&["eval", "run", "--split", "train", "--json"]).json().remove(0);
    assert_eq!((&train["split"], &train["count"]), (&"train".into(), &4.into()));
    // Whatever it is called: the same part, and never those that were held out among the others.
    for (split, expected) in
        [("Training", &train), ("training_set", &train), ("Validation", &again)]
    {
        let args = ["eval", "run", "--split", split, "--json", "--threads", "1"];
        let found = folder.ok(&args).json().remove(0);
        for key in ["split", "count", "top1", "loss"] {
            assert_eq!(found[key], expected[key], "{split}: {key}");
        }
    }
    let none = folder.run(&["eval", "run", "--split", "Testing"]);
    assert_eq!(none.code, 2, "{}", none.err);
    assert!(none.err.contains("all has no split `Testing`"), "{}", none.err);
    let other = folder.ok(&["eval", "run", "--data", "photos/val", "--json"]).json().remove(0);
    assert_eq!(other["count"], 6);
}

#[test]
fn a_model_trained_in_bf16_says_that_it_is_evaluated_otherwise() {
    let folder = photos(3, 1);
    assert_eq!(train(&folder, &["--out", "run", "--precision", "bf16"]).code, 0);
    let report = std::fs::read_to_string(folder.path("run/report.html")).unwrap();
    assert!(report.contains("to evaluate on (val, in bf16)"), "the report says the precision");
    let said = "evaluated in f32; while it was trained, in bf16";
    let outcome = folder.ok(&["eval", "run", "--threads", "1"]);
    assert!(outcome.err.contains(said), "{}", outcome.err);
    let outcome = folder.ok(&["eval", "run", "--threads", "1", "--precision", "bf16"]);
    assert!(!outcome.err.contains("while it was trained"), "{}", outcome.err);
}

#[test]
fn planned_phases_are_told_plainly_and_not_as_warnings() {
    let folder = photos(4, 2);
    assert_eq!(train(&folder, &["--out", "run"]).code, 0);
    let tune = "finetune run --data photos --epochs 4 --batch 4 freeze=50% --out tuned --threads 1";
    let outcome = folder.ok(&tune.split(' ').collect::<Vec<_>>());
    let line = outcome.err.lines().find(|line| line.contains("all layers are trained"));
    assert!(line.is_some_and(|line| !line.contains("warning")), "{}", outcome.err);
    let events = std::fs::read_to_string(folder.path("tuned/events.jsonl")).unwrap();
    assert!(
        events.contains(r#""pace":[{"from":0,"cost":4.0},{"from":4,"cost":12.0}]"#),
        "{events}"
    );
    assert!(events.contains(r#"{"event":"entered","message":"all layers are trained"#), "{events}");
}
