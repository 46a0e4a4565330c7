//! The Open Inference Protocol's inference, and explanations in its manner.

use std::sync::Arc;

use super::classify::{admitted, all, explains, note, timed};
use super::log::About;
use super::model::Loaded;
use super::queue::Client;
use super::state::{Batch, State, place};
use crate::http::{Call, Refusal, Reply};
use crate::wire::infer::{Infer, Kind, Output};
use crate::wire::tensor::Tensor;
use crate::wire::{Picture, v2};

/// Answers a request over HTTP.
pub(super) async fn infer(
    state: &State,
    call: &mut Call,
    about: &mut About,
    client: Client,
    name: &str,
    version: Option<&str>,
    explain: bool,
) -> Result<Reply, Refusal> {
    let model = admitted(state, call, about, client, name, version)?;
    let json_length = call.header(hyper::header::HeaderName::from_static(v2::JSON_LENGTH));
    let json_length = json_length.map(String::from);
    let body = call.body(state.options.max_body).await?;
    let mut request = v2::read(&body, json_length.as_deref())?;
    if explain {
        request.outputs = Output::usual(&Kind::EXPLAIN, false);
    }
    let tensors = run(state, about, client, &model, &request, call).await?;
    let reply = v2::write(&request, &model.name, &model.version.to_string(), &tensors);
    Ok(timed(reply, &about.stages))
}

/// Computes what a request asks, whatever it came by.
pub(super) async fn run(
    state: &State,
    about: &mut About,
    client: Client,
    model: &Arc<Loaded>,
    request: &Infer,
    call: &Call,
) -> Result<Vec<Tensor>, Refusal> {
    let predictor = &model.predictor;
    let ask = request.ask();
    explains(model, ask)?;
    request.check_outputs()?;
    let pictures = request.pictures(predictor.input_shape())?;
    let called = |(i, picture): (usize, Picture)| (place(i), picture);
    let pictures = pictures.into_iter().enumerate().map(called).collect();
    let Infer { priority, timeout, .. } = *request;
    let batch = Batch { model, client, ask, top: 1, priority, timeout };
    let seen = state.see(call, batch, pictures).await?;
    note(about, &seen);
    Ok(request.answer(&all(seen)?, predictor.classes()))
}
