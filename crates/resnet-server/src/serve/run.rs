//! The life of a server: it listens, loads, answers, is told to load again and to stop.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use resnet::engine::exec::Device;
use resnet::measure::predict::How;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};

use super::budget::Budget;
use super::grpc::Service;
use super::log::Log;
use super::metrics::Metrics;
use super::models::{Models, Outcome};
use super::options::{Options, Source};
use super::queue::{Gang, Queue};
use super::routes::Routes;
use super::state::{Order, State};
use super::work::Workshop;
use crate::http::{App, Held, Listening, Phase};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It cannot listen there.
    #[error("cannot listen on {address}: {source}; choose another port, or 0 for any that is free")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// Two models have one name.
    #[error("two models are called `{0}`; give one another name, as in NAME=PATH")]
    Twice(String),
    /// A name that no path of an address can have.
    #[error("`{0}` cannot be a model's name; expected letters, digits and . _ - without / or :")]
    Name(String),
    /// There is no model.
    #[error("there is no model to serve")]
    None,
    /// A model cannot be loaded.
    #[error("{0}")]
    Model(String),
    /// Models may be changed by requests of anybody.
    #[error("models may only be changed by requests where tokens say whose")]
    OpenAdmin,
    /// Certificate or key are of no use.
    #[error("{path}: {problem}", path = .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The system gives no threads or no runtime.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

impl ServeError {
    /// Whether what was asked for is wrong, and not what was found.
    pub fn is_usage(&self) -> bool {
        use ServeError::{Name, None, OpenAdmin, Twice};
        matches!(self, Twice(_) | Name(_) | None | OpenAdmin)
    }
}

/// A server that runs.
pub struct Server {
    state: Arc<State>,
    phase: watch::Sender<Phase>,
    address: SocketAddr,
    grpc: Option<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
    network: JoinHandle<()>,
    /// Told by the network's thread when all connections have ended.
    ended: mpsc::Receiver<()>,
    /// Until somebody takes them.
    orders: Option<mpsc::Receiver<Order>>,
}

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(500);

impl Server {
    /// Listens, and answers that it is not ready until the models are [loaded](Server::load).
    ///
    /// # Errors
    /// It cannot listen, or the options do not go together.
    pub fn start(
        options: Options,
        sources: Vec<Source>,
        device: Arc<dyn Device>,
        log: Log,
    ) -> Result<Server, ServeError> {
        check(&options, &sources)?;
        let threads = device.threads();
        let how = How { precision: options.precision, explain: true };
        let (loader, orders) = mpsc::channel();
        let shop = Workshop {
            queue: Queue::new(Box::new(Gang(threads)), options.max_wait),
            budget: Budget::new(options.decode_memory),
            most_pixels: options.max_pixels,
            metrics: Metrics::default(),
        };
        let models = Models::new(sources, how, device);
        let state = Arc::new(State::new(options, models, shop, log, loader));
        let (phase, phases) = watch::channel(Phase::Serving);
        let bound = Network::bind(&state, phases)?;
        let (address, grpc) = (bound.address, bound.grpc_address);
        let (send, ended) = mpsc::channel();
        let network = spawn("network", move || {
            bound.run();
            // Whoever would be told may not wait any more.
            let _ = send.send(());
        })?;
        let threads = Vec::new();
        let mut server =
            Server { state, phase, address, grpc, threads, network, ended, orders: Some(orders) };
        for _ in 0..server.state.shop.queue.workers() {
            let state = server.state.clone();
            server.threads.push(spawn("picture", move || state.shop.work())?);
        }
        Ok(server)
    }

    /// Loads the models, and from then on again when that is asked for.
    ///
    /// # Errors
    /// A model cannot be loaded, or the system gives no thread.
    pub fn load(&mut self) -> Result<(), ServeError> {
        let outcome = self.state.models.load(None, true);
        if !outcome.failed.is_empty() {
            return Err(ServeError::Model(outcome.failed.join("; ")));
        }
        if let Some(orders) = self.orders.take() {
            let state = self.state.clone();
            self.threads.push(spawn("loader", move || load_when_asked(&state, &orders))?);
        }
        Ok(())
    }

    /// Where it listens for HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for gRPC.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc
    }

    /// Has all models loaded again, while the old ones answer.
    pub fn reload(&self) {
        let (send, _) = oneshot::channel();
        // If the loader has ended, so has the server.
        let _ = self.state.loader.send(Order::Load(None, send));
    }

    /// Says that it is not ready, and after a while takes no more connections.
    pub fn drain(self) -> bool {
        self.state.stopping.store(true, Ordering::SeqCst);
        thread::sleep(self.state.options.drain_delay);
        let drain = self.state.options.drain;
        self.stop(drain)
    }

    /// Ends it: connections have so long to end. `true` if all have.
    fn stop(self, most: Duration) -> bool {
        self.state.stopping.store(true, Ordering::SeqCst);
        let _ = self.phase.send(Phase::Closing);
        let all = self.ended.recv_timeout(most).is_ok();
        self.state.shop.queue.close();
        let _ = self.state.loader.send(Order::End);
        if all {
            // Threads that panicked have said so.
            let _ = self.network.join();
            for thread in self.threads {
                let _ = thread.join();
            }
        }
        all
    }
}

fn check(options: &Options, sources: &[Source]) -> Result<(), ServeError> {
    if sources.is_empty() {
        return Err(ServeError::None);
    }
    if options.admin && options.tokens.is_none() {
        return Err(ServeError::OpenAdmin);
    }
    for (i, source) in sources.iter().enumerate() {
        let fits = |c: char| c.is_alphanumeric() || "._-+ ".contains(c);
        if source.name.is_empty() || !source.name.chars().all(fits) {
            return Err(ServeError::Name(source.name.clone()));
        }
        if sources[..i].iter().any(|other| other.name == source.name) {
            return Err(ServeError::Twice(source.name.clone()));
        }
    }
    Ok(())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Loads models when that is asked for, or when their files change.
fn load_when_asked(state: &State, orders: &mpsc::Receiver<Order>) {
    // Nothing has been seen yet, so that what changed while it was loaded is found at first sight.
    let (mut seen, mut changed) = (Vec::new(), false);
    loop {
        match orders.recv_timeout(LOOK) {
            Ok(Order::Load(name, reply)) => {
                let outcome = state.models.load(name.as_deref(), true);
                tell(state, &outcome);
                // Who asked may have gone.
                let _ = reply.send(outcome);
            }
            Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) if state.options.watch => {
                let now = state.models.stamps();
                if now != seen {
                    // A file that is being written changes again.
                    (seen, changed) = (now, true);
                } else if std::mem::take(&mut changed) {
                    let outcome = state.models.load(None, false);
                    tell(state, &outcome);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn tell(state: &State, outcome: &Outcome) {
    let Outcome { loaded, failed } = outcome;
    if !loaded.is_empty() || !failed.is_empty() {
        state.shop.metrics.reload(failed.is_empty());
    }
    for what in loaded {
        (state.log)(&format!("loaded {what}"));
    }
    for what in failed {
        (state.log)(&format!("cannot be loaded, the old one stays: {what}"));
    }
}

/// What takes encrypted connections, where they are to be.
#[cfg(feature = "tls")]
fn acceptor(
    options: &Options,
    http2: bool,
) -> Result<Option<tokio_rustls::TlsAcceptor>, ServeError> {
    let Some((certificates, key)) = &options.tls else { return Ok(None) };
    let made = crate::http::acceptor(certificates, key, http2);
    made.map(Some).map_err(|(path, problem)| ServeError::Certificate { path, problem })
}

/// The sockets, and what waits on them.
struct Network {
    runtime: tokio::runtime::Runtime,
    http: (TcpListener, Listening),
    grpc: Option<(TcpListener, Listening)>,
    address: SocketAddr,
    grpc_address: Option<SocketAddr>,
}

impl Network {
    fn bind(state: &Arc<State>, phase: watch::Receiver<Phase>) -> Result<Network, ServeError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(1)
            .build()?;
        let options = &state.options;
        let places = Arc::new(Semaphore::new(options.max_connections));
        let held = Held::new(usize::try_from(options.decode_memory).unwrap_or(usize::MAX));
        let listening = |app: Arc<dyn App>, http2: bool| -> Result<Listening, ServeError> {
            Ok(Listening {
                app,
                timeouts: options.timeouts(),
                places: places.clone(),
                phase: phase.clone(),
                http2,
                #[cfg(feature = "tls")]
                tls: acceptor(options, http2)?,
                held: held.clone(),
                open: state.open.clone(),
            })
        };
        let bind = |address: SocketAddr| {
            let bound = runtime.block_on(TcpListener::bind(address));
            let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
            bound.map_err(|source| ServeError::Listen { address, source })
        };
        let (address, listener) = bind(options.listen)?;
        let http = (listener, listening(Arc::new(Routes(state.clone())), false)?);
        let (grpc_address, grpc) = match options.grpc.map(bind).transpose()? {
            None => (None, None),
            Some((address, listener)) => {
                let service = Arc::new(Service(state.clone()));
                (Some(address), Some((listener, listening(service, true)?)))
            }
        };
        Ok(Network { http, grpc, address, grpc_address, runtime })
    }

    fn run(self) {
        let Network { runtime, http, grpc, .. } = self;
        runtime.block_on(async move {
            let grpc = async move {
                if let Some((listener, listening)) = grpc {
                    listening.run(listener).await;
                }
            };
            tokio::join!(http.1.run(http.0), grpc);
        });
        // What is still being decompressed is not waited for.
        runtime.shutdown_background();
    }
}
