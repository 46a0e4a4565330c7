//! `resnet bench`.

use std::time::Duration;

use resnet::device::{Wanted, label};
use resnet::engine::exec;
use resnet::engine::plan::Mode;
use resnet::net::Arch;
use resnet::study::bench::{Bench, Request, StepTime, bench};

use super::flags::ComputeFlags;
use super::precision::Asked;
use crate::exit::Usage;
use crate::term::{self, Out, tell};

/// Arguments of `resnet bench`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet bench train resnet20 --batch 128
  resnet bench infer resnet50 --batch 1 --layers
  resnet bench op 'n32 ic64 ih56 oc64 k3 p1'
Times are medians after warm-up. FLOPs are two a multiply-add, of convolutions and linear layers. \
The roofline is
the least time that the machine's arithmetic and memory, both measured in the same sitting, allow \
for a step.
RESNET_ISA=scalar|avx2|avx512|avx512bf16|amx caps the instruction set, RESNET_WINOGRAD=off leaves \
out Winograd's algorithm.")]
pub(crate) struct Args {
    /// train (forward, backward, update), infer, or op: every kernel for one convolution, checked
    /// against f64
    #[arg(value_name = "train|infer|op")]
    mode: String,
    /// The network, or the convolution: n images, ic input channels, ih x iw pixels, oc output
    /// channels, k kernel, s stride, p padding, g groups
    #[arg(value_name = "ARCH|SHAPE")]
    network: String,
    /// Images in a batch [default: 32 for train, 1 for infer]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Shape of an image, channels x height x width [default: what the network was designed for]
    #[arg(long, value_name = "CxHxW")]
    input: Option<String>,
    /// How maps are stored: f32, bf16, or auto for what is faster here
    #[arg(long, value_name = "P", value_enum, default_value = "auto", hide_possible_values = true)]
    precision: Asked,
    #[command(flatten)]
    compute: ComputeFlags,
    /// Seconds to measure for
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,
    /// Time each step of the plan as well
    #[arg(long)]
    layers: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if !(0.0..=3600.0).contains(&args.seconds) {
        return Err(Usage(format!("--seconds is {}, expected 0 to 3600", args.seconds)).into());
    }
    if args.mode == "op" {
        return run_op(&args);
    }
    let (mode, batch) = match args.mode.as_str() {
        "train" => (Mode::Train { label_smoothing: 0.0 }, 32),
        "infer" => (Mode::Infer, 1),
        other => {
            return Err(
                Usage(format!("`{other}` cannot be timed, expected train, infer or op")).into()
            );
        }
    };
    let batch = args.batch.unwrap_or(batch);
    if !(1..=65_536).contains(&batch) {
        return Err(Usage(format!("--batch is {batch}, expected 1 to 65536")).into());
    }
    let arch = Arch::parse(&args.network)?;
    let input = match &args.input {
        Some(text) => super::summary::parse_shape(text)?,
        None => arch.default_input(),
    };
    let graph = arch.graph(input, arch.default_classes())?;
    let device = args.compute.open()?;
    let threads = device.threads();
    let precision = args.precision.resolve(device.as_ref());
    let request = Request {
        mode,
        batch,
        precision,
        time: Duration::from_secs_f64(args.seconds),
        steps: args.layers,
    };
    tell(&format!(
        "{} {} on {input}, batch {batch}, {precision}, {threads} thread{}, {}",
        args.mode,
        arch.name(),
        if threads == 1 { "" } else { "s" },
        device.about()
    ));
    let found = bench(&graph, device.as_ref(), request)?;
    let mut out = term::out();
    if args.json {
        let mut json = serde_json::json!({
            "arch": arch.name(), "mode": args.mode, "precision": precision.name(),
            "batch": batch, "threads": threads, "device": label(device.as_ref()),
        });
        let more = serde_json::to_value(&found)?;
        if let (Some(json), Some(more)) = (json.as_object_mut(), more.as_object()) {
            json.extend(more.clone());
        }
        out.json(json)?;
        return Ok(());
    }
    write_totals(&mut out, &found, device.name())?;
    if args.layers {
        write_steps(&mut out, &found)?;
    }
    Ok(())
}

fn run_op(args: &Args) -> anyhow::Result<()> {
    if args.batch.is_some() || args.input.is_some() || args.layers {
        let why = "--batch, --input and --layers are of train and infer; \
                   a convolution's shape says it all";
        return Err(Usage(why.into()).into());
    }
    if let Wanted::Gpu(_) = args.compute.device {
        let why = "op times the kernels that the CPU may choose from, and a GPU has none; take \
                   --device cpu";
        return Err(Usage(why.into()).into());
    }
    let device = exec::cpu(args.compute.threads)?;
    let threads = device.threads();
    let time = Duration::from_secs_f64(args.seconds);
    let precision = args.precision.resolve(device.as_ref());
    let found = exec::time_convolution(&args.network, precision, threads, time).map_err(Usage)?;
    let mut out = term::out();
    if args.json {
        let json = serde_json::json!({
            "shape": args.network, "precision": precision.name(), "threads": threads,
            "kernels": found,
        });
        out.json(json)?;
        return Ok(());
    }
    writeln!(
        out,
        "{:<26} {:<8} {:>9} {:>9} {:>8} {:>9}",
        "kernel", "pass", "ms", "best ms", "GFLOP/s", "error"
    )?;
    for op in found {
        writeln!(
            out,
            "{:<26} {:<8} {:>9.3} {:>9.3} {:>8.1} {:>9.1e}{}",
            op.kernel,
            op.pass,
            op.ms,
            op.best_ms,
            op.gflops,
            op.error,
            if op.chosen { "  chosen" } else { "" }
        )?;
    }
    Ok(())
}

fn write_totals(out: &mut Out, found: &Bench, device: &str) -> std::io::Result<()> {
    writeln!(
        out,
        "{:.1} images/s; {:.2} ms a batch (median of {}, {:.2} to {:.2})",
        found.images_per_s, found.ms_per_batch, found.batches, found.ms_range.0, found.ms_range.1
    )?;
    writeln!(
        out,
        "{:.1} GFLOP/s, {:.1} % of {:.1} that the {} can do in {}; memory gives {:.1} GB/s",
        found.gflops,
        found.fraction_of_peak * 100.0,
        found.peak_gflops,
        device.to_uppercase(),
        if found.multiplies_bf16 { "bf16" } else { "f32" },
        found.limits.bandwidth / 1e9
    )?;
    if let Some(mib) = found.peak_rss_mib {
        writeln!(out, "peak memory {mib:.0} MiB")?;
    }
    Ok(())
}

fn write_steps(out: &mut Out, found: &Bench) -> std::io::Result<()> {
    let total: f64 = found.steps.iter().map(|s| s.ms).sum();
    let mut slowest: Vec<&StepTime> = found.steps.iter().collect();
    slowest.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    writeln!(out)?;
    writeln!(
        out,
        "{:>9} {:>6}  {:<22} {:<24} {:<28} {:<26} {:>8} {:>8} {:>9}",
        "ms", "part", "operation", "layer", "shape", "kernel", "GFLOP/s", "MB", "roofline"
    )?;
    for s in slowest {
        let gflops = if s.gflops > 0.0 { format!("{:.1}", s.gflops) } else { String::new() };
        writeln!(
            out,
            "{:>9.3} {:>4.1} %  {:<22} {:<24} {:<28} {:<26} {gflops:>8} {:>8.2} {:>7.0} %",
            s.ms,
            s.ms / total * 100.0,
            s.operation,
            s.layer,
            s.shape,
            s.kernel,
            s.megabytes,
            s.fraction_of_roofline * 100.0
        )?;
    }
    let mut kinds: Vec<(&str, f64)> = Vec::new();
    for s in &found.steps {
        match kinds.iter_mut().find(|(kind, _)| *kind == s.operation) {
            Some((_, ms)) => *ms += s.ms,
            None => kinds.push((s.operation, s.ms)),
        }
    }
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
    writeln!(out)?;
    writeln!(out, "{:>9} {:>6}  operation", "ms", "part")?;
    for (kind, ms) in kinds {
        writeln!(out, "{ms:>9.3} {:>4.1} %  {kind}", ms / total * 100.0)?;
    }
    Ok(())
}
