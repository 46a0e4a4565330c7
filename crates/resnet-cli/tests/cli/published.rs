//! Published weights by name, from a server on this machine, through the real binary.
//!
//! Made-up weights are named as published ones are, by the beginning of their sha256.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::support::{Folder, Outcome, tensor_bytes};

/// A request: its path, and from which byte on.
#[derive(Clone, Debug, PartialEq)]
struct Request {
    path: String,
    from: Option<usize>,
}

/// An answer; of `body` less may be sent than is promised.
struct Reply {
    head: String,
    body: Vec<u8>,
    sent: usize,
}

impl Reply {
    fn of(status: &str, body: &[u8]) -> Reply {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
        Reply { head, body: body.to_vec(), sent: body.len() }
    }

    /// As a server that knows ranges answers.
    fn file(bytes: &[u8], request: &Request) -> Reply {
        let (from, all) = (request.from.unwrap_or(0), bytes.len());
        match request.from {
            None => Reply::of("200 OK", bytes),
            Some(_) if from >= all => Reply::of("416 Range Not Satisfiable", b""),
            Some(_) => {
                let reply = Reply::of("206 Partial Content", &bytes[from..]);
                let range = format!("content-range: bytes {from}-{}/{all}\r\n", all - 1);
                Reply { head: reply.head + &range, ..reply }
            }
        }
    }
}

/// A server that answers until the test ends.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(answer: impl Fn(usize, &Request) -> Reply + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&stream) else { continue };
                let mut log = log.lock().unwrap();
                log.push(request.clone());
                let reply = answer(log.len(), &request);
                drop(log);
                let head = format!("{}connection: close\r\n\r\n", reply.head);
                // Whoever asked may have seen enough.
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&reply.body[..reply.sent]);
            }
        });
        Server { address, seen }
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_string();
    let mut from = None;
    for line in lines {
        let line = line.ok()?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
    }
    Some(Request { path, from })
}

/// A folder with pictures, weights without any texts, and their published name.
fn prepared() -> (Folder, Vec<u8>, String) {
    let folder = Folder::new();
    folder.digits(30, 12, 3);
    let train = "train resnet8 --data mnist:digits --steps 2 --batch 10 --out run --threads 1";
    folder.ok(&train.split(' ').collect::<Vec<_>>());
    let model = folder.path("run/model.safetensors");
    let bytes = fs::read(&model).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    header.as_object_mut().unwrap().remove("__metadata__");
    let header = serde_json::to_vec(&header).unwrap();
    let weights =
        [&(header.len() as u64).to_le_bytes()[..], &header, &tensor_bytes(&model)].concat();
    let name = format!("digits-{}.safetensors", &sha256(&weights)[..8]);
    (folder, weights, name)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The binary with caches of its own and a mirror.
fn command(folder: &Folder, mirror: &str, args: &[&str]) -> Command {
    let mut command = folder.command(args);
    for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(proxy).env_remove(proxy.to_uppercase());
    }
    command
        .env("XDG_CACHE_HOME", folder.path("cache"))
        .env("TORCH_HOME", folder.path("torch"))
        .env("RESNET_WEIGHTS", mirror);
    command
}

fn run(folder: &Folder, mirror: &str, args: &[&str]) -> Outcome {
    Outcome::of(command(folder, mirror, args).output().unwrap())
}

/// Files of the cache, but for locks.
fn cached(folder: &Folder) -> Vec<String> {
    let names = |sub: &str| {
        let entries = fs::read_dir(folder.path("cache/resnet").join(sub));
        let entries = entries.into_iter().flatten().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.path().is_file());
        files.map(|entry| entry.file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let mut all = [names("."), names("models")].concat();
    all.retain(|name| !name.ends_with(".lock"));
    all.sort();
    all
}

#[test]
fn finetune_fetches_published_weights_by_name_and_goes_on_after_a_cut() {
    let (folder, weights, name) = prepared();
    let (bytes, moved) = (weights.clone(), format!("/store/{name}"));
    let server = Server::start(move |count, request| {
        if !request.path.starts_with("/store/") {
            let reply = Reply::of("302 Found", b"");
            return Reply { head: format!("{}location: {moved}\r\n", reply.head), ..reply };
        }
        let reply = Reply::file(&bytes, request);
        // The first time the connection is lost on the way.
        if count <= 2 { Reply { sent: reply.sent / 3, ..reply } } else { reply }
    });
    let tune = ["finetune", &name, "--data", "mnist:digits", "--epochs", "1", "--out", "tuned"];
    let outcome = run(&folder, &server.address, &tune);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(
        outcome.err.contains(&format!("fetching {}/{name}", server.address)),
        "{}",
        outcome.err
    );
    let seen = server.seen();
    assert_eq!((seen.len(), seen[1].from), (4, None), "{seen:?}");
    assert_eq!(seen[3].from, Some(weights.len() / 3), "{seen:?}");
    assert!(folder.path("tuned/model.safetensors").exists());
    // The model is all that is kept, and enough.
    assert_eq!(cached(&folder), std::slice::from_ref(&name));
    for args in [
        &["eval", &name, "--data", "mnist:digits"][..],
        &["export", &name, "-o", "out.pth"],
        &["inspect", &name, "--data", "mnist:digits"],
    ] {
        let outcome = run(&folder, &server.address, args);
        // The classes of bare weights are numbers, and those of the digits are.
        assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.err);
    }
    assert_eq!(server.seen().len(), 4, "what is here is not fetched again");
}

#[test]
fn other_bytes_than_the_name_says_are_refused_and_removed() {
    let (folder, weights, name) = prepared();
    let server = Server::start(move |_, request| {
        let mut wrong = weights.clone();
        *wrong.last_mut().unwrap() ^= 1;
        Reply::file(&wrong, request)
    });
    for wanted in [name.as_str(), "resnet50"] {
        let outcome = run(&folder, &server.address, &["weights", wanted]);
        assert_eq!(outcome.code, 1, "{}", outcome.err);
        assert!(outcome.err.contains("its sha256 begins with"), "{}", outcome.err);
        assert!(outcome.err.contains("it was removed"), "{}", outcome.err);
        assert_eq!(cached(&folder), [""; 0]);
    }
}

#[test]
fn a_beginning_of_something_else_is_fetched_again_whole() {
    for (left, ranges) in [(100, true), (10_000_000, true), (100, false)] {
        let (folder, weights, name) = prepared();
        folder.write(&format!("cache/resnet/{name}.partial"), &vec![7; left]);
        let server = Server::start(move |_, request| match ranges {
            true => Reply::file(&weights, request),
            false => Reply::of("200 OK", &weights),
        });
        let outcome = run(&folder, &server.address, &["weights", &name]);
        assert_eq!(outcome.code, 0, "{left} {ranges}: {}", outcome.err);
        assert_eq!(cached(&folder), [name]);
        assert_eq!(server.seen().len(), if ranges { 2 } else { 1 });
    }
}

#[test]
fn where_nothing_can_be_fetched_the_command_to_type_is_told() {
    let folder = Folder::new();
    let file = "resnet50-0676ba61.pth";
    // A port that nobody listens on any more.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gone = Server::start(|_, _| Reply::of("404 Not Found", b""));
    let broken = Server::start(|_, _| Reply::of("503 Service Unavailable", b""));
    for (mirror, reason, by_hand) in [
        (format!("http://127.0.0.1:{port}"), "refused", true),
        (broken.address.clone(), "the server answered 503", true),
        // Nor does anybody else get what is not there.
        (gone.address.clone(), "the server has no such file", false),
    ] {
        let outcome = run(&folder, &mirror, &["finetune", "resnet50", "--data", "builtin"]);
        assert_eq!(outcome.code, 1, "{}", outcome.err);
        let at = folder.path("cache/resnet").join(file);
        let typed = format!("  curl -fL --create-dirs -o {} {mirror}/{file}", at.display());
        assert_eq!(outcome.err.lines().last() == Some(&typed), by_hand, "{}", outcome.err);
        assert_eq!(outcome.err.contains("curl"), by_hand, "{}", outcome.err);
        assert!(outcome.err.contains(reason), "`{reason}`: {}", outcome.err);
    }
    assert_eq!((gone.seen().len(), broken.seen().len()), (1, 3));
    // Nothing is fetched for pictures that are not there.
    let outcome = run(&folder, &gone.address, &["finetune", "resnet50", "--data", "nowhere"]);
    assert!(outcome.err.contains("nowhere") && gone.seen().len() == 1, "{}", outcome.err);
}

#[test]
fn a_mirror_that_redirects_to_https_is_followed_there_or_refused_in_words() {
    let (folder, weights, name) = prepared();
    // Answers whatever is said to it as no server of https does.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let secure = format!("https://{}/{name}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let to = secure.clone();
    let moved = Server::start(move |_, _| {
        let reply = Reply::of("302 Found", b"");
        Reply { head: format!("{}location: {to}\r\n", reply.head), ..reply }
    });
    let fetched = |mirror: &Server, certificates: &str| {
        let mut command = command(&folder, &mirror.address, &["weights", &name]);
        command.env("SSL_CERT_FILE", certificates);
        Outcome::of(command.output().unwrap())
    };
    let outcome = fetched(&moved, "");
    assert_eq!(outcome.code, 1, "{}", outcome.err);
    assert!(outcome.err.contains("error: cannot fetch http://"), "{}", outcome.err);
    // Certificates that cannot be used are of no matter before there is encryption.
    let outcome = fetched(&moved, "nowhere.pem");
    assert_eq!(outcome.code, 1, "{}", outcome.err);
    for words in [&format!("the server redirects to {secure}"), "SSL_CERT_FILE", "nowhere.pem"] {
        assert!(outcome.err.contains(words), "{words}: {}", outcome.err);
    }
    let plain = Server::start(move |_, request| Reply::file(&weights, request));
    let outcome = fetched(&plain, "nowhere.pem");
    assert_eq!(outcome.code, 0, "{}", outcome.err);
}

#[test]
fn a_model_in_the_cache_that_was_damaged_is_made_again() {
    let (folder, weights, name) = prepared();
    let server = Server::start(move |_, request| Reply::file(&weights, request));
    let weights = ["weights", &name];
    assert_eq!(run(&folder, &server.address, &weights).code, 0);
    let model = folder.path("cache/resnet/models").join(&name);
    let whole = fs::read(&model).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&model, &damaged).unwrap();
    let outcome = run(&folder, &server.address, &["eval", &name, "--data", "mnist:digits"]);
    assert_eq!(outcome.code, 1, "{}", outcome.err);
    let (named, typed) = (model.display().to_string(), "remove it, and it is made again");
    assert!(outcome.err.contains(&named) && outcome.err.contains(typed), "{}", outcome.err);
    let outcome = run(&folder, &server.address, &weights);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.err.contains("it is made again"), "{}", outcome.err);
    assert!(fs::read(&model).unwrap() == whole);
    assert_eq!(server.seen().len(), 2);
    assert_eq!(run(&folder, &server.address, &weights).code, 0);
    assert_eq!(server.seen().len(), 2, "what is whole is not fetched again");
}

#[test]
fn two_processes_that_want_the_same_weights_fetch_them_once() {
    let (folder, weights, name) = prepared();
    let server = Server::start(move |_, request| Reply::file(&weights, request));
    let start = || {
        command(&folder, &server.address, &["weights", &name, "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let both = [start(), start()];
    let models = both.map(|child| {
        let outcome = Outcome::of(child.wait_with_output().unwrap());
        assert_eq!(outcome.code, 0, "{}", outcome.err);
        outcome.json()[0]["model"].as_str().unwrap().to_string()
    });
    assert_eq!(models[0], models[1]);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(cached(&folder), [name]);
}

#[test]
fn files_of_this_machine_are_used_and_damaged_ones_left_alone() {
    let (folder, weights, name) = prepared();
    let server = Server::start(|_, _| Reply::of("404 Not Found", b""));
    let place = format!("torch/hub/checkpoints/{name}");
    folder.write(&place, &weights[..weights.len() - 1]);
    let outcome = run(&folder, &server.address, &["weights", &name]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("it is left alone"), "{}", outcome.err);
    assert_eq!(fs::read(folder.path(&place)).unwrap().len(), weights.len() - 1);

    folder.write(&place, &weights);
    let outcome = run(&folder, &server.address, &["weights", &name]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(folder.path(&place).exists());
    assert_eq!(server.seen().len(), 1, "only the damaged file made it ask");

    let mirror = folder.write(&format!("mirror/{name}"), &weights);
    fs::remove_dir_all(folder.path("cache")).unwrap();
    fs::remove_file(folder.path(&place)).unwrap();
    let mirror = mirror.parent().unwrap().to_str().unwrap();
    assert_eq!(run(&folder, mirror, &["weights", &name]).code, 0);
    let outcome = run(&folder, mirror, &["weights", "resnet18"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("has no resnet18-f37072fd.pth"), "{}", outcome.err);
}

#[test]
fn published_weights_are_listed_with_what_is_here() {
    let folder = Folder::new();
    let here = folder.write("torch/hub/checkpoints/resnet34-b627a593.pth", b"");
    let rows = run(&folder, "", &["weights", "--json"]).json();
    assert!(rows.len() >= 17);
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(row("resnet34")["here"], here.to_str().unwrap());
    assert!(row("resnet50")["here"].is_null());
    assert_eq!(
        (&row("resnet50")["resize"], &row("resnet50.v2")["resize"]),
        (&256.into(), &232.into())
    );
    assert_eq!(
        row("resnet50.v2")["address"],
        "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
    );
    let text = run(&folder, "", &["weights"]).out;
    assert!(text.contains("resnet18") && text.contains("69.76"), "{text}");
    for (args, part) in [
        (&["weights", "resnet50.v3"][..], "did you mean resnet50.v2?"),
        (&["eval", "resnet51", "--data", "photos"], "did you mean resnet50?"),
    ] {
        let outcome = run(&folder, "", args);
        assert_eq!(outcome.code, 2, "{}", outcome.err);
        assert!(outcome.err.contains(part), "{}", outcome.err);
    }
    let outcome = run(&folder, "nowhere", &["weights", "resnet50"]);
    assert_eq!(outcome.code, 2, "{}", outcome.err);
    assert!(outcome.err.contains("expected a folder or an address"), "{}", outcome.err);
}
