//! What to type: the flag or command behind what the library says in words of its own.
//!
//! A hint is the end of a sentence of the library's.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::Path;

use resnet::base::text;
use resnet::data::DataError;
use resnet::measure::evaluate::UseError;
use resnet::measure::summary::SummaryError;
use resnet::model::ModelError;
use resnet::model::export::ExportError;
use resnet::model::foreign::{Assumption, ImportError};
use resnet::net::ArchError;
use resnet::study::calibrate::CalibrateError;
use resnet::study::compare::{CompareError, RunProblem};
use resnet::study::explain::ExplainError;
use resnet::study::inspect::InspectError;
use resnet::train::TrainError;
use resnet::train::finetune::FinetuneError;
use resnet::train::recipe::{Key, RecipeError};
use resnet::train::task::TaskError;

use crate::places;
use crate::term::quoted;

/// The command that goes on with the run in a directory.
pub(crate) fn resume(directory: impl Display) -> String {
    let directory = quoted(directory);
    // What begins with a dash would be taken for a flag.
    let joint = if directory.starts_with('-') { '=' } else { ' ' };
    format!("resnet train --resume{joint}{directory}")
}

/// The same as words for a program that is started.
pub(crate) fn resume_words(directory: &Path) -> [OsString; 2] {
    let mut flag = OsString::from("--resume=");
    flag.push(directory);
    ["train".into(), flag]
}

/// Ends the message of an error; empty where the library has said it all.
pub(crate) fn of_error(error: &anyhow::Error) -> String {
    fn ask<E: Error + Send + Sync + 'static>(
        error: &anyhow::Error,
        hint: fn(&E) -> Option<String>,
    ) -> Option<String> {
        error.downcast_ref().and_then(hint)
    }
    ask(error, arch)
        .or_else(|| ask(error, recipe))
        .or_else(|| ask(error, model))
        .or_else(|| ask(error, task))
        .or_else(|| ask(error, train))
        .or_else(|| ask(error, finetune))
        .or_else(|| ask(error, summary))
        .or_else(|| ask(error, use_error))
        .or_else(|| ask(error, calibrate))
        .or_else(|| ask(error, inspect))
        .or_else(|| ask(error, compare))
        .or_else(|| ask(error, explain))
        .or_else(|| ask(error, import))
        .or_else(|| ask(error, export))
        .or_else(|| ask(error, data))
        .unwrap_or_default()
}

/// Ends what an import took for granted.
pub(crate) fn of_assumption(assumption: &Assumption) -> &'static str {
    match assumption {
        Assumption::Network { .. } => ", and --arch takes it",
        Assumption::Numbered(_) => "; --classes FILE names them",
        Assumption::NoHead => ": resnet finetune MODEL --data folder:DIR",
        _ => "",
    }
}

/// Follows the help of a recipe's key.
pub(crate) fn of_key(key: &Key) -> &'static str {
    match key.name {
        "model.arch" => " `resnet models` lists the names.",
        _ => "",
    }
}

fn arch(error: &ArchError) -> Option<String> {
    match error {
        ArchError::UnknownNetwork { nearest, .. } => {
            let joint = if nearest.is_empty() { ";" } else { "" };
            Some(format!("{joint} `resnet models` lists all"))
        }
        _ => None,
    }
}

fn data(error: &DataError) -> Option<String> {
    match error {
        DataError::Changed { .. } => Some(": resnet data index DATA".into()),
        _ => None,
    }
}

fn recipe(error: &RecipeError) -> Option<String> {
    match error {
        RecipeError::NoImages => Some(", or pass --data folder:DIR".into()),
        _ => None,
    }
}

fn model(error: &ModelError) -> Option<String> {
    match error {
        ModelError::Metadata { .. } => Some(": `resnet import` makes a model of them".into()),
        ModelError::Arch { error, .. } => arch(error),
        ModelError::Format { path, .. } if places::is_made(path) => {
            Some("; remove it, and it is made again when its name is next asked for".into())
        }
        _ => None,
    }
}

fn task(error: &TaskError) -> Option<String> {
    match error {
        TaskError::Arch(error) => arch(error),
        TaskError::Recipe(error) => recipe(error),
        TaskError::Model(error) => model(error),
        TaskError::Data(error) => data(error),
        TaskError::Given => Some(" with --data".into()),
        _ => None,
    }
}

fn train(error: &TrainError) -> Option<String> {
    match error {
        TrainError::Task(error) => task(error),
        TrainError::Recipe(error) => recipe(error),
        TrainError::Arch(error) => arch(error),
        TrainError::Model(error) => model(error),
        TrainError::Use(error) => use_error(error),
        TrainError::Data(error) => data(error),
        TrainError::Taken(path, _) => Some(format!(": {}, or --out DIR", resume(text::path(path)))),
        TrainError::Occupied(..) => Some(" with --out".into()),
        TrainError::InUse(_) => Some("; look for another `resnet`".into()),
        TrainError::NoRun(..) => Some(", as `resnet train` printed it".into()),
        _ => None,
    }
}

fn finetune(error: &FinetuneError) -> Option<String> {
    match error {
        FinetuneError::Recipe(error) => recipe(error),
        FinetuneError::Model(error) => model(error),
        FinetuneError::Data(error) => data(error),
        _ => None,
    }
}

fn summary(error: &SummaryError) -> Option<String> {
    match error {
        SummaryError::Arch(error) => arch(error),
        _ => None,
    }
}

fn use_error(error: &UseError) -> Option<String> {
    match error {
        UseError::Model(error) => model(error),
        UseError::Data(error) => data(error),
        _ => None,
    }
}

fn calibrate(error: &CalibrateError) -> Option<String> {
    match error {
        CalibrateError::Use(error) => use_error(error),
        _ => None,
    }
}

fn inspect(error: &InspectError) -> Option<String> {
    match error {
        InspectError::Task(error) => task(error),
        InspectError::Model(error) => model(error),
        _ => None,
    }
}

fn explain(error: &ExplainError) -> Option<String> {
    match error {
        ExplainError::Compare(error) => compare(error),
        ExplainError::Model(error) => model(error),
        ExplainError::Use(error) => use_error(error),
        ExplainError::Summary(error) => summary(error),
        ExplainError::Diverged { .. } => Some(" with --seed N".into()),
        _ => None,
    }
}

fn compare(error: &CompareError) -> Option<String> {
    match error {
        // Runs alone are compared as they are.
        CompareError::Task(TaskError::Given) => None,
        CompareError::Task(error) => task(error),
        CompareError::Train(error) => train(error),
        CompareError::Recipe(error) => recipe(error),
        CompareError::Model(error) => model(error),
        CompareError::Inspect(error) => inspect(error),
        CompareError::Run { path, problem } => run(path, problem),
        _ => None,
    }
}

fn run(path: &Path, problem: &RunProblem) -> Option<String> {
    match problem {
        RunProblem::Missing => Some(", as `resnet train` makes them".into()),
        RunProblem::NotEnded | RunProblem::Stopped { .. } => {
            Some(format!(" with: {}", resume(text::path(path))))
        }
        RunProblem::Other { .. } => Some(" with --out".into()),
        _ => None,
    }
}

fn import(error: &ImportError) -> Option<String> {
    match error {
        ImportError::Arch(error) => arch(error),
        ImportError::Names { .. } | ImportError::Tensors { asked: false, .. } => {
            Some(" with --arch".into())
        }
        _ => None,
    }
}

fn export(error: &ExportError) -> Option<String> {
    match error {
        ExportError::Model(error) => model(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// What the terminal shows of an error.
    fn shown(error: impl Into<anyhow::Error>) -> String {
        let error = error.into();
        format!("{error}{}", of_error(&error))
    }

    #[test]
    fn hints_end_the_sentences_of_the_library() {
        let taken = || TrainError::Taken("a".into(), "config.toml");
        let unknown = ArchError::UnknownNetwork { name: "x".into(), nearest: Vec::new() };
        let like = ArchError::UnknownNetwork { name: "x".into(), nearest: vec!["resnet20".into()] };
        let run = |problem| CompareError::Run { path: PathBuf::from("a"), problem };
        for (shown, end) in [
            (shown(taken()), "another directory: resnet train --resume a, or --out DIR"),
            (shown(CompareError::Train(taken())), "resnet train --resume a, or --out DIR"),
            (
                shown(TrainError::Occupied("a".into(), "report.html")),
                "a already holds report.html, which is never replaced; choose another directory \
                 with --out",
            ),
            (shown(TrainError::Task(TaskError::Given)), "name others in their place with --data"),
            (shown(CompareError::Task(TaskError::Given)), "name others in their place"),
            (shown(TrainError::InUse("a".into())), "stop it; look for another `resnet`"),
            (
                shown(TrainError::NoRun("a".into(), "config.toml")),
                "the directory of a run, as `resnet train` printed it",
            ),
            (shown(unknown), "or vgg16_bn; `resnet models` lists all"),
            (shown(TaskError::Arch(like)), "did you mean resnet20? `resnet models` lists all"),
            (
                shown(TrainError::Task(TaskError::Recipe(RecipeError::NoImages))),
                "set it to folder:DIR, say, or pass --data folder:DIR",
            ),
            (
                shown(run(RunProblem::Missing)),
                "give the directories of runs, as `resnet train` makes them",
            ),
            (shown(run(RunProblem::NotEnded)), "continue it with: resnet train --resume a"),
            (
                shown(TrainError::Taken("my run".into(), "config.toml")),
                "another directory: resnet train --resume 'my run', or --out DIR",
            ),
        ] {
            assert!(shown.ends_with(end), "{shown}");
        }
        // What needs no flag stands as it is.
        assert!(shown(RecipeError::NotOverride("x".into())).ends_with("found `x`"));
    }
}
