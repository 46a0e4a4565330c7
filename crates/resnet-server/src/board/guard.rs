//! Who is answered. A board shows private pictures and starts programs, so other users of the
//! machine and other pages in the same browser must get nothing.
//!
//! - Whatever tells of runs needs a token, which the page gets in the fragment of its address:
//!   browsers send that to no server and name it to no other page.
//! - On a machine's own address, requests under another name are refused. A page elsewhere may have
//!   its name lead here for a moment (DNS rebinding), and would then be of the same origin.
//! - Requests that change something come from this page or from no page.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HOST, ORIGIN};

use crate::http::{Call, Refusal, Tokens};

/// The rules of a board.
pub(super) struct Guard {
    tokens: Tokens,
    /// Whether only this machine can reach it.
    local: bool,
}

impl Guard {
    pub(super) fn new(tokens: Tokens, address: SocketAddr) -> Guard {
        Guard { tokens, local: address.ip().to_canonical().is_loopback() }
    }

    /// Refuses requests under a name that is not this machine's.
    pub(super) fn host(&self, call: &Call) -> Result<(), Refusal> {
        let Some(host) = call.header(HOST) else {
            return Err(Refusal::malformed("the header `Host` is missing"));
        };
        let name = name(host);
        // A page's name may lead anywhere, an address only to itself.
        let own = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
        if own || !self.local {
            return Ok(());
        }
        Err(Refusal::forbidden(format!(
            "this board answers as localhost or 127.0.0.1, not as `{name}`"
        )))
    }

    /// Refuses who has no token.
    pub(super) fn caller(&self, call: &Call) -> Result<(), Refusal> {
        match self.tokens.find(&call.headers) {
            Some(_) => Ok(()),
            None => Err(Refusal::unknown_caller()),
        }
    }

    /// Refuses requests that a page of another origin sends. Programs name none.
    pub(super) fn origin(&self, call: &Call) -> Result<(), Refusal> {
        let Some(origin) = call.headers.get(ORIGIN) else { return Ok(()) };
        let own = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let host = call.header(HOST).unwrap_or_default();
        match own {
            Some(("http" | "https", from)) if from.eq_ignore_ascii_case(host) => Ok(()),
            _ => Err(Refusal::forbidden("this request comes from a page of another origin")),
        }
    }
}

/// A host without its port, an address without its brackets.
fn name(host: &str) -> &str {
    if let Some((inside, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inside;
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn hosts_have_ports_and_brackets() {
        let cases = [
            ("localhost", "localhost"),
            ("localhost:8090", "localhost"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:8090", "::1"),
            ("[::1]", "::1"),
            ("evil.example:8090", "evil.example"),
            ("", ""),
        ];
        for (host, expected) in cases {
            assert_eq!(name(host), expected, "{host}");
        }
    }
}
