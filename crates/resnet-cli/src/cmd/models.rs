//! `resnet models`.

use resnet::data;
use resnet::net::{CATALOG, FAMILIES, OPTIONS};
use resnet::train::recipe::{KEYS, Key, RECIPES};

use crate::hints;
use crate::term::{self, Out, grouped, scaled};

/// Arguments of `resnet models`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// List every key of a recipe instead, with its default
    #[arg(long)]
    keys: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut out = term::out();
    if args.keys {
        return keys(&mut out, args.json);
    }
    if args.json {
        out.json(json())?;
        return Ok(());
    }
    writeln!(out, "{:<22} {:>5} {:>12} {:>10}  what", "network", "depth", "parameters", "MACs")?;
    for row in CATALOG {
        let (params, macs) = (grouped(row.params), scaled(row.macs));
        writeln!(
            out,
            "{:<22} {:>5} {params:>12} {macs:>10}  {} ({})",
            row.name, row.depth, row.about, row.source
        )?;
    }
    writeln!(out)?;
    writeln!(out, "of any depth")?;
    for family in FAMILIES {
        writeln!(out, "{:<30} {} ({})", family.pattern, family.about, family.source)?;
    }
    writeln!(out)?;
    writeln!(out, "options, as in resnet20:shortcut=B,norm=none")?;
    for option in OPTIONS {
        writeln!(out, "{:<10} {:<30} {}", option.key, option.values, option.help)?;
    }
    writeln!(out)?;
    writeln!(out, "data")?;
    for format in data::formats() {
        let name =
            if format.takes_folder { format!("{}:DIR", format.name) } else { format.name.into() };
        writeln!(out, "{name:<14} {}", format.about)?;
    }
    writeln!(out)?;
    writeln!(out, "recipes")?;
    for recipe in RECIPES {
        writeln!(out, "{:<14} {}", recipe.name, recipe.about)?;
    }
    Ok(())
}

fn json() -> serde_json::Value {
    let networks: Vec<_> = CATALOG
        .iter()
        .map(|row| {
            serde_json::json!({
                "arch": row.name, "depth": row.depth, "params": row.params, "macs": row.macs,
                "flops": 2 * row.macs,
                "about": row.about, "source": row.source,
            })
        })
        .collect();
    let families: Vec<_> = FAMILIES
        .iter()
        .map(|f| serde_json::json!({"pattern": f.pattern, "about": f.about, "source": f.source}))
        .collect();
    let options: Vec<_> = OPTIONS
        .iter()
        .map(|o| serde_json::json!({"key": o.key, "values": o.values, "help": o.help}))
        .collect();
    let recipes: Vec<_> =
        RECIPES.iter().map(|r| serde_json::json!({"name": r.name, "about": r.about})).collect();
    serde_json::json!({
        "models": networks, "families": families, "options": options, "recipes": recipes,
    })
}

/// What a key means.
fn help(key: &Key) -> String {
    format!("{}{}", key.help, hints::of_key(key))
}

fn keys(out: &mut Out, json: bool) -> anyhow::Result<()> {
    let default = resnet::train::recipe::Recipe::default();
    if json {
        let keys: Vec<_> = KEYS
            .iter()
            .map(|key| {
                serde_json::json!({
                    "key": key.name, "default": key.value(&default), "expected": key.expected(),
                    "help": help(key),
                })
            })
            .collect();
        out.json(serde_json::Value::from(keys))?;
        return Ok(());
    }
    for key in KEYS.iter() {
        writeln!(out, "{} = {}", key.name, key.value(&default))?;
        writeln!(out, "    {}", help(key))?;
    }
    Ok(())
}
