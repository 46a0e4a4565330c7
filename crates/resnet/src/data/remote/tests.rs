//! Objects of a server inside the test, which fails as servers do.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::client::{Client, Patience};
use super::object::Object;
use super::route::Route;
use super::{address, list};
use crate::data::error::was_changed;
use crate::data::store::{Blob, Stamp};
use crate::data::testing::{TempDir, flat_png, tar};
use crate::data::{Image, OpenOptions, open};

/// What becomes of a request.
#[derive(Clone)]
enum Reply {
    /// As it should be.
    Good,
    /// A status, with a header and a text.
    Status(u16, String, String),
    /// The connection ends after half of the bytes.
    Cut,
    /// Nothing comes.
    Silence,
    /// A whole answer with half of the bytes asked for.
    Short,
    /// Other bytes than asked for, which the answer tells.
    Elsewhere,
    /// All bytes, as if no range had been asked for.
    Whole,
}

struct Asked {
    path: String,
    headers: HashMap<String, String>,
}

type Answers = dyn Fn(usize, &Asked) -> Reply + Send + Sync;

#[derive(Default)]
struct Kept {
    /// By path.
    files: Mutex<HashMap<String, (Vec<u8>, String)>>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
}

struct Server {
    address: String,
    kept: Arc<Kept>,
}

impl Server {
    /// A server whose answer to a request follows from its number, from 0 on.
    fn new(answers: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Kept::default());
        let (of_thread, answers): (_, Arc<Answers>) = (kept.clone(), Arc::new(answers));
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                of_thread.connections.fetch_add(1, Ordering::SeqCst);
                let (kept, answers) = (of_thread.clone(), answers.clone());
                thread::spawn(move || serve(&stream, &kept, &*answers));
            }
        });
        Server { address, kept }
    }

    fn put(&self, path: &str, bytes: &[u8], tag: &str) {
        let file = (bytes.to_vec(), tag.to_string());
        self.kept.files.lock().unwrap().insert(path.to_string(), file);
    }

    fn count(&self) -> usize {
        self.kept.asked.lock().unwrap().len()
    }

    fn route(&self, path: &str) -> Route {
        Route::of(&format!("{}{path}", self.address), &|_| None).unwrap()
    }
}

fn serve(stream: &TcpStream, kept: &Kept, answers: &Answers) {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let Some(Ok(first)) = lines.next() else { return };
        let path = first.split(' ').nth(1).unwrap().to_string();
        let mut headers = HashMap::new();
        for line in lines.by_ref() {
            let Ok(line) = line else { return };
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_string());
        }
        let mut asked = kept.asked.lock().unwrap();
        asked.push(Asked { path, headers });
        let number = asked.len() - 1;
        let reply = answers(number, &asked[number]);
        let (bytes, end) = answer(kept, &asked[number], &reply);
        drop(asked);
        match reply {
            // Until the client leaves.
            Reply::Silence => {
                let _ = lines.next();
                return;
            }
            _ => {
                let mut to = stream;
                if to.write_all(&bytes).is_err() || end {
                    return;
                }
            }
        }
    }
}

/// The bytes of an answer, and whether the connection ends with them.
fn answer(kept: &Kept, asked: &Asked, reply: &Reply) -> (Vec<u8>, bool) {
    let whole = |status: u16, header: &str, body: &[u8]| {
        let line = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{line}\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    if let Reply::Status(status, header, text) = reply {
        return (whole(*status, header, text.as_bytes()), false);
    }
    let files = kept.files.lock().unwrap();
    let path = asked.path.split('?').next().unwrap();
    let Some((file, tag)) = files.get(path) else { return (whole(404, "", b""), false) };
    let range = asked.headers.get("range").and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?))
    });
    let Some((from, to)) = range.filter(|_| !matches!(reply, Reply::Whole)) else {
        return (whole(200, &format!("etag: {tag}"), file), false);
    };
    if from >= file.len() {
        return (whole(416, &format!("content-range: bytes */{}", file.len()), b""), false);
    }
    let part = &file[from..(to + 1).min(file.len())];
    let told = if matches!(reply, Reply::Elsewhere) { from + 1 } else { from };
    let head = |length: usize| {
        format!(
            "HTTP/1.1 206 Partial\r\netag: {tag}\r\ncontent-length: {length}\r\ncontent-range: \
             bytes {told}-{}/{}\r\n\r\n",
            from + part.len() - 1,
            file.len()
        )
    };
    let half = part.len() / 2;
    match reply {
        Reply::Cut => ([head(part.len()).as_bytes(), &part[..half]].concat(), true),
        Reply::Short => ([head(half).as_bytes(), &part[..half]].concat(), false),
        _ => ([head(part.len()).as_bytes(), part].concat(), false),
    }
}

fn client() -> Client {
    Client::new(patience())
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 7 % 251) as u8).collect()
}

fn status(status: u16) -> Reply {
    Reply::Status(status, String::new(), String::new())
}

#[test]
fn ranges_are_read_on_one_connection() {
    let server = Server::new(|_, _| Reply::Good);
    let all = bytes(10_000);
    server.put("/a b/x.tar", &all, "\"1\"");
    server.put("/empty.tar", b"", "\"2\"");
    let client = client();
    let object = Object::of(&client, server.route("/a%20b/x.tar"), None);
    assert!(object.is_err(), "what is encoded stays as it is, and this server does not decode");
    server.put("/a%20b/x.tar", &all, "\"1\"");
    let object = Object::of(&client, server.route("/a b/x.tar"), None).unwrap();
    assert_eq!((object.len(), object.is_far()), (10_000, true));
    for (at, count) in [(0, 1), (9_999, 1), (1234, 4000), (0, 10_000), (5, 0)] {
        let mut read = vec![0; count];
        object.read_at(at, &mut read).unwrap();
        assert_eq!(read, all[at as usize..at as usize + count]);
    }
    let past = object.read_at(9_999, &mut [0; 2]).unwrap_err();
    assert_eq!(past.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(server.kept.connections.load(Ordering::SeqCst), 1);
    assert_eq!(server.count(), 6);
    let empty = Object::of(&client, server.route("/empty.tar"), None).unwrap();
    assert_eq!(empty.len(), 0);
}

#[test]
fn what_passes_is_tried_again() {
    let answers = [
        Reply::Good,
        status(500),
        status(503),
        Reply::Status(429, "retry-after: 0".into(), String::new()),
        Reply::Silence,
        Reply::Cut,
        Reply::Elsewhere,
        Reply::Short,
        Reply::Good,
        Reply::Short,
        Reply::Cut,
        Reply::Cut,
        Reply::Good,
    ];
    let server = Server::new(move |number, _| answers[number].clone());
    let all = bytes(3000);
    server.put("/x", &all, "\"1\"");
    let client = Client::new(Patience { more: 8, ..patience() });
    let object = Object::of(&client, server.route("/x"), None).unwrap();
    for _ in 0..2 {
        let mut read = vec![0; 2000];
        object.read_at(500, &mut read).unwrap();
        assert_eq!(read, all[500..2500]);
    }
    assert_eq!(server.count(), 13);
    // What came before a cut is not asked for again.
    let asked = server.kept.asked.lock().unwrap();
    let ranges: Vec<&str> = asked[9..].iter().map(|a| a.headers["range"].as_str()).collect();
    let expected = ["bytes=500-2499", "bytes=1500-2499", "bytes=2000-2499", "bytes=2250-2499"];
    assert_eq!(ranges, expected);
}

fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        silence: Duration::from_millis(200),
        least: 1 << 10,
        more: 6,
        pause: Duration::from_millis(1),
    }
}

#[test]
fn what_does_not_pass_ends_the_run_and_loses_no_picture() {
    let server = Server::new(|number, _| if number == 0 { Reply::Good } else { status(503) });
    server.put("/x", &bytes(100), "\"1\"");
    let client = client();
    let object = Object::of(&client, server.route("/x"), None).unwrap();
    let error = object.read_at(0, &mut [0; 10]).unwrap_err();
    assert_eq!(server.count(), 1 + 7);
    let text = error.to_string();
    assert!(
        text.starts_with("the server answered 503 Service Unavailable, also 6 times"),
        "{text}"
    );
    assert!(crate::data::DataError::io("x", error).is_of_system());
    // Nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Route::of(&format!("http://{port}/x"), &|_| None).unwrap();
    let error = Object::of(&client, nobody, None).err().unwrap().to_string();
    assert!(error.contains("also 6 times again"), "{error}");
}

#[test]
fn refusals_are_told_at_once_without_secrets() {
    let text = "<Error><Code>AccessDenied</Code><Secret>hidden</Secret></Error>";
    for (code, part) in [
        (403, "the server answered 403 Forbidden (AccessDenied); what follows `?`"),
        (404, "the server answered 404 Not Found (AccessDenied); check the address"),
        (400, "the server answered 400 Bad Request (AccessDenied); check the address, and"),
    ] {
        let server = Server::new(move |_, _| Reply::Status(code, String::new(), text.into()));
        let address = format!("{}/x-{code}?sig=hidden", server.address);
        let route = Route::of(&address::without_secrets(&address), &|_| None).unwrap();
        let error = Object::of(&client(), route, None).err().unwrap().to_string();
        assert!(error.contains(part) && !error.contains("hidden"), "{error}");
        assert_eq!(server.count(), 1);
        assert_eq!(server.kept.asked.lock().unwrap()[0].path, format!("/x-{code}?sig=hidden"));
    }
    let server = Server::new(|_, _| Reply::Whole);
    server.put("/x", &bytes(100), "\"1\"");
    let error = Object::of(&client(), server.route("/x"), None).err().unwrap().to_string();
    assert!(error.contains("does not answer ranges (HTTP 206)"), "{error}");
}

#[test]
fn another_region_is_named() {
    let header = "x-amz-bucket-region: eu-north-1";
    let server = Server::new(move |_, _| Reply::Status(301, header.into(), String::new()));
    let address = server.address.clone();
    let endpoint = move |name: &str| (name == "AWS_ENDPOINT_URL").then(|| address.clone());
    let route = Route::of("s3://bucket/x.tar", &endpoint).unwrap();
    let error = Object::of(&client(), route, None).err().unwrap().to_string();
    assert!(error.contains("set AWS_REGION=eu-north-1"), "{error}");
}

#[test]
fn a_changed_object_is_not_read() {
    let server = Server::new(|_, _| Reply::Good);
    let client = client();
    let read = |object: &Object| object.read_at(0, &mut [0; 10]);
    for (before, tag_before, after, tag_after) in
        [(100, "\"1\"", 100, "\"2\""), (100, "\"1\"", 101, "\"1\""), (100, "W/\"1\"", 5, "\"1\"")]
    {
        server.put("/x", &bytes(before), tag_before);
        let object = Object::of(&client, server.route("/x"), None).unwrap();
        read(&object).unwrap();
        server.put("/x", &bytes(after), tag_after);
        let error = read(&object).unwrap_err();
        assert!(was_changed(&error), "{error}");
    }
    server.put("/x", &bytes(100), "\"1\"");
    let stamp = Object::of(&client, server.route("/x"), None).unwrap().stamp().unwrap();
    let before = server.count();
    let known = Object::of(&client, server.route("/x"), Some(stamp)).unwrap();
    assert_eq!(server.count(), before);
    read(&known).unwrap();
    let other = Stamp { changed: stamp.changed + 1, ..stamp };
    let other = Object::of(&client, server.route("/x"), Some(other)).unwrap();
    assert!(was_changed(&read(&other).unwrap_err()));
}

#[test]
fn redirections_are_remembered_while_they_hold() {
    let there = Server::new(|number, _| if number == 3 { status(403) } else { Reply::Good });
    let all = bytes(100);
    there.put("/signed", &all, "\"1\"");
    let to = format!("location: {}/signed?token=1", there.address);
    let here = Server::new(move |_, _| Reply::Status(302, to.clone(), String::new()));
    let client = client();
    let object = Object::of(&client, here.route("/x"), None).unwrap();
    for at in 0..4 {
        let mut read = [0; 10];
        object.read_at(at, &mut read).unwrap();
        assert_eq!(read, all[at as usize..at as usize + 10]);
    }
    // The first answer, the first read, and the one after the redirection had ended.
    assert_eq!((here.count(), there.count()), (3, 6));
}

#[test]
fn what_is_near_is_read_at_once() {
    let server = Server::new(|_, _| Reply::Good);
    let all = bytes((4 << 20) + 1000);
    server.put("/x", &all, "\"1\"");
    let client = client();
    let object = Object::of(&client, server.route("/x"), None).unwrap();
    for at in (0..all.len() - 600).step_by(50_000).chain([(4 << 20) - 300]) {
        let mut read = [0; 600];
        object.browse_at(at as u64, &mut read).unwrap();
        assert_eq!(read, all[at..at + 600]);
    }
    assert_eq!(server.count(), 3);
    assert!(object.browse_at(all.len() as u64 - 5, &mut [0; 6]).is_err());
}

#[test]
fn folders_of_buckets_are_listed_page_by_page() {
    let page = |keys: &str, next: &str| {
        format!(
            "<ListBucketResult>{keys}<NextContinuationToken>{next}</NextContinuationToken>\
             </ListBucketResult>"
        )
    };
    let first =
        page("<Contents><Key>p/b.tar</Key></Contents><Contents><Key>p/</Key></Contents>", "n");
    let second = page(
        "<Contents><Key>p/a.tar</Key></Contents><Contents><Key>p/../c.tar</Key></Contents>\
         <CommonPrefixes><Prefix>p/train/</Prefix></CommonPrefixes>",
        "",
    );
    let server = Server::new(move |_, asked| {
        let page = if asked.path.contains("continuation-token=n") { &second } else { &first };
        Reply::Status(200, String::new(), page.clone())
    });
    let address = server.address.clone();
    let endpoint = move |name: &str| (name == "AWS_ENDPOINT_URL").then(|| address.clone());
    let route = Route::of("s3://b/p", &endpoint).unwrap();
    let found = list(&client(), &route, "s3://b/p/").unwrap();
    assert_eq!(found.files, [Path::new("s3://b/p/a.tar"), Path::new("s3://b/p/b.tar")]);
    assert_eq!(found.folders, [Path::new("s3://b/p/train")]);
    let web = list(&client(), &server.route("/p"), "http://h/p").err().unwrap().to_string();
    assert!(web.contains("name them, as in https://HOST/train-{0000..0146}.tar"), "{web}");
}

/// Shards with pictures of their own tints.
fn shard(first: u8, count: u8) -> Vec<u8> {
    let pictures: Vec<(String, Vec<u8>)> = (first..first + count)
        .flat_map(|n| {
            let picture = (format!("{n:03}.png"), flat_png(4, 4, [n, 0, 0]));
            [picture, (format!("{n:03}.cls"), vec![b'0' + n % 2])]
        })
        .collect();
    let members: Vec<(&str, &[u8])> =
        pictures.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    tar(&members)
}

#[test]
fn shards_on_a_server_are_data_like_those_on_a_disk() {
    let server = Server::new(|_, _| Reply::Good);
    let dir = TempDir::new("remote-shards");
    for n in 0..2 {
        let shard = shard(n * 40, 40);
        server.put(&format!("/in/train-{n}.tar"), &shard, &format!("\"{n}\""));
        dir.write(&format!("train-{n}.tar"), &shard);
    }
    let address = format!("{}/in/train-{{0..1}}.tar?sig=hidden", server.address);
    let options = OpenOptions::default();
    let far = open(&address, &options).unwrap();
    let near = open(dir.path().join("train-{0..1}.tar").to_str().unwrap(), &options).unwrap();
    assert_eq!((far.train.len(), far.train.classes()), (80, near.train.classes()));
    // Two shards, names of classes, and never one request a member.
    assert!(server.count() < 20, "{}", server.count());
    let (mut a, mut b) = (Image::default(), Image::default());
    let before = server.count();
    for index in 0..80 {
        assert_eq!(far.train.label(index), near.train.label(index));
        far.train.read(index, &mut a).unwrap();
        near.train.read(index, &mut b).unwrap();
        assert_eq!(a, b);
    }
    assert_eq!(server.count() - before, 80);
    assert_eq!(far.train.name(41), format!("{}/in/train-1.tar/041.png", server.address));
    let print = |splits: &crate::data::Splits| crate::data::fingerprint(&[splits.train.as_ref()]);
    assert_eq!(print(&far), print(&near));
    // The index spares all but asking whether the shards are the same.
    let index = super::index_of(Path::new(&*address::without_secrets(&address))).unwrap();
    let written = std::fs::read(&index).unwrap();
    assert!(!written.windows(6).any(|bytes| bytes == b"hidden"));
    let before = server.count();
    let again = open(&address, &options).unwrap();
    assert_eq!((server.count() - before, again.warnings.len()), (2, 0));
    assert_eq!(print(&again), print(&near));
    again.train.read(79, &mut a).unwrap();
    // Another shard in the place of one that is read.
    server.put("/in/train-1.tar", &shard(40, 40), "\"new\"");
    let error = again.train.read(79, &mut a).unwrap_err();
    assert!(error.is_of_system() && error.to_string().contains("was changed since"), "{error}");
    assert!(!error.to_string().contains("hidden"));
    let anew = open(&address, &options).unwrap();
    let told = anew.warnings[0].to_string();
    assert!(told.contains("is old: train-1.tar has changed since; it was made again"), "{told}");
    std::fs::remove_file(index).unwrap();
}

#[test]
fn other_data_at_an_address_is_refused_with_what_to_do() {
    let server = Server::new(|_, _| Reply::Good);
    let fails = |source: String| open(&source, &OpenOptions::default()).err().unwrap().to_string();
    let error = fails(format!("folder:{}/photos?sig=hidden", server.address));
    assert!(error.contains("found `folder:`; of what is far away only shards are read"), "{error}");
    assert!(!error.contains("hidden"));
    let error = fails(format!("{}/x.csv", server.address));
    assert!(error.contains("expected shards, as tar or zip files, found another file"), "{error}");
    let error = fails(format!("{}/x.tar.gz", server.address));
    assert!(error.contains("found a tar file that is packed"), "{error}");
    let error = fails(format!("{}/photos", server.address));
    assert!(error.contains("does not tell its files"), "{error}");
    let error = fails(format!("{}/x-{{0..1}}.tar", server.address));
    assert!(
        error.contains("/x-0.tar: cannot be read: the server answered 404 Not Found"),
        "{error}"
    );
}
