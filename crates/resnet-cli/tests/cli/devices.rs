//! Which device computes. What there is beside the CPU is the machine's business.

use std::fs;

use crate::support::{Folder, png};

#[test]
fn the_cpu_is_listed_first() {
    let folder = Folder::new();
    let json = folder.ok(&["devices", "--json"]).json().remove(0);
    let devices = json["devices"].as_array().unwrap();
    assert_eq!((&devices[0]["device"], &devices[0]["kind"]), (&"cpu".into(), &"cpu".into()));
    assert!(devices[0]["threads"].as_u64().unwrap() >= 1, "{json}");
    for (number, gpu) in devices[1..].iter().enumerate() {
        assert_eq!(gpu["device"], format!("gpu:{number}"), "{json}");
        assert!(gpu["largest_slot"].as_u64().unwrap() > 0, "{json}");
    }
    let real = devices[1..].iter().any(|gpu| gpu["kind"] != "software");
    assert_eq!((json["why"].is_string(), json["missing"].is_null()), (real, real), "{json}");
    let auto = json["auto"].as_str().unwrap();
    assert!(devices.iter().any(|device| device["device"] == auto), "{json}");

    let told = folder.ok(&["devices"]);
    let lines: Vec<&str> = told.out.lines().collect();
    assert!(lines[0].starts_with("--device") && lines[0].ends_with("largest array"), "{lines:?}");
    assert!(lines[1].starts_with("cpu ") && lines[1].contains(" thread"), "{lines:?}");
    assert_eq!(lines.len(), devices.len() + 3, "{lines:?}");
    assert!(lines.last().unwrap().starts_with("auto is "), "{lines:?}");
    assert_eq!(told.err.contains("no GPU"), !real, "{}", told.err);
}

#[test]
fn a_run_says_what_computed_and_keeps_what_was_asked() {
    let folder = Folder::new();
    folder.digits(20, 10, 2);
    let train = ["train", "resnet8", "--data", "mnist:digits", "--steps", "2", "--batch", "10"];
    folder.ok(&[&train[..], &["--out", "a", "--device", "cpu"]].concat());
    folder.ok(&[&train[..], &["--out", "b", "train.device=cpu"]].concat());
    let read = |file: &str| fs::read_to_string(folder.path(file)).unwrap();
    for run in ["a", "b"] {
        assert!(read(&format!("{run}/config.toml")).contains("device = \"cpu\"\n"));
        let environment: serde_json::Value =
            serde_json::from_str(&read(&format!("{run}/environment.json"))).unwrap();
        assert_eq!(environment["device"], "cpu");
        assert!(read(&format!("{run}/report.html")).contains("device"));
        // The CPU needs no words.
        let events = read(&format!("{run}/events.jsonl"));
        assert!(!events.lines().next().unwrap().contains("device"), "{events}");
    }
    folder.ok(&["train", "--recipe", "a/config.toml", "--out", "c"]);
    let model = |run: &str| fs::read(folder.path(run).join("model.safetensors")).unwrap();
    assert_eq!(model("a"), model("c"));
    folder.ok(&["train", "--resume", "a", "--steps", "3", "--device", "auto"]);
    assert!(read("a/config.toml").contains("device = \"auto\"\n"));
}

#[test]
fn commands_that_compute_take_a_device() {
    let folder = Folder::new();
    folder.digits(20, 10, 2);
    folder.write("one.png", &png(12, 12, 90));
    let train = "train resnet8 --data mnist:digits --steps 2 --batch 10 --out run --device cpu";
    folder.ok(&train.split(' ').collect::<Vec<_>>());
    for words in [
        "eval run --device cpu",
        "predict run one.png --device cpu",
        "inspect run --device cpu --pictures 4",
        "summary resnet8 --plan --device cpu --batch 2",
        "bench infer resnet8 --seconds 0 --device cpu",
        "bench op ic3,ih4,oc8,k3 --seconds 0 --device cpu",
        "export run -o run.onnx --verify --data mnist:digits --device cpu",
        "train resnet8 --data mnist:digits --batch 10 --lr-find --device cpu --out rate",
    ] {
        let words: Vec<_> = words.split(' ').map(|word| word.replace(',', " ")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let outcome = folder.run(&words);
        // Two steps are too few for a rate; that is said after all was computed.
        assert!(outcome.code == 0 || words.contains(&"--lr-find"), "{words:?}: {}", outcome.err);
    }
    let verbs = "train finetune eval calibrate predict serve compare explain inspect bench export";
    for verb in verbs.split(' ') {
        assert!(folder.ok(&[verb, "--help"]).out.contains("--device <DEVICE>"), "{verb}");
    }
}

#[test]
fn a_device_that_is_none_is_refused() {
    let folder = Folder::new();
    folder.digits(20, 10, 2);
    let nowhere = "gpu:no such GPU";
    let train = ["train", "resnet8", "--data", "mnist:digits", "--steps", "1", "--batch", "10"];
    for (args, reason) in [
        ([&train[..], &["--device", "quantum"]].concat(), "`gpu:NUMBER` or `gpu:NAME`"),
        ([&train[..], &["device=quantum"]].concat(), "train.device"),
        (vec!["predict", "run", "one.png", "--device", "gpu:"], "`gpu:NUMBER` or `gpu:NAME`"),
        (vec!["summary", "resnet8", "--device", "cpu"], "--plan"),
        (vec!["bench", "op", "ic3 ih4 oc8 k3", "--device", "gpu"], "--device cpu"),
        (vec!["bench", "infer", "resnet8", "--device", nowhere], "GPU"),
        ([&train[..], &["--device", nowhere]].concat(), "GPU"),
    ] {
        let outcome = folder.run(&args);
        assert_eq!(outcome.code, 2, "{args:?}: {}", outcome.err);
        assert!(outcome.err.contains(reason), "{args:?}: {}", outcome.err);
        assert!(!folder.path("runs").exists(), "nothing is trained");
    }
}
