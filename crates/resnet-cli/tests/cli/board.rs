//! Boards: what is served while a run trains and after, and what is asked from there.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Folder, Outcome};

/// Some seconds of training.
const RUN: &[&str] = &[
    "train",
    "resnet8",
    "--data",
    "mnist:digits",
    "--epochs",
    "120",
    "--batch",
    "16",
    "--seed",
    "7",
    "train.checkpoint_every=5it",
];

/// A process that serves a board.
struct Served {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
    address: String,
    token: String,
}

impl Served {
    fn start(folder: &Folder, args: &[&str]) -> Served {
        let mut child =
            folder.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        let mut served = Served { child, lines, address: String::new(), token: String::new() };
        let line = served.line_with("board   http://");
        let url = line.trim().split_once("http://").unwrap().1;
        let (address, token) = url.split_once("/#token=").unwrap();
        (served.address, served.token) = (address.into(), token.into());
        served
    }

    /// The next line on standard error that says this.
    fn line_with(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "nothing says `{text}`");
            if line.contains(text) {
                return line;
            }
        }
    }

    fn send(&self, request: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let (address, token) = (&self.address, &self.token);
        let head = format!(
            "{request} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nConnection: \
             close\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    /// The status of a request, and its body.
    fn ask(&self, request: &str) -> (u16, String) {
        let mut all = String::new();
        self.send(request).read_to_string(&mut all).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.into())
    }

    /// Waits until the run is told of that is as wanted.
    fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        for line in self.send("GET /events").lines() {
            let line = line.unwrap();
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let changes: Value = serde_json::from_str(data).unwrap();
            if let Some(run) = changes["runs"].as_array().unwrap().iter().find(|run| wanted(run)) {
                return run.clone();
            }
        }
        panic!("the stream has ended");
    }

    /// Sends the interrupt that Ctrl-C sends, and returns what the process left.
    fn interrupt(mut self) -> Outcome {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut err = String::new();
        self.lines.read_to_string(&mut err).unwrap();
        let mut outcome = Outcome::of(self.child.wait_with_output().unwrap());
        outcome.err = err;
        outcome
    }
}

#[cfg(unix)]
#[test]
fn a_run_that_is_stopped_and_resumed_from_its_page_ends_like_one_never_stopped() {
    let folder = Folder::new();
    folder.digits(200, 40, 4);
    folder.ok(&[RUN, &["--out", "whole"]].concat());

    let mut served =
        Served::start(&folder, &[RUN, &["--out", "run", "--board", "127.0.0.1:0"]].concat());
    let run = served.until(|run| run["state"] == "running" && run["step"].as_u64() > Some(0));
    assert_eq!((&run["id"], &run["steps"]), (&"run".into(), &1440.into()));
    let (status, body) = served.ask("POST /runs/run/stop");
    assert_eq!(status, 202, "{body}");
    served.line_with("stopping, as a board or another process asked");
    served.line_with("continue with: resnet train --resume run");
    served.line_with("Ctrl-C ends it");
    let stopped = served.until(|run| run["state"] == "stopped" && run["asked"].is_null());
    let step = stopped["step"].as_u64().unwrap();
    assert!(step < 1440, "{stopped}");
    assert!(stopped["notice"]["text"].as_str().unwrap().contains("checkpoint is saved"));

    // The page stays, and from it the run goes on, in a process of its own.
    assert_eq!(served.ask("POST /runs/run/resume").0, 202);
    let done = served.until(|run| run["state"] == "finished");
    assert_eq!((&done["step"], &done["asked"]), (&1440.into(), &Value::Null));
    for file in ["model.safetensors", "pictures.png"] {
        let bytes = |run: &str| fs::read(folder.path(&format!("{run}/{file}"))).unwrap();
        assert!(bytes("run") == bytes("whole"), "{file} differs");
    }
    let log = fs::read_to_string(folder.path("run/resume.log")).unwrap();
    assert!(log.contains("done in"), "{log}");
    assert_eq!(served.ask("POST /runs/run/resume").0, 409);

    // As if there had been no page.
    let outcome = served.interrupt();
    assert_eq!(outcome.code, 130, "{}", outcome.err);
}

#[cfg(unix)]
#[test]
fn a_page_stays_after_training_and_the_outcome_is_what_it_was() {
    let folder = Folder::new();
    folder.digits(40, 20, 4);
    let run = ["train", "resnet8", "--data", "mnist:digits", "--batch", "10", "--board", "0"];
    let mut served = Served::start(&folder, &[&run[..], &["--steps", "3"]].concat());
    served.line_with("the page stays at http://127.0.0.1:");
    served.until(|run| run["state"] == "finished");
    assert!(served.ask("GET /").1.contains("<html"));
    let outcome = served.interrupt();
    assert_eq!(outcome.code, 0, "{}", outcome.err);

    let diverging = [&run[..], &["--steps", "50", "lr=1000", "warmup=0it"]].concat();
    let mut served = Served::start(&folder, &diverging);
    served.line_with("error: training diverged");
    served.until(|run| run["state"] == "diverged" && run["reason"].is_string());
    let outcome = served.interrupt();
    assert_eq!(outcome.code, 1, "{}", outcome.err);
    assert!(!outcome.err.contains("error"), "said once: {}", outcome.err);

    // All runs, looked at only.
    let served = Served::start(&folder, &["board", "--listen", "0", "--no-actions"]);
    served.until(|run| run["id"] == "resnet8-mnist" && run["state"] == "finished");
    assert_eq!(served.ask("POST /runs/resnet8-mnist/resume").0, 403);
    let outcome = served.interrupt();
    assert_eq!(outcome.code, 0, "{}", outcome.err);
}

#[test]
fn what_keeps_a_board_from_opening_is_told_before_anything_is_trained() {
    let folder = Folder::new();
    folder.digits(40, 20, 4);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let train = ["train", "resnet8", "--data", "mnist:digits", "--out", "run", "--board"];
    let outcome = folder.run(&[&train[..], &[&address]].concat());
    assert!(outcome.code == 1 && outcome.err.contains("another program has this port"));
    assert!(outcome.err.contains("--board 0 takes one that is free"), "{}", outcome.err);
    assert!(!folder.path("run").exists());
    let network = folder.run(&["train", "--board", "resnet20"]);
    assert!(network.code == 2 && network.err.contains("expected IP:PORT"), "{}", network.err);
    let both = folder.run(&["train", "--lr-find", "--board"]);
    assert!(both.code == 2 && both.err.contains("cannot be used with"), "{}", both.err);
    let none = folder.run(&["board", "nowhere", "--listen", "0"]);
    assert!(none.code == 1 && none.err.contains("nowhere is no directory"), "{}", none.err);
    folder.write("tokens", b"short\n");
    let short = folder.run(&["board", ".", "--listen", "0", "--token-file", "tokens"]);
    assert!(short.code == 1 && short.err.contains("token 1 has 5 characters"), "{}", short.err);
}
