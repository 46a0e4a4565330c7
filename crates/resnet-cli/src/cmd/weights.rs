//! `resnet weights`.

use resnet::model::published::{ADDRESS, PUBLISHED, Published};
use serde_json::json;

use crate::exit::Usage;
use crate::term::{self, Out};
use crate::weights::Weights;

/// Arguments of `resnet weights`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet weights                                    what is published, and what is here
  resnet weights resnet50                           fetch it now; other commands do when they need it
  RESNET_WEIGHTS=/mnt/weights resnet weights resnet50.v2
The names stand for model files in finetune, predict, eval, export and inspect (there, `resnet50` \
is the untrained network and
`resnet50.v1` this one). A file's name ends with the beginning of its sha256, which is checked; so \
any file named like
net-0123abcd.pth can be fetched from the folder or address in RESNET_WEIGHTS. Models made of them \
are kept in
$XDG_CACHE_HOME/resnet or ~/.cache/resnet; PyTorch's cache is looked into as well.")]
pub(crate) struct Args {
    /// Weights to fetch; none lists what there is
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// One JSON object a row on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut out = term::out();
    if args.names.is_empty() {
        return list(&mut out, args.json);
    }
    let named = |name: &String| {
        Weights::named(name).ok_or_else(|| {
            let hint = match Published::nearest(name) {
                Some(near) => format!("did you mean {near}? "),
                None => String::new(),
            };
            Usage(format!("`{name}` names no published weights; {hint}`resnet weights` lists them"))
        })
    };
    let wanted: Vec<Weights> = args.names.iter().map(named).collect::<Result<_, _>>()?;
    for (name, weights) in args.names.iter().zip(wanted) {
        let model = weights.sound_model()?.display().to_string();
        match args.json {
            true => {
                let row = json!({"name": name, "file": weights.file, "model": model});
                out.json(row)?;
            }
            false => writeln!(out, "{name}: {model}")?,
        }
    }
    Ok(())
}

fn list(out: &mut Out, json: bool) -> anyhow::Result<()> {
    if !json {
        writeln!(out, "{:<18} {:>6}  {:>7}  {:<29} here", "name", "top-1", "MiB", "file")?;
    }
    for row in PUBLISHED {
        let name = row.name();
        let weights = Weights::named(&name).expect("every row has a file with its hash");
        let here = weights.here()?.map(|path| path.display().to_string());
        if json {
            let row = json!({
                "name": name, "arch": row.arch, "edition": row.edition, "file": row.file,
                "address": format!("{ADDRESS}/{}", row.file), "mib": row.mib, "top1": row.top1,
                "resize": row.resize, "here": here,
            });
            out.json(row)?;
            continue;
        }
        writeln!(
            out,
            "{name:<18} {:>6.2}  {:>7.1}  {:<29} {}",
            row.top1 * 100.0,
            row.mib,
            row.file,
            here.as_deref().unwrap_or("-")
        )?;
    }
    if !json {
        writeln!(out)?;
        writeln!(
            out,
            "of torchvision ({ADDRESS}), trained on ImageNet's 1,000 classes; top-1 in percent \
             as published"
        )?;
    }
    Ok(())
}
