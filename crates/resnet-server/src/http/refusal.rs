//! Calls that are not answered as they want: a status and a sentence, always as JSON.

use std::time::Duration;

use hyper::header::{ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};

use super::Reply;

/// Why a call is refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// What metrics count it as.
    pub(crate) reason: &'static str,
    header: Option<(HeaderName, HeaderValue)>,
    /// Whether the connection cannot be used on.
    close: bool,
}

impl Refusal {
    fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into(), reason, header: None, close: false }
    }

    fn with(self, name: HeaderName, value: String) -> Refusal {
        Refusal { header: HeaderValue::from_str(&value).ok().map(|value| (name, value)), ..self }
    }

    /// The same, after which the connection ends: what is left of the request is not read.
    pub(crate) fn closing(self) -> Refusal {
        Refusal { close: true, ..self }
    }

    /// 400: the request is not what its route reads.
    pub(crate) fn malformed(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    /// 401: no token, or a wrong one.
    pub(crate) fn unknown_caller() -> Refusal {
        let message = "a token is needed: send the header `Authorization: Bearer TOKEN`";
        Refusal::new(StatusCode::UNAUTHORIZED, "token", message)
            .with(WWW_AUTHENTICATE, "Bearer".into())
    }

    /// 403: not for this caller, or not on this server.
    pub(crate) fn forbidden(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 404.
    pub(crate) fn unknown(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "unknown", message)
    }

    /// 405: the route is there for other methods.
    pub(crate) fn method(asked: &Method, allowed: &str) -> Refusal {
        let message = format!("{asked} is not possible here, only {allowed}");
        Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", message).with(ALLOW, allowed.into())
    }

    /// 408: the body came too slowly.
    pub(crate) fn slow(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::REQUEST_TIMEOUT, "slow", message).closing()
    }

    /// 409: not while things are as they are.
    pub(crate) fn conflict(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 413: more bytes or pixels than are taken.
    pub(crate) fn too_large(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// 415: a format that is not read.
    pub(crate) fn format(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "format", message)
    }

    /// 417: something is expected of the server that it does not do.
    pub(crate) fn expectation(found: &str) -> Refusal {
        let message = format!("`Expect: {found}` is not possible, only 100-continue");
        Refusal::new(StatusCode::EXPECTATION_FAILED, "expectation", message)
    }

    /// 422: a picture that is damaged.
    pub(crate) fn damaged(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "damaged", message)
    }

    /// 429: this caller has as much waiting as it may.
    pub(crate) fn greedy(message: impl Into<String>, after: Duration) -> Refusal {
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, "share", message).after(after)
    }

    /// 500: a fault of this program.
    pub(crate) fn fault(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", message)
    }

    /// 503: not now.
    pub(crate) fn busy(
        reason: &'static str,
        message: impl Into<String>,
        after: Duration,
    ) -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason, message).after(after)
    }

    /// 504: its deadline has passed.
    pub(crate) fn late(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, "deadline", message)
    }

    fn after(self, after: Duration) -> Refusal {
        self.with(RETRY_AFTER, after.as_secs_f64().ceil().max(1.0).to_string())
    }

    /// As a reply.
    pub(crate) fn reply(self) -> Reply {
        let mut reply = Reply::json(&serde_json::json!({ "error": self.message }));
        reply.status = self.status;
        reply.refused = Some(self.reason);
        if let Some((name, value)) = self.header {
            reply.headers.insert(name, value);
        }
        if self.close {
            reply.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}
