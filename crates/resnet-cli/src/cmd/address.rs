//! Addresses to listen on, as they are typed.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

/// `IP:PORT`, `localhost:PORT`, or a port of this machine's own address.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let wrong = "expected IP:PORT, such as 127.0.0.1:8090, or a port; 0 takes one that is free";
    if !text.contains(':') {
        return Err(wrong.into());
    }
    let found = text.to_socket_addrs().map_err(|error| format!("{error}; {wrong}"))?.next();
    found.ok_or_else(|| wrong.into())
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn ports_and_addresses_are_read() {
        for (text, expected) in [
            ("8090", "127.0.0.1:8090"),
            ("0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:8090", "[::1]:8090"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected);
        }
        for wrong in ["resnet20", "", "127.0.0.1", "70000", "127.0.0.1:70000", "lr=0.1"] {
            let error = address(wrong).unwrap_err();
            assert!(error.contains("expected IP:PORT"), "{wrong}: {error}");
        }
    }
}
