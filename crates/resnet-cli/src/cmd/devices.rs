//! `resnet devices`.

use resnet::device::{self, Listed, Wanted};

use crate::term::{self, tell};

/// Arguments of `resnet devices`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet train --device gpu:0
  resnet predict resnet50 photo.jpg --device cpu
A GPU is found by its driver: Vulkan, Metal or DirectX 12. Where there is one, this measures \
whether it is faster than the CPU, as auto does.")]
pub(crate) struct Args {
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let devices = device::list()?;
    let auto = device::open(&Wanted::Auto, 0)?;
    let missing = device::no_gpu();
    let mut out = term::out();
    if args.json {
        let json = serde_json::json!({
            "devices": devices, "auto": auto.taken, "why": auto.why, "missing": missing,
        });
        out.json(json)?;
        return Ok(());
    }
    let rows: Vec<[String; 5]> = devices.iter().map(row).collect();
    let titles = ["--device", "what", "kind", "driver", "largest array"].map(str::to_owned);
    let mut widths = [0; 5];
    for row in rows.iter().chain([&titles]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in [&titles].into_iter().chain(&rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    writeln!(out)?;
    let why = auto.why.map_or(String::new(), |why| format!(": {why}"));
    writeln!(out, "auto is {}{why}", auto.taken)?;
    if let Some(missing) = missing {
        tell(&missing);
    }
    Ok(())
}

/// What is shown of a device.
fn row(of: &Listed) -> [String; 5] {
    let about = of.about.as_ref().map_or(String::new(), |about| format!(", {about}"));
    let threads = match of.threads {
        Some(1) => ", 1 thread".into(),
        Some(n) => format!(", {n} threads"),
        None => String::new(),
    };
    let driver = [of.api, of.driver.as_deref()].into_iter().flatten().filter(|s| !s.is_empty());
    let largest = of
        .largest_slot
        .map_or(String::new(), |bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1u32 << 30)));
    [
        of.device.to_string(),
        format!("{}{about}{threads}", of.name),
        of.kind.into(),
        driver.collect::<Vec<_>>().join(", "),
        largest,
    ]
}
