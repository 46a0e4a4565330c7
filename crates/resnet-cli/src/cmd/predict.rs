//! `resnet predict`.

use std::io::Write;
use std::path::{Path, PathBuf};

use resnet::predict::Predictor;

use crate::observer::tell;

/// Arguments of `resnet predict`.
#[derive(clap::Args)]
#[command(after_help = "Example:
  resnet predict runs/resnet20-builtin photo.jpg --top 3
A file that is no picture is named and skipped; the exit code is then 1.")]
pub(crate) struct Args {
    /// Model file, checkpoint or run directory
    model: PathBuf,
    /// Pictures, or directories of pictures
    #[arg(required = true, value_name = "IMAGE|DIR")]
    images: Vec<PathBuf>,
    /// Classes shown for each
    #[arg(long, value_name = "N", default_value = "5")]
    top: std::num::NonZeroUsize,
    /// Threads that compute; 0 is one for each core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// One JSON object a picture on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let model = super::load_model(&args.model)?;
    let mut predictor = Predictor::new(&model, resnet::exec::threads(args.threads))?;
    let mut out = std::io::stdout().lock();
    let (mut done, mut failed) = (0, 0);
    for file in files(&args.images)? {
        let guesses = match predictor.file(&file, args.top.get()) {
            Ok(guesses) => guesses,
            Err(error) => {
                tell(&format!("error: {error}"));
                failed += 1;
                continue;
            }
        };
        done += 1;
        if args.json {
            let top: Vec<_> = guesses
                .iter()
                .map(|g| serde_json::json!({"class": g.class, "label": g.label, "probability": g.probability}))
                .collect();
            writeln!(
                out,
                "{}",
                serde_json::json!({"file": file.display().to_string(), "top": top})
            )?;
        } else {
            let list: Vec<String> = guesses
                .iter()
                .map(|g| format!("{} {:.1} %", g.label, g.probability * 100.0))
                .collect();
            writeln!(out, "{}: {}", file.display(), list.join(", "))?;
        }
    }
    anyhow::ensure!(
        failed == 0,
        "{failed} of {} files could not be classified",
        done + failed
    );
    anyhow::ensure!(done > 0, "the directories hold no files");
    Ok(())
}

/// The files named, and those in the directories named, in order of their names.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = entries(path)
                .map_err(|e| anyhow::anyhow!("cannot read directory {}: {e}", path.display()))?;
            files.extend(entries);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// The files of a directory and of those in it, without hidden ones.
fn entries(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        // Links to directories could lead in circles.
        if path.is_dir() && !path.is_symlink() && !hidden {
            files.extend(self::entries(&path)?);
        } else if path.is_file() && !hidden {
            files.push(path);
        }
    }
    Ok(files)
}
