//! `resnet import`.

use std::path::PathBuf;

use resnet::base::text;
use resnet::model::foreign::{self, Assumption, Choices};
use resnet::net::Arch;
use resnet::train::recipe::split_override;

use crate::hints;
use crate::term::{self, grouped, quoted, tell};

/// Arguments of `resnet import`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet import resnet18-f37072fd.pth --classes imagenet_class_index.json -o resnet18.safetensors
  resnet import resnet50.safetensors --arch resnet50_v1 -o resnet50.safetensors \\
    preprocess.mean=0.485,0.458,0.408 preprocess.std=0.0039216
Names of torchvision, timm (resnet, resnext, resnetv2), OpenMMLab, Hugging Face, detectron2 and \
the CIFAR networks of
pytorch_resnet_cifar10 and pytorch-cifar are known, and the network is found by them and the \
shapes. Whatever had to be
assumed or was left out is told. Weights without a last layer can be fine-tuned. Nothing in a file \
is executed.")]
pub(crate) struct Args {
    /// Weights: .safetensors, .pth, .pt, .th
    file: PathBuf,
    /// The network, where the weights cannot say it: resnet50 and resnet50_v1 have the same tensors
    #[arg(long)]
    arch: Option<String>,
    /// Class names: one a line, a JSON index {"0": ["n01440764", "tench"], ...}, class_to_idx or
    /// id2label
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Licence of the weights, kept in the model file
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// Model file to write
    #[arg(short, long, value_name = "MODEL")]
    out: PathBuf,
    /// preprocess.mean=R,G,B preprocess.std=R,G,B preprocess.resize=256 preprocess.crop=224
    #[arg(value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut choices = Choices {
        arch: args.arch.as_deref().map(Arch::parse).transpose()?,
        licence: args.licence,
        ..Choices::default()
    };
    for change in &args.changes {
        let (key, value) = split_override(change)?;
        choices.set(&key, &value)?;
    }
    if let Some(file) = args.classes {
        let list = foreign::read_classes(&file)?;
        choices.aliases = list.aliases;
        choices.classes = Some((file, list.names));
    }
    let import = foreign::import(&args.file, &choices)?;
    let assumed: Vec<String> = import
        .assumed
        .iter()
        .map(|assumption| format!("{assumption}{}", hints::of_assumption(assumption)))
        .collect();
    for text in &assumed {
        tell(&format!("assumed: {text}"));
    }
    for text in &import.ignored {
        tell(&format!("left out: {text}"));
    }
    let model = &import.model;
    model.save(&args.out)?;
    let named = !import
        .assumed
        .iter()
        .any(|assumption| matches!(assumption, Assumption::Numbered(_) | Assumption::NoHead));
    let made = quoted(text::path(&args.out));
    let check = named.then(|| format!("resnet eval {made} --data folder:DIR"));
    let (arch, tensors) = (model.arch.name(), model.tensors.entries.len());
    let mut out = term::out();
    if args.json {
        let json = serde_json::json!({
            "arch": arch, "naming": import.naming, "classes": model.classes.len(),
            "tensors": tensors,
            "preprocess": model.preprocess, "licence": model.tensors.metadata.get("licence"),
            "assumed": assumed, "left_out": import.ignored, "model": args.out.display().to_string(),
            "check": check,
        });
        out.json(json)?;
        return Ok(());
    }
    writeln!(
        out,
        "{arch}, {} classes, {tensors} tensors ({}): {}",
        grouped(model.classes.len() as u64),
        import.naming,
        args.out.display()
    )?;
    if let Some(check) = check {
        writeln!(out, "check it on labelled pictures, a folder for each class: {check}")?;
    }
    Ok(())
}
