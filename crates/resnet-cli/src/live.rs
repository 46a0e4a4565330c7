//! Boards: of any runs, and of one that trains in this process, whose page stays after its end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use resnet::train::event::Event;
use resnet::train::{Flow, Observer, Tick};
use resnet_server::{Board, BoardError, BoardOptions};

use crate::exit::{self, Said};
use crate::hints;
use crate::observer::Watcher;
use crate::term::tell;

/// Where a board is if nothing else is said.
pub(crate) const ADDRESS: &str = "127.0.0.1:8090";

/// How often it is looked whether to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a board shows.
pub(crate) struct Shown {
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) listen: SocketAddr,
    /// The flag that says where to listen.
    pub(crate) flag: &'static str,
    pub(crate) token_file: Option<PathBuf>,
    /// Whether runs can be stopped and resumed.
    pub(crate) actions: bool,
}

/// Opens a board and says where.
pub(crate) fn open(shown: Shown) -> anyhow::Result<Board> {
    let Shown { directories, listen, flag, token_file, actions } = shown;
    let tokens = match &token_file {
        None => None,
        Some(file) => Some(
            std::fs::read_to_string(file)
                .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", file.display()))?,
        ),
    };
    let program = std::env::current_exe()?;
    let resume = move |directory: &Path| {
        let mut command = Command::new(&program);
        command.args(hints::resume_words(directory));
        command
    };
    let board = Board::start(BoardOptions {
        roots: directories,
        listen,
        tokens,
        resume: actions.then(|| Box::new(resume) as resnet_server::Resume),
    });
    let board = board.map_err(|error| match error {
        BoardError::Listen { .. } => anyhow::anyhow!("{error}; {flag} 0 takes one that is free"),
        other => other.into(),
    })?;
    tell(&format!("board   {}", board.url()));
    if !board.address().ip().is_loopback() {
        tell(&format!(
            "warning: other machines can reach {}, and what they send, the token too, is not \
             encrypted",
            board.address()
        ));
    }
    Ok(board)
}

/// Waits until Ctrl-C or SIGTERM.
pub(crate) fn wait(stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Ends a board, and says which runs go on.
pub(crate) fn close(board: Board) {
    for run in board.close() {
        tell(&format!("{run}, resumed from the page, trains on"));
    }
}

/// Who watches a run, and the board that shows it, if there is one.
pub(crate) struct Live {
    watcher: Box<dyn Watcher>,
    board: Option<Board>,
    /// Whether the run has begun, so that there is something to stay for.
    began: bool,
}

impl Live {
    /// The same watcher, and a board where one is asked for.
    pub(crate) fn of(
        watcher: Box<dyn Watcher>,
        listen: Option<SocketAddr>,
    ) -> anyhow::Result<Live> {
        let board = listen.map(|listen| {
            open(Shown {
                directories: Vec::new(),
                listen,
                flag: "--board",
                token_file: None,
                actions: true,
            })
        });
        Ok(Live { watcher, board: board.transpose()?, began: false })
    }

    /// After the run, keeps its page until Ctrl-C or SIGTERM, unless one of those ended the run.
    /// The outcome stays what it was.
    pub(crate) fn stay(self, outcome: anyhow::Result<()>) -> anyhow::Result<()> {
        let Live { watcher, board, began } = self;
        let Some(board) = board else { return outcome };
        let outcome = match outcome {
            _ if watcher.is_stopped() || !began => outcome,
            outcome => {
                let outcome = outcome.map_err(|error| {
                    exit::say(&error);
                    Said(error).into()
                });
                tell(&format!("the page stays at http://{}; Ctrl-C ends it", board.address()));
                while !watcher.is_stopped() {
                    std::thread::park_timeout(LOOK_EVERY);
                }
                outcome
            }
        };
        close(board);
        outcome
    }
}

impl Observer for Live {
    fn event(&mut self, event: &Event) {
        if let (Event::RunStarted(run), Some(board)) = (event, &self.board) {
            board.watch(Path::new(&run.out));
            self.began = true;
        }
        self.watcher.event(event);
    }

    fn tick(&mut self, tick: &Tick) -> Flow {
        self.watcher.tick(tick)
    }

    fn evaluating(&mut self, done: u64, of: u64) -> Flow {
        self.watcher.evaluating(done, of)
    }

    fn asked_to_stop(&mut self) {
        self.watcher.asked_to_stop();
    }
}

impl Watcher for Live {
    fn is_stopped(&self) -> bool {
        self.watcher.is_stopped()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.watcher.finish()
    }
}
