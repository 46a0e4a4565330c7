//! What is on the wire: connections that are used on, and those that take too long.

use std::io::{Read, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use serde_json::json;

use crate::support::form::base64;
use crate::support::{Client, Request, Running, picture, until};

/// Too short for anything that waits, too long for what does not.
const SHORT: Duration = Duration::from_millis(200);

fn classify() -> Request {
    Request::post("/classify", picture(8, 8, 1))
}

#[test]
fn a_connection_is_used_on_after_errors() {
    let server = Running::new(|_| {});
    let mut client = server.connect();
    let wrong = [
        (Request::get("/nothing"), 404),
        (Request::post("/nothing", vec![0; 300_000]), 404),
        (Request::new("DELETE", "/classify"), 405),
        (Request::post("/classify", "no picture"), 415),
        (Request::post("/classify", &picture(8, 8, 1)[..50]), 422),
        (Request::post("/classify?top=none", vec![0; 300_000]), 400),
        (Request::json("/v2/models/small/infer", &json!([])), 400),
        (Request::post("/v1/models/none:predict", vec![0; 300_000]), 404),
        (classify().with("content-encoding", "br"), 415),
    ];
    for (request, status) in wrong {
        let response = client.ask(&request);
        response.refused(status);
        assert!(!response.closes(), "{request:?}");
        client.ask(&classify()).good();
    }
}

#[test]
fn answers_to_requests_that_come_at_once_have_their_order() {
    let server = Running::new(|_| {});
    let mut client = server.connect();
    let ids = ["a", "b", "c", "d"];
    let asked = [classify(), Request::get("/v2"), Request::get("/nothing"), classify()];
    for (request, id) in asked.iter().zip(ids) {
        client.send(&request.clone().with("x-request-id", id));
    }
    for (id, status) in ids.iter().zip([200, 200, 404, 200]) {
        let response = client.receive().unwrap();
        assert_eq!((response.header("x-request-id"), response.status), (Some(*id), status));
    }
    // A caller that says nothing more has gone.
    client.finish();
    assert!(client.is_ended());
}

#[test]
fn head_is_get_without_a_body() {
    let server = Running::new(|_| {});
    let mut client = server.connect();
    let targets = [
        "/",
        "/ping",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models",
        "/v2/models/small",
        "/v2/models/small/ready",
        "/v1/models/small",
        "/classify",
        "/openapi.json",
        "/nothing",
        "/v2/models/none/ready",
    ];
    for target in targets {
        let get = client.ask(&Request::get(target));
        let head = client.ask(&Request::new("HEAD", target));
        assert_eq!(head.status, get.status, "{target}");
        for name in ["content-type", "content-length"] {
            assert_eq!(head.header(name), get.header(name), "{target}");
        }
    }
    let allowed = client.ask(&Request::new("HEAD", "/v2/repository/index"));
    assert_eq!((allowed.status, allowed.header("allow")), (405, Some("POST")));
}

#[test]
fn a_body_that_is_announced_is_asked_for_or_refused() {
    let server = Running::new(|options| options.max_body = 1 << 16);
    let (file, target) = (picture(8, 8, 1), "/classify");
    let request = Request::post(target, file.clone()).with("expect", "100-continue");
    let mut client = server.connect();
    for _ in 0..2 {
        client.send_raw(&request.head());
        assert_eq!(client.receive().unwrap().status, 100);
        client.write(&file).unwrap();
        client.receive().unwrap().good();
    }
    // Refused before a byte of the body is sent.
    let cases = [
        (Request::post(target, vec![0; 1 << 17]).with("expect", "100-continue"), 413),
        (Request::post("/classify/none", file.clone()).with("expect", "100-continue"), 404),
        (Request::post(target, file.clone()).with("expect", "200-ok"), 417),
    ];
    for (request, status) in cases {
        let mut client = server.connect();
        client.send_raw(&request.head());
        client.receive().unwrap().refused(status);
    }
}

#[test]
fn compressed_bodies_count_as_what_they_become() {
    let server = Running::new(|options| options.max_body = 1 << 16);
    fn packed(plain: &[u8]) -> [(&'static str, Vec<u8>); 3] {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::best());
        for out in [&mut gzip as &mut dyn Write, &mut zlib, &mut raw] {
            out.write_all(plain).unwrap();
        }
        let finished = [zlib.finish().unwrap(), raw.finish().unwrap()];
        let [zlib, raw] = finished;
        [("gzip", gzip.finish().unwrap()), ("deflate", zlib), ("deflate", raw)]
    }
    let mut client = server.connect();
    let plain = client.ask(&classify()).good()["pictures"][0]["top"].clone();
    for (coding, body) in packed(&picture(8, 8, 1)) {
        let answer = client.ask(&Request::post("/classify", body).with("content-encoding", coding));
        assert_eq!(answer.good()["pictures"][0]["top"], plain, "{coding}");
    }
    for (coding, body) in packed(&[0; 1 << 17]) {
        assert!(body.len() < 1000);
        let bomb = Request::post("/classify", body.clone()).with("content-encoding", coding);
        client.ask(&bomb).refused(413);
        let cut = Request::post("/classify", &body[..body.len() / 2]);
        client.ask(&cut.with("content-encoding", coding)).refused(400);
    }
    let text = json!({ "pictures": [{ "b64": base64(&picture(8, 8, 1)) }] }).to_string();
    let (coding, body) = &packed(text.as_bytes())[0];
    let request = Request::post("/classify", body.clone()).with("content-encoding", *coding);
    let answer = client.ask(&request.with("content-type", "application/json; charset=utf-8"));
    assert_eq!(answer.good()["pictures"][0]["top"], plain);
}

#[test]
fn bodies_in_chunks_are_put_together_and_limited() {
    let server = Running::new(|options| options.max_body = 1 << 12);
    let file = picture(20, 20, 1);
    let send = |client: &mut Client, chunks: usize| {
        let mut bytes =
            b"POST /classify HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        let all: Vec<u8> = file.iter().copied().cycle().take(file.len() * chunks).collect();
        for chunk in all.chunks(100) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        client.send_raw(&[bytes, b"0\r\n\r\n".to_vec()].concat());
        client.receive().unwrap()
    };
    let mut client = server.connect();
    let whole = client.ask(&Request::post("/classify", file.clone())).good();
    assert_eq!(send(&mut client, 1).good()["pictures"][0]["top"], whole["pictures"][0]["top"]);
    send(&mut client, 10).refused(413);
}

#[test]
fn who_sends_too_much_still_gets_the_answer() {
    let server = Running::new(|options| options.max_body = 1 << 16);
    for target in ["/classify", "/v2/models/small/infer", "/predictions/small"] {
        // More than the sockets hold, so that the client is still sending when it is refused.
        let mut client = server.connect();
        client.ask(&Request::post(target, vec![0; 24 << 20])).refused(413);
    }
    let mut client = server.connect();
    let head = b"POST /classify HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = [&b"100000\r\n"[..], &vec![0; 1 << 20], b"\r\n"].concat();
    client.send_raw(head);
    (0..24).for_each(|_| client.write(&chunk).unwrap());
    client.write(b"0\r\n\r\n").unwrap();
    client.receive().unwrap().refused(413);
}

#[test]
fn a_head_that_does_not_end_ends_the_connection() {
    let server = Running::new(|options| options.header_timeout = SHORT);
    let mut client = server.connect();
    client.ask(&classify()).good();
    client.write(b"GET /v2 HTTP/1.1\r\nhost: a\r\nx-slow: ").unwrap();
    // Drops do not keep it open.
    until("an end of the connection", || client.write(b"a").is_err());
    assert!(client.is_ended());
    server.until_metric("resnet_connections", 1.0);
}

#[test]
fn a_connection_that_asks_nothing_is_ended() {
    let server = Running::new(|options| options.idle_timeout = SHORT);
    let mut fresh = server.connect();
    let mut used = server.connect();
    used.ask(&classify()).good();
    assert!(fresh.is_ended() && used.is_ended());
}

#[test]
fn a_body_that_does_not_come_is_refused() {
    let server = Running::new(|options| options.body_timeout = SHORT);
    let mut client = server.connect();
    client.send_raw(b"POST /classify HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nhalf");
    let slow = client.receive().unwrap();
    assert!(slow.refused(408).contains("0.2 s"));
    assert!(slow.closes() && client.is_ended());
    // Nor does it help to send it by drops.
    let mut client = server.connect();
    client.send_raw(b"POST /classify HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n");
    until("an end of the connection", || client.write(b"a").is_err());
    // The answer may be lost by then, but not another one's: nobody else waits for it.
    server.until_metric("resnet_rejected_total{reason=\"slow\"}", 2.0);
    server.ask(&classify()).good();
}

#[test]
fn answers_that_nobody_reads_end_the_connection() {
    let server = Running::new(|options| options.body_timeout = SHORT);
    let mut deaf = server.connect();
    // Many times what the sockets hold.
    let request = Request::get("/page/classify.css");
    let length = server.ask(&request).body.len();
    let count = (64 << 20) / length;
    for _ in 0..count {
        if deaf.write(&request.head()).is_err() {
            break;
        }
    }
    server.until_metric("resnet_connections", 1.0);
    let mut answered = 0;
    while deaf.receive().is_some() {
        answered += 1;
    }
    assert!(answered < count, "{answered} answers of {length} bytes");
}

#[test]
fn connections_are_limited() {
    let server = Running::new(|options| options.max_connections = 2);
    let mut taken = [server.connect(), server.connect()];
    taken.iter_mut().for_each(|client| drop(client.ask(&classify()).good()));
    let mut third = server.connect();
    let refused = third.receive().unwrap();
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("content-type"), Some("application/json"));
    assert!(refused.value()["error"].as_str().unwrap().contains("connections"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.closes() && third.is_ended());
    // A place that is free is given.
    let [first, mut second] = taken;
    drop(first);
    until("a free place", || {
        let mut client = server.connect();
        client.write(&Request::get("/v2").head()).is_ok()
            && client.receive().is_some_and(|response| response.status == 200)
    });
    second.ask(&classify()).good();
}

#[test]
fn what_is_no_http_does_no_harm() {
    let server = Running::new(|_| {});
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100_000));
    let headers = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let cases: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /classify HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        long.as_bytes(),
        headers.as_bytes(),
    ];
    for bytes in cases {
        let mut socket = crate::support::client::socket(server.address);
        // It may be closed before it is all sent.
        let _ = socket.write_all(bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        let first = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
        assert!(!first.contains(" 2"), "{first} to {:?}", &bytes[..bytes.len().min(60)]);
    }
    server.ask(&classify()).good();
}
