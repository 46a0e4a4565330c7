//! What the tests of servers share: small models in temporary folders, a server on them, and a
//! client.

pub(crate) mod client;
pub(crate) mod form;
pub(crate) mod gate;
pub(crate) mod tensor;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use resnet::data::{Image, Normalize, Packed, Preprocess};
use resnet::engine::exec::{self, Session};
use resnet::engine::plan::{Options as PlanOptions, Plan};
use resnet::measure::predict::How;
use resnet::net::Arch;
use resnet::{Guess, Model, Precision, Predictor, Shape};
use resnet_server::{Options, ServeError, Server, Source};
use serde_json::Value;

pub(crate) use client::{Client, PATIENCE, Request, Response};
pub(crate) use gate::Gate;

/// Input of the small models.
pub(crate) const SHAPE: Shape = Shape::new(3, 8, 8);
/// Their classes: two of one name, and names that formats have to escape.
pub(crate) const CLASSES: [&str; 4] = ["twin", "twin", "a:b, \"c\"", "Katze \u{1f408}"];
/// How the server's tests call their model.
pub(crate) const NAME: &str = "small";

/// A folder that disappears with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("resnet-server-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Replaces a file in one step, making its folders.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = self.path(".new");
        fs::write(&new, bytes).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }

    /// The model of a seed as a file.
    pub(crate) fn model(&self, name: &str, seed: u64) -> PathBuf {
        let new = self.path("new.safetensors");
        model(seed).save(&new).unwrap();
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A network that has learned nothing, and says something else for every seed.
pub(crate) fn model(seed: u64) -> Model {
    let device = exec::cpu(1).unwrap();
    let arch = Arch::parse("resnet8").unwrap();
    let graph = arch.graph(SHAPE, CLASSES.len()).unwrap();
    let plan = Plan::build(&graph, PlanOptions::infer(1)).unwrap();
    let mut session = Session::new(device.as_ref(), plan).unwrap();
    resnet::model::initialise(&mut session, &graph, seed).unwrap();
    let normalize = Normalize::Channel { mean: vec![0.5; 3], std: vec![0.25; 3] };
    let preprocess = Preprocess { shape: SHAPE, resize: Some(10), normalize };
    Model::of(&session, arch, CLASSES.map(String::from).to_vec(), preprocess).unwrap()
}

/// What the server's answers are compared with.
pub(crate) fn predictor(path: &Path) -> Predictor {
    let how = How { precision: Precision::F32, explain: true };
    Predictor::open(path, how, exec::cpu(1).unwrap().as_ref()).unwrap()
}

/// A picture file (PPM) of some colours.
pub(crate) fn picture(width: usize, height: usize, seed: u8) -> Vec<u8> {
    let header = format!("P6\n{width} {height}\n255\n").into_bytes();
    let pixel = |i: usize| (i * 37 + i * i / 7 + usize::from(seed) * 101) as u8;
    header.into_iter().chain((0..width * height * 3).map(pixel)).collect()
}

pub(crate) fn decoded(file: &[u8]) -> Image {
    let mut image = Image::default();
    Packed::open(file, 1 << 20).unwrap().decode(&mut image).unwrap();
    image
}

/// The classes in an answer, as a predictor tells them.
pub(crate) fn guesses(top: &Value) -> Vec<Guess> {
    let guess = |guess: &Value| Guess {
        class: guess["class"].as_u64().unwrap() as usize,
        label: guess["label"].as_str().unwrap().into(),
        probability: guess["probability"].as_f64().unwrap() as f32,
    };
    top.as_array().unwrap().iter().map(guess).collect()
}

/// Comes back once something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it never came to this: {what}");
        std::thread::yield_now();
    }
}

/// Lines that a server told.
#[derive(Default)]
pub(crate) struct Lines {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Lines {
    fn add(&self, line: &str) {
        self.lines.lock().unwrap().push(line.to_owned());
        self.more.notify_all();
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The first line that holds a text, waiting for it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let lines = self.lines.lock().unwrap();
        let find = |lines: &[String]| lines.iter().find(|line| line.contains(text)).cloned();
        let wanting = |lines: &mut Vec<String>| find(lines).is_none();
        let (lines, _) = self.more.wait_timeout_while(lines, PATIENCE, wanting).unwrap();
        find(&lines).unwrap_or_else(|| panic!("no line has `{text}`: {:#?}", *lines))
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Running {
    server: Option<Server>,
    pub(crate) address: SocketAddr,
    pub(crate) gate: Arc<Gate>,
    pub(crate) log: Arc<Lines>,
    pub(crate) folder: Folder,
}

/// Any free port of this machine, and an end that is not waited for long.
pub(crate) fn options() -> Options {
    let mut options = Options::on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    options.drain = Duration::from_secs(20);
    options
}

impl Running {
    /// A server of the model [`NAME`], the one of seed 1, on one thread.
    pub(crate) fn new(change: impl FnOnce(&mut Options)) -> Running {
        let mut running = Running::unloaded(change);
        running.load().unwrap();
        running
    }

    /// The same before its model is loaded.
    pub(crate) fn unloaded(change: impl FnOnce(&mut Options)) -> Running {
        let folder = Folder::new();
        let path = folder.model("small.safetensors", 1);
        Running::of(folder, vec![(NAME, path)], 1, change)
    }

    /// A server of these models, not loaded.
    pub(crate) fn of(
        folder: Folder,
        models: Vec<(&str, PathBuf)>,
        threads: usize,
        change: impl FnOnce(&mut Options),
    ) -> Running {
        let mut options = options();
        change(&mut options);
        let source = |(name, path): (&str, PathBuf)| Source { name: name.to_owned(), path };
        let sources = models.into_iter().map(source).collect();
        let log = Arc::new(Lines::default());
        let lines = log.clone();
        let (device, gate) = gate::gated(threads);
        let told = Arc::new(move |line: &str| lines.add(line));
        let server = Server::start(options, sources, device, told).unwrap();
        Running { address: server.address(), server: Some(server), gate, log, folder }
    }

    pub(crate) fn load(&mut self) -> Result<(), ServeError> {
        self.server.as_mut().unwrap().load()
    }

    pub(crate) fn reload(&self) {
        self.server.as_ref().unwrap().reload();
    }

    /// The server itself, for who ends it.
    pub(crate) fn take(&mut self) -> Server {
        self.server.take().unwrap()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Asks over a connection of its own.
    pub(crate) fn ask(&self, request: &Request) -> Response {
        self.connect().ask(request)
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        self.ask(&Request::get(target))
    }

    /// The predictor of the model's file.
    pub(crate) fn predictor(&self) -> Predictor {
        predictor(&self.folder.path("small.safetensors"))
    }

    /// The value of a metric, its labels included in its name.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").text();
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(value)
    }

    /// Comes back once a metric has a value.
    pub(crate) fn until_metric(&self, name: &str, value: f64) {
        until(&format!("{name} {value}"), || self.metric(name) == Some(value));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gate.open();
        if let Some(server) = self.server.take() {
            server.drain();
        }
    }
}
