//! A board over real connections, on logs written here.

mod asking;

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use resnet::train::{self, CONFIG, EVENTS, PICTURES};
use serde_json::{Value, json};

use super::*;
use asking::{BEARER, HOST, Stream, get, post, send};

const TOKEN: &str = "0123456789abcdef";

/// A folder that disappears with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("resnet-board-{}-{unique}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Writes a file of a run, making its directory.
    fn write(&self, run: &str, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(run).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn append(&self, run: &str, text: &str) {
        let mut log = File::options().append(true).open(self.0.join(run).join(EVENTS)).unwrap();
        log.write_all(text.as_bytes()).unwrap();
    }

    /// A board of all runs, whose requests to resume run `command` with the directory.
    fn board(&self, command: Option<&'static [&'static str]>) -> Board {
        Board::start(BoardOptions {
            roots: vec![self.0.clone()],
            listen: "127.0.0.1:0".parse().unwrap(),
            tokens: Some(TOKEN.into()),
            resume: command.map(|words| -> Resume {
                Box::new(|root| {
                    let mut command = Command::new(words[0]);
                    command.args(&words[1..]).current_dir(root);
                    command
                })
            }),
        })
        .unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lines(events: &[Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

fn started() -> Value {
    json!({"event": "run_started", "arch": "resnet20", "params": 269_722, "macs": 1,
        "data": "builtin", "train_images": 1000, "test_images": 100, "epochs": 4, "steps": 400,
        "batch": 10, "seed": 1, "threads": 2, "isa": "avx2", "out": "run"})
}

fn step(step: u64) -> Value {
    json!({"event": "step", "step": step, "epoch": step.div_ceil(100), "loss": 2.5, "top1": 0.25,
        "lr": 0.1, "images_per_s": 100.0, "wait": 0.0})
}

fn evaluated(step: u64, top1: f64) -> Value {
    json!({"event": "evaluated", "epoch": step / 100, "step": step, "split": "test", "count": 100,
        "top1": top1, "top5": 1.0, "loss": 0.5, "train_loss": 0.75, "train_top1": 0.5, "lr": 0.1,
        "seconds": step as f64 / 5.0})
}

fn predicted(step: u64) -> Value {
    json!({"event": "predicted", "step": step, "split": "test", "pictures": [
        {"place": 0, "index": 6, "label": "cat", "top": [["dog", 0.75], ["cat", 0.25]]}]})
}

fn monitored(step: u64) -> Value {
    let layer = |name: &str, main: bool, norm: f64| {
        json!({"name": name, "main": main, "conv": true, "gradient_norm": norm,
            "activation_gradient_norm": 2.0 * norm, "weight_norm": 1.0, "update_ratio": null,
            "response_std": 0.5, "dead": null})
    };
    let layers = [layer("conv1", true, 1.5), layer("shortcut", false, 9.0)];
    let last = layer("layer1.0.conv1", true, step as f64);
    json!({"event": "monitored", "step": step, "pictures": 16, "loss": 2.0,
        "layers": [layers[0], layers[1], last], "blocks": []})
}

fn ended(steps: u64, stopped: Option<&str>) -> Value {
    json!({"event": "run_ended", "top1": 0.5, "top5": 1.0, "best_top1": 0.5, "seconds": 99.0,
        "model": null, "steps": steps, "stopped": stopped})
}

#[test]
fn who_has_no_token_or_comes_from_elsewhere_gets_nothing() {
    let folder = Folder::new();
    folder.write("a", EVENTS, lines(&[started(), step(10)]));
    let board = folder.board(Some(&["false"]));
    Stream::open(&board).until("a", |run| run["read"] == true);

    for path in ["/", "/page/board.js", "/page/board.css", "/page/palette.css"] {
        let page = send(&board, &format!("GET {path}"), &[HOST]);
        let policy = "content-security-policy: default-src 'none'; script-src 'self'";
        assert!(page.status == 200 && page.head.contains(policy), "{path}: {}", page.head);
        assert!(!page.head.contains("unsafe"), "{}", page.head);
    }
    for path in ["/runs", "/events", "/recipes", "/runs/a/series", "/runs/a/pictures.png", "/x"] {
        for token in [None, Some(("Authorization", "Bearer 0123456789abcdeg"))] {
            let headers: Vec<_> = [HOST].into_iter().chain(token).collect();
            let refused = send(&board, &format!("GET {path}"), &headers);
            assert!(refused.status == 401 && refused.head.contains("www-authenticate: Bearer"));
        }
    }
    // A name that leads here is refused, whatever it asks for; any address of this machine is not.
    for (host, status) in [
        ("evil.example", 403),
        ("localhost.evil.example:80", 403),
        ("localhost:1234", 200),
        ("127.0.0.1", 200),
        ("[::1]:8090", 200),
    ] {
        for path in ["/", "/runs"] {
            let got = send(&board, &format!("GET {path}"), &[("Host", host), BEARER]);
            assert_eq!(got.status, status, "{host}{path}");
        }
    }
    assert_eq!(send(&board, "GET /runs", &[BEARER]).status, 400);

    let stop = |headers: &[(&str, &str)]| {
        let headers = [&[("Content-Length", "0")], headers].concat();
        send(&board, "POST /runs/a/stop", &headers)
    };
    assert_eq!(stop(&[HOST, ("Origin", "http://localhost")]).status, 401);
    for origin in ["http://evil.example", "https://localhost:8090", "null", "localhost"] {
        let refused = stop(&[HOST, BEARER, ("Origin", origin)]);
        assert!(refused.status == 403 && refused.error().contains("another origin"), "{origin}");
    }
    // It does not run.
    assert_eq!(stop(&[HOST, BEARER, ("Origin", "http://localhost")]).status, 409);
    assert_eq!(stop(&[HOST, BEARER]).error(), "`a` is not running");
    let got = get(&board, "/runs/a/stop");
    assert!(got.status == 405 && got.head.contains("allow: POST"), "{}", got.head);
    assert_eq!(post(&board, "/runs").status, 405);
    assert_eq!(post(&board, "/runs/b/stop").status, 404);
    for path in ["/runs/b/series", "/runs/a/nothing", "/nothing", "/runs/a/pictures.png"] {
        assert_eq!(get(&board, path).status, 404, "{path}");
    }
    board.close();
    let looks = folder.board(None);
    Stream::open(&looks).until("a", |run| run["read"] == true);
    assert_eq!(post(&looks, "/runs/a/stop").status, 403);
    assert_eq!(get(&looks, "/runs").json()["actions"], false);
}

#[test]
fn runs_are_found_and_followed_while_they_are_written() {
    let folder = Folder::new();
    let board = folder.board(None);
    let mut stream = Stream::open(&board);
    assert_eq!(stream.next()["all"], json!([]));

    // What is in hidden folders and in runs is none; a link of a folder to itself ends nothing.
    folder.write("deep/b", EVENTS, lines(&[started(), step(10)]));
    folder.write(".hidden/c", EVENTS, lines(&[started()]));
    folder.write("deep/b/checkpoints", EVENTS, "");
    folder.write("plain", CONFIG, "");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&folder.0, folder.0.join("deep/again")).unwrap();
    let run = stream.until("deep/b", |run| run["step"] == 10);
    assert_eq!((&run["state"], &run["arch"]), (&json!("stopped"), &json!("resnet20")));
    assert_eq!(get(&board, "/runs").json()["all"], json!(["deep/b"]));

    // Half of a line waits for the rest.
    let line = lines(&[step(20)]);
    folder.append("deep/b", &(lines(&[step(15)]) + &line[..30]));
    assert_eq!(stream.until("deep/b", |run| run["step"] != 10)["step"], 15);
    folder.append("deep/b", &line[30..]);
    stream.until("deep/b", |run| run["step"] == 20);
    let path = "/runs/deep%2Fb/series";
    let whole = get(&board, path).json();
    assert_eq!(whole["step"], json!([10, 15, 20]));
    assert_eq!(whole["seconds"], json!([1.0, 1.5, 2.0]));

    // Only what is new is sent.
    folder.append("deep/b", &lines(&[step(30), evaluated(100, 0.5), json!({"event": "later"})]));
    stream.until("deep/b", |run| run["evaluations"] == 1);
    let more = get(&board, &format!("{path}?reading=0&from={}&width=1", whole["settled"])).json();
    assert_eq!((&more["from"], &more["step"]), (&json!(2), &json!([20, 30])));
    assert_eq!(more["evaluations"]["epoch"], json!([1.0]));
    assert_eq!(more["evaluations"]["seconds"], json!([20.0]));

    // A run that goes on cuts its log back; what was sent no longer holds.
    folder.write("deep/b", EVENTS, lines(&[started(), step(10), step(12)]));
    let run = stream.until("deep/b", |run| run["step"] == 12);
    assert_eq!((&run["reading"], &run["evaluations"]), (&json!(1), &json!(0)));
    let again = get(&board, &format!("{path}?reading=0&from=2&width=1")).json();
    assert_eq!((&again["from"], &again["step"]), (&json!(0), &json!([10, 12])));

    fs::remove_dir_all(folder.0.join("deep")).unwrap();
    while stream.next()["all"] != json!([]) {}
    assert_eq!(get(&board, path).status, 404);
    board.close();
}

#[test]
fn states_are_told_apart() {
    let folder = Folder::new();
    let log = |run: &str, last: &[Value]| {
        folder.write(run, EVENTS, lines(&[&[started(), step(100)], last].concat()));
    };
    log("finished", &[evaluated(100, 0.5), ended(400, None)]);
    log("stopped", &[ended(100, Some(train::INTERRUPTED))]);
    log("diverged", &[ended(100, Some("loss is NaN"))]);
    log("killed", &[]);
    log("running", &[]);
    folder.write("waiting", EVENTS, "");
    folder.write(
        "damaged",
        EVENTS,
        format!("{}gar\nbage\n{}", lines(&[started()]), lines(&[step(7)])),
    );
    let lock = File::create(folder.0.join("running/.lock")).unwrap();
    lock.lock().unwrap();
    let board = folder.board(None);
    Stream::open(&board).until("waiting", |run| run["read"] == true);
    let runs = get(&board, "/runs").json();
    let run = |id: &str| {
        runs["runs"].as_array().unwrap().iter().find(|run| run["id"] == id).unwrap().clone()
    };
    let state = |id: &str| (run(id)["state"].clone(), run(id)["reason"].clone());
    assert_eq!(state("finished"), (json!("finished"), Value::Null));
    assert_eq!(state("stopped"), (json!("stopped"), Value::Null));
    assert_eq!(state("diverged"), (json!("diverged"), json!("loss is NaN")));
    assert_eq!(state("killed").0, "stopped");
    assert!(state("killed").1.as_str().unwrap().contains("killed"));
    assert_eq!(state("waiting").0, "waiting");
    assert_eq!(state("running"), (json!("running"), Value::Null));
    assert!(state("damaged").1.as_str().unwrap().contains("killed"));
    assert_eq!(run("damaged")["step"], 7);
    // 300 steps of ten images, a hundred a second.
    assert_eq!(run("running")["left"], 30.0);
    assert_eq!(
        (&run("finished")["seconds"], &run("finished")["top1"]),
        (&json!(99.0), &json!(0.5))
    );
    drop(lock);
    Stream::open(&board).until("running", |run| run["state"] == "stopped");
    board.close();
}

#[test]
fn gradients_and_predictions_are_read_from_the_log() {
    let folder = Folder::new();
    let mut events = vec![started(), monitored(0)];
    for i in 1..=3 {
        events.extend([step(i * 100), evaluated(i * 100, 0.5), predicted(i * 100)]);
        events.push(monitored(i * 100));
    }
    folder.write("a", EVENTS, lines(&events));
    folder.write("a", PICTURES, "png");
    let board = folder.board(None);
    let run = Stream::open(&board).until("a", |run| run["read"] == true);
    assert_eq!((&run["looks"], &run["predictions"]), (&json!(4), &json!(3)));

    let all = get(&board, "/runs/a/gradients").json();
    assert_eq!(all["layers"], json!(["conv1", "layer1.0.conv1"]), "shortcuts are not on the path");
    let looks = all["looks"].as_array().unwrap();
    let steps: Vec<_> = looks.iter().map(|look| look["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 100, 200, 300]);
    assert_eq!(looks[2]["activation"], json!([3.0, 400.0]));
    assert_eq!(looks[2]["epoch"], 2.0);
    for (asked, found) in [(0, 0), (99, 0), (250, 200), (9999, 300)] {
        let one = get(&board, &format!("/runs/a/gradients?step={asked}")).json();
        assert_eq!(one["looks"].as_array().unwrap().len(), 1);
        assert_eq!(one["looks"][0]["step"], found);
    }
    let predictions = get(&board, "/runs/a/predictions").json();
    assert_eq!(predictions["evaluations"].as_array().unwrap().len(), 3);
    assert_eq!(predictions["evaluations"][1]["pictures"], predicted(200)["pictures"]);
    let strip = get(&board, "/runs/a/pictures.png");
    assert!(strip.body == b"png" && strip.head.contains("content-type: image/png"));

    // Cut back meanwhile: what no longer stands there is left out, not taken for something else.
    let cut = lines(&[started(), monitored(0), step(100), evaluated(100, 0.75)]);
    fs::write(folder.0.join("a").join(EVENTS), cut).unwrap();
    let left = get(&board, "/runs/a/gradients").json();
    assert!(left["looks"].as_array().unwrap().iter().all(|look| look["step"] == 0));
    assert_eq!(get(&board, "/runs/a/series?from=x").status, 400);
    board.close();
}

#[test]
fn a_part_of_a_long_run_is_told_in_detail() {
    let folder = Folder::new();
    let mut events = vec![started()];
    events.extend((1..=20_000).map(step));
    folder.write("a", EVENTS, lines(&events));
    let board = folder.board(None);
    Stream::open(&board).until("a", |run| run["step"] == 20_000);
    let whole = get(&board, "/runs/a/series").json();
    let points = whole["step"].as_array().unwrap();
    assert!(points.len() < 2100 && whole["width"].as_u64().unwrap() > 1, "{}", points.len());
    assert!(whole["low"]["loss"].as_array().unwrap().len() == points.len());
    let part = get(&board, "/runs/a/series?first=12345&last=12400").json();
    let steps: Vec<u64> = serde_json::from_value(part["step"].clone()).unwrap();
    assert!(steps.into_iter().eq(12_345..=12_400));
    assert_eq!(get(&board, "/runs/a/series?first=30000&last=40000").json()["step"], json!([]));
    board.close();
}

#[test]
fn recipes_are_told_key_by_key() {
    let folder = Folder::new();
    for (run, lr) in [("a", 0.1), ("b", 0.2)] {
        folder.write(run, CONFIG, format!("[optimizer]\nlr = {lr}\n"));
        folder.write(run, EVENTS, lines(&[started()]));
    }
    folder.write("c", EVENTS, lines(&[started()]));
    let board = folder.board(None);
    Stream::open(&board).until("c", |run| run["read"] == true);
    let recipes = get(&board, "/recipes").json();
    let keys = recipes["keys"].as_array().unwrap();
    let at = keys.iter().position(|key| key["name"] == "optimizer.lr").unwrap();
    assert!(keys[at]["help"].as_str().unwrap().contains("learning rate"));
    let value = |run: &str| recipes["runs"][run][at].clone();
    assert_eq!((value("a"), value("b")), (json!("0.1"), json!("0.2")));
    assert!(recipes["runs"]["c"].is_null());
    board.close();
}

#[test]
fn a_stop_is_asked_for_and_its_outcome_told() {
    let folder = Folder::new();
    folder.write("a", EVENTS, lines(&[started(), step(100)]));
    let lock = File::create(folder.0.join("a/.lock")).unwrap();
    lock.lock().unwrap();
    let board = folder.board(Some(&["false"]));
    let mut stream = Stream::open(&board);
    stream.until("a", |run| run["state"] == "running");
    assert_eq!(post(&board, "/runs/a/resume").error(), "`a` is running");
    let asked = post(&board, "/runs/a/stop");
    assert_eq!((asked.status, asked.json()), (202, json!({"asked": "stop"})));
    assert!(train::is_asked_to_stop(&folder.0.join("a")));
    stream.until("a", |run| run["asked"] == "stop");
    folder.append("a", &lines(&[ended(100, Some(train::INTERRUPTED))]));
    drop(lock);
    let run = stream.until("a", |run| run["asked"].is_null() && run["state"] == "stopped");
    assert_eq!(run["notice"]["text"], "stopped after step 100, its checkpoint is saved");
    board.close();
}

#[cfg(unix)]
#[test]
fn a_run_is_resumed_by_a_process_whose_end_is_told() {
    let folder = Folder::new();
    folder.write("a", EVENTS, lines(&[started(), step(100), ended(100, Some("interrupted"))]));
    folder.write("b", EVENTS, lines(&[started(), ended(400, None)]));
    folder.write("c", EVENTS, lines(&[started(), ended(400, Some("NaN"))]));
    let fails: &[&str] = &["sh", "-c", "echo first; echo error: no data >&2; exit 1"];
    let board = folder.board(Some(fails));
    let mut stream = Stream::open(&board);
    stream.until("c", |run| run["read"] == true);
    assert!(post(&board, "/runs/b/resume").error().contains("finished"));
    assert!(post(&board, "/runs/c/resume").error().contains("diverged"));
    assert_eq!(post(&board, "/runs/a/resume").status, 202);
    let failed = stream.until("a", |run| run["notice"]["failed"] == true);
    assert!(failed["asked"].is_null());
    let text = failed["notice"]["text"].as_str().unwrap();
    assert!(text.contains("no data") && text.contains("resume.log"), "{text}");
    assert_eq!(fs::read(folder.0.join("a/resume.log")).unwrap(), b"first\nerror: no data\n");
    assert_eq!(board.close(), Vec::<String>::new());

    let board = folder.board(Some(&["no such program"]));
    let mut stream = Stream::open(&board);
    stream.until("c", |run| run["read"] == true);
    let refused = post(&board, "/runs/a/resume");
    assert!(refused.status == 500 && refused.error().contains("cannot be resumed"));
    board.close();

    // It ends once its standard input, which is empty, is read: at once, and well.
    let board = folder.board(Some(&["cat"]));
    let mut stream = Stream::open(&board);
    stream.until("c", |run| run["read"] == true);
    assert_eq!(post(&board, "/runs/a/resume").status, 202);
    stream.until("a", |run| run["notice"]["text"] == "it was resumed, and has ended");
    board.close();
}

#[test]
fn what_cannot_be_listened_on_is_told() {
    let folder = Folder::new();
    let board = folder.board(None);
    let options = |roots, listen: SocketAddr, tokens: Option<&str>| BoardOptions {
        roots,
        listen,
        tokens: tokens.map(str::to_owned),
        resume: None,
    };
    let error = |options| Board::start(options).err().unwrap().to_string();
    let taken = error(options(vec![], board.address(), None));
    assert!(taken.contains("another program has this port"), "{taken}");
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let none = folder.0.join("none");
    assert!(error(options(vec![none], any, None)).contains("none is no directory"));
    assert!(error(options(vec![], any, Some("short"))).contains("the file of tokens"));

    let made = Board::start(options(vec![], any, None)).unwrap();
    let url = made.url();
    let token = url.split_once("/#token=").unwrap().1;
    assert!(token.len() == 32 && token.bytes().all(|b| b.is_ascii_hexdigit()), "{url}");
    let bearer = format!("Bearer {token}");
    assert_eq!(send(&made, "GET /runs", &[HOST, ("Authorization", &bearer)]).status, 200);
    assert_ne!(Board::start(options(vec![], any, None)).unwrap().url(), url);
    // A directory that comes later.
    folder.write("a", EVENTS, lines(&[started()]));
    made.watch(&folder.0.join("a"));
    let headers = [HOST, ("Authorization", bearer.as_str())];
    while !String::from_utf8_lossy(&send(&made, "GET /runs", &headers).body).contains("resnet20") {}
}

#[test]
fn a_slow_reader_gets_the_latest_state_and_nothing_waits_for_it() {
    let folder = Folder::new();
    folder.write("a", EVENTS, lines(&[started()]));
    let (_phase, phases) = watch::channel(Phase::Serving);
    let guard = Guard::new(Tokens::parse(TOKEN).unwrap(), "127.0.0.1:1".parse().unwrap());
    let site = Arc::new(Site::new(guard, Runs::new(vec![folder.0.clone()]), None, phases));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(16);
        tokio::spawn(stream::send(site.clone(), sender));
        for s in 1..=500 {
            folder.append("a", &lines(&[step(s)]));
            site.follow(s == 1);
            site.announce();
            tokio::task::yield_now().await;
        }
        let mut messages = Vec::new();
        while !messages.last().is_some_and(|last: &String| last.contains("\"step\":500")) {
            let message = receiver.recv().await.unwrap();
            messages.push(String::from_utf8(message.to_vec()).unwrap());
        }
        assert!(messages.len() <= 2, "{} messages waited", messages.len());
        // Who has gone is noticed without anything being sent.
        drop(receiver);
    });
}
