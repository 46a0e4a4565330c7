//! `resnet serve`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use resnet::base::text;
use resnet_server::{Options, Server, Source, Tokens};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::address::address;
use super::flags::ComputeFlags;
use super::paths::model_file;
use super::precision::Asked;
use crate::places::is_made;
use crate::term::{duration, tell};

/// Arguments of `resnet serve`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  resnet serve runs/resnet18-folder            then open http://127.0.0.1:8080, or
  curl --data-binary @cat.jpg http://127.0.0.1:8080/classify
  resnet serve pets=pets.safetensors resnet50 --listen 0.0.0.0:8080 --token-file tokens
SIGHUP loads the models again while the old ones answer; SIGTERM ends what was begun, then leaves.")]
pub(crate) struct Args {
    /// Model file, run directory, published weights, or a folder of versions 1/, 2/, ...; the first
    /// is the one that is meant where none is named
    #[arg(required = true, value_name = "[NAME=]MODEL")]
    models: Vec<String>,
    /// Address for HTTP; port 0 is any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// Address for gRPC [default: none]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    grpc: Option<SocketAddr>,
    #[command(flatten)]
    compute: ComputeFlags,
    /// How maps are stored: f32, bf16, or auto for what is faster here
    #[arg(long, value_name = "P", value_enum, default_value = "auto", hide_possible_values = true)]
    precision: Asked,
    /// A request takes no longer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    timeout: Duration,
    /// A picture is refused that would wait longer
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    max_wait: Duration,
    /// Bytes of a request, decompressed
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = bytes)]
    max_body: u64,
    /// Pixels of a picture
    #[arg(long, value_name = "N", default_value = "25M", value_parser = pixels)]
    max_pixels: u64,
    /// Memory for decoding, and as much for what is being uploaded
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = bytes)]
    decode_memory: u64,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 512,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_connections: u32,
    /// The head of a request comes within
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    header_timeout: Duration,
    /// Its body comes, and its answer is read, within
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    body_timeout: Duration,
    /// A connection that asks nothing stays for
    #[arg(long, value_name = "TIME", default_value = "75s", value_parser = time)]
    idle_timeout: Duration,
    /// What was begun is ended within, after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = time)]
    drain: Duration,
    /// Connections are still taken for, after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time)]
    drain_delay: Duration,
    /// Load models again when their files change
    #[arg(long)]
    watch: bool,
    /// Let requests load and unload models; needs --token-file
    #[arg(long, requires = "token_file")]
    admin: bool,
    /// Tokens of who may ask, one a line [default: anybody]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate chain, PEM
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key, PEM
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Origin whose pages may ask, or *; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<String>,
    /// Have no page
    #[arg(long)]
    no_page: bool,
    /// What is told on standard error: text, or json with a line for each request
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        default_value = "text",
        hide_possible_values = true
    )]
    log: Form,
}

/// What a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Text,
    Json,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let sources = args.models.iter().map(|text| source(text)).collect::<Result<_, _>>()?;
    let form = args.log;
    let device = args.compute.open_telling(|line| say(form, line))?;
    let tokens = args.token_file.as_deref().map(tokens).transpose()?;
    let mut options = Options::on(args.listen);
    options.grpc = args.grpc;
    options.precision = args.precision.resolve_telling(device.as_ref(), |line| say(form, line));
    options.timeout = args.timeout;
    options.max_wait = args.max_wait;
    options.max_body = usize::try_from(args.max_body).unwrap_or(usize::MAX);
    options.max_pixels = args.max_pixels;
    options.decode_memory = args.decode_memory;
    options.max_connections = args.max_connections as usize;
    options.header_timeout = args.header_timeout;
    options.body_timeout = args.body_timeout;
    options.idle_timeout = args.idle_timeout;
    options.drain = args.drain;
    options.drain_delay = args.drain_delay;
    options.watch = args.watch;
    options.admin = args.admin;
    options.tokens = tokens;
    options.origins = args.cors.clone();
    options.page = !args.no_page;
    options.log_requests = args.log == Form::Json;
    #[cfg(feature = "tls")]
    {
        options.tls = args.tls_cert.clone().zip(args.tls_key.clone());
    }
    for address in [Some(options.listen), options.grpc].into_iter().flatten() {
        if options.tokens.is_none() && !is_here(address.ip()) {
            say(
                form,
                &format!("warning: whoever reaches {address} may ask; --token-file says who may"),
            );
        }
    }
    // Before anything is told that somebody may answer with a signal.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let log = Arc::new(move |line: &str| say(form, line));
    let began = std::time::Instant::now();
    let mut server = Server::start(options, sources, device, log)?;
    let scheme = if args.tls() { "https" } else { "http" };
    say(form, &format!("listening on {scheme}://{}", server.address()));
    if let Some(address) = server.grpc_address() {
        say(form, &format!("listening for gRPC on {address}"));
    }
    server.load()?;
    // A server lives long, and large pictures are few. Loading is quicker without.
    resnet::engine::exec::Telling::keep_nothing_large();
    say(form, &format!("ready after {:.2} s", began.elapsed().as_secs_f64()));
    for signal in signals.forever() {
        if signal == SIGHUP {
            server.reload();
            continue;
        }
        say(form, &format!("stopping, within {}", duration(args.drain.as_secs_f64())));
        // The second time leaves at once.
        for signal in [SIGINT, SIGTERM] {
            let now = Arc::new(std::sync::atomic::AtomicBool::new(true));
            signal_hook::flag::register_conditional_shutdown(
                signal,
                crate::term::INTERRUPTED.into(),
                now,
            )?;
        }
        anyhow::ensure!(server.drain(), "connections were cut: --drain was too short for them");
        say(form, "stopped");
        return Ok(());
    }
    Ok(())
}

impl Args {
    #[cfg(feature = "tls")]
    fn tls(&self) -> bool {
        self.tls_cert.is_some()
    }

    #[cfg(not(feature = "tls"))]
    fn tls(&self) -> bool {
        false
    }
}

/// A line of the log.
fn say(form: Form, line: &str) {
    match form {
        Form::Json if !line.starts_with('{') => {
            tell(&serde_json::json!({ "event": "server", "message": line }).to_string());
        }
        _ => tell(line),
    }
}

/// What `[NAME=]MODEL` means.
fn source(text: &str) -> anyhow::Result<Source> {
    let (name, path) = match text.split_once('=') {
        // A path may hold one too, but then the whole of it is there.
        Some((name, path)) if !Path::new(text).exists() => (Some(name), Path::new(path)),
        _ => (None, Path::new(text)),
    };
    let versions = path.is_dir() && is_of_versions(path);
    let file = if versions { path.to_owned() } else { model_file(path)? };
    let named = || {
        // Published weights are called as they were asked for, not as the cache calls their file.
        let of = if path.is_dir() || is_made(&file) { path } else { &file };
        let stem = if of.is_dir() { of.file_name() } else { of.file_stem() };
        let full = of.canonicalize().ok();
        let stem = stem.or_else(|| full.as_deref()?.file_name());
        stem.map(|stem| text::name(stem).to_string()).unwrap_or_default()
    };
    let name = name.map_or_else(named, String::from);
    Ok(Source { name, path: file })
}

/// Whether a folder holds folders whose names are numbers.
fn is_of_versions(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    entries.filter_map(Result::ok).any(|entry| {
        let name = entry.file_name();
        entry.path().is_dir() && name.to_str().is_some_and(|name| name.parse::<u64>().is_ok())
    })
}

fn tokens(file: &Path) -> anyhow::Result<Tokens> {
    let named = |problem: String| anyhow::anyhow!("{}: {problem}", text::path(file));
    let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
    Tokens::parse(&text).map_err(named)
}

/// Whether nobody but this machine reaches an address.
fn is_here(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Units and what they stand for.
type Units = &'static [(&'static str, f64)];

/// A number and its unit.
fn quantity(text: &str, units: Units) -> Option<f64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: f64 = text[..end].trim().parse().ok()?;
    let (_, factor) = units.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(&text[end..]))?;
    Some(number * factor).filter(|value| value.is_finite() && *value >= 0.0)
}

fn time(text: &str) -> Result<Duration, String> {
    const UNITS: Units = &[("s", 1.0), ("", 1.0), ("ms", 1e-3), ("m", 60.0), ("h", 3600.0)];
    let seconds = quantity(text, UNITS).filter(|seconds| *seconds <= 1e6);
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected a time such as 500ms, 30s or 2m".into())
}

pub(super) fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: Units = &[
        ("MiB", 1048576.0),
        ("", 1.0),
        ("B", 1.0),
        ("KiB", 1024.0),
        ("GiB", 1073741824.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
    ];
    let bytes = quantity(text, UNITS).filter(|bytes| (1024.0..=1e15).contains(bytes));
    bytes.map(|bytes| bytes as u64).ok_or_else(|| "expected a size such as 16MiB".into())
}

fn pixels(text: &str) -> Result<u64, String> {
    const UNITS: Units = &[("M", 1e6), ("", 1.0), ("k", 1e3)];
    let most = resnet::data::max_pixels() as f64;
    let pixels = quantity(text, UNITS).filter(|pixels| (1.0..=most).contains(pixels));
    pixels
        .map(|pixels| pixels as u64)
        .ok_or_else(|| format!("expected a number of pixels such as 25M, at most {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_units() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(bytes("16MiB"), Ok(16 << 20));
        assert_eq!(pixels("25M"), Ok(25_000_000));
        for wrong in ["", "s", "-1s", "1 year", "nan", "infs", "1e300h"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert!(bytes("12").is_err() && pixels("0").is_err());
    }
}
