//! `resnet data pack`.

use std::path::PathBuf;

use clap::ValueEnum;
use resnet::base::text;
use resnet::data::{PackFormat, PackOptions, PackStage, Shrink, pack};

use super::super::serve::bytes;
use crate::term::{self, bar, grouped};

/// Arguments of `resnet data pack`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet data pack photos shards                           # shards/train-000000.tar, ...
  resnet data pack photos parquet --format parquet         # parquet/train-00000-of-00005.parquet
  resnet data pack photos small --shorter-side 320         # 320 pixels are enough to train on 224
Pictures keep their order and their bytes, so training from either gives the same weights. Stopped, \
the same command
goes on behind the last whole shard. All is read again before the shards get their place.")]
pub(super) struct Args {
    /// The pictures, as of `resnet data check`
    data: String,
    /// The folder of the shards, empty or new
    dest: PathBuf,
    /// Tar files as of WebDataset, or Parquet files as of Hugging Face
    #[arg(long, value_enum, default_value = "tar")]
    format: Kind,
    /// Bytes of a shard
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = bytes)]
    shard_size: u64,
    /// Make larger pictures JPEGs whose shorter side has so many pixels
    #[arg(long, value_name = "PIXELS")]
    shorter_side: Option<usize>,
    /// Quality of those JPEGs, up to 100
    #[arg(long, default_value_t = 90, requires = "shorter_side")]
    quality: u8,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Tar,
    Parquet,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let quality = args.quality;
    let options = PackOptions {
        format: match args.format {
            Kind::Tar => PackFormat::Tar,
            Kind::Parquet => PackFormat::Parquet,
        },
        shard_size: args.shard_size,
        shrink: args.shorter_side.map(|shorter_side| Shrink { shorter_side, quality }),
    };
    let progress = bar(0, "pictures");
    let told = |stage, done: usize, all: usize| {
        progress.set_length(all as u64);
        progress.set_message(match stage {
            PackStage::Write => "packed",
            PackStage::Verify => "read again",
        });
        progress.set_position(done as u64);
    };
    let made = pack(&args.data, &args.dest, &options, &told)?;
    progress.finish_and_clear();
    for warning in &made.warnings {
        term::tell(&format!("warning: {warning}"));
    }
    let mut out = term::out();
    let shards: usize = made.splits.iter().map(|(.., shards)| shards).sum();
    if args.json {
        let split = |(name, pictures, shards): &(String, usize, usize)| {
            let counts = serde_json::json!({ "pictures": pictures, "shards": shards });
            (name.clone(), counts)
        };
        let splits: serde_json::Map<_, _> = made.splits.iter().map(split).collect();
        let (bytes, kept) = (made.bytes, made.kept);
        let all = serde_json::json!({ "splits": splits, "bytes": bytes, "kept": kept });
        out.json(all.to_string())?;
        return Ok(());
    }
    for (split, pictures, shards) in &made.splits {
        let (pictures, unit) =
            (grouped(*pictures as u64), if *shards == 1 { "shard" } else { "shards" });
        writeln!(out, "{split:<10} {pictures:>9} pictures in {shards} {unit}")?;
    }
    let kept = match made.kept {
        0 => String::new(),
        kept => format!(", {kept} of the shards were there already"),
    };
    let megabytes = made.bytes as f64 / 1e6;
    let dest = text::path(&args.dest);
    writeln!(out, "{shards} shards of {megabytes:.1} MB in {dest}, read again and right{kept}")?;
    Ok(())
}
