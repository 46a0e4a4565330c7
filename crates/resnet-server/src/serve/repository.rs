//! What models there are and how they do, and their coming and going.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::model::{Loaded, Totals};
use super::models::Listed;
use super::state::State;
use crate::http::{Call, Refusal, Reply};
use crate::wire::json as text;

/// What it calls itself.
pub(crate) const NAME: &str = "resnet";
/// Its version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Extensions of the Open Inference Protocol that it knows.
pub(crate) const EXTENSIONS: [&str; 5] =
    ["binary_tensor_data", "classification", "schedule_policy", "statistics", "model_repository"];
/// Most bytes of a request that is not of pictures.
pub(super) const SMALL: usize = 64 << 10;
/// When to look again.
const SOON: Duration = Duration::from_secs(1);

pub(super) fn ping(state: &State) -> Reply {
    let ready = state.is_ready();
    health(ready, json!({ "status": if ready { "Healthy" } else { "Unhealthy" } }))
}

pub(super) fn ready(state: &State) -> Reply {
    let ready = state.is_ready();
    health(ready, json!({ "ready": ready, "live": true }))
}

/// What clients of health read, which is a refusal as well where the server is not ready.
fn health(ready: bool, mut body: Value) -> Reply {
    if ready {
        return Reply::json(&body);
    }
    body["error"] = "the server is loading its models, or stopping".into();
    let mut reply = Reply::json(&body).with(RETRY_AFTER, &SOON.as_secs().to_string());
    reply.status = StatusCode::SERVICE_UNAVAILABLE;
    reply
}

pub(super) fn server() -> Reply {
    Reply::json(&json!({ "name": NAME, "version": VERSION, "extensions": EXTENSIONS }))
}

pub(super) fn names(state: &State) -> Reply {
    Reply::json(&json!({ "models": state.models.names() }))
}

pub(super) fn v1_list(state: &State) -> Reply {
    names(state)
}

pub(super) fn v1_state(state: &State, name: &str) -> Result<Reply, Refusal> {
    state.models.get(name, None)?;
    Ok(Reply::json(&json!({ "name": name, "ready": true })))
}

pub(super) fn model_ready(
    state: &State,
    name: &str,
    version: Option<&str>,
) -> Result<Reply, Refusal> {
    state.models.get(name, version)?;
    match state.stopping.load(Ordering::SeqCst) {
        false => Ok(Reply::json(&json!({ "name": name, "ready": true }))),
        true => Err(Refusal::busy("stopping", "the server is stopping", SOON)),
    }
}

/// An input or output: name, type and shape without the number of pictures.
pub(crate) type Row = (&'static str, &'static str, Vec<i64>);

/// What a model reads.
pub(crate) fn inputs(model: &Loaded) -> [Row; 3] {
    let shape = model.predictor.input_shape();
    let [c, h, w] = [shape.c, shape.h, shape.w].map(|n| n as i64);
    [
        ("image", "BYTES", vec![1]),
        ("pixels", "UINT8", vec![-1, -1, -1]),
        ("input", "FP32", vec![c, h, w]),
    ]
}

/// What it answers.
pub(crate) fn outputs(model: &Loaded) -> [Row; 4] {
    let classes = model.predictor.classes().len() as i64;
    [
        ("probabilities", "FP32", vec![classes]),
        ("logits", "FP32", vec![classes]),
        ("labels", "BYTES", vec![]),
        ("embedding", "FP32", vec![model.predictor.features() as i64]),
    ]
}

/// The versions of a model that answer, newest last.
pub(crate) fn versions(state: &State, name: &str) -> Vec<String> {
    let listed = state.models.list().into_iter();
    let ready = listed.filter(|listed| listed.name == name && listed.ready);
    ready.map(|listed| listed.version.to_string()).collect()
}

pub(super) fn metadata(state: &State, name: &str, version: Option<&str>) -> Result<Reply, Refusal> {
    let model = state.models.get(name, version)?;
    let tensors = |rows: &[Row]| -> Vec<Value> {
        let tensor = |(name, datatype, dims): &Row| {
            let shape: Vec<i64> = std::iter::once(-1).chain(dims.iter().copied()).collect();
            json!({ "name": name, "datatype": datatype, "shape": shape })
        };
        rows.iter().map(tensor).collect()
    };
    let versions = match version {
        Some(version) => vec![version.to_owned()],
        None => versions(state, name),
    };
    Ok(Reply::json(&json!({
        "name": name, "versions": versions, "platform": NAME,
        "inputs": tensors(&inputs(&model)), "outputs": tensors(&outputs(&model)),
    })))
}

/// Triton's name of a type.
fn data_type(datatype: &str) -> &'static str {
    match datatype {
        "BYTES" => "TYPE_STRING",
        "UINT8" => "TYPE_UINT8",
        _ => "TYPE_FP32",
    }
}

pub(super) fn config(state: &State, name: &str, version: Option<&str>) -> Result<Reply, Refusal> {
    let model = state.models.get(name, version)?;
    let tensors = |rows: &[Row], optional: bool| -> Vec<Value> {
        let tensor = |(name, datatype, dims): &Row| {
            let mut value = json!({ "name": name, "data_type": data_type(datatype), "dims": dims });
            if optional {
                value["optional"] = true.into();
            }
            value
        };
        rows.iter().map(tensor).collect()
    };
    Ok(Reply::json(&json!({
        "name": name, "platform": NAME, "backend": NAME,
        "max_batch_size": crate::wire::MOST_PICTURES,
        "input": tensors(&inputs(&model), true), "output": tensors(&outputs(&model), false),
        "instance_group": [{
            "name": name, "kind": "KIND_CPU", "count": state.shop.queue.workers(),
        }],
    })))
}

/// The versions that statistics are asked of.
///
/// # Errors
/// There is no such model or version.
pub(crate) fn counted(
    state: &State,
    name: Option<&str>,
    version: Option<&str>,
) -> Result<Vec<Listed>, Refusal> {
    if let Some(name) = name {
        state.models.get(name, version)?;
    }
    let fits = |listed: &Listed| {
        name.is_none_or(|name| name == listed.name)
            && version.is_none_or(|version| version == listed.version.to_string())
    };
    Ok(state.models.list().into_iter().filter(fits).collect())
}

pub(super) fn statistics(
    state: &State,
    name: Option<&str>,
    version: Option<&str>,
) -> Result<Reply, Refusal> {
    let stats = |listed: Listed| {
        let totals = listed.counts.totals();
        let Totals { success, queue, decode, compute, last, .. } = &totals;
        let of =
            |count: u64, time: Duration| json!({ "count": count, "ns": time.as_nanos() as u64 });
        json!({
            "name": listed.name, "version": listed.version.to_string(),
            "last_inference": last, "inference_count": success, "execution_count": success,
            "inference_stats": {
                "success": of(*success, *queue + *decode + *compute),
                "fail": of(totals.failure.values().sum(), Duration::ZERO),
                "queue": of(*success, *queue),
                "compute_input": of(*success, *decode),
                "compute_infer": of(*success, *compute),
                "compute_output": of(*success, Duration::ZERO),
                "cache_hit": of(0, Duration::ZERO),
                "cache_miss": of(0, Duration::ZERO),
            },
            "batch_stats": [],
        })
    };
    let all: Vec<Value> = counted(state, name, version)?.into_iter().map(stats).collect();
    Ok(Reply::json(&json!({ "model_stats": all })))
}

/// The state of a version, in the protocol's word, and why.
pub(crate) fn standing(listed: &Listed) -> (&'static str, String) {
    let word = if listed.ready { "READY" } else { "UNAVAILABLE" };
    (word, listed.problem.clone().unwrap_or_default())
}

#[derive(Default, Deserialize)]
struct Index {
    #[serde(default)]
    ready: bool,
}

pub(super) async fn index(state: &State, call: &mut Call) -> Result<Reply, Refusal> {
    let body = call.body(SMALL).await?;
    let Index { ready } = match body.is_empty() {
        true => Index::default(),
        false => text::read(&body)?,
    };
    let listed = state.models.list().into_iter().filter(|listed| listed.ready || !ready);
    let row = |listed: Listed| {
        let (word, reason) = standing(&listed);
        json!({
            "name": listed.name, "version": listed.version.to_string(),
            "state": word, "reason": reason,
        })
    };
    Ok(Reply::json(&listed.map(row).collect::<Vec<_>>()))
}

#[derive(Default, Deserialize)]
struct Change {
    #[serde(default)]
    parameters: Map<String, Value>,
}

pub(super) async fn change(
    state: &State,
    call: &mut Call,
    name: &str,
    load: bool,
) -> Result<Reply, Refusal> {
    may_change(state)?;
    let body = call.body(SMALL).await?;
    let Change { parameters } = match body.is_empty() {
        true => Change::default(),
        false => text::read(&body)?,
    };
    only_names(parameters.keys())?;
    load_or_unload(state, name, load).await?;
    Ok(Reply::json(&json!({})))
}

/// Refuses parameters that would say what is loaded.
pub(super) fn only_names<'a>(mut names: impl Iterator<Item = &'a String>) -> Result<(), Refusal> {
    match names.find(|name| *name != "unload_dependents") {
        None => Ok(()),
        Some(other) => Err(Refusal::malformed(format!(
            "`{other}` is not possible: models come from the places that the server was started with"
        ))),
    }
}

/// Whether models may come and go by requests.
///
/// # Errors
/// They may not.
pub(crate) fn may_change(state: &State) -> Result<(), Refusal> {
    match state.options.admin {
        true => Ok(()),
        false => Err(Refusal::forbidden(
            "models are not loaded or unloaded by requests here; the server was not started for it",
        )),
    }
}

/// Loads or unloads a model.
///
/// # Errors
/// There is none of this name, or it cannot be loaded.
pub(crate) async fn load_or_unload(state: &State, name: &str, load: bool) -> Result<(), Refusal> {
    if !state.models.names().iter().any(|known| known == name) {
        return Err(Refusal::unknown(format!("there is no model `{name}`")));
    }
    if !load {
        return state.models.unload(name);
    }
    let outcome = state.load(Some(name)).await?;
    match outcome.failed.first() {
        None => Ok(()),
        Some(problem) => Err(Refusal::malformed(format!("cannot be loaded: {problem}"))),
    }
}
