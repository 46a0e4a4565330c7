//! Encrypted connections, and files that are of no use for them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use resnet_server::{ServeError, Server, Source};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::client::socket;
use crate::support::{Client, Folder, NAME, Request, Running, gate, options, picture};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn encrypted() -> Running {
    Running::new(|options| {
        options.tls = Some((fixture("cert.pem"), fixture("key.pem")));
        options.header_timeout = Duration::from_millis(200);
    })
}

/// A connection to who has our certificate.
fn connect(address: SocketAddr) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture("cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = socket(address);
    let stream = StreamOwned::new(session, socket.try_clone().unwrap());
    Client::over(socket, stream)
}

#[test]
fn answers_over_an_encrypted_connection_are_those_of_a_plain_one() {
    let (server, plain) = (encrypted(), Running::new(|_| {}));
    let mut client = connect(server.address);
    // Larger than a record, so that it comes in several.
    for request in [
        Request::post("/classify?top=2", picture(8, 8, 1)),
        Request::post("/classify?top=2", picture(300, 200, 1)),
    ] {
        let answer = client.ask(&request).good();
        assert_eq!(answer["pictures"][0]["top"], plain.ask(&request).good()["pictures"][0]["top"]);
    }
    client.ask(&Request::get("/nothing")).refused(404);
    assert_eq!(client.ask(&Request::get("/v2/health/live")).status, 200);
}

#[test]
fn who_does_not_encrypt_is_not_answered() {
    let server = encrypted();
    let mut client = Client::connect(server.address);
    client.write(&Request::get("/v2").head()).unwrap();
    // The record that says so is no answer of HTTP.
    while !client.is_ended() {}
    // Nor who says nothing.
    assert!(Client::connect(server.address).is_ended());
    connect(server.address).ask(&Request::get("/v2")).good();
}

#[test]
fn files_of_no_use_are_named() {
    let folder = Folder::new();
    let path = folder.model("small.safetensors", 1);
    let other = folder.write("other.pem", b"no certificate");
    let cases = [
        (folder.path("none.pem"), fixture("key.pem"), "none.pem"),
        (other.clone(), fixture("key.pem"), "other.pem"),
        (fixture("cert.pem"), other, "other.pem"),
        (fixture("key.pem"), fixture("key.pem"), "key.pem"),
    ];
    for (certificate, key, named) in cases {
        let mut options = options();
        options.tls = Some((certificate, key));
        let source = Source { name: NAME.into(), path: path.clone() };
        let (device, _) = gate::gated(1);
        let refused = Server::start(options, vec![source], device, Arc::new(|_: &str| {}));
        let refused = refused.err().unwrap();
        assert!(matches!(refused, ServeError::Certificate { .. }), "{refused}");
        assert!(refused.to_string().contains(named), "{refused}");
    }
}
