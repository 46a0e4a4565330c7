//! `resnet board`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::address::address;
use crate::live::{self, Shown};

/// Arguments of `resnet board`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet board                            every run in runs/, also those that begin later
  resnet board runs/a runs/b --listen 0   two runs, on any free port
Open the address that is printed: it carries a token, without which nothing is shown. A board only
reads; runs train on when it ends. From the page a run can be told to save and stop, and a stopped
one be resumed. To look at the board of another machine: ssh -L 8090:127.0.0.1:8090 MACHINE.")]
pub(crate) struct Args {
    /// Run directories, or folders of them
    #[arg(value_name = "DIR", default_value = "runs")]
    directories: Vec<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = live::ADDRESS, value_parser = address)]
    listen: SocketAddr,
    /// File of tokens, one a line, instead of one that is made each time
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Only show: runs can be neither stopped nor resumed from the page
    #[arg(long)]
    no_actions: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let stop = crate::term::stop_at_signals()?;
    let shown = Shown {
        directories: args.directories,
        listen: args.listen,
        flag: "--listen",
        token_file: args.token_file,
        actions: !args.no_actions,
    };
    let board = live::open(shown)?;
    live::wait(&stop);
    live::close(board);
    Ok(())
}
