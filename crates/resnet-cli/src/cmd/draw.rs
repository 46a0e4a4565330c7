//! `resnet draw`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use resnet::base::files::write_atomic;
use resnet::page::draw::{MOST_NETWORKS, Network, draw};

use super::summary::{network, parse_shape};
use crate::exit::Usage;
use crate::term::{self, tell};

/// Arguments of `resnet draw`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet draw resnet34
  resnet draw vgg19 plain34 resnet34 -o figure3.svg
  resnet draw resnet20:shortcut=A resnet20:shortcut=B --input 1x28x28
  resnet draw runs/mine > mine.svg")]
pub(crate) struct Args {
    /// Networks, model files or run directories, from left to right
    #[arg(value_name = "ARCH|MODEL", required = true)]
    networks: Vec<String>,
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
    let input = args.input.as_deref().map(parse_shape).transpose()?;
    let output = match args.output {
        Some(path) => path,
        None if term::people_read_output() => file_name(&args.networks).into(),
        None => "-".into(),
    };
    check(&output)?;
    let mut networks: Vec<Network> = Vec::new();
    for text in &args.networks {
        // `resnet summary` takes options as words of their own; here a word is a network.
        if let (Some(before), true) = (networks.last(), text.contains('=') && !text.contains(':')) {
            let (name, joint) = (&before.name, if before.name.contains(':') { ',' } else { ':' });
            return Err(Usage(format!(
                "`{text}` is no network; an option belongs to its network's name: \
                 {name}{joint}{text}"
            ))
            .into());
        }
        let (arch, shape, classes) = network(text)?;
        let (shape, classes) = (input.unwrap_or(shape), args.classes.unwrap_or(classes));
        networks.push(Network::of(&arch, shape, classes)?);
    }
    let svg = draw(&networks).map_err(|error| Usage(error.to_string()))?;
    if output == Path::new("-") {
        term::out().raw(svg.as_bytes())?;
        return Ok(());
    }
    write_atomic(&output, |to| to.write_all(svg.as_bytes()))?;
    tell(&format!("drawing {}", output.display()));
    Ok(())
}

/// The networks' names as one file name, such as `plain34-resnet34.svg`.
fn file_name(networks: &[String]) -> String {
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
    format!("{}.svg", name.trim_matches('-'))
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
            file_name(&networks)
        };
        assert_eq!(name(&["resnet34"]), "resnet34.svg");
        assert_eq!(name(&["vgg19", "plain34", "resnet34"]), "vgg19-plain34-resnet34.svg");
        assert_eq!(name(&["resnet20:shortcut=B,norm=none"]), "resnet20-shortcut-B-norm-none.svg");
        assert_eq!(name(&["runs/mine/", "a/model.safetensors"]), "mine-model.svg");
        assert!(name(&["resnet20"; 40]).len() < 130);
    }
}
