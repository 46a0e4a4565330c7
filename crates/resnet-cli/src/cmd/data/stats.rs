//! `resnet data stats`.

use std::path::PathBuf;

use resnet::base::{files, text};
use resnet::data::stats::{Opened, Sample, Stats};
use resnet::study::data::{save_stats, sheet};

use crate::term::{self, Out, bar, command_line, grouped, tell};

/// Classes that the page and the sheet show, pictures of each, and their longest side in pixels.
const CLASSES: usize = 40;
const EACH: usize = 8;
const SIDE: usize = 240;

/// Arguments of `resnet data stats`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet data stats photos
  resnet data stats cifar10:DIR --out data.html      a page with a few pictures of each class
Sizes, formats and bytes are of all pictures. Grey ones, means and deviations are of pictures \
that were decoded: all, or as
many evenly spaced ones as half a billion pixels are; --sample says how many.")]
pub(super) struct Args {
    /// The pictures, as of `resnet data check`
    data: String,
    /// Pictures to decode: a number, or all
    #[arg(long, value_name = "N|all", value_parser = sample)]
    sample: Option<Sample>,
    /// Write a page that anyone can read
    #[arg(long, value_name = "PAGE.html")]
    out: Option<PathBuf>,
    /// Write a few pictures of each class as one picture, a row for each class
    #[arg(long, value_name = "SHEET.png")]
    sheet: Option<PathBuf>,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

fn sample(text: &str) -> Result<Sample, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".into()),
        Ok(pictures) => Ok(Sample::Pictures(pictures)),
        Err(_) if text == "all" => Ok(Sample::All),
        Err(_) => Err("expected a number of pictures, or all".into()),
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let opened = Opened::open(&args.data)?;
    let sample = args.sample.unwrap_or_default();
    let progress = bar(opened.sampled(sample) as u64, "pictures");
    let stats = opened.stats(sample, &|done| progress.set_position(done as u64))?;
    progress.finish_and_clear();
    let mut out = term::out();
    if args.json {
        out.json(serde_json::to_string(&stats)?)?;
    } else {
        write(&mut out, &stats)?;
    }
    drop(out);
    if args.out.is_none() && args.sheet.is_none() {
        return Ok(());
    }
    let contacts = opened.contacts(CLASSES, EACH, SIDE)?;
    if let Some(page) = &args.out {
        save_stats(page, &stats, &contacts, &command_line())?;
        tell(&format!("page    {}", text::path(page)));
    }
    if let Some(file) = &args.sheet {
        let png = sheet(&contacts)
            .ok_or_else(|| anyhow::anyhow!("{}: no picture can be shown", args.data))?;
        files::write_atomic(file, |to| to.write_all(&png))?;
        let rows: Vec<&str> = contacts.iter().map(|of| of.class.as_str()).collect();
        let rows = rows.join(", ");
        tell(&format!("sheet   {}, rows from the top: {rows}", text::path(file)));
    }
    Ok(())
}

fn write(out: &mut Out, stats: &Stats) -> std::io::Result<()> {
    for split in &stats.splits {
        super::counts(out, &split.part, 8)?;
    }
    let unusable = stats.unusable + stats.damaged;
    if unusable > 0 {
        let unusable = grouped(unusable as u64);
        writeln!(out, "{:<8} {unusable:>9} not usable; `data check` names them", "")?;
    }
    writeln!(out)?;
    if let Some(sizes) = &stats.sizes {
        writeln!(out, "{:<8} {:>9} {:>9} {:>9}", "", "least", "median", "most")?;
        for (name, range) in [("width", &sizes.width), ("height", &sizes.height)] {
            let [least, median, most] = [range.least, range.median, range.most];
            writeln!(out, "{name:<8} {least:>9} {median:>9} {most:>9}")?;
        }
        let aspect = &sizes.aspect;
        let [least, median, most] = [aspect.least, aspect.median, aspect.most];
        writeln!(out, "{:<8} {least:>9.2} {median:>9.2} {most:>9.2}", "w / h")?;
    }
    if let Some(bytes) = &stats.bytes {
        let [least, median, most] = [bytes.least, bytes.median, bytes.most].map(grouped);
        writeln!(out, "{:<8} {least:>9} {median:>9} {most:>9}", "bytes")?;
    }
    if let Some(sizes) = &stats.sizes {
        let common = sizes.common.iter().map(|size| {
            format!("{} x {} ({})", size.width, size.height, grouped(size.images as u64))
        });
        let common: Vec<String> = common.collect();
        let more = match sizes.distinct - common.len() {
            0 => String::new(),
            more => format!(", and {} more", grouped(more as u64)),
        };
        writeln!(out)?;
        writeln!(out, "sizes    {}{more}", common.join(", "))?;
        writeln!(
            out,
            "shapes   {} wider than high, {} square, {} higher than wide",
            grouped(sizes.landscape as u64),
            grouped(sizes.square as u64),
            grouped(sizes.portrait as u64)
        )?;
    }
    if !stats.formats.is_empty() {
        let format = |of: &resnet::data::stats::FormatCount| {
            format!("{} ({}, {} bytes)", of.format, grouped(of.images as u64), grouped(of.bytes))
        };
        let formats: Vec<String> = stats.formats.iter().map(format).collect();
        writeln!(out, "formats  {}", formats.join(", "))?;
    }
    let read = stats.decoded - stats.damaged;
    let of = match stats.decoded == stats.images {
        true => String::new(),
        false => format!(", evenly spaced over {}", grouped(stats.images as u64)),
    };
    let (grey, read) = (grouped(stats.grey as u64), grouped(read as u64));
    writeln!(out, "grey     {grey} of {read} pictures that were decoded{of}")?;
    writeln!(out)?;
    let list = |numbers: &[f64]| {
        let texts: Vec<String> = numbers.iter().map(|x| format!("{x:.3}")).collect();
        texts.join(" ")
    };
    writeln!(out, "{:<8} {:>9}  {:<17}  deviation", "", "decoded", "mean")?;
    for split in &stats.splits {
        writeln!(
            out,
            "{:<8} {:>9}  {:<17}  {}",
            split.part.split,
            grouped(split.decoded as u64),
            list(&split.mean),
            list(&split.std)
        )?;
    }
    Ok(())
}
