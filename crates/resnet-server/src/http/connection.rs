//! One connection: a service under timeouts. A connection that says nothing, that sends its head by
//! drops or does not read what it asked for is ended; the protocol alone would keep it for ever.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// From the first byte of a request to the end of its head.
    pub(crate) header: Duration,
    /// For its body, and for a reply that is not read.
    pub(crate) body: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
}

/// What a connection is doing, and since when.
#[derive(Clone, Debug)]
pub(super) struct Watch(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Whether what comes between calls can only be the head of the next. HTTP/2 has pings, and
    /// answers to what the server says.
    heads: bool,
    /// Calls that are being answered.
    calls: usize,
    /// When the last call ended, or the connection began.
    idle: Instant,
    /// When the first byte came after that.
    head: Option<Instant>,
    /// Since when it does not take what is written.
    blocked: Option<Instant>,
}

impl Watch {
    /// Of a connection that begins; `heads`: whether nothing but heads comes between calls.
    pub(super) fn new(heads: bool) -> Watch {
        let state = State { heads, calls: 0, idle: Instant::now(), head: None, blocked: None };
        Watch(Arc::new(Mutex::new(state)))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A call begins, and ends when the guard is dropped.
    pub(super) fn call(&self) -> Calling {
        self.with(|state| {
            state.calls += 1;
            state.head = None;
        });
        Calling(self.clone())
    }

    /// The connection is idle from now on, where it is.
    pub(super) fn rest(&self) {
        self.with(|state| state.idle = Instant::now());
    }

    /// When the connection has taken too long, by what is known now.
    fn due(&self, timeouts: Timeouts) -> Option<Instant> {
        self.with(|state| {
            let blocked = state.blocked.map(|since| since + timeouts.body);
            let waits = match (state.calls, state.head) {
                (0, Some(since)) => Some(since + timeouts.header),
                (0, None) => Some(state.idle + timeouts.idle),
                _ => None,
            };
            blocked.into_iter().chain(waits).min()
        })
    }

    /// Comes back once the connection has taken too long.
    pub(super) async fn overdue(&self, timeouts: Timeouts) {
        loop {
            let (now, due) = (Instant::now(), self.due(timeouts));
            if due.is_some_and(|due| due <= now) {
                return;
            }
            // What begins meanwhile is due no sooner than the shortest of its timeouts.
            let shortest = timeouts.header.min(timeouts.body).min(timeouts.idle);
            let most = now + shortest;
            tokio::time::sleep_until(due.map_or(most, |due| due.min(most))).await;
        }
    }
}

/// A call that is being answered.
pub(super) struct Calling(Watch);

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.calls -= 1;
            state.idle = Instant::now();
            state.head = None;
        });
    }
}

/// A stream that tells its watch what comes and what does not go.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) watch: Watch,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            this.watch.with(|state| {
                if state.heads && state.calls == 0 && state.head.is_none() {
                    state.head = Some(Instant::now());
                }
            });
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.watch.with(|state| match written.is_pending() {
            true => state.blocked = state.blocked.or_else(|| Some(Instant::now())),
            false => state.blocked = None,
        });
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.note(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, bytes);
        this.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.note(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
