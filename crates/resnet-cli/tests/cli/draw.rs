//! `resnet draw`: where the drawing goes, and what is never overwritten.

use std::fs;

use crate::support::Folder;
use crate::wrong_input::refused;

#[test]
fn networks_are_drawn_into_a_file_or_a_pipe() {
    let folder = Folder::new();
    let three = ["draw", "vgg19", "plain34", "resnet34"];
    let piped = folder.ok(&three);
    assert!(piped.out.starts_with("<svg xmlns=") && piped.out.ends_with("</svg>\n"));
    assert!(piped.err.is_empty(), "{}", piped.err);
    let filed = folder.ok(&[&three[..], &["-o", "figure3.svg"]].concat());
    assert!(filed.out.is_empty() && filed.err.contains("figure3.svg"), "{}", filed.err);
    let figure = fs::read_to_string(folder.path("figure3.svg")).unwrap();
    assert_eq!(figure, piped.out);
    for text in ["vgg19", "plain34", "resnet34", "3x3 conv, 512", "7x7 conv, 64, /2", "FLOPs"] {
        assert!(figure.contains(text), "{text} is not in the drawing");
    }
    // A drawing may be drawn again.
    folder.ok(&["draw", "resnet20", "-o", "figure3.svg", "--input", "1x28x28", "--classes", "7"]);
    let again = fs::read_to_string(folder.path("figure3.svg")).unwrap();
    assert!(
        again.contains("image, 1x28x28") && again.contains("fc, 7") && !again.contains("vgg19")
    );
    assert_eq!(
        folder.ok(&["draw", "resnet20", "-o", "-"]).out,
        folder.ok(&["draw", "resnet20"]).out
    );
}

#[test]
fn one_block_and_skylines_are_drawn() {
    let folder = Folder::new();
    let block = folder.ok(&["draw", "--block", "resnet20:shortcut=B:layer2.0", "--gradient"]).out;
    for text in ["layer2.0 of resnet20:shortcut=B", "16 to 32, /2", "(∂S/∂x)ᵀ g", "y: 32x16x16"]
    {
        assert!(block.contains(text), "{text} is not in the drawing");
    }
    folder.ok(&["draw", "--block", "resnet50:layer2.1", "-o", "block.svg"]);
    let filed = fs::read_to_string(folder.path("block.svg")).unwrap();
    assert!(filed.contains("x, as it is") && !filed.contains("∂F/∂x"));
    let skyline = folder.ok(&["draw", "--skyline", "resnet18", "resnet152"]).out;
    assert!(skyline.contains("152 layers") && skyline.contains("60.2"), "{skyline}");
}

#[test]
fn a_model_is_drawn_as_it_was_trained() {
    let folder = Folder::new();
    folder.digits(32, 16, 4);
    let train =
        ["train", "resnet8:shortcut=B", "--data", "mnist:digits", "--epochs", "1", "--batch", "16"];
    folder.ok(&[&train[..], &["--out", "run"]].concat());
    let run = folder.ok(&["draw", "run"]).out;
    for text in ["resnet8:shortcut=B", "image, 1x12x12", "fc, 4", "1x1, /2"] {
        assert!(run.contains(text), "{text} is not in the drawing");
    }
    assert_eq!(folder.ok(&["draw", "run/model.safetensors"]).out, run);
}

#[test]
fn wrong_requests_are_refused() {
    let folder = Folder::new();
    let many = vec!["resnet20"; 13];
    let many: Vec<&str> = ["draw"].into_iter().chain(many).collect();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["draw"], 2, &["ARCH"]),
        (&["draw", "resnt20"], 2, &["resnt20", "resnet20"]),
        (&["draw", "resnet20", "shortcut=B"], 2, &["resnet20:shortcut=B"]),
        (&["draw", "resnet20", "--input", "32"], 2, &["--input", "3x224x224"]),
        (&["draw", "resnet20", "--classes", "0"], 2, &["classes", "0"]),
        (&["draw", "vgg16", "--input", "3x8x8"], 2, &["vgg16", "32"]),
        (&["draw", "vgg16", "--input", "3x4096x4096"], 2, &["classifier.0"]),
        (&["draw", "resnet20", "-o", "fig.png"], 2, &["fig.png", "fig.svg"]),
        (&["draw", "resnet20", "-o", "nowhere/fig.svg"], 1, &["nowhere/fig.svg"]),
        (&["draw", "resnet20", "-o", "."], 1, &["."]),
        (&many, 2, &["13", "12"]),
        (&["draw", "--block", "resnet50"], 2, &["--block", "resnet50:layer2.0"]),
        (&["draw", "--block", "resnet50:layer9.0"], 2, &["layer9.0", "16 blocks", "layer1.0"]),
        (&["draw", "--block", "resnt50:layer1.0"], 2, &["resnt50", "resnet50"]),
        (&["draw", "resnet50", "--block", "resnet50:layer1.0"], 2, &["--block"]),
        (&["draw", "resnet50", "--gradient"], 2, &["--block"]),
    ];
    for (args, code, words) in cases {
        refused(&folder.run(args), *code, words);
    }
    let notes = folder.write("notes.svg", b"what I never want to lose");
    let named = folder.write("results", b"1 2 3");
    for name in ["notes.svg", "results"] {
        refused(&folder.run(&["draw", "resnet20", "-o", name]), 2, &[name, "no SVG"]);
    }
    assert_eq!(fs::read(notes).unwrap(), b"what I never want to lose");
    assert_eq!(fs::read(named).unwrap(), b"1 2 3");
}
