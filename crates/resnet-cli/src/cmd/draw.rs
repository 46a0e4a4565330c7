//! `resnet draw`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use resnet::base::files::write_atomic;
use resnet::page::draw::{DrawError, MOST_NETWORKS, Network, block, draw, family};

use super::summary::{network, parse_shape};
use crate::exit::Usage;
use crate::term::{self, tell};

/// Arguments of `resnet draw`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet draw resnet34
  resnet draw vgg19 plain34 resnet34 -o figure3.svg
  resnet draw resnet20:shortcut=A resnet20:shortcut=B --input 1x28x28
  resnet draw --skyline resnet18 resnet34 resnet50 resnet101 resnet152
  resnet draw --block resnet50:layer2.0 --gradient
  resnet draw runs/mine > mine.svg")]
pub(crate) struct Args {
    /// Networks, model files or run directories, from left to right
    #[arg(value_name = "ARCH|MODEL", required_unless_present = "block")]
    networks: Vec<String>,
    /// One line a layer: many layers to scale in little room
    #[arg(long)]
    skyline: bool,
    /// One block in detail instead, with the shapes of its maps
    #[arg(long, value_name = "ARCH|MODEL:BLOCK", conflicts_with_all = ["networks", "skyline"])]
    block: Option<String>,
    /// With --block, the ways that the gradient takes back, and its terms
    #[arg(long)]
    gradient: bool,
    /// File to write, - for standard output [default: standard output if it is not a terminal, else
    /// NAME.svg here]
    #[arg(short, long, value_name = "FILE.svg")]
    output: Option<PathBuf>,
    /// Shape of an image, channels x height x width [default: what each network was designed for]
    #[arg(long, value_name = "CxHxW")]
    input: Option<String>,
    /// Number of classes [default: what each network was designed for]
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if args.networks.len() > MOST_NETWORKS {
        return Err(Usage(format!(
            "{} networks are too many for one drawing; it has room for {MOST_NETWORKS}, make \
             several",
            args.networks.len()
        ))
        .into());
    }
    if args.gradient && args.block.is_none() {
        return Err(Usage("--gradient belongs to one block; name it by --block".into()).into());
    }
    let input = args.input.as_deref().map(parse_shape).transpose()?;
    let names = match &args.block {
        Some(block) => std::slice::from_ref(block),
        None => &args.networks[..],
    };
    let output = match &args.output {
        Some(path) => path.clone(),
        None if term::people_read_output() => {
            let kind = [(args.skyline, "-skyline"), (args.gradient, "-gradient")];
            let kind: String = kind.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
            file_name(names, &kind).into()
        }
        None => "-".into(),
    };
    check(&output)?;
    let open = |text: &str| -> anyhow::Result<Network> {
        let (arch, shape, classes) = network(text)?;
        let (shape, classes) = (input.unwrap_or(shape), args.classes.unwrap_or(classes));
        Ok(Network::of(&arch, shape, classes)?)
    };
    let refused = |error: DrawError| Usage(error.to_string());
    let svg = match &args.block {
        Some(text) => {
            let (network, name) = split_block(text)?;
            block::draw(&open(network)?, name, args.gradient).map_err(refused)?
        }
        None => {
            let networks = networks(&args.networks, open)?;
            let draw = if args.skyline { family::draw } else { draw };
            draw(&networks).map_err(refused)?
        }
    };
    if output == Path::new("-") {
        term::out().raw(svg.as_bytes())?;
        return Ok(());
    }
    write_atomic(&output, |to| to.write_all(svg.as_bytes()))?;
    tell(&format!("drawing {}", output.display()));
    Ok(())
}

fn networks(
    texts: &[String],
    open: impl Fn(&str) -> anyhow::Result<Network>,
) -> anyhow::Result<Vec<Network>> {
    let mut networks: Vec<Network> = Vec::new();
    for text in texts {
        // `resnet summary` takes options as words of their own; here a word is a network.
        if let (Some(before), true) = (networks.last(), text.contains('=') && !text.contains(':')) {
            let (name, joint) = (&before.name, if before.name.contains(':') { ',' } else { ':' });
            return Err(Usage(format!(
                "`{text}` is no network; an option belongs to its network's name: \
                 {name}{joint}{text}"
            ))
            .into());
        }
        networks.push(open(text)?);
    }
    Ok(networks)
}

/// `resnet20:shortcut=B` and `layer2.0` of `resnet20:shortcut=B:layer2.0`.
fn split_block(text: &str) -> Result<(&str, &str), Usage> {
    let parts = text.rsplit_once(':').filter(|(network, block)| {
        !network.is_empty() && !block.is_empty() && !block.contains(['=', '/', '\\'])
    });
    parts.ok_or_else(|| {
        Usage(format!(
            "--block is `{text}`, expected a network and one of its blocks, such as \
             resnet50:layer2.0"
        ))
    })
}

/// The networks' names as one file name, such as `plain34-resnet34.svg`.
fn file_name(networks: &[String], kind: &str) -> String {
    const LONGEST: usize = 120;
    let last = |text: &String| {
        let trimmed = text.trim_end_matches(['/', '\\']);
        let name = trimmed.rsplit(['/', '\\']).next().unwrap_or(trimmed);
        name.trim_end_matches(".safetensors").to_owned()
    };
    let names: Vec<String> = networks.iter().map(last).collect();
    let plain = |c: char| {
        if c.is_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' }
    };
    let name: String = names.join("-").chars().map(plain).take(LONGEST).collect();
    format!("{}{kind}.svg", name.trim_matches('-'))
}

/// Refuses to write what is no SVG by its name, and over what is none by its content.
fn check(output: &Path) -> Result<(), Usage> {
    let name = output.display();
    if let Some(other) = output.extension()
        && !other.eq_ignore_ascii_case("svg")
    {
        let named = output.with_extension("svg");
        return Err(Usage(format!(
            "-o is {name}, but drawings are SVG; name it {}",
            named.display()
        )));
    }
    if !output.is_file() {
        return Ok(());
    }
    let mut start = Vec::new();
    let read = File::open(output).and_then(|file| file.take(512).read_to_end(&mut start));
    let text = String::from_utf8_lossy(&start);
    if read.is_ok() && (start.is_empty() || text.contains("<svg") || text.starts_with("<?xml")) {
        return Ok(());
    }
    Err(Usage(format!("{name} exists and is no SVG; choose another name, or remove it first")))
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn files_are_named_after_the_networks() {
        let name = |networks: &[&str]| {
            let networks: Vec<String> = networks.iter().map(|s| s.to_string()).collect();
            file_name(&networks, "")
        };
        assert_eq!(name(&["resnet34"]), "resnet34.svg");
        assert_eq!(name(&["vgg19", "plain34", "resnet34"]), "vgg19-plain34-resnet34.svg");
        assert_eq!(name(&["resnet20:shortcut=B,norm=none"]), "resnet20-shortcut-B-norm-none.svg");
        assert_eq!(name(&["runs/mine/", "a/model.safetensors"]), "mine-model.svg");
        assert!(name(&["resnet20"; 40]).len() < 130);
    }
}
