//! Requests to a board, and what comes back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::board::Board;

/// A reply.
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Got {
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.status / 100, 2, "{}{}", self.head, String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn error(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["error"].as_str().unwrap().into()
    }
}

pub(super) fn connect(board: &Board) -> TcpStream {
    let stream = TcpStream::connect(board.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Sends a request with these headers and reads all of the reply.
pub(super) fn send(board: &Board, line: &str, headers: &[(&str, &str)]) -> Got {
    let mut stream = connect(board);
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let status = head[9..12].parse().unwrap();
    Got { status, head, body: all[end + 4..].to_vec() }
}

pub(super) const HOST: (&str, &str) = ("Host", "localhost");
pub(super) const BEARER: (&str, &str) = ("Authorization", "Bearer 0123456789abcdef");

pub(super) fn get(board: &Board, path: &str) -> Got {
    send(board, &format!("GET {path}"), &[HOST, BEARER])
}

pub(super) fn post(board: &Board, path: &str) -> Got {
    send(board, &format!("POST {path}"), &[HOST, BEARER, ("Content-Length", "0")])
}

/// Server-sent events of a board.
pub(super) struct Stream(pub(super) BufReader<TcpStream>);

impl Stream {
    pub(super) fn open(board: &Board) -> Stream {
        let mut stream = connect(board);
        let request =
            "GET /events HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: 0123456789abcdef\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        Stream(BufReader::new(stream))
    }

    /// The next of the changes that are told.
    pub(super) fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    /// Waits until a run is told of that is as wanted.
    pub(super) fn until(&mut self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let changes = self.next();
            let runs = changes["runs"].as_array().unwrap();
            if let Some(run) = runs.iter().find(|run| run["id"] == id && wanted(run)) {
                return run.clone();
            }
        }
    }
}
