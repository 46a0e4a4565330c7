//! The `resnet` command: arguments, terminal, exit codes. Everything else is in the library.
#![forbid(unsafe_code)]

mod cmd;
mod exit;
mod hints;
mod live;
mod observer;
mod places;
mod ranks;
mod term;
mod weights;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Says so where memory is at its end, and leaves with a code of its own.
#[global_allocator]
static MEMORY: resnet::engine::exec::Telling = resnet::engine::exec::Telling;

/// Residual networks, and the plain networks they are measured against, on your own pictures.
#[derive(Parser)]
#[command(name = "resnet", version, propagate_version = true)]
#[command(
    help_template = "{about}\n{usage-heading} {usage}\n\nCommands:\n{subcommands}{after-help}",
    after_help = "`resnet train` alone trains ResNet-20 on built-in pictures; `resnet finetune resnet50 --data \
        DIR` teaches a published network yours. Exit codes: 0 done, \
        1 failed, 2 wrong usage, 130 stopped."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// One file in `cmd` and one row here for each command.
#[derive(Subcommand)]
enum Verb {
    /// Train a network
    Train(cmd::train::Args),
    /// Teach a trained network the classes of other pictures
    Finetune(cmd::finetune::Args),
    /// Measure a trained model on a data set
    Eval(cmd::eval::Args),
    /// Make a model say how sure it is, and what it does not know
    Calibrate(cmd::calibrate::Args),
    /// Classify pictures with a trained model
    Predict(cmd::predict::Args),
    /// Answer over HTTP and gRPC, with a page for people
    Serve(cmd::serve::Args),
    /// Look pictures over before training
    Data(cmd::data::Args),
    /// List published weights, or fetch them
    Weights(cmd::weights::Args),
    /// Make a model of weights trained elsewhere
    Import(cmd::import::Args),
    /// Write a model for other tools: ONNX, safetensors, PyTorch
    Export(cmd::export::Args),
    /// Write the numbers of runs for other tools: TensorBoard
    ExportEvents(cmd::export_events::Args),
    /// Show runs live in the browser: curves, gradients, predictions
    Board(cmd::board::Args),
    /// Train plain and residual twins over depths, and show what depth did
    Compare(cmd::compare::Args),
    /// Explain residual networks to who knows basic CNNs, by runs on this machine
    Explain(cmd::explain::Args),
    /// Look into a network: gradients, responses, what the shortcuts carry
    Inspect(cmd::inspect::Args),
    /// Show a network's layers, parameters and cost
    Summary(cmd::summary::Args),
    /// Draw networks to scale, side by side, as SVG
    Draw(cmd::draw::Args),
    /// Time a network, and each step of it against what the machine can do
    Bench(cmd::bench::Args),
    /// List what can compute: the CPU and the GPUs
    Devices(cmd::devices::Args),
    /// Say what this program and this machine are, for a report
    Doctor(cmd::doctor::Args),
    /// List the networks, options, data formats and recipes
    Models(cmd::models::Args),
    /// Print a completion script for a shell
    Completions(cmd::completions::Args),
}

fn main() -> ExitCode {
    let matches = match Cli::command().try_get_matches_from(term::words()) {
        Ok(matches) => matches,
        Err(error) => {
            // Of several processes with the same words one speaks.
            if resnet::ranks::mpi::claimed_rank().is_some_and(|rank| rank > 0) {
                return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
            }
            // Help and version arrive here as well, with code 0.
            term::tell_usage(&error, |words| Cli::command().try_get_matches_from(words).err());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let verb = matches.subcommand_name().unwrap_or_default();
    let result = match verb {
        LOOKS_ALONE => {
            ranks::one_speaks();
            Ok(())
        }
        _ => ranks::join(verb, RUN_ON_RANKS.contains(&verb)),
    };
    let cli = result.and_then(|()| Ok(Cli::from_arg_matches(&matches)?));
    let run = || cli.and_then(run).and_then(|()| Ok(term::out().flush()?));
    let result = ranks::guarded(run);
    let code = result.map_or_else(ranks::code_of, |()| 0);
    ranks::leave();
    ExitCode::from(code)
}

/// Commands that the processes of a launcher carry out together; the others are one process's.
const RUN_ON_RANKS: [&str; 3] = ["train", "finetune", "eval"];
/// The command that says what is in the way of starting an MPI, and so starts none.
const LOOKS_ALONE: &str = "doctor";

fn run(cli: Cli) -> anyhow::Result<()> {
    term::survive_file_limits()?;
    // A wrong value in the environment ends every command but the one that tells what is wrong.
    if !matches!(cli.verb, Verb::Doctor(_)) {
        resnet::engine::exec::cpu(1)?;
    }
    match cli.verb {
        Verb::Train(args) => cmd::train::run(args),
        Verb::Finetune(args) => cmd::finetune::run(args),
        Verb::Eval(args) => cmd::eval::run(args),
        Verb::Calibrate(args) => cmd::calibrate::run(args),
        Verb::Predict(args) => cmd::predict::run(args),
        Verb::Serve(args) => cmd::serve::run(args),
        Verb::Data(args) => cmd::data::run(args),
        Verb::Weights(args) => cmd::weights::run(args),
        Verb::Import(args) => cmd::import::run(args),
        Verb::Export(args) => cmd::export::run(args),
        Verb::ExportEvents(args) => cmd::export_events::run(args),
        Verb::Board(args) => cmd::board::run(args),
        Verb::Compare(args) => cmd::compare::run(args),
        Verb::Explain(args) => cmd::explain::run(args),
        Verb::Inspect(args) => cmd::inspect::run(args),
        Verb::Summary(args) => cmd::summary::run(args),
        Verb::Draw(args) => cmd::draw::run(args),
        Verb::Bench(args) => cmd::bench::run(args),
        Verb::Devices(args) => cmd::devices::run(args),
        Verb::Doctor(args) => cmd::doctor::run(args),
        Verb::Models(args) => cmd::models::run(args),
        Verb::Completions(args) => cmd::completions::run(args, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, CommandFactory};

    #[test]
    fn every_command_is_well_formed() {
        Cli::command().debug_assert();
    }
}
