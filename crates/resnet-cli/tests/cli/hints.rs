//! What to type is said by the command line, at the end of what the library says.

use std::fs;
use std::path::Path;

use crate::places::bare;
use crate::support::{Folder, png};
use crate::wrong_input::refused;

#[test]
fn errors_end_in_what_to_type() {
    let folder = Folder::new();
    folder.digits(64, 20, 4);
    let small = ["train", "resnet8", "--data", "mnist:digits", "--steps", "1", "--batch", "16"];
    folder.ok(&[&small[..], &["--out", "run"]].concat());
    let taken = folder.run(&[&small[..], &["--out", "run"]].concat());
    refused(&taken, 2, &["another directory: resnet train --resume run, or --out DIR\n"]);
    let cases: &[(&[&str], i32, &str)] = &[
        (
            &["train", "--resume", "digits"],
            2,
            "the directory of a run, as `resnet train` printed it\n",
        ),
        (
            &["compare", "--runs", "digits"],
            2,
            "the directories of runs, as `resnet train` makes them\n",
        ),
        (&["inspect", "resnt20"], 2, "did you mean resnet20? `resnet models` lists all\n"),
        (&["draw", "nothing"], 2, "`nothing`; expected a name of the catalogue, such as"),
        (&["draw", "nothing"], 2, "; `resnet models` lists all\n"),
        (&["train", "--recipe", "paper-imagenet"], 2, "say, or pass --data folder:DIR\n"),
    ];
    for (args, code, end) in cases {
        refused(&folder.run(args), *code, &[end]);
    }
    // The command that is shown is one that works.
    folder.ok(&["train", "--resume", "run"]);
}

#[test]
fn commands_that_are_told_can_be_typed() {
    let folder = Folder::new();
    for (class, grey) in [("dark", 20), ("light", 200)] {
        for n in 0..4u8 {
            folder.write(&format!("my photos/train/{class}/{n}.png"), &png(12, 12, grey + n));
            folder.write(&format!("my photos/val/{class}/{n}.png"), &png(12, 12, grey + 9 + n));
        }
    }
    let args = ["train", "resnet8", "--data", "folder:my photos", "--epochs", "1", "--batch", "4"];
    let args = [&args[..], &["--out", "it's mine"]].concat();
    let told = folder.ok(&args).err;
    assert!(told.contains("resnet finetune resnet50 --data 'my photos'"), "{told}");
    let taken = folder.run(&args);
    refused(&taken, 2, &[r"resnet train --resume 'it'\''s mine', or --out DIR"]);

    bare(&folder, "it's mine/model.safetensors", None);
    folder.write("classes.txt", b"dark\nlight\n");
    let import = ["import", "bare.safetensors", "--arch", "resnet8", "-o", "my model.safetensors"];
    let choices = ["--classes", "classes.txt", "preprocess.crop=12", "preprocess.resize=0"];
    let told = folder.ok(&[&import[..], &choices].concat()).out;
    assert!(told.contains("resnet eval 'my model.safetensors' --data folder:DIR"), "{told}");
}

/// Whoever uses the library has no flags.
#[test]
fn the_library_speaks_of_no_flags_and_no_commands() {
    const VERBS: [&str; 15] = [
        "train", "finetune", "eval", "predict", "data", "import", "export", "compare", "explain",
        "inspect", "summary", "draw", "bench", "models", "devices",
    ];
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<_> = ["resnet", "resnet-engine", "resnet-formats", "resnet-kernels"]
        .map(|name| crates.join(name).join("src"))
        .into();
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs" || e == "toml" || e == "md") {
                files += 1;
                // Pages have style sheets, whose names begin with two dashes.
                let styled = path.components().any(|part| part.as_os_str() == "page");
                let text = fs::read_to_string(&path).unwrap();
                for (number, line) in (1..).zip(text.lines()) {
                    let mut after = line.split("--").skip(1);
                    let flag = after.any(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
                    let command = VERBS.iter().any(|verb| line.contains(&format!("resnet {verb}")));
                    let here = format!("{}:{number}: {line}", path.display());
                    assert!((!flag || styled) && !command, "{here}");
                }
            }
        }
    }
    assert!(files > 100, "{files} files were read");
}
