//! A call: what was asked, by whom, and the body that may still be on its way.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderMap, HeaderName};
use hyper::http::request::Parts;
use hyper::{Method, Request, Version};
use tokio::sync::watch;

use super::body::{Held, Share};
use super::unpack::{Coding, unpacked};
use super::{Phase, Refusal, body};

/// A call.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// As it came, with its escapes.
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) version: Version,
    /// Who calls.
    pub(crate) peer: IpAddr,
    /// When its head had come.
    pub(crate) began: Instant,
    body: Option<Incoming>,
    share: Arc<Share>,
    body_timeout: Duration,
    phase: watch::Receiver<Phase>,
}

impl Call {
    pub(super) fn new(
        request: Request<Incoming>,
        peer: IpAddr,
        held: Arc<Held>,
        body_timeout: Duration,
        phase: watch::Receiver<Phase>,
    ) -> Call {
        let (Parts { method, uri, headers, version, .. }, body) = request.into_parts();
        Call {
            method,
            path: uri.path().to_owned(),
            query: Query::parse(uri.query().unwrap_or_default()),
            headers,
            version,
            peer,
            began: Instant::now(),
            body: Some(body),
            share: Share::new(held),
            body_timeout,
            phase,
        }
    }

    /// The parts of the path, their escapes undone.
    pub(crate) fn segments(&self) -> Result<Vec<String>, Refusal> {
        let decoded = self.path.split('/').skip(1).map(|part| {
            unescape(part).ok_or_else(|| {
                Refusal::malformed("the path has an escape that is not UTF-8 or not hexadecimal")
            })
        });
        decoded.collect()
    }

    /// A header's text.
    pub(crate) fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.headers.get(name.into())?.to_str().ok()
    }

    /// What the body is said to be, without parameters, in small letters.
    pub(crate) fn content_type(&self) -> String {
        let kind = self.header(CONTENT_TYPE).unwrap_or_default();
        kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The body, decompressed: at most `most` bytes.
    ///
    /// # Errors
    /// It is larger, comes too slowly, or is damaged.
    pub(crate) async fn body(&mut self, most: usize) -> Result<Bytes, Refusal> {
        let coding = self.headers.get(CONTENT_ENCODING).map_or(b"".as_slice(), |v| v.as_bytes());
        let coding = Coding::parse(&String::from_utf8_lossy(coding))?;
        let Call { body, body_timeout, share, phase, .. } = self;
        let packed = body::read(body, most, *body_timeout, share, phase).await?;
        self.unpacked(packed, coding, most).await
    }

    /// What a part of the body becomes once it is decompressed: at most `most` bytes, which count
    /// as the body's do.
    ///
    /// # Errors
    /// There are more, or they are damaged, or all bodies together take too much memory.
    pub(crate) async fn unpacked(
        &mut self,
        packed: Bytes,
        coding: Coding,
        most: usize,
    ) -> Result<Bytes, Refusal> {
        if coding == Coding::Plain {
            return Ok(packed);
        }
        let unpacked = unpacked(packed, coding, most).await?;
        self.share.grow(unpacked.len())?;
        Ok(unpacked)
    }

    /// The memory of the body, for who keeps some of it longer than the call.
    pub(crate) fn share(&self) -> Arc<Share> {
        self.share.clone()
    }

    /// Reads a body that nobody wants, so that its sender comes to read the reply and the
    /// connection can be used on. Who waits to be told to send it is not told.
    pub(crate) async fn discard(&mut self) {
        if let Some(body) = self.body.take()
            && !self.headers.contains_key(EXPECT)
        {
            body::discard(body).await;
        }
    }
}

/// The part of an address behind its `?`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Arc<[(String, String)]>);

impl Query {
    fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "1"));
            let decoded = |part: &str| {
                let spaced = part.replace('+', " ");
                unescape(&spaced).unwrap_or(spaced)
            };
            (decoded(name), decoded(value))
        });
        Query(pairs.collect())
    }

    /// The value of a name; the last, where there are several.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether a name stands there and is not switched off.
    ///
    /// # Errors
    /// The value is neither yes nor no.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None | Some("0" | "false" | "no") => Ok(false),
            Some("1" | "true" | "yes" | "") => Ok(true),
            Some(other) => {
                Err(Refusal::malformed(format!("`{name}` is `{other}`, expected 1 or 0")))
            }
        }
    }

    /// A whole number within a range.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn number(
        &self,
        name: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            Refusal::malformed(format!(
                "`{name}` is `{text}`, expected a number from {least} to {most}"
            ))
        })
    }
}

/// Undoes the escapes of an address (RFC 3986, section 2.1).
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, more) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_or_refused() {
        assert_eq!(unescape("a%2Fb%c3%A4").unwrap(), "a/bä");
        for wrong in ["%", "%4", "%zz", "%+1", "%ff"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn queries_are_read() {
        let query = Query::parse("top=5&cam&a+b=c%20d&top=7&off=0&x=yes!");
        assert_eq!(query.get("top"), Some("7"));
        assert_eq!(query.get("a b"), Some("c d"));
        assert!(query.flag("cam").unwrap() && !query.flag("off").unwrap());
        assert!(!query.flag("none").unwrap() && query.flag("x").is_err());
        assert_eq!(query.number("top", 1..=10).unwrap(), Some(7));
        assert_eq!(query.number("top", 1..=6).unwrap_err().status, 400);
        assert_eq!(query.number("none", 0..=6).unwrap(), None);
    }
}
