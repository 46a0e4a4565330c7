//! The Open Inference Protocol over gRPC: other messages for the models, queue and tokens that HTTP
//! has. A call whose client cancels it is dropped, and its pictures with it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::HeaderName;
use prost::Message;
use tokio::time::timeout_at;

use super::classify::timed;
use super::log::About;
use super::model::Totals;
use super::models::Listed;
use super::queue::Client;
use super::repository::{self, Row, SMALL};
use super::routes::finish;
use super::state::State;
use crate::http::{App, Call, Refusal, Reply};
use crate::wire::MOST_PICTURES;
use crate::wire::grpc::messages::{
    Empty, InferStatistics, ModelConfig, ModelConfigResponse, ModelIndex, ModelInferRequest,
    ModelInput, ModelInstanceGroup, ModelMetadataResponse, ModelOutput, ModelReadyResponse,
    ModelRequest, ModelStatistics, ModelStatisticsResponse, RepositoryIndexRequest,
    RepositoryIndexResponse, RepositoryModelRequest, ServerLiveResponse, ServerMetadataResponse,
    ServerReadyResponse, StatisticDuration, TensorMetadata, data_type,
};
use crate::wire::grpc::{Code, Status, convert, frame, within_limits};

/// The server as gRPC sees it.
pub(crate) struct Service(pub(crate) Arc<State>);

/// What the path of every call begins with.
const SERVICE: &str = "/inference.GRPCInferenceService/";
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

impl App for Service {
    fn call(self: Arc<Self>, call: Call) -> Pin<Box<dyn Future<Output = Reply> + Send>> {
        Box::pin(async move { answer(&self.0, call).await })
    }
}

async fn answer(state: &State, mut call: Call) -> Reply {
    let mut about = About::default();
    let (status, mut reply) = match is_grpc(&call) {
        // Who does not speak gRPC would not understand its refusal.
        Err(refusal) => (refusal.status, refusal.reply()),
        Ok(()) => match in_time(state, &mut call, &mut about).await {
            Ok(reply) => (reply.status, reply),
            Err(status) => (status.refusal.status, status.reply()),
        },
    };
    finish(state, &call, about, status, &mut reply);
    reply
}

fn is_grpc(call: &Call) -> Result<(), Refusal> {
    if call.method != Method::POST {
        return Err(Refusal::method(&call.method, "POST"));
    }
    match call.content_type().as_str() {
        "application/grpc" | "application/grpc+proto" => Ok(()),
        other => Err(Refusal::format(format!(
            "the content type is `{other}`; expected application/grpc, HTTP is at another port"
        ))),
    }
}

/// Answers a call before its client's deadline, if it has one, or not at all.
async fn in_time(state: &State, call: &mut Call, about: &mut About) -> Result<Reply, Status> {
    let Some(text) = call.header(TIMEOUT) else { return method(state, call, about, None).await };
    let timeout = frame::timeout(text)?;
    let deadline = call.began + timeout;
    let answered = timeout_at(deadline.into(), method(state, call, about, Some(timeout))).await;
    answered.unwrap_or_else(|_| {
        let timeout = timeout.as_secs_f64();
        Err(Refusal::late(format!("the deadline of {timeout:.3} s has passed")).into())
    })
}

async fn method(
    state: &State,
    call: &mut Call,
    about: &mut About,
    timeout: Option<Duration>,
) -> Result<Reply, Status> {
    let name = call.path.strip_prefix(SERVICE).unwrap_or_default().to_owned();
    match name.as_str() {
        "ServerLive" => {
            let Empty {} = read(call).await?;
            return Ok(frame::write(&ServerLiveResponse { live: true }));
        }
        "ServerReady" => {
            let Empty {} = read(call).await?;
            return Ok(frame::write(&ServerReadyResponse { ready: state.is_ready() }));
        }
        _ => {}
    }
    let client = state.client(call)?;
    match name.as_str() {
        "ServerMetadata" => {
            let Empty {} = read(call).await?;
            Ok(server_metadata())
        }
        "ModelReady" => Ok(model_ready(state, &read(call).await?)),
        "ModelMetadata" => Ok(model_metadata(state, &read(call).await?)?),
        "ModelConfig" => Ok(model_config(state, &read(call).await?)?),
        "ModelStatistics" => Ok(model_statistics(state, &read(call).await?)?),
        "ModelInfer" => model_infer(state, call, about, client, timeout).await,
        "RepositoryIndex" => Ok(repository_index(state, &read(call).await?)),
        "RepositoryModelLoad" => repository_model(state, call, true).await,
        "RepositoryModelUnload" => repository_model(state, call, false).await,
        _ => {
            let message = format!("there is no method {}", call.path);
            Err(Status::new(Code::Unimplemented, Refusal::unknown(message)))
        }
    }
}

/// The bytes of a call's message, at most `most` of them.
async fn message(call: &mut Call, most: usize) -> Result<Bytes, Status> {
    let encoding = call.header(ENCODING).map(String::from);
    let body = call.body(most + frame::HEAD).await?;
    let (packed, coding) = frame::read(body, encoding.as_deref())?;
    Ok(call.unpacked(packed, coding, most).await?)
}

/// A message without pictures.
async fn read<M: Message + Default>(call: &mut Call) -> Result<M, Status> {
    Ok(frame::decode(message(call, SMALL).await?)?)
}

/// A version as it is asked for; none for the newest.
fn version(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn server_metadata() -> Reply {
    frame::write(&ServerMetadataResponse {
        name: repository::NAME.into(),
        version: repository::VERSION.into(),
        extensions: repository::EXTENSIONS.map(String::from).to_vec(),
    })
}

/// One that is not there is not ready, which clients expect instead of a refusal.
fn model_ready(state: &State, asked: &ModelRequest) -> Reply {
    let there = state.models.get(&asked.name, version(&asked.version)).is_ok();
    let ready = there && !state.stopping.load(Ordering::SeqCst);
    frame::write(&ModelReadyResponse { ready })
}

fn model_metadata(state: &State, asked: &ModelRequest) -> Result<Reply, Refusal> {
    let model = state.models.get(&asked.name, version(&asked.version))?;
    let tensors = |rows: &[Row]| {
        let tensor = |(name, datatype, dims): &Row| TensorMetadata {
            name: (*name).into(),
            datatype: (*datatype).into(),
            shape: std::iter::once(-1).chain(dims.iter().copied()).collect(),
        };
        rows.iter().map(tensor).collect()
    };
    let versions = match version(&asked.version) {
        Some(version) => vec![version.to_owned()],
        None => repository::versions(state, &asked.name),
    };
    Ok(frame::write(&ModelMetadataResponse {
        name: model.name.clone(),
        versions,
        platform: repository::NAME.into(),
        inputs: tensors(&repository::inputs(&model)),
        outputs: tensors(&repository::outputs(&model)),
    }))
}

fn model_config(state: &State, asked: &ModelRequest) -> Result<Reply, Refusal> {
    /// The number of `KIND_CPU`.
    const CPU: i32 = 2;
    let model = state.models.get(&asked.name, version(&asked.version))?;
    let input = |(name, datatype, dims): Row| ModelInput {
        name: name.into(),
        data_type: data_type(datatype),
        dims,
        optional: true,
    };
    let output = |(name, datatype, dims): Row| ModelOutput {
        name: name.into(),
        data_type: data_type(datatype),
        dims,
    };
    let instances = ModelInstanceGroup {
        name: model.name.clone(),
        count: state.shop.queue.workers() as i32,
        kind: CPU,
    };
    let config = ModelConfig {
        name: model.name.clone(),
        platform: repository::NAME.into(),
        max_batch_size: MOST_PICTURES as i32,
        input: repository::inputs(&model).map(input).to_vec(),
        output: repository::outputs(&model).map(output).to_vec(),
        instance_group: vec![instances],
        backend: repository::NAME.into(),
    };
    Ok(frame::write(&ModelConfigResponse { config: Some(config) }))
}

fn model_statistics(state: &State, asked: &ModelRequest) -> Result<Reply, Refusal> {
    let listed = repository::counted(state, version(&asked.name), version(&asked.version))?;
    let model_stats = listed.into_iter().map(statistics).collect();
    Ok(frame::write(&ModelStatisticsResponse { model_stats }))
}

fn statistics(listed: Listed) -> ModelStatistics {
    let Totals { success, failure, queue, decode, compute, last } = listed.counts.totals();
    let of =
        |count: u64, time: Duration| Some(StatisticDuration { count, ns: time.as_nanos() as u64 });
    ModelStatistics {
        name: listed.name,
        version: listed.version.to_string(),
        last_inference: last,
        inference_count: success,
        execution_count: success,
        inference_stats: Some(InferStatistics {
            success: of(success, queue + decode + compute),
            fail: of(failure.values().sum(), Duration::ZERO),
            queue: of(success, queue),
            compute_input: of(success, decode),
            compute_infer: of(success, compute),
            compute_output: of(success, Duration::ZERO),
        }),
    }
}

async fn model_infer(
    state: &State,
    call: &mut Call,
    about: &mut About,
    client: Client,
    timeout: Option<Duration>,
) -> Result<Reply, Status> {
    // Before the body is read, which names the model: to refuse has to be cheap.
    state.shop.queue.admit(client, state.deadline(call.began, timeout))?;
    let bytes = message(call, state.options.max_body).await?;
    within_limits(&bytes)?;
    let request: ModelInferRequest = frame::decode(bytes)?;
    let model = state.models.get(&request.model_name, version(&request.model_version))?;
    about.model = Some((model.name.clone(), model.version));
    let mut request = convert::read(request)?;
    request.timeout = request.timeout.into_iter().chain(timeout).min();
    let tensors = super::infer::run(state, about, client, &model, &request, call).await?;
    let version = model.version.to_string();
    let reply = frame::write(&convert::write(&request, &model.name, &version, tensors));
    Ok(timed(reply, &about.stages))
}

fn repository_index(state: &State, asked: &RepositoryIndexRequest) -> Reply {
    let listed = state.models.list().into_iter().filter(|listed| listed.ready || !asked.ready);
    let row = |listed: Listed| {
        let (word, reason) = repository::standing(&listed);
        ModelIndex {
            name: listed.name,
            version: listed.version.to_string(),
            state: word.into(),
            reason,
        }
    };
    frame::write(&RepositoryIndexResponse { models: listed.map(row).collect() })
}

async fn repository_model(state: &State, call: &mut Call, load: bool) -> Result<Reply, Status> {
    repository::may_change(state)?;
    let asked: RepositoryModelRequest = read(call).await?;
    repository::only_names(asked.parameters.keys())?;
    repository::load_or_unload(state, asked.model(), load).await?;
    Ok(frame::write(&Empty {}))
}

#[cfg(test)]
mod tests;
