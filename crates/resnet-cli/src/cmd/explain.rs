//! `resnet explain`.

use std::path::PathBuf;

use resnet::study::explain::{self, Request, STEPS, Words};
use resnet::train::recipe::Recipe;

use super::compare::{Terminal, stopped};
use super::flags::{self, ComputeKeys};
use super::paths::keep_runs;
use crate::term::{self, command_without, tell};

/// Where the explanation goes that names no other place.
const STORE: &str = "runs/explain";

/// Arguments of `resnet explain`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet explain                           five networks on the built-in pictures, in minutes
  resnet explain --steps 1000 --out runs/explain-1000   the same, trained longer
The same command again goes on where it was stopped.")]
pub(crate) struct Args {
    /// Steps for each network
    #[arg(long, value_name = "N", default_value_t = STEPS)]
    steps: u64,
    /// Seed of all randomness
    #[arg(long, value_name = "N")]
    seed: Option<String>,
    #[command(flatten)]
    compute: ComputeKeys,
    /// How maps are stored: f32, bf16, or auto for what is faster here
    #[arg(long, value_name = "P")]
    precision: Option<String>,
    /// Directory of the explanation [default: runs/explain]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The numbers of the page as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut changes = vec![
        ("train.steps".to_owned(), args.steps.to_string()),
        ("train.monitor_every".to_owned(), "0it".to_owned()),
    ];
    let [threads, device] = args.compute.rows();
    let seed = ("--seed", "train.seed", &args.seed);
    let precision = ("--precision", "train.precision", &args.precision);
    changes.extend(flags::changes(&[seed, threads, device, precision]));
    let out = args.out.unwrap_or_else(|| STORE.into());
    keep_runs("--out", &out)?;
    let request = Request {
        recipe: Recipe::load("depth", &changes)?,
        out: out.clone(),
        // What is printed beside the page does not change it.
        command: command_without("--json"),
        words: Words {
            block: |network, block| format!("resnet draw --block {network}:{block} --gradient"),
            skyline: |networks| format!("resnet draw --skyline {}", networks.join(" ")),
            next: "Your own comparison: `resnet compare`. A look into any network: `resnet inspect`.",
        },
    };
    let mut watch = Terminal::new()?;
    let Some(story) = explain::run(&request, &mut watch, &mut tell)? else {
        return Err(stopped());
    };
    explain::save(&out, &story)?;
    if args.json {
        let numbers: serde_json::Map<_, _> =
            story.numbers.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
        term::out().json(serde_json::Value::Object(numbers))?;
    }
    tell(&format!("explanation  {}", out.join("report.html").display()));
    Ok(())
}
