//! One connection of HTTP/1.1.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::asked::Asked;

/// Longest head of an answer.
const MOST_HEAD: usize = 64 << 10;
/// A connection that was not used for longer is looked at before: the server may have closed it.
const FRESH: Duration = Duration::from_secs(1);

/// The bytes of each request, in the order of the bodies.
pub(crate) fn requests(asked: &Asked) -> Result<Vec<Vec<u8>>, String> {
    asked.bodies.iter().map(|path| request(asked, path)).collect()
}

fn request(asked: &Asked, path: &Path) -> Result<Vec<u8>, String> {
    let body = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n",
        asked.path,
        asked.authority,
        content_type(path),
        body.len()
    );
    for header in &asked.headers {
        head += &format!("{header}\r\n");
    }
    head += "\r\n";
    let mut bytes = head.into_bytes();
    bytes.extend(body);
    Ok(bytes)
}

fn content_type(path: &Path) -> &'static str {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match ending.as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "bmp" => "image/bmp",
        "tif" | "tiff" => "image/tiff",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

/// An answer; its body stands in the connection's buffer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// A connection that is opened when it is needed, and again after it was closed.
pub(crate) struct Connection {
    authority: String,
    timeout: Duration,
    stream: Option<TcpStream>,
    used: Instant,
    buffer: Vec<u8>,
    /// How often it was opened.
    pub(crate) opened: usize,
}

impl Connection {
    pub(crate) fn new(asked: &Asked) -> Self {
        Connection {
            authority: asked.authority.clone(),
            timeout: asked.timeout,
            stream: None,
            used: Instant::now(),
            buffer: Vec::new(),
            opened: 0,
        }
    }

    /// Opens it where it is not open.
    pub(crate) fn open(&mut self) -> Result<&mut TcpStream, &'static str> {
        if self.used.elapsed() > FRESH && self.is_closed() {
            self.stream = None;
        }
        if self.stream.is_none() {
            self.stream = Some(connect(&self.authority, self.timeout).map_err(|e| kind(&e))?);
            self.opened += 1;
            self.used = Instant::now();
        }
        self.stream.as_mut().ok_or("connect")
    }

    /// Sends a request and waits for its answer. The error names its kind; the connection is then
    /// closed.
    pub(crate) fn ask(
        &mut self,
        request: &[u8],
        sent: &mut Instant,
    ) -> Result<Answer<'_>, &'static str> {
        let stream = self.open()?;
        *sent = Instant::now();
        // A server that refuses before it has read the body closes while this still sends; its
        // answer is there all the same.
        let written = stream.write_all(request);
        let answer = self.answer();
        self.used = Instant::now();
        match answer {
            Ok((status, body, keeps)) => {
                if !keeps || written.is_err() {
                    self.stream = None;
                }
                Ok(Answer { status, body: &self.buffer[body] })
            }
            Err(error) => {
                self.stream = None;
                Err(written.err().map_or(error, |error| kind(&error)))
            }
        }
    }

    /// Status, place of the body in the buffer, and whether the connection stays open.
    fn answer(&mut self) -> Result<(u16, std::ops::Range<usize>, bool), &'static str> {
        self.buffer.clear();
        let mut searched = 0;
        let head = loop {
            let from = self.buffer[searched..].windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(from) = from {
                break searched + from + 4;
            }
            if self.buffer.len() > MOST_HEAD {
                return Err("malformed");
            }
            searched = self.buffer.len().saturating_sub(3);
            self.more(8 << 10)?;
        };
        let head_text = std::str::from_utf8(&self.buffer[..head]).map_err(|_| "malformed")?;
        let mut lines = head_text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|rest| rest.get(..3)?.parse().ok()).ok_or("malformed")?;
        let (mut length, mut keeps) = (None, true);
        for line in lines {
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<usize>().ok();
            } else if name.eq_ignore_ascii_case("connection") {
                keeps = !value.trim().eq_ignore_ascii_case("close");
            }
        }
        // The answers this is for have a length; chunks would cost the generator time.
        let end = head.checked_add(length.ok_or("no length")?).ok_or("malformed")?;
        while self.buffer.len() < end {
            self.more(end - self.buffer.len())?;
        }
        if self.buffer.len() > end {
            return Err("more than asked");
        }
        Ok((status, head..end, keeps))
    }

    /// Reads what is there, `most` bytes at most.
    fn more(&mut self, most: usize) -> Result<(), &'static str> {
        let stream = self.stream.as_mut().ok_or("closed")?;
        let filled = self.buffer.len();
        self.buffer.resize(filled + most.min(1 << 20), 0);
        let read = loop {
            match stream.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err("closed"),
            Ok(_) => Ok(()),
            Err(error) => Err(kind(&error)),
        }
    }

    /// Whether the other side has closed it.
    fn is_closed(&self) -> bool {
        let Some(stream) = &self.stream else { return true };
        if stream.set_nonblocking(true).is_err() {
            return true;
        }
        let waiting = matches!(stream.peek(&mut [0]), Err(e) if e.kind() == ErrorKind::WouldBlock);
        stream.set_nonblocking(false).is_err() || !waiting
    }
}

fn connect(authority: &str, timeout: Duration) -> io::Result<TcpStream> {
    let address = authority.to_socket_addrs()?.next().ok_or(ErrorKind::AddrNotAvailable)?;
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

/// The name under which an error is counted.
fn kind(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
            "connection reset"
        }
        // A socket's timeout is reported as either.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "timeout",
        ErrorKind::AddrNotAvailable => "no address",
        _ => "other",
    }
}
