//! From the start, before models are loaded, to an end that loses nothing.

use std::thread;
use std::time::Duration;

use resnet_server::{ServeError, Server, Source};

use crate::support::{
    Client, Folder, NAME, PATIENCE, Request, Running, gate, options, picture, until,
};

fn classify() -> Request {
    Request::post("/classify", picture(8, 8, 1))
}

#[test]
fn before_its_models_are_there_it_lives_and_is_not_ready() {
    let mut server = Running::unloaded(|_| {});
    let targets = [
        "/v2/health/ready",
        "/ping",
        "/v2/models/small/ready",
        "/v2/models/small",
        "/v1/models/small",
    ];
    for target in targets {
        server.get(target).refused(503);
    }
    assert_eq!(server.get("/v2/health/live").good()["live"], true);
    assert_eq!(server.get("/v2/health/ready").value()["ready"], false);
    assert_eq!(server.get("/ping").value()["status"], "Unhealthy");
    assert_eq!(server.metric("resnet_ready"), Some(0.0));
    for target in ["/classify", "/v2/models/small/infer", "/v1/models/small:predict"] {
        let refused = server.ask(&Request::post(target, picture(8, 8, 1)));
        assert!(refused.refused(503).contains("not loaded"), "{target}");
    }
    server.load().unwrap();
    for target in targets {
        server.get(target).good();
    }
    assert_eq!(server.metric("resnet_ready"), Some(1.0));
    server.ask(&classify()).good();
}

#[test]
fn what_cannot_be_served_is_told_at_the_start() {
    let folder = Folder::new();
    let path = folder.model("small.safetensors", 1);
    let start = |names: &[&str], admin: bool| {
        let (device, _) = gate::gated(1);
        let mut options = options();
        options.admin = admin;
        let source = |name: &&str| Source { name: name.to_string(), path: path.clone() };
        let sources = names.iter().map(source).collect();
        Server::start(options, sources, device, std::sync::Arc::new(|_: &str| {})).err()
    };
    assert!(matches!(start(&[], false), Some(ServeError::None)));
    assert!(matches!(start(&["a", "a"], false), Some(ServeError::Twice(name)) if name == "a"));
    for name in ["", "a/b", "a:b", "a\"b", "a\nb"] {
        let refused = start(&[name], false);
        assert!(matches!(refused, Some(ServeError::Name(wrong)) if wrong == name), "{name:?}");
    }
    assert!(matches!(start(&["a"], true), Some(ServeError::OpenAdmin)));

    // A port that is taken.
    let server = Running::new(|_| {});
    let (device, _) = gate::gated(1);
    let mut options = options();
    options.listen = server.address;
    let source = Source { name: "a".into(), path };
    let log = std::sync::Arc::new(|_: &str| {});
    let refused = Server::start(options, vec![source], device, log).err().unwrap();
    assert!(refused.to_string().contains(&server.address.to_string()), "{refused}");

    // Models that are none.
    for (bytes, word) in [(&b"no model"[..], "small.safetensors"), (b"", "small.safetensors")] {
        let folder = Folder::new();
        let path = folder.write("small.safetensors", bytes);
        let mut server = Running::of(folder, vec![(NAME, path)], 1, |_| {});
        let refused = server.load().unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
        server.get("/v2/health/ready").refused(503);
    }
}

/// Ends a server on a thread of its own.
fn end(server: &mut Running) -> thread::JoinHandle<bool> {
    let server = server.take();
    thread::spawn(move || server.drain())
}

#[test]
fn what_was_begun_is_answered_and_nothing_more_is_taken() {
    let mut server = Running::new(|_| {});
    server.gate.close();
    let mut begun: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    begun.iter_mut().for_each(|client| client.send(&classify()));
    server.gate.wait_for(1);
    server.until_metric("resnet_queue_depth", 3.0);
    let mut idle = server.connect();
    assert!(!idle.ask(&Request::get("/v2")).closes());
    let (address, ended) = (server.address, end(&mut server));
    // Idle connections end, new ones are not taken.
    assert!(idle.is_ended());
    until("a refused connection", || std::net::TcpStream::connect(address).is_err());
    server.gate.open();
    for client in &mut begun {
        let response = client.receive().unwrap();
        response.good();
        assert!(response.closes() && client.is_ended());
    }
    assert!(ended.join().unwrap(), "connections were left");
}

#[test]
fn uploads_that_are_under_way_may_end() {
    let mut server = Running::new(|_| {});
    let file = picture(8, 8, 1);
    // Asked for its body, each is being answered.
    let request = Request::post("/classify", file.clone()).with("expect", "100-continue");
    let [mut uploading, mut stalled] = [(); 2].map(|()| {
        let mut client = server.connect();
        client.send_raw(&request.head());
        assert_eq!(client.receive().unwrap().status, 100);
        client
    });
    uploading.write(&file[..20]).unwrap();
    let (address, ended) = (server.address, end(&mut server));
    until("a refused connection", || std::net::TcpStream::connect(address).is_err());
    uploading.write(&file[20..]).unwrap();
    let response = uploading.receive().unwrap();
    response.good();
    assert!(response.closes());
    // What does not come is not waited for as long as a body may take.
    stalled.receive().unwrap().refused(503);
    assert!(ended.join().unwrap(), "connections were left");
}

#[test]
fn an_end_is_not_waited_for_longer_than_is_told() {
    let mut server = Running::new(|options| options.drain = Duration::from_millis(50));
    server.gate.close();
    let mut begun = server.connect();
    begun.send(&classify());
    server.gate.wait_for(1);
    assert!(!end(&mut server).join().unwrap(), "a picture waits, and all is said to be done");
}

#[test]
fn for_a_while_it_says_that_it_ends_and_still_answers() {
    // Far longer than the test: its thread is left behind.
    let mut server = Running::new(|options| options.drain_delay = 60 * PATIENCE);
    let _left = end(&mut server);
    until("it is not ready", || server.get("/v2/health/ready").status == 503);
    for target in ["/ping", "/v2/models/small/ready"] {
        server.get(target).refused(503);
    }
    assert_eq!(server.get("/v2/health/live").good()["live"], true);
    let response = server.ask(&classify());
    response.good();
    assert!(response.closes(), "who asks again is to ask another server");
}
