//! The accept loop: connections up to a limit, and their end when the server stops.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::body::Held;
use super::connection::{Calling, Timeouts, Watch, Watched};
use super::reply::Content;
use super::{App, Call, Phase};

/// What a listener needs to know.
pub(crate) struct Listening {
    pub(crate) app: Arc<dyn App>,
    pub(crate) timeouts: Timeouts,
    /// Places for connections, which several listeners may share.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Whether it speaks HTTP/2 with who knows that it does, as gRPC's clients do.
    pub(crate) http2: bool,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<tokio_rustls::TlsAcceptor>,
    /// The memory of bodies.
    pub(crate) held: Arc<Held>,
    /// Connections that are open.
    pub(crate) open: Arc<AtomicUsize>,
}

/// What a connection gets where there is no place for it.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Retry-After: 1\r\nConnection: close\r\nContent-Length: 37\r\n\r\n\
    {\"error\":\"too many open connections\"}";
/// How long a listener waits where the system gives it no connection, for want of files.
const PAUSE: Duration = Duration::from_millis(100);

impl Listening {
    /// One that speaks HTTP/2 on a connection that a test makes.
    #[cfg(test)]
    pub(crate) fn in_test(
        app: Arc<dyn App>,
        timeouts: Timeouts,
        phase: watch::Receiver<Phase>,
    ) -> Listening {
        Listening {
            app,
            timeouts,
            places: Arc::new(Semaphore::new(1)),
            phase,
            http2: true,
            #[cfg(feature = "tls")]
            tls: None,
            held: Held::new(1 << 20),
            open: Arc::default(),
        }
    }

    /// Takes connections until the phase changes; then comes back once all have ended.
    pub(crate) async fn run(self, listener: TcpListener) {
        let this = Arc::new(self);
        let mut phase = this.phase.clone();
        let (alive, mut all_gone) = tokio::sync::mpsc::channel::<()>(1);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = phase.wait_for(|phase| *phase == Phase::Closing) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (this, alive) = (this.clone(), alive.clone());
                    this.open.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(async move {
                        this.take(stream, peer).await;
                        this.open.fetch_sub(1, Ordering::Relaxed);
                        drop(alive);
                    });
                }
                Err(error) if is_of_connection(&error) => {}
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        drop((listener, alive));
        all_gone.recv().await;
    }

    async fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let Ok(_place) = self.places.try_acquire() else {
            // Without waiting: who does not take it at once does without.
            let _ = stream.try_write(FULL);
            return;
        };
        // Small replies are not held back to be joined with others.
        let _ = stream.set_nodelay(true);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let handshake = tokio::time::timeout(self.timeouts.header, tls.accept(stream));
            if let Ok(Ok(stream)) = handshake.await {
                self.speak(stream, peer).await;
            }
            return;
        }
        self.speak(stream, peer).await;
    }

    pub(crate) async fn speak<S>(&self, stream: S, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let watch = Watch::new(!self.http2);
        let io = TokioIo::new(Watched { stream, watch: watch.clone() });
        let answering = Answering {
            app: self.app.clone(),
            peer,
            held: self.held.clone(),
            body_timeout: self.timeouts.body,
            phase: self.phase.clone(),
            watch: watch.clone(),
        };
        if self.http2 {
            let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
            let connection = std::pin::pin!(http.serve_connection(io, answering));
            self.drive(connection, |connection| connection.graceful_shutdown(), &watch).await;
        } else {
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(None).max_headers(HEADERS);
            http.max_buf_size(BUFFER);
            let connection = std::pin::pin!(http.serve_connection(io, answering));
            self.drive(connection, |connection| connection.graceful_shutdown(), &watch).await;
        }
    }

    /// Runs a connection to its end, which is bidden when the phase changes and forced when it
    /// takes too long.
    async fn drive<C: Future>(
        &self,
        mut connection: Pin<&mut C>,
        bid_end: impl FnOnce(Pin<&mut C>),
        watch: &Watch,
    ) {
        let (mut phase, mut timeouts) = (self.phase.clone(), self.timeouts);
        let overdue = tokio::select! {
            _ = &mut connection => return,
            _ = phase.wait_for(|phase| *phase == Phase::Closing) => false,
            () = watch.overdue(timeouts) => true,
        };
        if self.http2 {
            // It ends once its client has said that it knows, so that no call is lost on its way.
            timeouts.idle = timeouts.idle.min(GOODBYE);
            watch.rest();
        } else if overdue {
            return;
        } else {
            // An idle connection ends as soon as it is bidden to, also where a request was sent
            // before its client could know and has not been read. Meanwhile it is, and answered.
            tokio::select! {
                _ = &mut connection => return,
                () = tokio::time::sleep(ON_ITS_WAY) => {}
            }
        }
        bid_end(connection.as_mut());
        tokio::select! {
            _ = connection => {}
            () = watch.overdue(timeouts) => {}
        }
    }
}

/// How long what was sent to an idle connection of HTTP/1 may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(100);
/// How long a client of HTTP/2 has to take leave.
const GOODBYE: Duration = Duration::from_secs(5);
/// Calls at once on a connection of HTTP/2.
const STREAMS: u32 = 256;
/// Bytes of a connection that are read ahead, and most bytes of a head.
const BUFFER: usize = 64 << 10;
/// Most headers of a request.
const HEADERS: usize = 100;

/// Whether an error is of one connection, so that the next can be taken at once.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What answers the calls of a connection.
struct Answering {
    app: Arc<dyn App>,
    peer: SocketAddr,
    held: Arc<Held>,
    body_timeout: Duration,
    phase: watch::Receiver<Phase>,
    watch: Watch,
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Answered>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answered>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let calling = self.watch.call();
        let peer = self.peer.ip().to_canonical();
        let call =
            Call::new(request, peer, self.held.clone(), self.body_timeout, self.phase.clone());
        let answer = self.app.clone().call(call);
        Box::pin(async move {
            let response = answer.await.into_response();
            Ok(response.map(|content| {
                // What is whole is handed over; HTTP/2 would keep it for whoever never asks for it.
                let whole = matches!(content, Content::Whole(..));
                Answered { content, _calling: (!whole).then_some(calling) }
            }))
        })
    }
}

/// The body of a reply, with which the call ends where it comes in parts.
struct Answered {
    content: Content,
    _calling: Option<Calling>,
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.get_mut().content).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

#[cfg(test)]
mod tests;
