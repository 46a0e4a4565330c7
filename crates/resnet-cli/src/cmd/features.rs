//! `resnet inspect MODEL --features`.

use std::path::Path;
use std::time::Instant;

use resnet::model::Model;
use resnet::study::features::{Asked, Features, Material, features, save};

use super::flags::ComputeKeys;
use super::paths::recipe_of;
use crate::exit::Usage;
use crate::term::{self, Out, bar, command_line, duration, grouped, tell};

/// Flags of a look at what a network has learned.
#[derive(clap::Args)]
#[command(next_help_heading = "Features")]
pub(super) struct Flags {
    /// Look at what a trained network's channels answer to, with these pictures: data as of --data,
    /// or a folder of pictures without classes [default: the model's own data, or builtin]
    #[arg(long, value_name = "PICTURES", num_args = 0..=1)]
    pub(super) features: Option<Option<String>>,
    /// Channels of each stage that are looked at
    #[arg(long, value_name = "N", requires = "features",
        value_parser = clap::value_parser!(u32).range(0..=1000), default_value_t = 10)]
    channels: u32,
    /// Channels of each stage for which a picture is made, starting from noise
    #[arg(long, value_name = "N", requires = "features",
        value_parser = clap::value_parser!(u32).range(0..=1000), default_value_t = 4)]
    made: u32,
}

/// What `inspect` was asked beside.
pub(super) struct Around<'a> {
    pub(super) path: &'a Path,
    pub(super) model: &'a Model,
    pub(super) data: Option<&'a str>,
    pub(super) pictures: Option<usize>,
    pub(super) seed: u64,
    pub(super) compute: &'a ComputeKeys,
    pub(super) out: Option<&'a Path>,
    pub(super) json: bool,
}

pub(super) fn run(flags: &Flags, around: &Around<'_>) -> anyhow::Result<()> {
    let own = recipe_of(around.path, around.model)?.map(|recipe| recipe.data.source);
    let named = flags.features.as_ref().and_then(Option::as_deref);
    if named.is_some() && around.data.is_some() {
        return Err(Usage("--features and --data both name pictures; leave one out".into()).into());
    }
    let source = named.or(around.data).map(str::to_owned).or(own);
    let source = source.unwrap_or_else(|| "builtin".into());
    let material = Material::open(around.model, &source)?;
    let device = around.compute.open()?;
    let asked = Asked {
        channels: flags.channels as usize,
        made: flags.made.min(flags.channels) as usize,
        pictures: around.pictures,
        seed: around.seed,
        channels_only: false,
    };
    let start = Instant::now();
    let progress = bar(1, "");
    let on = &mut |what: &str, done: usize, of: usize| {
        progress.set_message(what);
        progress.set_length(of as u64);
        progress.set_position(done as u64);
    };
    let found = features(around.model, &material, asked, device.as_ref(), on)?;
    progress.finish_and_clear();
    for warning in &found.warnings {
        tell(&format!("warning: {warning}"));
    }
    if let Some(out) = around.out {
        save(out, &found, &command_line())?;
        tell(&format!("report  {}", out.join("report.html").display()));
    }
    tell(&format!("looked for {}", duration(start.elapsed().as_secs_f64())));
    let mut stdout = term::out();
    if around.json {
        stdout.json(serde_json::to_string(&found)?)?;
        return Ok(());
    }
    Ok(write(&mut stdout, &found)?)
}

fn write(out: &mut Out, found: &Features) -> std::io::Result<()> {
    writeln!(
        out,
        "{}, {}; {} pictures of {} ({})",
        found.arch,
        found.weights,
        grouped(found.pictures as u64),
        found.data,
        found.split
    )?;
    writeln!(out)?;
    let percent = |share: Option<f64>| share.map_or("".into(), |s| format!("{:.1} %", s * 100.0));
    writeln!(
        out,
        "{:<10}  {:>5}  {:>14}  {:>7}  {:>14}  {:>10}",
        "block", "depth", "maps", "sees", "channels used", "classifier"
    )?;
    for p in &found.points {
        writeln!(
            out,
            "{:<10}  {:>5}  {:>14}  {:>7}  {:>14.1}  {:>10}",
            p.name,
            p.depth,
            format!("{}x{}x{}", p.channels, p.height, p.width),
            p.field.map_or("all".into(), |side| side.to_string()),
            p.used,
            percent(p.probe)
        )?;
    }
    for p in found.points.iter().filter(|p| p.seen.iter().any(|seen| seen.made.is_some())) {
        writeln!(out)?;
        writeln!(
            out,
            "{:<16}  {:>10}  {:>10}  {:>10}  best picture",
            p.name, "made", "noise", "picture"
        )?;
        for seen in &p.seen {
            let Some(made) = &seen.made else { continue };
            writeln!(
                out,
                "{:<16}  {:>10.4}  {:>10.4}  {:>10.4}  {}",
                format!("channel {}", seen.channel),
                made.response,
                made.noise,
                made.best_picture,
                seen.top.first().map_or("", |patch| &patch.picture)
            )?;
        }
    }
    let lesions = &found.lesions;
    if lesions.blocks.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let total = lesions.pictures.max(1) as f64;
    let share = |count: u64| format!("{:.2} %", count as f64 / total * 100.0);
    let wrong = |wrong: Option<u64>| wrong.map_or(String::new(), share);
    writeln!(out, "{:<16}  {:>9}  {:>9}  {:>13}", "without", "error", "changed", "|F(x)|/|S(x)|")?;
    writeln!(
        out,
        "{:<16}  {:>9}            {:>13}  of {} pictures",
        "nothing",
        wrong(lesions.whole.wrong),
        "",
        grouped(lesions.pictures)
    )?;
    for (i, lesion) in lesions.blocks.iter().enumerate() {
        let Some(score) = &lesion.score else {
            writeln!(out, "{:<16}  nothing that fits together is left", lesion.block)?;
            continue;
        };
        let added = found.added.get(i).map_or(String::new(), |added| {
            format!("{:.3}", added.branch_norm / added.shortcut_norm)
        });
        writeln!(
            out,
            "{:<16}  {:>9}  {:>9}  {added:>13}",
            lesion.block,
            wrong(score.wrong),
            share(score.changed)
        )?;
    }
    Ok(())
}
