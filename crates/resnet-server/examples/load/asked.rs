//! The command line.

use std::path::PathBuf;
use std::time::Duration;

const USAGE: &str = "\
Load on a server of pictures, and how long its answers take

Usage: load [OPTIONS] --url URL --body FILE...

      --url URL            Where requests go, such as http://127.0.0.1:8080/classify/resnet50
      --body FILE...       Bodies, in turn; the ending of the name gives the content type
      --arrivals KIND      even or poisson (both need --rate), or closed: every connection sends as
                           soon as it is answered, which finds the capacity [default: poisson]
      --rate R             Requests a second
      --connections C      Connections: of closed, how many; else how many are open from the start
                           [default: 8]
      --most-connections C Connections never go beyond this; a request that is due while all of them
                           wait for answers is sent late, and the report tells it [default: 500]
      --seconds S          Length of the measured part [default: 10]
      --warm-up S          Length of the part before it, which counts for nothing [default: 2]
      --timeout S          An answer that takes longer is an error [default: 60]
      --header 'NAME: V'   Header of every request; may be given several times
      --expect FILE        What is right: for each body, in order, one JSON value, either an answer
                           of /classify or a line of `resnet predict --json`
      --seed N             Of Poisson arrivals [default: 1]
      --json               One JSON object on standard output";

/// When requests are sent.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Arrivals {
    /// At equal distances.
    Even { rate: f64 },
    /// With independent, exponentially distributed distances.
    Poisson { rate: f64 },
    /// As soon as a connection is free.
    Closed,
}

/// What the command line asks for.
pub(crate) struct Asked {
    /// `host:port`.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) bodies: Vec<PathBuf>,
    pub(crate) arrivals: Arrivals,
    pub(crate) connections: usize,
    pub(crate) most_connections: usize,
    pub(crate) measured: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) timeout: Duration,
    pub(crate) headers: Vec<String>,
    pub(crate) expect: Option<PathBuf>,
    pub(crate) seed: u64,
    pub(crate) json: bool,
}

/// Reads the words after the program's name; the error is what to print.
pub(crate) fn read(words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut words = words.peekable();
    let (mut kind, mut rate, mut url) = ("poisson".to_owned(), None, None);
    let mut asked = Asked {
        authority: String::new(),
        path: String::new(),
        bodies: Vec::new(),
        arrivals: Arrivals::Closed,
        connections: 8,
        most_connections: 500,
        measured: Duration::from_secs(10),
        warm_up: Duration::from_secs(2),
        timeout: Duration::from_secs(60),
        headers: Vec::new(),
        expect: None,
        seed: 1,
        json: false,
    };
    while let Some(flag) = words.next() {
        if flag == "--help" || flag == "-h" {
            return Err(USAGE.to_owned());
        }
        if flag == "--json" {
            asked.json = true;
            continue;
        }
        if flag == "--body" {
            while let Some(file) = words.next_if(|word| !word.starts_with("--")) {
                asked.bodies.push(file.into());
            }
            continue;
        }
        let value = words.next().ok_or(format!("error: {flag} needs a value; see --help"))?;
        match flag.as_str() {
            "--url" => url = Some(value),
            "--arrivals" => kind = value,
            "--rate" => rate = Some(positive(&flag, &value)?),
            "--connections" => asked.connections = whole(&flag, &value)?.max(1),
            "--most-connections" => asked.most_connections = whole(&flag, &value)?.max(1),
            "--seconds" => asked.measured = seconds(&flag, &value)?,
            "--warm-up" => asked.warm_up = seconds(&flag, &value)?,
            "--timeout" => asked.timeout = seconds(&flag, &value)?,
            "--header" => asked.headers.push(header(value)?),
            "--expect" => asked.expect = Some(value.into()),
            "--seed" => asked.seed = whole(&flag, &value)? as u64,
            _ => return Err(format!("error: {flag} is no option; see --help")),
        }
    }
    let url = url.ok_or("error: --url is missing; see --help")?;
    (asked.authority, asked.path) = split(&url)?;
    asked.arrivals = match (kind.as_str(), rate) {
        ("even", Some(rate)) => Arrivals::Even { rate },
        ("poisson", Some(rate)) => Arrivals::Poisson { rate },
        ("closed", None) => Arrivals::Closed,
        ("closed", Some(_)) => return Err("error: closed arrivals take no --rate".to_owned()),
        ("even" | "poisson", None) => return Err(format!("error: {kind} arrivals need --rate")),
        _ => return Err(format!("error: --arrivals {kind}: expected even, poisson or closed")),
    };
    if asked.bodies.is_empty() {
        return Err("error: --body is missing; see --help".to_owned());
    }
    if asked.measured.is_zero() || asked.timeout.is_zero() {
        return Err("error: --seconds and --timeout must be above 0".to_owned());
    }
    asked.connections = asked.connections.min(asked.most_connections);
    Ok(asked)
}

/// Authority and path of a URL.
fn split(url: &str) -> Result<(String, String), String> {
    let wrong = || format!("error: --url {url}: expected http://HOST:PORT/PATH");
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let fits = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !authority.contains(':') || !fits(authority) || !fits(path) {
        return Err(wrong());
    }
    Ok((authority.to_owned(), if path.is_empty() { "/".to_owned() } else { path.to_owned() }))
}

fn header(text: String) -> Result<String, String> {
    if text.contains(':') && !text.contains(['\r', '\n']) {
        Ok(text)
    } else {
        Err(format!("error: --header {text:?}: expected 'NAME: VALUE'"))
    }
}

fn positive(flag: &str, text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err(format!("error: {flag} {text}: expected a number above 0")),
    }
}

fn seconds(flag: &str, text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().and_then(|number| Duration::try_from_secs_f64(number).ok());
    number.ok_or_else(|| format!("error: {flag} {text}: expected seconds"))
}

fn whole(flag: &str, text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("error: {flag} {text}: expected a whole number"))
}
