//! Every wrong input gets one clear error and exit code 1 or 2, and nothing is lost.

use std::fs;

use crate::support::{Folder, Outcome, png};

/// Checks the code, that all of `words` are in the message, and that nothing panicked.
pub(crate) fn refused(outcome: &Outcome, code: i32, words: &[&str]) {
    assert_eq!(outcome.code, code, "{}", outcome.err);
    assert!(!outcome.err.contains("panicked"), "{}", outcome.err);
    let errors = outcome.err.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "one error is enough: {}", outcome.err);
    for word in words {
        assert!(outcome.err.contains(word), "`{word}` is not in: {}", outcome.err);
    }
}

#[test]
fn names_that_do_not_exist() {
    let folder = Folder::new();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["train", "resnt20"], 2, &["resnt20", "resnet20"]),
        (&["train", "resnet21"], 2, &["resnet21", "resnet20"]),
        (&["train", "resnet20:shortcut=D"], 2, &["shortcut", "D"]),
        (&["train", "resnet20", "resnet32"], 2, &["resnet32"]),
        (&["train", "learning_rate=0.1"], 2, &["learning_rate"]),
        (&["train", "optimizer.momentun=0.9"], 2, &["momentun", "optimizer.momentum"]),
        (&["train", "--lr", "fast"], 2, &["lr", "fast"]),
        (&["train", "--epochs", "0"], 2, &["epochs", "0"]),
        (&["train", "--batch", "0"], 2, &["batch"]),
        (&["train", "--recipe", "paper-cifer"], 2, &["paper-cifer", "paper-cifar"]),
        (&["train", "--precision", "f16"], 2, &["f16", "bf16"]),
        (&["train", "plain20", "zero_init=true"], 2, &["zero_init"]),
        (&["train", "vgg16"], 2, &["vgg16", "28"]),
        (&["summary", "resnet20", "--input", "3x0x32"], 2, &["3x0x32"]),
        (&["summary", "nothing-at-all"], 2, &["nothing-at-all"]),
        (&["summary", "resnet20", "--precision", "bf16"], 2, &["--plan"]),
        (&["compare", "--precision", "f16"], 2, &["f16", "bf16"]),
        (&["summary", "vgg16", "--input", "3x4096x4096"], 2, &["classifier.0", "numbers"]),
        (&["train", "--resume", "nowhere"], 2, &["nowhere"]),
        (&["eval", "nowhere.safetensors"], 1, &["nowhere.safetensors"]),
        (&["predict", "nowhere.safetensors", "x.png"], 1, &["nowhere.safetensors"]),
    ];
    for (args, code, words) in cases {
        refused(&folder.run(args), *code, words);
        assert!(!folder.path("runs").exists(), "{args:?} left something behind");
    }
    refused(
        &Outcome::of(folder.command(&["models"]).env("RESNET_ISA", "sse9").output().unwrap()),
        2,
        &["RESNET_ISA", "sse9"],
    );
}

#[test]
fn flags_that_a_command_lacks() {
    let folder = Folder::new();
    let cases: &[(&[&str], &[&str])] = &[
        (&["finetune", "run", "--data", "builtin"], &["--steps", "--seeds", "--resume"]),
        (&["compare"], &["--freeze-epochs", "--monitor", "--lr-find", "--resume"]),
        (
            &["inspect", "resnet20"],
            &["--recipe", "--epochs", "--steps", "--batch", "--lr", "--precision"],
        ),
        (&["train"], &["--seeds", "--freeze-epochs"]),
    ];
    for (command, flags) in cases {
        for flag in *flags {
            let unexpected = format!("unexpected argument '{flag}'");
            refused(&folder.run(&[*command, &[flag, "1"]].concat()), 2, &[&unexpected]);
        }
    }
    for flag in ["--recipe", "--batch", "--lr", "--precision"] {
        refused(
            &folder.run(&["train", "--resume", "run", flag, "1"]),
            2,
            &["--resume <DIR>", "cannot be used with", flag],
        );
    }
}

#[test]
fn what_does_not_fit_is_told_by_every_command() {
    let folder = Folder::new();
    folder.digits(64, 20, 4);
    folder.write("phases.toml", b"base = \"default\"\n[[phase]]\nfrom = \"0ep\"\nside = 16\n");
    folder.write("broken/config.toml", b"x = [");
    let crop = "data.crop=4096";
    let large: &[&str] = &["classifier.0", "numbers", "smaller"];
    let cases: &[(&[&str], &[&str])] = &[
        (&["train", "classic", "--recipe", "phases.toml"], &["phase", "16", "classic"]),
        (
            &["train", "vgg16", "data.crop=32", "data.resize=32", "--recipe", "phases.toml"],
            &["vgg16", "16x16", "32x32"],
        ),
        (&["train", "vgg16", crop, "data.resize=4096", "--batch", "1"], large),
        (&["inspect", "vgg16", crop, "data.resize=4096"], large),
        (&["bench", "train", "vgg16", "--input", "3x4096x4096", "--batch", "1"], large),
        (&["inspect", "vgg16"], &["vgg16", "28"]),
        (&["train", "--resume", "broken"], &["config.toml", "TOML"]),
        (&["compare", "--runs", "broken"], &["config.toml", "TOML"]),
        (&["train", "--recipe", "paper-imagenet"], &["data.source", "--data folder:DIR"]),
        (&["compare", "--recipe", "nowhere.toml"], &["nowhere.toml"]),
        (&["draw", "resnet34", "--input", "3x0x3"], &["3x0x3"]),
    ];
    for (args, words) in cases {
        refused(&folder.run(args), 2, words);
        assert!(!folder.path("runs").exists(), "{args:?} left something behind");
    }
    // What was asked for exists and fits, and still it cannot be done.
    let failures: &[(&[&str], &[&str])] = &[
        (&["train", "model.start=phases.toml"], &["phases.toml"]),
        (&["compare", "--data", "folder:nowhere"], &["nowhere"]),
        (&["inspect", "resnet8", "--data", "mnist:nowhere"], &["nowhere"]),
    ];
    for (args, words) in failures {
        refused(&folder.run(args), 1, words);
    }
}

#[test]
fn data_that_is_not_there() {
    let folder = Folder::new();
    fs::create_dir(folder.path("empty")).unwrap();
    folder.digits(40, 20, 4);
    let whole = fs::read(folder.path("digits/train-images-idx3-ubyte")).unwrap();
    folder.write("short/train-images-idx3-ubyte", &whole[..whole.len() / 2]);
    for name in ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        folder.write(
            &format!("short/{name}"),
            &fs::read(folder.path(&format!("digits/{name}"))).unwrap(),
        );
    }
    for i in 0..4u8 {
        folder.write(&format!("single/only/{i}.png"), &png(16, 16, i));
        folder.write(&format!("broken/a/{i}.png"), &png(16, 16, i));
        folder.write(&format!("broken/b/{i}.png"), if i == 0 { b"" } else { b"nonsense" });
    }
    folder.write("cifar/data_batch_1.bin", &[0; 3073]);
    let cases: &[(&str, &[&str])] = &[
        ("nowhere", &["nowhere"]),
        ("folder:nowhere", &["nowhere"]),
        ("folder:empty", &["empty"]),
        ("empty", &["empty"]),
        ("mnist:empty", &["empty"]),
        ("mnist:short", &["train-images-idx3-ubyte"]),
        ("cifar10:cifar", &["cifar"]),
        ("folder:single", &["only"]),
        ("folder:broken", &["broken"]),
        ("minst:digits", &["minst", "mnist"]),
    ];
    for (data, words) in cases {
        let outcome = folder.run(&["train", "resnet8", "--batch", "2", "--data", data]);
        assert!(outcome.code == 1 || outcome.code == 2, "{data}: {}", outcome.err);
        refused(&outcome, outcome.code, words);
    }
    let outcome = folder.run(&["train", "resnet8", "--data", "mnist:digits", "--batch", "64"]);
    refused(&outcome, 1, &["64", "40"]);
}

#[test]
fn pictures_that_are_none() {
    let folder = Folder::new();
    folder.digits(64, 20, 4);
    folder.ok(&[
        "train",
        "resnet8",
        "--data",
        "mnist:digits",
        "--epochs",
        "1",
        "--batch",
        "16",
        "--out",
        "run",
    ]);
    folder.write("nothing.png", b"");
    folder.write("text.jpg", b"not a picture");
    // A header that declares 60,000 x 60,000 pixels, 14 GB as RGB.
    folder.write("huge.gif", b"GIF89a\x60\xea\x60\xea\x80\x00\x00\x00\x00\x00\xff\xff\xff;");
    let mut half = png(30, 30, 100);
    half.truncate(half.len() / 2);
    folder.write("half.png", &half);
    for name in ["nothing.png", "text.jpg", "huge.gif", "half.png", "missing.png"] {
        let outcome = folder.run(&["predict", "run", name]);
        assert_eq!(outcome.code, 1, "{}", outcome.err);
        assert!(outcome.err.contains(name) && !outcome.err.contains("panicked"), "{}", outcome.err);
    }
    let none = folder.run(&["predict", "run", "half.png", "--top", "0"]);
    assert_eq!(none.code, 2, "{}", none.err);
    // The good ones are classified all the same.
    folder.write("good.png", &png(12, 12, 50));
    let outcome = folder.run(&["predict", "run", "half.png", "good.png"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.out.contains("good.png"), "{}", outcome.out);
}

#[test]
fn checkpoints_that_do_not_fit() {
    let folder = Folder::new();
    folder.digits(64, 20, 4);
    let train = |arch: &str, out: &str| {
        folder.ok(&[
            "train",
            arch,
            "--data",
            "mnist:digits",
            "--epochs",
            "2",
            "--batch",
            "16",
            "--out",
            out,
        ]);
    };
    train("resnet8", "a");
    train("plain8", "b");
    let last = folder.path("a/checkpoints/last.safetensors");
    let whole = fs::read(&last).unwrap();

    fs::write(&last, &whole[..whole.len() - 100]).unwrap();
    refused(&folder.run(&["train", "--resume", "a"]), 1, &["last.safetensors"]);
    fs::copy(folder.path("b/checkpoints/last.safetensors"), &last).unwrap();
    refused(
        &folder.run(&["train", "--resume", "a"]),
        1,
        &["last.safetensors", "plain8", "resnet8"],
    );
    fs::copy(folder.path("a/model.safetensors"), &last).unwrap();
    refused(&folder.run(&["train", "--resume", "a"]), 1, &["last.safetensors"]);
    fs::write(&last, &whole).unwrap();
    folder.ok(&["train", "--resume", "a"]);

    for length in [0, 4, 9, 200, whole.len() / 2] {
        folder.write("cut.safetensors", &whole[..length]);
        refused(
            &folder.run(&["eval", "cut.safetensors", "--data", "mnist:digits"]),
            1,
            &["cut.safetensors"],
        );
    }
    let taken =
        folder.run(&["train", "resnet8", "--data", "mnist:digits", "--batch", "16", "--out", "a"]);
    refused(&taken, 2, &["a", "--resume"]);
}

#[test]
fn more_memory_than_there_is() {
    let folder = Folder::new();
    folder.digits(80, 20, 4);
    let outcome = folder.run(&[
        "train",
        "resnet20",
        "--data",
        "mnist:digits",
        "--batch",
        "80",
        "data.crop=4096",
        "data.resize=4096",
    ]);
    refused(&outcome, 1, &["GiB", "batch"]);
    assert!(!folder.path("runs").exists());
}

#[test]
fn runs_that_cannot_go_on() {
    let folder = Folder::new();
    folder.digits(64, 20, 4);
    folder.ok(&[
        "train",
        "resnet8",
        "--data",
        "mnist:digits",
        "--epochs",
        "1",
        "--batch",
        "16",
        "--out",
        "run",
    ]);
    let resume = ["train", "--resume", "run"];

    // Another process holds the run.
    let lock = fs::File::open(folder.path("run/.lock")).unwrap();
    lock.lock().unwrap();
    refused(&folder.run(&resume), 1, &["run", "in use"]);
    drop(lock);
    folder.ok(&resume);

    // Other data would be another run.
    folder.digits(80, 20, 4);
    refused(&folder.run(&resume), 1, &["data has changed", "64", "80"]);
    folder.digits(64, 20, 4);

    // A lost checkpoint is not a reason to start again in silence.
    fs::remove_file(folder.path("run/checkpoints/last.safetensors")).unwrap();
    refused(&folder.run(&resume), 1, &["last.safetensors", "missing"]);

    // Files of the user's are never replaced.
    folder.write("mine/report.html", b"mine");
    let args = ["train", "resnet8", "--data", "mnist:digits", "--batch", "16", "--out", "mine"];
    refused(&folder.run(&args), 2, &["mine", "report.html"]);
    assert_eq!(fs::read(folder.path("mine/report.html")).unwrap(), b"mine");
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_is_gone_does_not_stop_training() {
    let folder = Folder::new();
    folder.digits(64, 20, 4);
    let args = [
        "train",
        "resnet8",
        "--data",
        "mnist:digits",
        "--epochs",
        "2",
        "--batch",
        "16",
        "--out",
        "run",
    ];
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let status = folder.command(&args).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(folder.path("run/model.safetensors").is_file());
}

#[cfg(unix)]
#[test]
fn disks_that_take_nothing() {
    let folder = Folder::new();
    folder.digits(64, 20, 4);
    folder.write("file", b"in the way");
    let args = ["train", "resnet8", "--data", "mnist:digits", "--epochs", "2", "--batch", "16"];
    refused(&folder.run(&[&args[..], &["--out", "file/run"]].concat()), 1, &["file/run"]);
    refused(&folder.run(&[&args[..], &["--out", "/proc/run"]].concat()), 1, &["/proc/run"]);

    // A disk that fills up: no file may grow beyond 400 blocks, so checkpoints fail. What was there
    // before stays.
    folder.ok(&[&args[..], &["--out", "run"]].concat());
    let last = folder.path("run/checkpoints/last.safetensors");
    let before = fs::read(&last).unwrap();
    let config = fs::read_to_string(folder.path("run/config.toml")).unwrap();
    fs::write(folder.path("run/config.toml"), config.replace("epochs = 2", "epochs = 4")).unwrap();
    let script = format!(
        "trap '' XFSZ; ulimit -f 400; exec {} train --resume run",
        env!("CARGO_BIN_EXE_resnet")
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path(""))
        .output()
        .unwrap();
    refused(&Outcome::of(output), 1, &["safetensors"]);
    assert!(fs::read(&last).unwrap() == before, "the last good checkpoint must stay");
    assert_eq!(
        fs::read_dir(folder.path("run/checkpoints")).unwrap().count(),
        2,
        "no partial file may stay"
    );
    folder.ok(&["train", "--resume", "run"]);
}

#[test]
fn a_diverging_run_names_the_layer_and_keeps_the_checkpoint() {
    let folder = Folder::new();
    folder.digits(64, 20, 4);
    let args = [
        "train",
        "plain8:norm=none",
        "--data",
        "mnist:digits",
        "--epochs",
        "3",
        "--batch",
        "16",
        "--out",
        "run",
    ];
    let outcome = folder.run(
        &[
            &args[..],
            &["lr=1000", "warmup=0it", "schedule.kind=constant", "train.checkpoint_every=1it"],
        ]
        .concat(),
    );
    refused(&outcome, 1, &["diverged", "layer `", "last.safetensors", "lower lr"]);
    assert!(folder.path("run/checkpoints/last.safetensors").is_file());
    assert!(fs::read_to_string(folder.path("run/report.html")).unwrap().contains("diverged"));
}

#[test]
fn what_would_be_ignored_or_misread_is_refused() {
    let folder = Folder::new();
    folder.digits(32, 16, 4);
    let train = ["train", "resnet8", "--data", "mnist:digits", "--steps", "3", "--batch", "8"];
    folder.ok(&[&train[..], &["--out", "run"]].concat());
    folder.write("file", b"text");
    let last = i64::MAX.to_string();
    let cases: &[(&[&str], &[&str])] = &[
        (&["compare", "--runs", "run", "--recipe", "default"], &["--recipe", "--runs"]),
        (&["compare", "--runs", "run", "--seeds", "2"], &["--seeds", "--runs"]),
        (&["eval", "run", "--report", "run"], &["choose another --report"]),
        (&["train", "--steps", "1", "--out", "file"], &["file is a file", "directory"]),
        (&["train", "--seed", "18446744073709551615"], &["train.seed", &last]),
        (&["train", "--resume", "run", "--steps", "1"], &["3 steps", "budget of 1", "at least 3"]),
    ];
    for (args, words) in cases {
        refused(&folder.run(args), 2, words);
    }
    // What begins with a dash is no flag where it is named so.
    folder.ok(&[&train[..], &["--out=-x"]].concat());
    let again = folder.run(&[&train[..], &["--out=-x"]].concat());
    assert!(again.err.contains("--resume=-x"), "{}", again.err);
    // A colon in the path of a folder names no kind of data.
    std::fs::create_dir_all(folder.path("a:b/train/x")).unwrap();
    std::fs::create_dir_all(folder.path("a:b/train/y")).unwrap();
    for (i, class) in ["x", "y", "x", "y"].iter().enumerate() {
        let png = crate::support::png(12, 12, 60 * i as u8);
        folder.write(&format!("a:b/train/{class}/{i}.png"), &png);
    }
    let words = ["train", "resnet8", "--data", "./a:b", "--steps", "1", "--batch", "2"];
    let told = folder.ok(&words).err;
    assert!(told.contains("runs/resnet8-a_b"), "{told}");
}
