//! The service as its clients see it: bytes of HTTP/2 in, statuses and messages out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use h2::client::SendRequest;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HeaderMap;
use prost::Message;
use resnet::data::{Normalize, Preprocess};
use resnet::engine::exec::{Session, cpu};
use resnet::engine::plan::{Options as PlanOptions, Plan};
use resnet::measure::predict::How;
use resnet::net::Arch;
use resnet::{Model, Precision, Shape};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::*;
use crate::http::{Listening, Phase, Tokens};
use crate::serve::budget::Budget;
use crate::serve::metrics::Metrics;
use crate::serve::models::Models;
use crate::serve::queue::{Gang, Queue};
use crate::serve::work::Workshop;
use crate::serve::{Options, Server, Source};
use crate::wire::grpc::messages::{InferInputTensor, InferTensorContents, ModelInferResponse};

const SHAPE: Shape = Shape::new(1, 8, 8);
const TOKEN: &str = "0123456789abcdef";

/// A model file of random weights, there until this is dropped.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> File {
        let name = format!("resnet-grpc-{}-{name}.safetensors", std::process::id());
        let path = std::env::temp_dir().join(name);
        let (device, arch) = (cpu(1).unwrap(), Arch::parse("resnet8").unwrap());
        let graph = arch.graph(SHAPE, 3).unwrap();
        let plan = Plan::build(&graph, PlanOptions::infer(1)).unwrap();
        let mut session = Session::new(device.as_ref(), plan).unwrap();
        resnet::model::initialise(&mut session, &graph, 5).unwrap();
        let normalize = Normalize::Channel { mean: vec![0.5], std: vec![0.25] };
        let preprocess = Preprocess { shape: SHAPE, resize: None, normalize };
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        Model::of(&session, arch, classes, preprocess).unwrap().save(&path).unwrap();
        File(path)
    }

    fn source(&self) -> Source {
        Source { name: "m".into(), path: self.0.clone() }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn options() -> Options {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Options { grpc: Some(any), max_body: 1 << 14, ..Options::on(any) }
}

/// Runs a test against a server that listens.
fn against(name: &str, options: Options, test: impl AsyncFnOnce(&mut Client)) {
    let file = File::new(name);
    let device = cpu(2).unwrap();
    let log = Arc::new(|_: &str| ());
    let mut server = Server::start(options, vec![file.source()], device, log).unwrap();
    server.load().unwrap();
    let address = server.grpc_address().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        test(&mut Client { send, headers: vec![] }).await;
    });
    drop(runtime);
    assert!(server.drain(), "connections were left");
}

struct Client {
    send: SendRequest<Bytes>,
    /// Sent with every call.
    headers: Vec<(&'static str, String)>,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    headers: HeaderMap,
    body: Vec<u8>,
    code: u16,
    text: String,
}

impl Client {
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = Request::post(format!("http://localhost{path}"));
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/grpc");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut ready = self.send.clone().ready().await.unwrap();
        let (answer, mut out) = ready.send_request(request.body(()).unwrap(), false).unwrap();
        // A server that has answered already takes no more.
        let _ = out.send_data(body.into(), true);
        let answer = answer.await.unwrap();
        let headers = answer.headers().clone();
        let (mut stream, mut body) = (answer.into_body(), Vec::new());
        while let Some(data) = stream.data().await {
            body.extend_from_slice(&data.unwrap());
        }
        let trailers = stream.trailers().await.unwrap().unwrap_or_default();
        let text = |name: &str| trailers.get(name).map(|value| value.to_str().unwrap());
        Answer {
            headers,
            body,
            code: text("grpc-status").map_or(u16::MAX, |code| code.parse().unwrap()),
            text: text("grpc-message").unwrap_or_default().to_owned(),
        }
    }

    /// Calls a method with a message.
    async fn ask(&self, method: &str, message: &impl Message) -> Answer {
        self.post(&format!("{SERVICE}{method}"), &[], framed(0, &message.encode_to_vec())).await
    }

    /// The message that a method answers with.
    async fn get<M: Message + Default>(&self, method: &str, message: &impl Message) -> M {
        let answer = self.ask(method, message).await;
        assert_eq!((answer.code, answer.text.as_str()), (0, ""), "{method}");
        let (message, _) = frame::read(answer.body.into(), None).unwrap();
        M::decode(message).unwrap()
    }

    /// The code that a method ends with.
    async fn code(&self, method: &str, message: &impl Message) -> u16 {
        self.ask(method, message).await.code
    }
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

fn named(name: &str) -> ModelRequest {
    ModelRequest { name: name.into(), version: String::new() }
}

fn pixels() -> Vec<u8> {
    (0..64).map(|i| i * 3).collect()
}

/// The same picture as a file.
fn pgm() -> Vec<u8> {
    [b"P5 8 8 255\n", &pixels()[..]].concat()
}

fn raw(name: &str, datatype: &str, shape: &[i64], bytes: Vec<u8>) -> ModelInferRequest {
    let (name, datatype, shape) = (name.into(), datatype.into(), shape.to_vec());
    ModelInferRequest {
        model_name: "m".into(),
        id: "7".into(),
        inputs: vec![InferInputTensor { name, datatype, shape, ..Default::default() }],
        raw_input_contents: vec![bytes.into()],
        ..Default::default()
    }
}

fn typed(mut request: ModelInferRequest, contents: InferTensorContents) -> ModelInferRequest {
    request.raw_input_contents.clear();
    request.inputs[0].contents = Some(contents);
    request
}

fn image() -> ModelInferRequest {
    let file = pgm();
    raw("image", "BYTES", &[1], [&(file.len() as u32).to_le_bytes(), &file[..]].concat())
}

fn probabilities(answer: &ModelInferResponse) -> Vec<f32> {
    assert_eq!(
        (&answer.outputs[0].name[..], &answer.outputs[0].shape[..]),
        ("probabilities", &[1, 3][..])
    );
    match &answer.outputs[0].contents {
        Some(contents) => contents.fp32_contents.clone(),
        None => {
            let (numbers, _) = answer.raw_output_contents[0].as_chunks::<4>();
            numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        }
    }
}

#[test]
fn every_method_answers() {
    against("methods", options(), async |client| {
        let live: ServerLiveResponse = client.get("ServerLive", &Empty {}).await;
        let ready: ServerReadyResponse = client.get("ServerReady", &Empty {}).await;
        assert!(live.live && ready.ready);
        let server: ServerMetadataResponse = client.get("ServerMetadata", &Empty {}).await;
        assert_eq!((&server.name[..], server.extensions.len()), ("resnet", 5));
        for (name, there) in [("m", true), ("n", false)] {
            let ready: ModelReadyResponse = client.get("ModelReady", &named(name)).await;
            assert_eq!(ready.ready, there);
        }
        let model: ModelMetadataResponse = client.get("ModelMetadata", &named("m")).await;
        assert_eq!(model.versions, ["1"]);
        assert_eq!(
            (&model.inputs[2].datatype[..], &model.inputs[2].shape[..]),
            ("FP32", &[-1, 1, 8, 8][..])
        );
        assert_eq!(model.outputs[0].shape, [-1, 3]);
        let config: ModelConfigResponse = client.get("ModelConfig", &named("m")).await;
        let config = config.config.unwrap();
        assert_eq!((&config.name[..], &config.backend[..]), ("m", "resnet"));
        assert_eq!(
            config.input.iter().map(|input| input.data_type).collect::<Vec<_>>(),
            [13, 2, 11]
        );

        let answer: ModelInferResponse = client.get("ModelInfer", &image()).await;
        assert_eq!((&answer.id[..], &answer.model_version[..]), ("7", "1"));
        let statistics: ModelStatisticsResponse = client.get("ModelStatistics", &named("")).await;
        assert_eq!(
            (statistics.model_stats.len(), statistics.model_stats[0].inference_count),
            (1, 1)
        );
        let asked = RepositoryIndexRequest { ready: true };
        let index: RepositoryIndexResponse = client.get("RepositoryIndex", &asked).await;
        assert_eq!((&index.models[0].name[..], &index.models[0].state[..]), ("m", "READY"));
    });
}

#[test]
fn a_picture_is_the_same_however_it_comes() {
    against("forms", options(), async |client| {
        let input: Vec<f32> =
            pixels().iter().map(|p| (f32::from(*p) / 255.0 - 0.5) / 0.25).collect();
        let bytes = input.iter().flat_map(|x| x.to_le_bytes()).collect();
        let rows = [
            raw("pixels", "UINT8", &[1, 8, 8, 1], pixels()),
            raw("input", "FP32", &[1, 1, 8, 8], bytes),
            image(),
        ];
        let contents = InferTensorContents {
            uint_contents: pixels().iter().copied().map(u32::from).collect(),
            fp32_contents: input,
            bytes_contents: vec![pgm().into()],
            ..Default::default()
        };
        let mut all = Vec::new();
        for request in rows {
            for typed in [false, true] {
                let request = match typed {
                    true => self::typed(request.clone(), contents.clone()),
                    false => request.clone(),
                };
                let answer: ModelInferResponse = client.get("ModelInfer", &request).await;
                assert_eq!(answer.raw_output_contents.is_empty(), typed);
                all.push(probabilities(&answer));
            }
        }
        assert!((all[0].iter().sum::<f32>() - 1.0).abs() < 1e-6);
        for found in &all {
            for (a, b) in found.iter().zip(&all[0]) {
                assert!((a - b).abs() < 1e-5, "{all:?}");
            }
        }
    });
}

#[test]
fn refusals_have_a_code_and_a_text() {
    against("refusals", options(), async |client| {
        let asked = |change: &dyn Fn(&mut ModelInferRequest)| {
            let mut request = image();
            change(&mut request);
            framed(0, &request.encode_to_vec())
        };
        let (good, damaged) = (asked(&|_| ()), b"P5 8 8 255\n\0".to_vec());
        let cut = asked(&|request| {
            *request = typed(
                request.clone(),
                InferTensorContents {
                    bytes_contents: vec![damaged.clone().into()],
                    ..Default::default()
                },
            );
        });
        let gzip = {
            use std::io::Write;
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            gzip.write_all(&vec![0; 1 << 20]).unwrap();
            framed(1, &gzip.finish().unwrap())
        };
        let infer = format!("{SERVICE}ModelInfer");
        let ready = format!("{SERVICE}ModelReady");
        let gzipped = &[("grpc-encoding", "gzip")][..];
        let cases = [
            (&infer[..], &[][..], asked(&|r| r.model_name = "no\nne".into()), 5, "`no%0Ane`"),
            (&infer, &[], asked(&|r| r.model_version = "9".into()), 5, "no version `9`"),
            (&infer, &[], asked(&|r| r.inputs.clear()), 3, "one for each of 0 inputs"),
            (&infer, &[], cut, 3, "picture 1"),
            (&infer, &[], framed(0, b"\xff"), 3, "not the one expected"),
            (&infer, &[], framed(0, &b"\x2a\0".repeat(5000)), 3, "4096 parts"),
            (&infer, &[], [good.clone(), good.clone()].concat(), 3, "expected one message"),
            (&infer, &[], good[..20].to_vec(), 3, "cut off"),
            (&infer, &[], vec![], 3, "no message"),
            (&infer, &[], framed(0, &[0; 20_000]), 8, "16389 bytes that are taken"),
            (&infer, gzipped, gzip, 8, "more than 16384 bytes"),
            (&infer, gzipped, framed(1, b"none"), 3, "damaged"),
            (&infer, &[("grpc-encoding", "br")], good.clone(), 12, "`br`"),
            (&infer, &[("grpc-timeout", "soon")], good.clone(), 3, "grpc-timeout is `soon`"),
            (&infer, &[("grpc-timeout", "0n")], good.clone(), 4, "deadline"),
            (&ready, &[], framed(0, &[0; 1 << 17]), 8, "larger than"),
            (
                "/inference.GRPCInferenceService/ModelStreamInfer",
                &[],
                good.clone(),
                12,
                "no method",
            ),
            ("/other.Service/ModelReady", &[], good.clone(), 12, "no method"),
        ];
        for (path, headers, body, code, text) in cases {
            let answer = client.post(path, headers, body).await;
            assert_eq!(answer.code, code, "{text}: {answer:?}");
            assert!(answer.text.contains(text), "{text}: {answer:?}");
            assert_eq!(answer.headers["grpc-accept-encoding"], "identity,deflate,gzip");
            assert!(answer.headers.contains_key("x-request-id"));
        }
        // And who does not speak gRPC is told in HTTP's words.
        let json = client.post("/v2", &[("content-type", "application/json")], vec![]).await;
        assert_eq!(json.headers["content-type"], "application/json");
        assert!(String::from_utf8(json.body).unwrap().contains("expected application/grpc"));
        // All the same, the connection is as good as before.
        let _: ModelInferResponse = client.get("ModelInfer", &image()).await;
    });
}

#[test]
fn tokens_open_what_they_open_over_http() {
    let tokens = Some(Tokens::parse(TOKEN).unwrap());
    against("tokens", Options { tokens, admin: true, ..options() }, async |client| {
        let live: ServerLiveResponse = client.get("ServerLive", &Empty {}).await;
        assert!(live.live);
        assert_eq!(client.code("ModelReady", &named("m")).await, 16);
        let load = |model: &str, parameters: &[&str]| RepositoryModelRequest {
            parameters: parameters.iter().map(|name| (name.to_string(), Empty {})).collect(),
            model_name: model.into(),
            ..Default::default()
        };
        assert_eq!(client.code("RepositoryModelUnload", &load("m", &[])).await, 16);
        client.headers.push(("authorization", format!("Bearer {TOKEN}")));
        let ready = async || -> bool {
            client.get::<ModelReadyResponse>("ModelReady", &named("m")).await.ready
        };
        assert!(ready().await);
        let Empty {} =
            client.get("RepositoryModelUnload", &load("m", &["unload_dependents"])).await;
        assert!(!ready().await);
        assert_eq!(client.code("ModelInfer", &image()).await, 14);
        assert_eq!(client.code("RepositoryModelLoad", &load("m", &["config"])).await, 3);
        assert_eq!(client.code("RepositoryModelLoad", &load("n", &[])).await, 5);
        let Empty {} = client.get("RepositoryModelLoad", &load("m", &[])).await;
        assert!(ready().await);
        let _: ModelInferResponse = client.get("ModelInfer", &image()).await;
    });
    against("admin", options(), async |client| {
        // As KServe's messages name the model.
        let load = RepositoryModelRequest { repository_name: "m".into(), ..Default::default() };
        assert_eq!(client.code("RepositoryModelLoad", &load).await, 7);
    });
}

/// A server without threads that compute, in time that passes only when nothing else happens.
async fn idle(file: &File) -> (Client, Arc<State>) {
    let device = cpu(1).unwrap();
    let how = How { precision: Precision::F32, explain: true };
    let options = options();
    let shop = Workshop {
        queue: Queue::new(Box::new(Gang(1)), options.max_wait),
        budget: Budget::new(options.decode_memory),
        most_pixels: options.max_pixels,
        metrics: Metrics::default(),
    };
    let models = Models::new(vec![file.source()], how, device);
    assert!(models.load(None, true).failed.is_empty());
    let timeouts = options.timeouts();
    let (loader, _) = mpsc::channel();
    let state = Arc::new(State::new(options, models, shop, Arc::new(|_: &str| ()), loader));
    let (near, far) = tokio::io::duplex(1 << 16);
    let (phase, phases) = watch::channel(Phase::Serving);
    let listening = Listening::in_test(Arc::new(Service(state.clone())), timeouts, phases);
    tokio::spawn(async move {
        listening.speak(far, SocketAddr::from(([127, 0, 0, 1], 1))).await;
        drop(phase);
    });
    let (send, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    (Client { send, headers: vec![] }, state)
}

#[tokio::test(start_paused = true)]
async fn an_answer_does_not_outlast_the_deadline_of_its_client() {
    let file = File::new("deadline");
    let (client, _state) = idle(&file).await;
    let began = tokio::time::Instant::now();
    let body = framed(0, &image().encode_to_vec());
    let path = format!("{SERVICE}ModelInfer");
    let answer = client.post(&path, &[("grpc-timeout", "3S")], body).await;
    assert_eq!((answer.code, began.elapsed().as_secs()), (4, 3), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_cancels_is_not_computed() {
    let file = File::new("cancel");
    let (client, state) = idle(&file).await;
    let request = Request::post(format!("http://localhost{SERVICE}ModelInfer"))
        .header("content-type", "application/grpc");
    let mut ready = client.send.clone().ready().await.unwrap();
    let (answer, mut out) = ready.send_request(request.body(()).unwrap(), false).unwrap();
    out.send_data(framed(0, &image().encode_to_vec()).into(), true).unwrap();
    while state.shop.queue.len() == 0 {
        tokio::task::yield_now().await;
    }
    let mut taken = state.shop.queue.take().unwrap();
    assert!(!taken.jobs[0].reply.is_closed());
    out.send_reset(h2::Reason::CANCEL);
    taken.jobs[0].reply.closed().await;
    drop(answer);
}
