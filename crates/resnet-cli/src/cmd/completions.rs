//! `resnet completions`.

use clap_complete::Shell;

use crate::term;

/// Arguments of `resnet completions`.
#[derive(clap::Args)]
#[command(after_help = "Example, for bash:
  resnet completions bash > ~/.local/share/bash-completion/completions/resnet")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: Args, mut command: clap::Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "resnet", &mut script);
    term::out().raw(&script)?;
    Ok(())
}
