//! `serve`: a server from its start to its end, told by signals and on standard error.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Folder, png};
use crate::wrong_input::refused;

const TOKEN: &str = "0123456789abcdef";

/// A folder with a trained run, `run`, and a picture, `digit.png`.
fn trained() -> Folder {
    let folder = Folder::new();
    folder.digits(64, 20, 4);
    let data = ["--data", "mnist:digits", "--steps", "2", "--batch", "16", "--out", "run"];
    folder.ok(&[&["train", "resnet8"][..], &data].concat());
    folder.write("digit.png", &png(12, 12, 40));
    folder
}

/// A server that runs; killed where a test ends before it does.
struct Served {
    child: Child,
    lines: BufReader<ChildStderr>,
    /// Every line so far.
    said: Vec<String>,
    address: String,
}

impl Served {
    /// Starts it on a free port, and waits until it is ready.
    fn start(folder: &Folder, args: &[&str]) -> Served {
        let mut args = [&["serve"], args].concat();
        for usual in [["--listen", "127.0.0.1:0"], ["--precision", "f32"]] {
            if !args.contains(&usual[0]) {
                args.extend(usual);
            }
        }
        let mut command = folder.command(&args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        let (said, address) = (Vec::new(), String::new());
        let mut served = Served { child, lines, said, address };
        let listening = served.wait_for("listening on http://");
        let (_, address) = listening.split_once("http://").unwrap();
        served.address = address.trim_end_matches(['"', '}']).to_owned();
        served.wait_for("ready after");
        served
    }

    /// The next line that holds a text.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let count = self.lines.read_line(&mut line).unwrap();
            assert!(count > 0, "it ended before it said `{text}`: {:#?}", self.said);
            self.said.push(line.trim_end().to_owned());
            if line.contains(text) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// The status and the body of an answer.
    fn ask(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\
             content-length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn get(&self, target: &str) -> (u16, String) {
        self.ask("GET", target, "", b"")
    }

    fn value(&self, target: &str) -> Value {
        let (status, body) = self.get(target);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Ends it: its exit code, and what it said from then on.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The classes that an answer tells of its one picture, with their probabilities.
fn told(answer: &str) -> Vec<Value> {
    let answer: Value = serde_json::from_str(answer).unwrap();
    answer["pictures"][0]["top"].as_array().unwrap().clone()
}

#[test]
fn it_answers_as_predict_does_until_it_is_told_to_end() {
    let folder = trained();
    let predict = ["predict", "run", "digit.png", "--json", "--top", "4", "--precision", "f32"];
    let expected = folder.ok(&predict).json()[0]["top"].as_array().unwrap().clone();
    let mut served = Served::start(&folder, &["run"]);
    assert_eq!(served.value("/v2/health/ready")["ready"], true);
    let picture = fs::read(folder.path("digit.png")).unwrap();
    let (status, answer) = served.ask("POST", "/classify/run?top=4", "", &picture);
    assert_eq!(status, 200, "{answer}");
    let found = told(&answer);
    assert_eq!(found.len(), 4);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found["label"], expected["label"]);
        let number = |guess: &Value| guess["probability"].as_f64().unwrap() as f32;
        assert_eq!(number(found), number(expected));
    }
    // Another model in its place.
    folder.ok(&[
        "train",
        "resnet8",
        "--data",
        "mnist:digits",
        "--steps",
        "4",
        "--batch",
        "16",
        "--seed",
        "2",
        "--out",
        "other",
    ]);
    fs::rename(folder.path("other/model.safetensors"), folder.path("run/model.safetensors"))
        .unwrap();
    served.signal("HUP");
    served.wait_for("loaded run version 1");
    let (_, answer) = served.ask("POST", "/classify?top=4", "", &picture);
    assert_ne!(told(&answer), found);
    let mut out = served.child.stdout.take().unwrap();
    let (code, rest) = served.end("TERM");
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("stopping, within 25") && rest.contains("stopped"), "{rest}");
    let mut printed = String::new();
    out.read_to_string(&mut printed).unwrap();
    assert_eq!(printed, "");
}

#[test]
fn what_is_cut_off_is_said() {
    let folder = trained();
    let served = Served::start(&folder, &["run", "--drain", "10ms"]);
    let mut stalled = TcpStream::connect(&served.address).unwrap();
    let head = "POST /classify HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\
                content-length: 1000\r\n\r\n";
    stalled.write_all(head.as_bytes()).unwrap();
    // It is asked to go on, so it is being answered.
    stalled.read_exact(&mut [0; 25]).unwrap();
    let (code, rest) = served.end("TERM");
    assert_eq!(code, Some(1), "{rest}");
    assert!(rest.contains("error: connections were cut: --drain was too short"), "{rest}");
}

#[test]
fn models_are_called_as_they_were_asked_for() {
    let folder = trained();
    fs::create_dir_all(folder.path("versions/3")).unwrap();
    fs::create_dir_all(folder.path("versions/12")).unwrap();
    for copy in ["plain.safetensors", "versions/3/model.safetensors", "versions/12/a.safetensors"] {
        fs::copy(folder.path("run/model.safetensors"), folder.path(copy)).unwrap();
    }
    let models = ["plain.safetensors", "run", "versions", "my pets=run"];
    let served = Served::start(&folder, &models);
    let listed = served.value("/classify")["models"].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let listed: Vec<(String, String, bool)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (text(&one["name"]), text(&one["version"]), one["default"] == true))
        .collect();
    let expected = [
        ("my pets", "1", false),
        ("plain", "1", true),
        ("run", "1", false),
        ("versions", "3", false),
        ("versions", "12", false),
    ];
    assert_eq!(listed, expected.map(|(name, version, d)| (name.into(), version.into(), d)));
    assert_eq!(served.get("/v2/models/my%20pets/ready").0, 200);
    assert_eq!(served.get("/v2/models/versions/versions/12/ready").0, 200);
    assert_eq!(served.end("INT").0, Some(0));
}

#[test]
fn a_log_of_json_is_json_in_every_line() {
    let folder = trained();
    let mut served = Served::start(&folder, &["run", "--log", "json", "--precision", "auto"]);
    assert_eq!(served.get("/nothing").0, 404);
    let line: Value = serde_json::from_str(&served.wait_for("\"request\"")).unwrap();
    assert_eq!((&line["path"], &line["status"]), (&"/nothing".into(), &404.into()));
    let said = std::mem::take(&mut served.said);
    let (code, rest) = served.end("TERM");
    assert_eq!(code, Some(0));
    for line in said.iter().map(String::as_str).chain(rest.lines()) {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(value["event"].is_string(), "{line}");
    }
}

#[test]
fn strangers_are_warned_of_where_no_token_keeps_them_out() {
    let folder = trained();
    folder.write("tokens", TOKEN.as_bytes());
    let warns = |args: &[&str]| {
        let served = Served::start(&folder, &[&["run"], args].concat());
        served.said.iter().any(|line| line.starts_with("warning: whoever reaches 0.0.0.0:0"))
    };
    assert!(warns(&["--listen", "0.0.0.0:0"]));
    assert!(!warns(&["--listen", "127.0.0.1:0"]));
    assert!(!warns(&["--listen", "0.0.0.0:0", "--token-file", "tokens"]));
}

#[test]
fn tokens_of_a_file_are_asked_for() {
    let folder = trained();
    folder.write("tokens", format!("# ours\n{TOKEN}\n").as_bytes());
    let args = ["run", "--token-file", "tokens", "--admin", "--no-page", "--cors", "*"];
    let served = Served::start(&folder, &args);
    assert_eq!(served.get("/v2/models/run").0, 401);
    let unload = "/v2/repository/models/run/unload";
    assert_eq!(served.ask("POST", unload, "x-api-key: wrong\r\n", b"").0, 401);
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    assert_eq!(served.ask("POST", unload, &token, b"").0, 200);
    assert_eq!(served.ask("GET", "/v2/models/run/ready", &token, b"").0, 503);
    assert_eq!(served.get("/page/classify.js").0, 404);
}

#[test]
fn wrong_usage_is_said_before_anything_is_served() {
    let folder = trained();
    folder.write("short", b"0123");
    fs::create_dir_all(folder.path("empty/1")).unwrap();
    folder.write("broken.safetensors", b"no model");
    let taken = Served::start(&folder, &["run"]);
    let any = "127.0.0.1:0";
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&[], 2, &["MODEL"]),
        (&["run", "--listen", "here"], 2, &["'here'", "IP:PORT"]),
        (&["run", "--listen", any, "--grpc", "80811"], 2, &["'80811'", "IP:PORT"]),
        (&["run", "--listen", &taken.address], 1, &[&taken.address, "or 0 for any"]),
        (&["resnet5"], 2, &["resnet5", "resnet50"]),
        (&["nowhere.safetensors", "--listen", any], 1, &["nowhere.safetensors"]),
        (&["broken.safetensors", "--listen", any], 1, &["broken.safetensors"]),
        (&["empty", "--listen", any], 1, &["empty", "versions"]),
        (&["run", "other=run", "run", "--listen", any], 2, &["two models", "`run`", "NAME=PATH"]),
        (&["a/b=run", "--listen", any], 2, &["`a/b`"]),
        (&["run", "--admin"], 2, &["--token-file"]),
        (&["run", "--token-file", "none"], 1, &["none"]),
        (&["run", "--token-file", "short"], 1, &["short", "at least 16"]),
        (&["run", "--timeout", "soon"], 2, &["--timeout", "30s"]),
        (&["run", "--max-wait=-1s"], 2, &["--max-wait"]),
        (&["run", "--max-body", "12"], 2, &["--max-body", "16MiB"]),
        (&["run", "--max-pixels", "many"], 2, &["--max-pixels", "25M"]),
        (&["run", "--max-connections", "0"], 2, &["--max-connections"]),
        (&["run", "--log", "xml"], 2, &["text", "json"]),
        (&["run", "--precision", "f16"], 2, &["f16", "bf16"]),
    ];
    for (args, code, words) in cases {
        refused(&folder.run(&[&["serve"], *args].concat()), *code, words);
    }
}

#[test]
fn the_limits_in_the_documentation_are_those_of_the_command() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/serving.md");
    let docs = fs::read_to_string(docs).unwrap();
    let (_, limits) = docs.split_once("## Limits").unwrap();
    let help = Folder::new().ok(&["serve", "--help"]).out;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = 0;
    for line in limits.lines().take_while(|line| !line.starts_with("##")) {
        let Some((option, rest)) = line.strip_prefix("| `").and_then(|row| row.split_once('`'))
        else {
            continue;
        };
        let usual = rest.split('|').nth(1).unwrap().trim();
        let (_, about) = help.split_once(&format!("{option} <")).unwrap();
        let (about, _) = about.split_once(" --").unwrap();
        assert!(about.contains(&format!("[default: {usual}]")), "{option} {usual}: {about}");
        found += 1;
    }
    assert_eq!(found, 10);
}
