//! Requests that are made again where that may help.

use std::io::{self, Read};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use ureq::http::Response;
use ureq::{Agent, Body, ResponseExt};

use super::names;
use super::route::{Request, Route, Service};
use super::sign;
use super::tls;

/// How long to wait for what.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) connect: Duration,
    /// A server's longest silence.
    pub(super) silence: Duration,
    /// Bytes a second below which a server is taken for one that hangs.
    pub(super) least: u64,
    /// Attempts after the first.
    pub(super) more: u32,
    /// The first pause; each is twice the one before.
    pub(super) pause: Duration,
}

/// Pauses of 1, 2, ... 32 seconds: a server that starts again is waited for.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(10),
    silence: Duration::from_secs(30),
    least: 16 << 10,
    more: 6,
    pause: Duration::from_secs(1),
};
/// The longest pause that a server may ask for.
const MOST_PAUSE: u64 = 60;
/// Connections that are kept for the next picture.
const IDLE: usize = 64;
/// Bytes of the longest answer that is no object.
const MOST_TEXT: u64 = 16 << 20;

/// A length, and what tells an object from one that took its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) length: u64,
    /// A number of its ETag, or of the time of its last change; 0 where the server tells neither.
    pub(super) version: u64,
}

/// Why there is no answer to go on with.
#[derive(Debug)]
pub(super) enum Failed {
    /// The server has it not, or gives it not to us.
    Refused { status: u16, text: String },
    /// It is no longer what it was.
    Changed,
    /// The server gives whole objects only.
    NoRanges,
    /// What else there is.
    Other(String),
}

/// Why an attempt brought nothing.
enum Ended {
    /// Another may bring more, after at least so long.
    Passing(String, Duration),
    Failed(Failed),
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Ended {
        Ended::Failed(failed)
    }
}

fn passing<T>(why: impl Into<String>) -> Result<T, Ended> {
    Err(Ended::Passing(why.into(), Duration::ZERO))
}

fn failed<T>(why: impl Into<String>) -> Result<T, Ended> {
    Err(Ended::Failed(Failed::Other(why.into())))
}

/// Connections to servers.
pub(super) struct Client {
    agent: Agent,
    patience: Patience,
    /// Why nothing can be encrypted.
    plain: Option<String>,
}

impl Client {
    /// That of this process.
    pub(super) fn shared() -> &'static Client {
        static SHARED: OnceLock<Client> = OnceLock::new();
        SHARED.get_or_init(|| Client::new(PATIENCE))
    }

    pub(super) fn new(patience: Patience) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .max_idle_connections(IDLE)
            .max_idle_connections_per_host(IDLE)
            .max_redirects_will_error(false)
            .user_agent(concat!("resnet/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity");
        let (config, plain) = match tls::config() {
            Ok(tls) => (config.tls_config(tls), None),
            Err(why) => (config.https_only(false), Some(why)),
        };
        Client { agent: config.build().new_agent(), patience, plain }
    }

    /// The length and version of an object.
    pub(super) fn ask(&self, route: &Route) -> Result<Answer, Failed> {
        self.persist(&mut |known| {
            // A GET: addresses that are signed for one are not for HEAD.
            let response = self.send(route, &route.object(sign::now()), Some((0, 1)), known)?;
            let version = version(&response);
            let total = match response.status().as_u16() {
                206 => total(&response),
                // An empty object has no first byte.
                416 => total(&response).filter(|&total| total == 0),
                200 if length(&response) == Some(0) => Some(0),
                _ => return Err(Failed::NoRanges.into()),
            };
            let Some(length) = total else { return Err(Failed::NoRanges.into()) };
            drain(response);
            Ok(Answer { length, version })
        })
    }

    /// Fills `bytes` from the position `at` of an object on. `moved` is where the server last
    /// redirected to.
    pub(super) fn read(
        &self,
        route: &Route,
        is: &Answer,
        at: u64,
        bytes: &mut [u8],
        moved: &mut Option<String>,
    ) -> Result<(), Failed> {
        let mut done = 0;
        self.persist(&mut |_| {
            let before = moved.take();
            let had = before.is_some();
            let request = match before {
                Some(url) => Request { url, headers: Vec::new() },
                None => route.object(sign::now()),
            };
            let range = (at + done as u64, (bytes.len() - done) as u64);
            let response = match self.send(route, &request, Some(range), true) {
                // A redirection holds for some time only.
                Err(Ended::Failed(Failed::Refused { .. })) if had => {
                    self.send(route, &route.object(sign::now()), Some(range), true)?
                }
                other => other?,
            };
            let status = response.status().as_u16();
            let same = match version(&response) {
                0 => true,
                version => is.version == 0 || is.version == version,
            };
            if !same || total(&response).is_some_and(|total| total != is.length) || status == 416 {
                return Err(Failed::Changed.into());
            }
            if status != 206 {
                return Err(Failed::NoRanges.into());
            }
            let shown = header(&response, "content-range").unwrap_or_default();
            let wanted = format!("bytes {}-{}/", range.0, range.0 + range.1 - 1);
            if !shown.starts_with(&wanted) {
                let shown: String = shown.chars().take(60).collect();
                return passing(format!("the server sent `{shown}` instead of `{wanted}...`"));
            }
            let last = response.get_uri().to_string();
            if route.service == Service::Web && last != request.url {
                *moved = Some(last);
            } else if had {
                *moved = Some(request.url);
            }
            fill(response, bytes, &mut done)
        })
    }

    /// A text that a server makes: a listing.
    pub(super) fn text(
        &self,
        route: &Route,
        request: &dyn Fn() -> Request,
    ) -> Result<String, Failed> {
        self.persist(&mut |known| {
            let response = self.send(route, &request(), None, known)?;
            let expected = length(&response);
            let mut text = Vec::new();
            let mut body = response.into_body().into_reader().take(MOST_TEXT);
            if let Err(error) = body.read_to_end(&mut text) {
                return passing(format!("the answer was cut off: {}", of_io(&error)));
            }
            if expected.is_some_and(|expected| expected > text.len() as u64) {
                return passing("the answer was cut off");
            }
            match String::from_utf8(text) {
                Ok(text) => Ok(text),
                Err(_) => failed("the server answered with what is no text"),
            }
        })
    }

    /// Makes attempts until one succeeds or none would. They are told whether one had an answer.
    fn persist<T>(&self, attempt: &mut dyn FnMut(bool) -> Result<T, Ended>) -> Result<T, Failed> {
        let mut waited = Duration::ZERO;
        for number in 0.. {
            let (why, least) = match attempt(number > 0) {
                Ok(found) => return Ok(found),
                Err(Ended::Failed(failed)) => return Err(failed),
                Err(Ended::Passing(why, least)) => (why, least),
            };
            if number == self.patience.more {
                return Err(Failed::Other(format!(
                    "{why}, also {number} times again within {} s; go on when the server answers \
                     again",
                    waited.as_secs()
                )));
            }
            let pause = pause(self.patience.pause, number).max(least);
            thread::sleep(pause);
            waited += pause;
        }
        Err(Failed::Other("no attempt was made".into()))
    }

    /// One request; its answer has a status of success, or 416. A host that is not found may be
    /// found later if it was `known` to be there.
    fn send(
        &self,
        route: &Route,
        request: &Request,
        range: Option<(u64, u64)>,
        known: bool,
    ) -> Result<Response<Body>, Ended> {
        if let (Some(why), true) = (&self.plain, route.is_encrypted()) {
            return failed(why.clone());
        }
        let asked = range.map_or(1 << 20, |(_, length)| length);
        let time = self.patience.silence * 2 + Duration::from_secs(asked / self.patience.least);
        // What is signed would be refused elsewhere, and must not get there.
        let redirects = if route.service == Service::Web { 5 } else { 0 };
        let mut call = self
            .agent
            .get(&request.url)
            .config()
            .max_redirects(redirects)
            .timeout_global(Some(time))
            .build();
        for (name, value) in &request.headers {
            call = call.header(*name, value);
        }
        if let Some((at, length)) = range {
            call = call.header("range", format!("bytes={at}-{}", at + length - 1));
        }
        let response = call.call().or_else(|error| of_call(error, route, known))?;
        let status = response.status();
        let named = || status.canonical_reason().map_or(status.to_string(), |_| status.to_string());
        match status.as_u16() {
            200 | 206 | 416 => Ok(response),
            408 | 425 | 429 | 500..=599 => {
                let seconds = header(&response, "retry-after").and_then(|text| text.parse().ok());
                let least = Duration::from_secs(seconds.unwrap_or(0).min(MOST_PAUSE));
                let least = least.min(self.patience.pause * 60);
                drain(response);
                Err(Ended::Passing(format!("the server answered {}", named()), least))
            }
            status => {
                let region = header(&response, "x-amz-bucket-region");
                let code = header(&response, "x-ms-error-code").or_else(|| {
                    let mut text = String::new();
                    let body = response.into_body().into_reader();
                    body.take(1 << 14).read_to_string(&mut text).ok()?;
                    names::code(&text)
                });
                let code = code.map_or(String::new(), |code| format!(" ({code})"));
                let advice = route.advice(status, region.as_deref());
                let text = format!("the server answered {}{code}; {advice}", named());
                Err(Failed::Refused { status, text }.into())
            }
        }
    }
}

pub(super) const NO_RANGES: &str = "the server does not answer ranges (HTTP 206), without which \
                                    no picture can be read by itself; copy the files here";

/// Reads the rest of a range.
fn fill(response: Response<Body>, bytes: &mut [u8], done: &mut usize) -> Result<(), Ended> {
    let mut body = response.into_body().into_reader();
    while *done < bytes.len() {
        match body.read(&mut bytes[*done..]) {
            Ok(0) => {
                let left = bytes.len() - *done;
                return passing(format!("the answer ended {left} bytes early"));
            }
            Ok(read) => *done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return passing(format!("the answer was cut off: {}", of_io(&error))),
        }
    }
    // To its end, or the connection is not used again.
    let _ = body.read(&mut [0]);
    Ok(())
}

/// Reads what is left of a short answer, so that its connection is used again.
fn drain(response: Response<Body>) {
    let _ = io::copy(&mut response.into_body().into_reader().take(1 << 14), &mut io::sink());
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_string())
}

fn length(response: &Response<Body>) -> Option<u64> {
    header(response, "content-length")?.parse().ok()
}

/// The whole length in `content-range: bytes 0-0/123`.
fn total(response: &Response<Body>) -> Option<u64> {
    header(response, "content-range")?.rsplit_once('/')?.1.trim().parse().ok()
}

/// A number that another content does not have.
fn version(response: &Response<Body>) -> u64 {
    use sha2::{Digest, Sha256};
    let tag = header(response, "etag").or_else(|| header(response, "last-modified"));
    let Some(tag) = tag else { return 0 };
    let hash: [u8; 32] = Sha256::digest(tag.trim_start_matches("W/")).into();
    u64::from_le_bytes(std::array::from_fn(|at| hash[at])).max(1)
}

/// The pause after an attempt: twice as long each time, and a part more or less that follows from
/// its number, the same in every run.
fn pause(first: Duration, number: u32) -> Duration {
    let mixed = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let part = 0.75 + 0.5 * mixed as f64 / f64::from(u32::MAX);
    (first * 2u32.pow(number.min(16))).mul_f64(part)
}

/// What a request ended with before there was an answer. Texts of the library may hold the address,
/// so few are shown.
fn of_call<T>(error: ureq::Error, route: &Route, known: bool) -> Result<T, Ended> {
    match error {
        ureq::Error::HostNotFound => {
            let text = format!("the host {} is not found", route.host());
            if known { passing(text) } else { failed(text + "; check the address") }
        }
        ureq::Error::Timeout(_) => passing("the server did not answer in time"),
        ureq::Error::ConnectionFailed => passing("there is no connection to the server"),
        ureq::Error::Io(error) => passing(format!("the connection failed: {}", of_io(&error))),
        ureq::Error::Protocol(_) => passing("the server's answer is no HTTP"),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => failed("the address is not well-formed"),
        ureq::Error::Tls(why) => failed(format!("the connection cannot be encrypted: {why}")),
        ureq::Error::Rustls(why) => failed(format!(
            "the connection cannot be encrypted: {why}; SSL_CERT_FILE may name who else is trusted"
        )),
        ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => {
            failed("the server redirects in a circle")
        }
        _ => failed("the request could not be made"),
    }
}

fn of_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "the server was silent for too long".into(),
        io::ErrorKind::UnexpectedEof => "it ended early".into(),
        // Of the system, which knows no address.
        _ if error.raw_os_error().is_some() => error.to_string(),
        _ if error.get_ref().is_some() => "it was closed or is damaged".into(),
        kind => kind.to_string(),
    }
}
