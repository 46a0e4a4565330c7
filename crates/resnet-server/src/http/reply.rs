//! What goes back: a status, headers and a body, whole or as it comes.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

/// A reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What metrics count it as, where it refuses.
    pub(crate) refused: Option<&'static str>,
    body: Content,
}

/// The body of a reply.
#[derive(Debug)]
pub(crate) enum Content {
    /// All of it, and what follows it under HTTP/2.
    Whole(Option<Bytes>, Option<HeaderMap>),
    /// As it comes, until the sender is gone.
    Parts(mpsc::Receiver<Bytes>),
}

/// Where the parts of a body go; an error means that nobody reads on.
pub(crate) type Sender = mpsc::Sender<Bytes>;

/// Parts of a body that wait for a slow reader.
const WAITING: usize = 16;

impl Reply {
    fn new(kind: &'static str, body: Content) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        Reply { status: StatusCode::OK, headers, refused: None, body }
    }

    /// 200, `application/json`.
    pub(crate) fn json(value: &impl Serialize) -> Reply {
        // Maps with keys of text, numbers and texts always become JSON.
        let text = serde_json::to_vec(value).unwrap_or_default();
        Reply::bytes("application/json", text)
    }

    /// 200 and bytes of some kind.
    pub(crate) fn bytes(kind: &'static str, bytes: impl Into<Bytes>) -> Reply {
        Reply::new(kind, Content::Whole(Some(bytes.into()), None))
    }

    /// 200 and bytes whose trailers follow them.
    pub(crate) fn with_trailers(
        kind: &'static str,
        bytes: Option<Bytes>,
        trailers: HeaderMap,
    ) -> Reply {
        Reply::new(kind, Content::Whole(bytes, Some(trailers)))
    }

    /// 200 and parts that whoever has the sender sends.
    pub(crate) fn parts(kind: &'static str) -> (Sender, Reply) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (sender, Reply::new(kind, Content::Parts(receiver)))
    }

    /// The same with a header; a value that no header can have is left out.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Reply {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn into_response(self) -> Response<Content> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Content::Whole(bytes, trailers) => Poll::Ready(match bytes.take() {
                Some(bytes) => Some(Ok(Frame::data(bytes))),
                None => trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
            }),
            Content::Parts(parts) => {
                parts.poll_recv(context).map(|part| part.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Content::Whole(None, None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Whole(bytes, None) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            _ => SizeHint::default(),
        }
    }
}
