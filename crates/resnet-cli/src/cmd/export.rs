//! `resnet export`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use resnet::data::{self, Dataset, OpenOptions};
use resnet::model::export::{self, FORMATS, Options, Stored};

use super::flags::ComputeFlags;
use super::paths::load_model;
use crate::exit::Usage;
use crate::term::{self, grouped, tell};

/// Arguments of `resnet export`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet export runs/resnet18-folder -o resnet18.onnx --fold --with-preprocessing --verify
  resnet export runs/resnet18-folder -o resnet18.pth --half f16
The weights have torchvision's names: torchvision's networks load them with strict=True. Classes, \
preprocessing, recipe and
licence travel with them: in a safetensors file's and an ONNX model's metadata, and in \
extra/metadata.json of a pth.")]
pub(crate) struct Args {
    /// Model file, checkpoint or run directory, or published weights such as resnet50
    model: PathBuf,
    /// onnx, safetensors or pth [default: what the file's name ends with]
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// File to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Read the file again, run its network beside the model, and refuse it if the answers differ
    #[arg(long)]
    verify: bool,
    /// The pictures to verify with: builtin, cifar10:DIR, folder:DIR, or a DIR or file that
    /// is recognised
    #[arg(long, value_name = "DATA", default_value = "builtin", requires = "verify")]
    data: String,
    /// Store weight matrices in 16 bits (safetensors, pth)
    #[arg(long, value_name = "TYPE")]
    half: Option<Half>,
    /// Fold batch norms into the convolutions before them (onnx)
    #[arg(long)]
    fold: bool,
    /// Take u8 pictures [n, h, w, c], already resized and cropped, and normalise them inside (onnx)
    #[arg(long)]
    with_preprocessing: bool,
    /// Version of ONNX's operations, up to 26 [default: the oldest that the graph needs] (onnx)
    #[arg(long, value_name = "N")]
    opset: Option<u32>,
    /// Licence of the weights, kept in the file
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    #[command(flatten)]
    compute: ComputeFlags,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// 16-bit floats.
#[derive(Clone, Copy, ValueEnum)]
enum Half {
    F16,
    Bf16,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let names: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
    let format = match &args.format {
        Some(name) => export::format(name).ok_or_else(|| {
            let hint = resnet::base::suggest::did_you_mean(name, names.iter().copied());
            Usage(format!("--format is `{name}`, expected {}{hint}", names.join(", ")))
        })?,
        None => export::format_of(&args.out).ok_or_else(|| {
            Usage(format!(
                "{} does not say its format; give --format {}",
                args.out.display(),
                names.join("|")
            ))
        })?,
    };
    let mut model = load_model(&args.model)?;
    if let Some(licence) = args.licence {
        model.tensors.metadata.insert("licence".into(), licence);
    }
    let options = Options {
        half: args.half.map(|half| match half {
            Half::F16 => Stored::F16,
            Half::Bf16 => Stored::BF16,
        }),
        fold: args.fold,
        preprocessing: args.with_preprocessing,
        opset: args.opset,
    };
    options.check(format)?;
    // The pictures are opened first: a wrong name should not cost the writing.
    let pictures = match args.verify {
        true => Some(pictures(&args.data)?),
        false => None,
    };
    export::export(&model, format, &options, &args.out)?;
    let warning = export::warning(&model, format);
    if let Some(text) = &warning {
        tell(&format!("warning: {text}"));
    }
    let bytes = std::fs::metadata(&args.out)?.len();
    let difference = match &pictures {
        Some(pictures) => {
            let device = args.compute.open()?;
            let device = device.as_ref();
            Some(export::verify(&model, &args.out, format, &options, pictures, device)?)
        }
        None => None,
    };
    let mut out = term::out();
    if args.json {
        let verified = difference.map(|d| {
            serde_json::json!({
                "images": d.images, "largest_difference": d.most, "allowed": d.allowed,
                "largest_logit": d.largest, "same_top1": d.same, "data": args.data,
            })
        });
        let json = serde_json::json!({
            "arch": model.arch.name(), "format": format.name,
            "file": args.out.display().to_string(),
            "bytes": bytes, "verified": verified, "warning": warning,
        });
        out.json(json)?;
        return Ok(());
    }
    writeln!(
        out,
        "{} as {}, {} bytes: {}",
        model.arch.name(),
        format.name,
        grouped(bytes),
        args.out.display()
    )?;
    if let Some(d) = difference {
        writeln!(
            out,
            "verified on {} pictures of {}: logits differ by at most {:.1e} ({:.1e} is allowed, \
             the largest logit is {:.1}), {} of {} with the same top-1",
            d.images, args.data, d.most, d.allowed, d.largest, d.same, d.images
        )?;
    }
    Ok(())
}

/// The pictures of some data that a network is measured on.
fn pictures(source: &str) -> anyhow::Result<Arc<dyn Dataset>> {
    let splits = data::open(source, &OpenOptions::default())?;
    for warning in &splits.warnings {
        tell(&format!("warning: {warning}"));
    }
    Ok(splits.test.or(splits.val).unwrap_or(splits.train))
}
