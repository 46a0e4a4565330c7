//! `resnet export-events`.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use resnet::base::files::{safe_name, write_atomic};
use resnet::train::{CONFIG, EVENTS, event};

use crate::exit::Usage;
use crate::term::tell;

/// The file of a run; the same each time, so that a later export replaces an earlier one.
const FILE: &str = "events.out.tfevents.0.resnet";

/// Arguments of `resnet export-events`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet export-events runs/a runs/b --tensorboard board
  tensorboard --logdir board
The same command again replaces what it wrote: of a run that goes on, with what was added since.")]
pub(crate) struct Args {
    /// Run directories
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Directory that TensorBoard is given; each run gets a folder of its name there
    #[arg(long, value_name = "DIR")]
    tensorboard: PathBuf,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let names: Vec<String> = args.runs.iter().map(|run| name(run)).collect();
    if let Some((i, name)) = (1..).zip(&names[1..]).find(|(i, name)| names[..*i].contains(name)) {
        return Err(Usage(format!(
            "{} is the second run called {name}; export them into two directories",
            args.runs[i].display()
        ))
        .into());
    }
    for (run, name) in args.runs.iter().zip(&names) {
        let events = event::read(&run.join(EVENTS))?;
        // A run claims its directory by its configuration before anything else.
        let began = std::fs::metadata(run.join(CONFIG)).and_then(|config| config.modified());
        let start = began.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let start = start.map_or(0.0, |since| since.as_secs_f64());
        let folder = args.tensorboard.join(name);
        std::fs::create_dir_all(&folder)
            .map_err(|error| anyhow::anyhow!("cannot make {}: {error}", folder.display()))?;
        let file = folder.join(FILE);
        write_atomic(&file, |to| event::tensorboard(&events, start, to))?;
        tell(&format!("{} events  {}", events.len(), file.display()));
    }
    Ok(())
}

/// The last part of a path, as the name of a folder.
fn name(run: &Path) -> String {
    let whole = run.canonicalize().unwrap_or_else(|_| run.to_owned());
    let last = whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned();
    safe_name(&last)
}
