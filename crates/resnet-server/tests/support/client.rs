//! A small client of HTTP/1.1 that blocks, and hides nothing of what is on the wire.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long a socket may say nothing before a test fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: impl Into<String>) -> Request {
        let (method, target) = (method.to_owned(), target.into());
        Request { method, target, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(target: impl Into<String>) -> Request {
        Request::new("GET", target)
    }

    /// A POST without a content type, as many clients send it.
    pub(crate) fn post(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Request {
        Request { body: body.into(), ..Request::new("POST", target) }
    }

    pub(crate) fn json(target: impl Into<String>, body: &Value) -> Request {
        Request::post(target, body.to_string()).with("content-type", "application/json")
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn set_body(&mut self, body: Vec<u8>) {
        self.body = body;
    }

    /// The bytes up to the body.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: tested\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || ["POST", "PUT"].contains(&self.method.as_str()) {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        (head + "\r\n").into_bytes()
    }
}

/// An answer; names of headers are in small letters.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn value(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What a good answer says.
    pub(crate) fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.value()
    }

    /// Checks that it is an error of this status in the form of all errors; its message.
    pub(crate) fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text());
        assert!(self.header("x-request-id").is_some(), "{:?}", self.headers);
        let comes_with = match status {
            401 => Some("www-authenticate"),
            405 => Some("allow"),
            429 | 503 => Some("retry-after"),
            _ => None,
        };
        if let Some(name) = comes_with {
            assert!(self.header(name).is_some(), "{status} without {name}: {:?}", self.headers);
        }
        let message = self.value()["error"].as_str().unwrap_or_default().to_owned();
        assert!(!message.is_empty(), "{}", self.text());
        message
    }

    /// Whether the connection may be used on.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Bytes both ways.
pub(crate) trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// A connection.
pub(crate) struct Client {
    stream: BufReader<Box<dyn Stream>>,
    /// The socket below.
    socket: TcpStream,
    /// Whether the answers that are due have no body.
    due: VecDeque<bool>,
}

/// A socket that waits no longer than [`PATIENCE`].
pub(crate) fn socket(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let socket = socket(address);
        let stream = socket.try_clone().unwrap();
        Client::over(socket, stream)
    }

    /// Over a stream, such as an encrypted one, that has `socket` below it.
    pub(crate) fn over(socket: TcpStream, stream: impl Stream + 'static) -> Client {
        Client { stream: BufReader::new(Box::new(stream)), socket, due: VecDeque::new() }
    }

    pub(crate) fn ask(&mut self, request: &Request) -> Response {
        self.send(request);
        self.receive().expect("an answer instead of the connection's end")
    }

    pub(crate) fn send(&mut self, request: &Request) {
        self.write(&[request.head(), request.body.clone()].concat()).unwrap();
        self.due.push_back(request.method == "HEAD");
    }

    /// Sends bytes as they are, of which an answer is due.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.write(bytes).unwrap();
        self.due.push_back(false);
    }

    /// Sends more bytes; an error where the server takes none any more.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// The next answer, or none where the connection has ended.
    pub(crate) fn receive(&mut self) -> Option<Response> {
        let (status, headers) = self.receive_head()?;
        let bare = matches!(status, 100..200 | 204 | 304);
        if status < 200 {
            return Some(Response { status, headers, body: Vec::new() });
        }
        let bare = self.due.pop_front().unwrap_or(false) || bare;
        let mut response = Response { status, headers, body: Vec::new() };
        if bare {
            return Some(response);
        }
        let length = response.header("content-length").map(|text| text.parse::<usize>().unwrap());
        match length {
            Some(length) => {
                response.body = vec![0; length];
                self.stream.read_exact(&mut response.body).ok()?;
            }
            None => panic!("an answer without a length: {:?}", response.headers),
        }
        Some(response)
    }

    fn receive_head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let first = self.line()?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.unwrap_or_else(|| panic!("no status in `{first}`")).parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some((status, headers));
            }
            let (name, value) = line.split_once(':').expect("a header has a colon");
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => self.ended(&error),
        }
    }

    /// None; but a silence is the server's fault.
    fn ended<T>(&self, error: &io::Error) -> Option<T> {
        let silent = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        assert!(!silent.contains(&error.kind()), "the connection stays, and nothing comes");
        None
    }

    /// Whether the server ends the connection and says nothing more.
    pub(crate) fn is_ended(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => self.ended::<()>(&error).is_none(),
        }
    }

    /// Says that nothing more is sent.
    pub(crate) fn finish(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }
}
