//! Runs live in a browser: curves, gradients over depth, what the same pictures are taken for, and
//! stopping and resuming, from the directories that runs keep.
//!
//! One thread does everything: `find` looks for directories, `run` follows their logs, `state`
//! holds all of them, `site` answers, `stream` tells what changes, `act` stops and resumes, `guard`
//! says who may. Logs are followed by what is new in them, and their steps kept in so many buckets
//! (`series`), so memory does not follow the length of a run; what is long and seldom wanted is
//! read from the log again (`views`, `detail`).

mod act;
mod clock;
mod detail;
mod find;
mod guard;
mod recipes;
mod run;
mod series;
mod site;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod views;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use resnet::base::text;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use crate::http::{Held, Listening, Phase, Timeouts, Tokens};
use guard::Guard;
use site::Site;
use state::Runs;

pub use act::Resume;

/// How often logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often directories of new runs are looked for.
const FIND_EVERY: Duration = Duration::from_secs(3);
/// While long logs are read, how often it is told how far that is.
const TELL_EVERY: Duration = Duration::from_millis(150);
/// Connections at once.
const CONNECTIONS: usize = 256;
/// Bytes of bodies at once; few of its requests have one.
const BODIES: usize = 1 << 20;
/// How long a board that closes waits for its readers.
const CLOSE: Duration = Duration::from_secs(2);
const TIMEOUTS: Timeouts = Timeouts {
    header: Duration::from_secs(10),
    body: Duration::from_secs(30),
    idle: Duration::from_secs(75),
};

/// Why there is no board.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {}", listening(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A folder of runs is none.
    #[error("{} is no directory; name one of a run, or a folder of them", text::path(.0))]
    NoDirectory(PathBuf),
    /// The tokens.
    #[error("the file of tokens: {0}")]
    Tokens(String),
    /// The system gives no random bytes for a token, or no thread.
    #[error("cannot start a board: {0}")]
    System(String),
}

fn listening(error: &io::Error) -> String {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    match error.kind() {
        AddrInUse => "another program has this port, perhaps another board".into(),
        AddrNotAvailable => "this machine has no such address".into(),
        PermissionDenied => "the system reserves this port; choose one above 1023".into(),
        _ => error.to_string(),
    }
}

/// What a board shows, to whom.
pub struct BoardOptions {
    /// Directories of runs, or folders in which runs are looked for, also later.
    pub roots: Vec<PathBuf>,
    /// Where to listen; port 0 takes one that is free.
    pub listen: SocketAddr,
    /// The text of a file of tokens, one a line; without it, a token is made.
    pub tokens: Option<String>,
    /// How runs are resumed; without it they can be looked at only.
    pub resume: Option<Resume>,
}

/// A board, on a thread of its own.
pub struct Board {
    address: SocketAddr,
    /// The token that was made for it.
    token: Option<String>,
    site: Arc<Site>,
    /// Wakes who looks for runs.
    wake: Arc<Notify>,
    phase: watch::Sender<Phase>,
    thread: JoinHandle<()>,
}

impl Board {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`BoardError`].
    pub fn start(options: BoardOptions) -> Result<Board, BoardError> {
        if let Some(root) = options.roots.iter().find(|root| !root.is_dir()) {
            return Err(BoardError::NoDirectory(root.clone()));
        }
        let made = options.tokens.is_none().then(token).transpose()?;
        let tokens = options.tokens.as_deref().or(made.as_deref()).unwrap_or_default();
        let tokens = Tokens::parse(tokens).map_err(BoardError::Tokens)?;
        let failed = |source| BoardError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;

        let (phase, phases) = watch::channel(Phase::Serving);
        let guard = Guard::new(tokens, address);
        let runs = Runs::new(options.roots);
        let site = Arc::new(Site::new(guard, runs, options.resume, phases.clone()));
        let wake = Arc::new(Notify::new());
        let system = |error: io::Error| BoardError::System(error.to_string());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system)?;
        let thread = {
            let (site, wake) = (site.clone(), wake.clone());
            std::thread::Builder::new().name("board".into()).spawn(move || {
                runtime.block_on(serve(listener, site, wake, phases));
            })
        };
        let thread = thread.map_err(system)?;
        Ok(Board { address, token: made, site, wake, phase, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to open in a browser of this machine; with the token, if one was made.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            let own: std::net::IpAddr = match address.is_ipv4() {
                true => std::net::Ipv4Addr::LOCALHOST.into(),
                false => std::net::Ipv6Addr::LOCALHOST.into(),
            };
            address.set_ip(own);
        }
        match &self.token {
            Some(token) => format!("http://{address}/#token={token}"),
            None => format!("http://{address}/"),
        }
    }

    /// Shows the run in a directory, or the runs in a folder, as well.
    pub fn watch(&self, root: &Path) {
        self.site.runs().watch(root.to_owned());
        self.wake.notify_one();
    }

    /// Ends it, and returns the runs that were resumed from it and go on without it.
    pub fn close(self) -> Vec<String> {
        let _ = self.phase.send(Phase::Closing);
        // A panic of the thread was told when it happened.
        let _ = self.thread.join();
        self.site.going_on()
    }
}

/// A token that nobody guesses: 128 random bits.
fn token() -> Result<String, BoardError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| BoardError::System(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Follows logs and answers until the phase changes.
async fn serve(
    listener: TcpListener,
    site: Arc<Site>,
    wake: Arc<Notify>,
    mut phase: watch::Receiver<Phase>,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let listening = Listening {
        app: site.clone(),
        timeouts: TIMEOUTS,
        places: Arc::new(Semaphore::new(CONNECTIONS)),
        phase: phase.clone(),
        http2: false,
        #[cfg(feature = "tls")]
        tls: None,
        held: Held::new(BODIES),
        open: Arc::default(),
    };
    let following = tokio::spawn(follow(site, wake));
    let answering = tokio::spawn(listening.run(listener));
    let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
    following.abort();
    let _ = tokio::time::timeout(CLOSE, answering).await;
}

/// Keeps runs up to date.
async fn follow(site: Arc<Site>, wake: Arc<Notify>) {
    let mut found: Option<Instant> = None;
    let mut told = Instant::now();
    loop {
        let due = found.is_none_or(|found| found.elapsed() >= FIND_EVERY);
        if due {
            found = Some(Instant::now());
        }
        let more = site.follow(due);
        if !more || told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            site.announce();
        }
        if more {
            // Who asks meanwhile is answered between two parts.
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = wake.notified() => found = None,
        }
    }
}
