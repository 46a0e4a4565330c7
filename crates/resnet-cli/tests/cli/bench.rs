//! `resnet bench`: the numbers are there and fit each other; how large they are is the machine's
//! business.

use crate::support::Folder;

#[test]
fn a_network_is_timed() {
    let folder = Folder::new();
    for (mode, precision) in [("train", "f32"), ("train", "bf16"), ("infer", "f32")] {
        let args = [
            "bench",
            mode,
            "resnet8",
            "--batch",
            "4",
            "--precision",
            precision,
            "--seconds",
            "0",
            "--layers",
        ];
        let json = folder.ok(&[&args[..], &["--json"]].concat()).json()[0].clone();
        assert_eq!(json["arch"], "resnet8");
        assert_eq!(json["mode"], mode);
        assert_eq!(json["precision"], precision);
        assert_eq!(json["batch"], 4);
        assert!(json["threads"].as_u64().unwrap() >= 1);
        let number = |key: &str| json[key].as_f64().unwrap_or_else(|| panic!("{key}: {json}"));
        let images = number("images_per_s") * number("ms_per_batch") / 1000.0;
        assert!((images - 4.0).abs() < 1e-6);
        assert!(number("gflops") > 0.0 && number("fraction_of_peak") > 0.0);
        let steps = json["steps"].as_array().unwrap();
        assert!(steps.iter().any(|s| s["operation"].as_str().unwrap().starts_with("conv")
            && s["shape"] == "4x32x32 3->16 3x3/1"));
        let said = folder.ok(&args).out;
        assert!(said.contains("images/s") && said.contains("roofline"), "{said}");
    }
}

#[test]
fn a_convolution_is_checked_and_timed() {
    let folder = Folder::new();
    let shape = "n2 ic16 ih16 oc16 k3 p1";
    let args = ["bench", "op", shape, "--precision", "f32", "--seconds", "0"];
    let json = folder.ok(&[&args[..], &["--json"]].concat()).json()[0].clone();
    let kernels = json["kernels"].as_array().unwrap();
    for pass in ["forward", "dx", "dw"] {
        let of: Vec<_> = kernels.iter().filter(|op| op["pass"] == pass).collect();
        assert!(of.len() >= 2, "{json}");
        assert!(of.iter().all(|op| op["error"].as_f64().unwrap() < 1e-5));
    }
    assert!(folder.ok(&args).out.contains("chosen"));
}

#[test]
fn what_cannot_be_timed_is_refused() {
    let folder = Folder::new();
    for (args, reason) in [
        (&["bench", "fly", "resnet20"][..], "train, infer or op"),
        (&["bench", "op", "ic3 ih4 oc8 k7"], "larger than the 4x4 input"),
        (&["bench", "op", "ic3 ih4 oc8 k3", "--batch", "2"], "--batch"),
        (&["bench", "train", "resnot20"], "resnet20"),
        (&["bench", "train", "resnet20", "--batch", "0"], "--batch"),
        (&["bench", "train", "resnet20", "--seconds=-1"], "--seconds"),
        (&["bench", "train", "resnet20", "--input", "3x32"], "channels x height x width"),
    ] {
        let outcome = folder.run(args);
        assert_eq!(outcome.code, 2, "{args:?}: {}", outcome.err);
        assert!(outcome.err.contains(reason), "{args:?}: {}", outcome.err);
    }
}
