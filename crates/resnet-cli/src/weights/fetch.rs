//! Fetches a file, going on where an earlier attempt ended.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use resnet::model::MOST_BYTES;
use ureq::Agent;
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectionDetails, Connector, DefaultConnector};

use crate::term::{Bar, bar};

/// Attempts in a row that bring nothing.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt; later ones are longer.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes that the progress bar counts by.
const UNIT: u64 = 1 << 20;

/// Why a file was not fetched.
pub(super) enum Failed {
    /// There is no way to the server from here; another program may know one.
    NoWay(String),
    /// The server does not give it, or there is no place for it.
    Refused(String),
}

/// Why an attempt ended before the file did.
enum Ended {
    /// Another attempt may go on.
    Cut(String),
    /// None would.
    Failed(Failed),
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Ended {
        Ended::Failed(failed)
    }
}

/// Fetches what is at an address into a file; what the file holds already is taken for its
/// beginning. The caller checks the content.
pub(super) fn fetch(url: &str, to: &Path) -> Result<(), Failed> {
    let agent = agent(url)?;
    let progress = bar(0, "MiB");
    let mut idle = 0;
    loop {
        let had = length(to);
        match attempt(&agent, url, to, had, &progress) {
            Ok(()) => {
                progress.finish_and_clear();
                return Ok(());
            }
            Err(Ended::Failed(failed)) => return Err(failed),
            Err(Ended::Cut(reason)) => {
                idle = if length(to) > had { 0 } else { idle + 1 };
                if idle == ATTEMPTS {
                    return Err(Failed::NoWay(reason));
                }
                thread::sleep(PAUSE * (1 << idle));
            }
        }
    }
}

fn length(file: &Path) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

fn agent(url: &str) -> Result<Agent, Failed> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .user_agent(concat!("resnet/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity");
    match tls() {
        Ok(tls) => Ok(config.tls_config(tls).build().new_agent()),
        Err(failed) if url.starts_with("https:") => Err(failed),
        Err(Failed::NoWay(why) | Failed::Refused(why)) => {
            let connector = Plain(why).chain(DefaultConnector::default());
            Ok(Agent::with_parts(config.build(), connector, DefaultResolver::default()))
        }
    }
}

/// Refuses to connect to https, where a server may redirect to, as there is no encryption, and says
/// why there is none.
#[derive(Debug)]
struct Plain(String);

impl Connector for Plain {
    type Out = ();

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<()>, ureq::Error> {
        match details.needs_tls() {
            true => {
                let why = format!("the server redirects to {}: {}", details.uri, self.0);
                Err(ureq::Error::Other(why.into()))
            }
            false => Ok(None),
        }
    }
}

/// Encryption in Rust alone, so that building needs no compiler for C; the CPU has to have
/// instructions for it.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn tls() -> Result<TlsConfig, Failed> {
    use std::sync::Arc;
    use ureq::tls::{PemItem, RootCerts, parse_pem};
    #[cfg(target_arch = "x86_64")]
    let able = std::is_x86_feature_detected!("aes")
        && std::is_x86_feature_detected!("pclmulqdq")
        && std::is_x86_feature_detected!("bmi1")
        && std::is_x86_feature_detected!("adx")
        && std::is_x86_feature_detected!("avx2");
    #[cfg(target_arch = "aarch64")]
    let able = std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
        && std::arch::is_aarch64_feature_detected!("sha2");
    if !able {
        let why = "this CPU lacks the instructions that encryption needs here";
        return Err(Failed::NoWay(why.into()));
    }
    let provider = Arc::new(rustls_graviola::default_provider());
    let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    // As curl and OpenSSL have it: who else is trusted, such as a proxy that looks inside.
    if let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        let path = Path::new(&path);
        let unusable = |why: String| Failed::Refused(format!("SSL_CERT_FILE: {why}"));
        let bytes =
            fs::read(path).map_err(|e| unusable(format!("cannot read {}: {e}", path.display())))?;
        let trusted: Vec<_> = parse_pem(&bytes)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if trusted.is_empty() {
            return Err(unusable(format!("{} holds no certificate", path.display())));
        }
        tls = tls.root_certs(RootCerts::Specific(Arc::new(trusted)));
    }
    Ok(tls.build())
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn tls() -> Result<TlsConfig, Failed> {
    Err(Failed::NoWay("there is no encryption for this kind of CPU here".into()))
}

/// One request, from byte `had` on.
fn attempt(agent: &Agent, url: &str, to: &Path, had: u64, progress: &Bar) -> Result<(), Ended> {
    let mut request = agent.get(url);
    if had > 0 {
        request = request.header("range", format!("bytes={had}-"));
    }
    let response = request.call().map_err(of_call)?;
    let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
    let from = match response.status().as_u16() {
        200 => 0,
        206 => {
            let range = header("content-range").unwrap_or_default();
            if !range.starts_with(&format!("bytes {had}-")) {
                // Of another place than was asked for: without a beginning the next attempt asks
                // for all.
                writing(to, fs::remove_file(to))?;
                return Err(Ended::Cut(format!("the server sent `{range}`, not byte {had} on")));
            }
            had
        }
        // There is nothing behind what is here.
        416 if had > 0 => return Ok(()),
        status @ (408 | 425 | 429 | 500..=599) => {
            return Err(Ended::Cut(format!("the server answered {status}")));
        }
        404 | 410 => return Err(Failed::Refused("the server has no such file".into()).into()),
        status => return Err(Failed::Refused(format!("the server answered {status}")).into()),
    };
    let rest: Option<u64> = header("content-length").and_then(|text| text.parse().ok());
    let total = rest.map(|rest| from.saturating_add(rest));
    let too_large = || Failed::Refused("the file is larger than any model".into());
    if total.is_some_and(|total| total > MOST_BYTES) {
        return Err(too_large().into());
    }
    progress.set_length(total.unwrap_or(0) / UNIT);
    let file = File::options().create(true).write(true).truncate(from == 0).open(to);
    let mut file = writing(to, file)?;
    writing(to, io::Seek::seek(&mut file, io::SeekFrom::Start(from)))?;
    let mut body = response.into_body().into_reader();
    let (mut at, mut buffer) = (from, vec![0; 1 << 16]);
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Ended::Cut(error.to_string())),
        };
        at += read as u64;
        if at > MOST_BYTES {
            return Err(too_large().into());
        }
        writing(to, file.write_all(&buffer[..read]))?;
        progress.set_position(at / UNIT);
    }
    match total {
        Some(total) if at < total => {
            Err(Ended::Cut(format!("the connection ended after {at} of {total} bytes")))
        }
        _ => Ok(writing(to, file.sync_all())?),
    }
}

/// What a request ended with before there was an answer.
fn of_call(error: ureq::Error) -> Ended {
    match error {
        // What may pass.
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => {
            Ended::Cut(error.to_string())
        }
        // The same without the words of the library that carries it.
        ureq::Error::Other(why) => Failed::NoWay(why.to_string()).into(),
        error => Failed::NoWay(error.to_string()).into(),
    }
}

fn writing<T>(file: &Path, result: io::Result<T>) -> Result<T, Failed> {
    result.map_err(|e| {
        Failed::Refused(format!(
            "cannot write {}: {e}; free some space or set XDG_CACHE_HOME",
            file.display()
        ))
    })
}
