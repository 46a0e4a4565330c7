//! `resnet summary`.

use std::path::Path;

use resnet::device::Wanted;
use resnet::engine::graph::Shape;
use resnet::engine::plan::{Options, Plan};
use resnet::measure::summary::{Summary, summary};
use resnet::model::published::Published;
use resnet::net::Arch;
use resnet::train::recipe::split_override;

use super::flags::ComputeFlags;
use super::paths::load_model;
use super::precision::Asked;
use crate::exit::Usage;
use crate::term::{self, Out, grouped, scaled};
use crate::weights::Weights;

/// Arguments of `resnet summary`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet summary resnet50
  resnet summary resnet20:shortcut=B --input 1x28x28
  resnet summary resnet20 --plan --batch 128")]
pub(crate) struct Args {
    /// Network, model file, checkpoint or run directory, or published weights such as resnet50.v2
    #[arg(value_name = "ARCH|MODEL")]
    network: String,
    /// Options of the network, such as norm=none
    #[arg(value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Shape of an image, channels x height x width [default: what the network was designed for]
    #[arg(long, value_name = "CxHxW")]
    input: Option<String>,
    /// Number of classes [default: what the network was designed for]
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// Print the steps of training instead of the layers
    #[arg(long)]
    plan: bool,
    /// Images a step, for --plan
    #[arg(long, value_name = "N", default_value_t = 32)]
    batch: usize,
    /// How maps are stored, for --plan: f32, bf16, or auto for what is faster here
    #[arg(
        long,
        value_name = "P",
        value_enum,
        requires = "plan",
        default_value = "auto",
        hide_possible_values = true
    )]
    precision: Asked,
    /// What computes, for --plan: cpu, gpu, gpu:N, gpu:NAME, or auto for a GPU that is faster
    #[arg(long, value_name = "DEVICE", requires = "plan", default_value = "auto")]
    device: Wanted,
    /// One JSON object on standard output
    #[arg(long, conflicts_with = "plan")]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let (mut arch, mut input, mut classes) = network(&args.network)?;
    for option in &args.options {
        let (key, value) = split_override(option)?;
        arch.set(&key, &value)?;
    }
    if let Some(text) = &args.input {
        input = parse_shape(text)?;
    }
    classes = args.classes.unwrap_or(classes);
    if args.batch == 0 || args.batch > 65_536 {
        return Err(Usage(format!("--batch is {}, expected 1 to 65536", args.batch)).into());
    }
    let summary = summary(&arch, input, classes)?;
    let mut out = term::out();
    if args.json {
        out.json(serde_json::to_string(&summary)?)?;
    } else if args.plan {
        let device = ComputeFlags { threads: 0, device: args.device }.open()?;
        let options = Options {
            precision: args.precision.resolve(device.as_ref()),
            ..Options::train(args.batch, 0.0)
        };
        let plan = Plan::build(&arch.graph(input, classes)?, options)?;
        let kernels = device.kernels(&plan);
        for line in plan.table(|step| kernels[step].name.clone()).lines() {
            writeln!(out, "{line}")?;
        }
    } else {
        write_table(&mut out, &summary)?;
    }
    Ok(())
}

/// A network, and the images and classes it was designed or trained for. A name of the catalogue is
/// a network, whatever lies in this directory; of published weights it is known without them.
pub(super) fn network(text: &str) -> anyhow::Result<(Arch, Shape, usize)> {
    let path = Path::new(text);
    match Arch::parse(text) {
        Ok(arch) => {
            let (shape, classes) = (arch.default_input(), arch.default_classes());
            Ok((arch, shape, classes))
        }
        Err(_) if path.exists() => of_model(path),
        Err(unknown) => match Published::find(text) {
            Some(published) => network(published.arch),
            None if Weights::of_path(path).is_some() => of_model(path),
            None => Err(unknown.into()),
        },
    }
}

fn of_model(path: &Path) -> anyhow::Result<(Arch, Shape, usize)> {
    let model = load_model(path)?;
    Ok((model.arch, model.preprocess.shape, model.classes.len()))
}

fn write_table(out: &mut Out, summary: &Summary) -> std::io::Result<()> {
    let width = summary.layers.iter().map(|l| l.name.len()).max().unwrap_or(0).max(5);
    writeln!(
        out,
        "{:<width$}  {:<26} {:>14} {:>12} {:>16}",
        "layer", "operation", "output", "parameters", "MACs"
    )?;
    for layer in &summary.layers {
        let number = |n: u64| {
            if n == 0 { String::new() } else { grouped(n) }
        };
        writeln!(
            out,
            "{:<width$}  {:<26} {:>14} {:>12} {:>16}",
            layer.name,
            layer.op,
            layer.output,
            number(layer.params),
            number(layer.macs)
        )?;
    }
    writeln!(out)?;
    writeln!(
        out,
        "{} on {}, {} classes: {} parameters, {}MACs ({}FLOPs) an image, {} layers deep",
        summary.arch,
        summary.input,
        summary.classes,
        grouped(summary.params),
        scaled(summary.macs),
        scaled(summary.flops),
        summary.depth,
    )
}

/// Reads `3x32x32`.
pub(super) fn parse_shape(text: &str) -> Result<Shape, Usage> {
    let numbers: Result<Vec<usize>, _> = text.split('x').map(str::parse).collect();
    match numbers.as_deref() {
        Ok([c, h, w]) if [c, h, w].iter().all(|&&n| n > 0) => Ok(Shape::new(*c, *h, *w)),
        _ => Err(Usage(format!(
            "--input is `{text}`, expected channels x height x width, such as 3x224x224"
        ))),
    }
}
