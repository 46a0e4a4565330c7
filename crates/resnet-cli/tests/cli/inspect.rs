//! `resnet inspect`, and `train --monitor`, which leaves what it looks along.

use std::fs;

use crate::support::{Folder, tensor_bytes};

const SMALL: &[&str] = &["--data", "mnist:digits", "--steps", "12", "--batch", "16"];

fn folder() -> Folder {
    let folder = Folder::new();
    folder.digits(200, 40, 4);
    folder
}

#[test]
fn the_verdict_follows_the_gain() {
    let folder = folder();
    for (words, verdict) in [
        (&["plain56", "norm=none", "gain=0.5"][..], "vanishing"),
        (&["plain56", "norm=none", "gain=2"], "exploding"),
        (&["plain56:norm=none,gain=2"], "exploding"),
        (&["resnet56"], "healthy"),
    ] {
        let outcome = folder.ok(&[&["inspect", "--json"], words].concat());
        let json = &outcome.json()[0];
        assert_eq!(json["verdict"], verdict, "{words:?}");
        let layers = json["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 56);
        for key in ["gradient_norm", "weight_norm", "response_std", "activation_gradient_norm"] {
            assert!(layers[0][key].as_f64().is_some_and(|v| v > 0.0), "{key}");
        }
        assert_eq!(layers[0]["name"], "conv1");
        let said = folder.ok(&[&["inspect"], words].concat()).out;
        assert!(said.lines().last().unwrap().starts_with(verdict), "{said}");
    }
}

#[test]
fn a_run_is_looked_at_along_its_way_without_changing_it() {
    let folder = folder();
    folder.ok(&[&["train", "resnet8", "--out", "plainly"], SMALL].concat());
    folder.ok(&[&["train", "resnet8", "--out", "watched", "--monitor"], SMALL].concat());
    let weights = |run: &str| tensor_bytes(&folder.path(&format!("{run}/model.safetensors")));
    assert!(weights("plainly") == weights("watched"), "looking changed the weights");
    let events = fs::read_to_string(folder.path("watched/events.jsonl")).unwrap();
    let looks: Vec<serde_json::Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &serde_json::Value| event["event"] == "monitored")
        .collect();
    let steps: Vec<u64> = looks.iter().map(|look| look["step"].as_u64().unwrap()).collect();
    assert_eq!(steps.first(), Some(&0));
    assert_eq!(steps.last(), Some(&12));
    assert!(looks[0]["layers"][0]["update_ratio"].is_null());
    assert!(looks[1]["layers"][0]["update_ratio"].as_f64().unwrap() > 0.0);

    let outcome = folder.ok(&["inspect", "watched", "--out", "look", "--json"]);
    let json = &outcome.json()[0];
    assert!(json["weights"].as_str().unwrap().contains("watched"));
    assert_eq!(json["data"], "mnist:digits");
    assert_eq!(json["blocks"].as_array().unwrap().len(), 3);
    assert_eq!(json["along"].as_array().unwrap().len(), looks.len());
    assert_eq!(json["along"][0]["loss"], looks[0]["loss"]);
    for name in [
        "gradient-activations",
        "gradient-weights",
        "gradient-heatmap",
        "update-heatmap",
        "response-heatmap",
        "share-heatmap",
        "responses",
        "responses-sorted",
        "shortcut-share",
    ] {
        assert!(folder.path(&format!("look/figures/{name}.svg")).is_file(), "{name}");
    }
    let page = fs::read_to_string(folder.path("look/report.html")).unwrap();
    assert!(page.contains("resnet inspect watched"));
    assert!(folder.path("look/inspect.json").is_file());
    // A checkpoint says the same as the run's model, which is of the same step.
    let checkpoint = folder.ok(&["inspect", "watched/checkpoints/last.safetensors", "--json"]);
    let checkpoint = &checkpoint.json()[0];
    assert_eq!(checkpoint["loss"], json["loss"]);
    assert_eq!(checkpoint["blocks"], json["blocks"]);
    // Only a run knows its last update.
    assert!(checkpoint["layers"][0]["update_ratio"].is_null());
    assert!(json["layers"][0]["update_ratio"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_run_that_goes_on_may_be_looked_at_from_there_on() {
    let folder = folder();
    folder.ok(&[&["train", "resnet8", "--out", "run"], SMALL].concat());
    folder.ok(&["train", "--resume", "run", "--steps", "16", "--monitor"]);
    let events = fs::read_to_string(folder.path("run/events.jsonl")).unwrap();
    let looks = events.lines().filter(|line| line.contains(r#""event":"monitored","step":16,"#));
    assert_eq!(looks.count(), 1, "{events}");
}

#[test]
fn wrong_input_is_refused() {
    let folder = folder();
    let refused = |args: &[&str], code: i32, reason: &str| {
        let outcome = folder.run(&[&["inspect"], args].concat());
        assert_eq!(outcome.code, code, "{args:?}: {}", outcome.err);
        assert!(outcome.err.contains(reason), "{args:?}: {}", outcome.err);
    };
    refused(&["resnot20"], 2, "resnet20");
    refused(&["resnet20", "nrom=none"], 2, "norm");
    refused(&["resnet20", "--pictures", "0"], 2, "--pictures");
    refused(&["resnet20", "--data", "nowhere"], 1, "nowhere");
    folder.ok(&[&["train", "resnet8", "--out", "run"], SMALL].concat());
    refused(&["run", "norm=none"], 2, "trained model");
    refused(&["run", "--data", "builtin"], 1, "class");
}

#[test]
fn features_of_a_model_are_the_same_bits_each_time_and_leave_a_page() {
    let folder = folder();
    folder.ok(&[&["train", "resnet8", "--out", "run"], SMALL].concat());
    let words = ["inspect", "run", "--features", "--channels", "2", "--made", "1", "--pictures"];
    let look = |out: &str, threads: &str| {
        let more = ["30", "--threads", threads, "--out", out, "--json"];
        folder.ok(&[&words[..], &more].concat()).json()[0].clone()
    };
    let (one, two) = (look("one", "1"), look("two", "2"));
    assert!(one == two, "other numbers with other threads");
    let made = |name: &str| fs::read(folder.path(&format!("{name}/figures/features-layer3.0.png")));
    assert_eq!(made("one").unwrap(), made("two").unwrap());
    let points = one["points"].as_array().unwrap();
    assert_eq!(points.len(), 4);
    let last = &points[3];
    assert_eq!((&last["name"], &last["channels"]), (&"layer3.0".into(), &64.into()));
    let share = last["probe"].as_f64().unwrap();
    assert!((0.1..=1.0).contains(&share), "{share}");
    let seen = &last["seen"][0];
    assert!(seen["made"]["response"].as_f64() > seen["made"]["noise"].as_f64(), "{seen}");
    assert_eq!(seen["top"].as_array().map(Vec::len), Some(9));
    let blocks = one["lesions"]["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 3);
    assert!(blocks.iter().all(|b| b["score"]["wrong"].is_u64() && b["score"]["changed"].is_u64()));
    let page = fs::read_to_string(folder.path("one/report.html")).unwrap();
    assert!(page.contains("What channels answer to") && page.contains("Error without one block"));
    let refused = folder.run(&["inspect", "run", "norm=none", "--features"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
}
