//! How a call of gRPC ends: a code, and a text where it is refused.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::http::{Refusal, Reply};

/// The codes that are used here (github.com/grpc/grpc, doc/statuscodes.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Ok = 0,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// Why a call is refused, and with which code.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) refusal: Refusal,
}

/// The content type of requests and answers.
pub(super) const KIND: &str = "application/grpc";
/// How requests may be compressed; answers are not.
const CODINGS: &str = "identity,deflate,gzip";
/// Most bytes of a text. Clients take headers of 8 KiB, and a byte may become three.
const LONGEST: usize = 1024;

impl Code {
    /// The code of an answer over HTTP.
    fn of_http(status: StatusCode) -> Code {
        match status.as_u16() {
            400 | 415 | 422 => Code::InvalidArgument,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::NotFound,
            405 | 501 => Code::Unimplemented,
            408 | 504 => Code::DeadlineExceeded,
            413 | 429 | 431 => Code::ResourceExhausted,
            500 => Code::Internal,
            503 => Code::Unavailable,
            _ => Code::Unknown,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        Status { code: Code::of_http(refusal.status), refusal }
    }
}

impl Status {
    /// A refusal with a code of its own.
    pub(crate) fn new(code: Code, refusal: Refusal) -> Status {
        Status { code, refusal }
    }

    /// As a reply without a message.
    pub(crate) fn reply(&self) -> Reply {
        let mut reply = reply(None, self.code, Some(&self.refusal.message));
        reply.refused = Some(self.refusal.reason);
        reply
    }
}

/// A reply: perhaps a frame, and how it ended.
pub(super) fn reply(frame: Option<Bytes>, code: Code, message: Option<&str>) -> Reply {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code as u16));
    // What is encoded can always stand in a header.
    if let Some(Ok(text)) = message.map(|message| HeaderValue::try_from(encode(message))) {
        trailers.insert("grpc-message", text);
    }
    let name = HeaderName::from_static("grpc-accept-encoding");
    Reply::with_trailers(KIND, frame, trailers).with(name, CODINGS)
}

/// A text with escapes for what is not printable ASCII, cut where it is too long.
fn encode(text: &str) -> String {
    let ends = |at: &usize| text.is_char_boundary(*at);
    let end = (0..=text.len().min(LONGEST)).rev().find(ends).unwrap_or(0);
    let mut encoded = String::with_capacity(end);
    for byte in text[..end].bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn refusals_have_the_code_of_their_status() {
        let second = Duration::from_secs(1);
        let cases = [
            (Refusal::malformed("x"), 3),
            (Refusal::format("x"), 3),
            (Refusal::damaged("x"), 3),
            (Refusal::slow("x"), 4),
            (Refusal::late("x"), 4),
            (Refusal::unknown("x"), 5),
            (Refusal::forbidden("x"), 7),
            (Refusal::too_large("x"), 8),
            (Refusal::greedy("x", second), 8),
            (Refusal::fault("x"), 13),
            (Refusal::busy("full", "x", second), 14),
            (Refusal::unknown_caller(), 16),
        ];
        for (refusal, code) in cases {
            let status = Status::from(refusal);
            assert_eq!(status.code as i32, code, "{status:?}");
        }
    }

    #[test]
    fn texts_are_escaped_and_cut_between_characters() {
        assert_eq!(encode("100 %\n\"ä\""), "100 %25%0A\"%C3%A4\"");
        // The limit lies within the last character, which is left out whole.
        let text = format!("{}ä", "a".repeat(LONGEST - 1));
        assert_eq!(encode(&text), "a".repeat(LONGEST - 1));
        assert_eq!(encode(&"\0".repeat(1 << 20)).len(), 3 * LONGEST);
    }
}
