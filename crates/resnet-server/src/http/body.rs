//! Bodies of requests, read to their end: never more than is taken, and not for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Phase, Refusal};

/// How long an upload may still take once the server is about to stop.
const LAST_UPLOADS: Duration = Duration::from_secs(2);
/// When to come again where memory is short.
const AGAIN: Duration = Duration::from_secs(1);
/// Bytes of a body that nobody wants which are read, so that its sender comes to read the answer.
const MOST_DISCARDED: usize = 32 << 20;

/// Memory that bodies take, of all calls together.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: AtomicUsize,
    most: usize,
}

impl Held {
    /// None yet, and at most so many bytes.
    pub(crate) fn new(most: usize) -> Arc<Held> {
        Arc::new(Held { bytes: AtomicUsize::new(0), most })
    }
}

/// The memory of one body, given back once nobody has the share any more.
#[derive(Debug)]
pub(crate) struct Share {
    held: Arc<Held>,
    bytes: AtomicUsize,
}

impl Share {
    pub(super) fn new(held: Arc<Held>) -> Arc<Share> {
        Arc::new(Share { held, bytes: AtomicUsize::new(0) })
    }

    /// Takes so many bytes more.
    pub(super) fn grow(&self, bytes: usize) -> Result<(), Refusal> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let all = self.held.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        match all > self.held.most {
            true => Err(Refusal::busy("memory", "too much is being uploaded", AGAIN).closing()),
            false => Ok(()),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

/// Reads what nobody wants to its end, or as much of it as is cheap.
pub(super) async fn discard(mut body: Incoming) {
    let end = Instant::now() + LAST_UPLOADS;
    let mut left = MOST_DISCARDED;
    while let Ok(Some(Ok(frame))) = timeout_at(end, body.frame()).await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// All of a body, which is gone then. One that is refused while it still comes stays, so that it
/// can be [discarded](discard).
pub(super) async fn read(
    body: &mut Option<Incoming>,
    most: usize,
    timeout: Duration,
    share: &Share,
    phase: &mut watch::Receiver<Phase>,
) -> Result<Bytes, Refusal> {
    let too_large = || {
        Refusal::too_large(format!("the body is larger than the {most} bytes that are taken"))
            .closing()
    };
    let Some(incoming) = body else { return Ok(Bytes::new()) };
    let declared = incoming.size_hint().lower();
    if declared > most as u64 {
        return Err(too_large());
    }
    let mut deadline = Instant::now() + timeout;
    let mut stopping = false;
    // Memory is taken for what has come, not for what was promised.
    let (mut first, mut bytes) = (None, Vec::new());
    loop {
        let frame = tokio::select! {
            frame = incoming.frame() => frame,
            () = sleep_until(deadline) => {
                *body = None;
                return Err(match stopping {
                    true => Refusal::busy("stopping", "the server is stopping", LAST_UPLOADS)
                        .closing(),
                    false => Refusal::slow(format!(
                        "the body had not come after {} s", timeout.as_secs_f64()
                    )),
                });
            }
            _ = phase.wait_for(|phase| *phase != Phase::Serving), if !stopping => {
                stopping = true;
                deadline = deadline.min(Instant::now() + LAST_UPLOADS);
                continue;
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| {
            Refusal::malformed(format!("the body ended early or is damaged: {error}")).closing()
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let length = first.as_ref().map_or(0, Bytes::len) + bytes.len();
        if data.len() > most - length {
            return Err(too_large());
        }
        share.grow(data.len())?;
        // Most bodies come as one piece, which needs no copy.
        match (&first, bytes.is_empty()) {
            (None, true) => first = Some(data),
            (Some(_), _) => {
                let whole = first.take().unwrap_or_default();
                let all = (declared as usize).max(whole.len() + data.len());
                bytes.reserve_exact(all.min(2 * (whole.len() + data.len()) + (64 << 10)));
                bytes.extend_from_slice(&whole);
                bytes.extend_from_slice(&data);
            }
            (None, false) => bytes.extend_from_slice(&data),
        }
    }
    *body = None;
    Ok(first.unwrap_or_else(|| bytes.into()))
}
