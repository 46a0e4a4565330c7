//! More work than there is time for, and callers that go: one thread computes, behind a gate.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::support::form::{base64, form};
use crate::support::gate::Fault;
use crate::support::tensor::{binary, elements};
use crate::support::{Client, NAME, Request, Running, picture, until};

/// Tokens of two callers.
const TOKENS: [&str; 2] = ["0123456789abcdef", "fedcba9876543210"];

fn classify() -> Request {
    Request::post("/classify", picture(8, 8, 1))
}

fn of(request: Request, caller: usize) -> Request {
    request.with("authorization", format!("Bearer {}", TOKENS[caller]))
}

/// A connection whose request is being answered.
fn asking(server: &Running, request: &Request) -> Client {
    let mut client = server.connect();
    client.send(request);
    client
}

/// Comes back once so many pictures wait in the queue.
fn until_waiting(server: &Running, pictures: usize) {
    server.until_metric("resnet_queue_depth", pictures as f64);
}

#[test]
fn who_would_wait_too_long_is_told_to_come_again() {
    let server = Running::new(|options| options.max_wait = Duration::ZERO);
    server.gate.close();
    let mut first = asking(&server, &classify());
    server.gate.wait_for(1);
    // On every route that takes pictures, and before they are sent.
    for target in ["/classify", "/predictions/small", "/v1/models/small:predict"] {
        let request = Request::post(target, picture(8, 8, 1)).with("expect", "100-continue");
        let mut client = server.connect();
        client.send_raw(&request.head());
        let refused = client.receive().unwrap();
        assert!(refused.refused(503).contains("come again"), "{target}");
        assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    }
    let image = json!({ "name": "image", "shape": [1], "datatype": "BYTES" });
    let inputs = [(image, elements(&[&picture(8, 8, 1)]))];
    let infer = binary("/v2/models/small/infer", &inputs, &json!({}));
    server.ask(&infer).refused(503);
    // Whoever asks nothing to be computed is answered.
    assert_eq!(server.get("/v2/health/ready").status, 200);
    assert_eq!(server.metric("resnet_rejected_total{reason=\"full\"}"), Some(4.0));
    server.gate.open();
    first.receive().unwrap().good();
    until("room", || server.ask(&infer).status == 200);
}

#[test]
fn callers_take_turns_and_the_greedy_one_is_refused() {
    let tokens = resnet_server::Tokens::parse(&TOKENS.join("\n")).unwrap();
    let server = Running::new(|options| {
        (options.max_wait, options.tokens) = (Duration::ZERO, Some(tokens));
    });
    let depth = |pictures: f64| {
        until("a depth", || {
            let text = server.ask(&of(Request::get("/metrics"), 0)).text();
            text.lines().any(|line| line == format!("resnet_queue_depth {pictures}"))
        });
    };
    server.gate.close();
    let pictures: Vec<Vec<u8>> = (0..4).map(|i| picture(8, 8, i)).collect();
    let files: Vec<(&str, &[u8])> = pictures.iter().map(|file| ("a", &file[..])).collect();
    let mut greedy = asking(&server, &of(form("/classify", &files), 0));
    server.gate.wait_for(1);
    depth(3.0);
    // Alone, it is told that the queue is full.
    server.ask(&of(classify(), 0)).refused(503);
    let mut modest = asking(&server, &of(classify(), 1));
    depth(4.0);
    assert!(server.ask(&of(classify(), 0)).refused(429).contains("share"));
    let mut second = asking(&server, &of(classify(), 1));
    depth(5.0);
    server.ask(&of(classify(), 1)).refused(429);
    server.gate.open();
    for client in [&mut greedy, &mut modest, &mut second] {
        client.receive().unwrap().good();
    }
}

#[test]
fn a_deadline_that_passes_is_told_and_its_picture_is_not_computed() {
    let server = Running::new(|options| options.timeout = Duration::from_millis(250));
    server.gate.close();
    let mut first = asking(&server, &classify());
    server.gate.wait_for(1);
    let passed = server.gate.passed();
    for target in ["/classify", "/predictions/small"] {
        let refused = server.ask(&Request::post(target, picture(8, 8, 1)));
        assert!(refused.refused(504).contains("deadline"), "{target}");
    }
    let many = form("/classify", &[("a", &picture(8, 8, 1)), ("b", &picture(8, 8, 2))]);
    let answer = server.ask(&many).good();
    for one in answer["pictures"].as_array().unwrap() {
        assert!(one["error"].as_str().unwrap().contains("deadline"), "{answer}");
    }
    first.receive().unwrap().refused(504);
    // What waits for nobody is taken out of the queue, and counted.
    server.gate.open();
    server.until_metric("resnet_cancelled_total", 4.0);
    assert_eq!(server.gate.passed(), passed + 1);
}

#[test]
fn a_request_may_say_how_long_it_waits() {
    let server = Running::new(|_| {});
    server.gate.close();
    let image = json!({
        "name": "image", "shape": [1], "datatype": "BYTES", "data": [base64(&picture(8, 8, 1))],
    });
    let infer = |timeout: u64| {
        let body = json!({ "inputs": [image], "parameters": { "timeout": timeout } });
        Request::json("/v2/models/small/infer", &body)
    };
    server.ask(&infer(1000)).refused(504);
    server.gate.open();
    server.ask(&classify()).good();
    server.gate.close();
    let mut first = asking(&server, &classify());
    server.gate.wait_for(1);
    server.ask(&infer(250_000)).refused(504);
    // 0 is none, and no deadline is later than the server's.
    let mut patient = [asking(&server, &infer(0)), asking(&server, &infer(1 << 63))];
    until_waiting(&server, 3);
    server.gate.open();
    first.receive().unwrap().good();
    for client in &mut patient {
        client.receive().unwrap().good();
    }
}

#[test]
fn urgent_pictures_go_before_the_callers_others() {
    let server = Running::new(|_| {});
    server.gate.close();
    let mut first = asking(&server, &classify());
    server.gate.wait_for(1);
    let infer = |priority: u64, id: &str| {
        let image = json!({
            "name": "image", "shape": [1], "datatype": "BYTES", "data": [base64(&picture(8, 8, 1))],
        });
        let parameters = json!({ "priority": priority });
        let body = json!({ "id": id, "inputs": [image], "parameters": parameters });
        Request::json("/v2/models/small/infer", &body)
    };
    let mut waiting = Vec::new();
    for (i, priority) in [0, 2, 1].into_iter().enumerate() {
        waiting.push(asking(&server, &infer(priority, &i.to_string())));
        until_waiting(&server, i + 1);
    }
    // One picture passes the gate at a time, and is answered before the next.
    server.gate.pass_one();
    first.receive().unwrap().good();
    for i in [2, 1, 0] {
        server.gate.pass_one();
        let answer = waiting[i].receive().unwrap().good();
        assert_eq!(answer["id"], i.to_string());
    }
}

#[test]
fn callers_that_go_are_dropped_and_counted() {
    let server = Running::new(|_| {});
    server.gate.close();
    let mut first = asking(&server, &classify());
    server.gate.wait_for(1);
    let gone: Vec<Client> = (0..3).map(|_| asking(&server, &classify())).collect();
    until_waiting(&server, 3);
    let mut stays = asking(&server, &classify());
    until_waiting(&server, 4);
    drop(gone);
    // The connection that asks for metrics is one of the three.
    server.until_metric("resnet_connections", 3.0);
    let passed = server.gate.passed();
    server.gate.open();
    first.receive().unwrap().good();
    stays.receive().unwrap().good();
    assert_eq!(server.metric("resnet_cancelled_total"), Some(3.0));
    assert_eq!(server.gate.passed(), passed + 2);
}

#[test]
fn memory_of_bodies_counts_as_it_is_taken() {
    let server = Running::new(|options| {
        (options.max_body, options.decode_memory) = (64 << 10, 100 << 10);
    });
    server.gate.close();
    let plain = [b"P6 8 8 255\n", &[0u8; 60_000][..]].concat();
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&plain).unwrap();
    let packed = packer.finish().unwrap();
    assert!(packed.len() < 1000);
    let requests = [
        Request::post("/classify", packed).with("content-encoding", "gzip"),
        Request::post("/classify", plain),
    ];
    let mut first = asking(&server, &requests[0]);
    server.gate.wait_for(1);
    for request in &requests {
        assert!(server.ask(request).refused(503).contains("uploaded"));
    }
    assert_eq!(server.metric("resnet_rejected_total{reason=\"memory\"}"), Some(2.0));
    server.gate.open();
    first.receive().unwrap().good();
    // What was answered soon takes none any more.
    for request in &requests {
        until("memory", || server.ask(request).status == 200);
    }
}

#[test]
fn a_fault_is_one_pictures_and_is_told_in_the_log() {
    let server = Running::new(|_| {});
    for (fault, word) in [(Fault::Panic, "panic"), (Fault::Device, "failed")] {
        server.gate.fail_next(fault);
        let refused = server.ask(&classify().with("x-request-id", "mine"));
        assert!(refused.refused(500).contains(word), "{fault:?}");
        server.log.wait_for("mine was answered with 500");
        server.ask(&classify()).good();
    }
    server.gate.fail_next(Fault::Panic);
    let answer =
        server.ask(&form("/classify", &[("a", &picture(8, 8, 1)), ("b", &picture(8, 8, 2))]));
    let answered = answer.good();
    assert!(answered["pictures"][0]["error"].as_str().unwrap().contains("panic"));
    assert_eq!(answered["pictures"][1]["name"], "b");
    let name =
        format!("nv_inference_request_failure{{model=\"{NAME}\",version=\"1\",reason=\"fault\"}}");
    assert_eq!(server.metric(&name), Some(3.0));
}
