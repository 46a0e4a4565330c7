//! How a server behaves, and what it serves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use resnet::Precision;

use crate::http::{Timeouts, Tokens};

/// A model and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What clients call it.
    pub name: String,
    /// A model file, or a folder of versions: `1/model.safetensors`, `2/model.safetensors`, ...
    pub path: PathBuf,
}

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens for HTTP.
    pub listen: SocketAddr,
    /// Where it listens for gRPC.
    pub grpc: Option<SocketAddr>,
    /// How maps are stored.
    pub precision: Precision,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long a picture may wait by what is predicted.
    pub max_wait: Duration,
    /// Most bytes of a body, decompressed.
    pub max_body: usize,
    /// Most pixels of a picture.
    pub max_pixels: u64,
    /// Memory for decoding; as much again for what is being uploaded.
    pub decode_memory: u64,
    /// Most connections.
    pub max_connections: usize,
    /// For the head of a request.
    pub header_timeout: Duration,
    /// For its body.
    pub body_timeout: Duration,
    /// For a connection that asks nothing.
    pub idle_timeout: Duration,
    /// How long what was begun may take once the server is to stop.
    pub drain: Duration,
    /// How long it says that it is not ready before it takes no more connections.
    pub drain_delay: Duration,
    /// Whether models are loaded again when their files change.
    pub watch: bool,
    /// Whether models may be loaded and unloaded by requests.
    pub admin: bool,
    /// Who may ask; anybody where there are none.
    pub tokens: Option<Tokens>,
    /// Pages of which origins may ask; `*` for all.
    pub origins: Vec<String>,
    /// Whether there is a page.
    pub page: bool,
    /// Whether every request is logged.
    pub log_requests: bool,
    /// Certificate chain and key, PEM.
    #[cfg(feature = "tls")]
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Options {
    /// The usual ones, on an address.
    pub fn on(listen: SocketAddr) -> Options {
        Options {
            listen,
            grpc: None,
            precision: Precision::F32,
            timeout: Duration::from_secs(30),
            max_wait: Duration::from_secs(2),
            max_body: 16 << 20,
            max_pixels: 25_000_000,
            decode_memory: 512 << 20,
            max_connections: 512,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            drain: Duration::from_secs(25),
            drain_delay: Duration::ZERO,
            watch: false,
            admin: false,
            tokens: None,
            origins: Vec::new(),
            page: true,
            log_requests: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// How long a connection may take.
    pub(crate) fn timeouts(&self) -> Timeouts {
        Timeouts { header: self.header_timeout, body: self.body_timeout, idle: self.idle_timeout }
    }
}
