//! Pictures in, labels out: this server's own route, TorchServe's and the older protocol.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HeaderName};
use resnet::measure::predict::{Ask, Look};
use serde_json::{Value, json};

use super::log::About;
use super::model::Loaded;
use super::queue::Client;
use super::state::{Batch, State, none_refused, place, sum};
use crate::http::{Call, Refusal, Reply};
use crate::wire::classify::{Body, Named, Shown};
use crate::wire::{Picture, Seen, Stages, classify, ms, v1};

const TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Classes that are told where nobody says how many.
const TOP: usize = 5;

/// What models there are, and what may be sent to them.
pub(super) fn about(state: &State) -> Reply {
    let default = state.models.default_name();
    let models: Vec<Value> = state
        .models
        .list()
        .into_iter()
        .map(|listed| {
            let mut model = json!({
                "name": listed.name, "version": listed.version.to_string(),
                "default": listed.name == default,
                "state": if listed.ready { "ready" } else { "unavailable" },
            });
            if let Some(loaded) = &listed.loaded {
                let predictor = &loaded.predictor;
                let shape = predictor.input_shape();
                model["arch"] = predictor.arch().into();
                model["classes"] = predictor.classes().len().into();
                model["input"] = json!([shape.h, shape.w]);
                model["channels"] = shape.c.into();
                model["precision"] = predictor.precision().to_string().into();
                let known = predictor.confidence();
                model["likeness"] = known.is_some_and(|known| known.likeness.is_some()).into();
                model["calibrated"] = known.map_or(Value::Null, |known| {
                    json!({
                        "temperature": known.temperature, "threshold": known.threshold,
                        "precision": known.precision,
                    })
                });
            }
            model
        })
        .collect();
    Reply::json(&json!({
        "models": models,
        "limits": {
            "body_bytes": state.options.max_body,
            "pixels": state.options.max_pixels,
            "pictures": crate::wire::MOST_PICTURES,
            "timeout_s": state.options.timeout.as_secs_f64(),
        },
    }))
}

/// The model that a call is about, if there is room for a picture more.
pub(super) fn admitted(
    state: &State,
    call: &Call,
    about: &mut About,
    client: Client,
    name: &str,
    version: Option<&str>,
) -> Result<Arc<Loaded>, Refusal> {
    let model = state.models.get(name, version)?;
    about.model = Some((model.name.clone(), model.version));
    // Before the body is read: to refuse has to be cheap.
    state.shop.queue.admit(client, state.deadline(call.began, None))?;
    Ok(model)
}

/// What a query may say.
const KNOWN: [&str; 5] = ["top", "cam", "class", "embedding", "logits"];

pub(super) async fn classify(
    state: &State,
    call: &mut Call,
    about: &mut About,
    client: Client,
    named: &[&str],
) -> Result<Reply, Refusal> {
    let name = named.first().copied().unwrap_or_else(|| state.models.default_name()).to_owned();
    let model = admitted(state, call, about, client, &name, named.get(1).copied())?;
    let classes = model.predictor.classes().len();
    let query = call.query.clone();
    if let Some(other) = query.names().find(|name| !KNOWN.contains(name)) {
        let known = KNOWN.join(", ");
        return Err(Refusal::malformed(format!("there is no `{other}`; expected {known}")));
    }
    let top = query.number("top", 1..=u32::MAX as usize)?.unwrap_or(TOP).min(classes);
    let class = query.number("class", 0..=classes - 1)?;
    let look = class.map_or(Look::Likeliest, Look::Class);
    let cam = query.flag("cam")? || class.is_some();
    let shown = Shown { embedding: query.flag("embedding")?, logits: query.flag("logits")? };
    let ask = Ask { embedding: shown.embedding, cam: cam.then_some(look), ..Ask::default() };
    explains(&model, ask)?;

    let content_type = call.header(CONTENT_TYPE).unwrap_or_default().to_owned();
    let bytes = call.body(state.options.max_body).await?;
    let body = classify::read(&call.content_type(), &content_type, bytes)?;
    let batch = Batch { model: &model, client, ask, top, priority: 0, timeout: None };
    let (names, seen) = match body {
        Body::Raw(bytes) => {
            let pictures = vec![("the picture".to_owned(), Picture::File(bytes))];
            let seen = state.see(call, batch, pictures).await?;
            // A picture alone is the request, so what is wrong with it is wrong with that.
            none_refused(&seen)?;
            (vec![None], seen)
        }
        Body::Many(pictures) => {
            let names: Vec<Option<String>> = pictures.iter().map(|one| one.name.clone()).collect();
            let called = |(i, one): (usize, Named)| {
                let name = one.name.unwrap_or_else(|| place(i));
                (name, Picture::File(one.picture))
            };
            let pictures = pictures.into_iter().enumerate().map(called).collect();
            (names, state.see(call, batch, pictures).await?)
        }
    };
    note(about, &seen);
    let mut pictures = Vec::with_capacity(seen.len());
    for (name, seen) in names.iter().zip(&seen) {
        pictures.push(classify::picture(name.as_deref(), seen, shown));
    }
    let version = model.version.to_string();
    let value = classify::written(&model.name, &version, pictures, call.began.elapsed());
    Ok(timed(Reply::json(&value), &about.stages))
}

/// Refuses to explain where the network cannot be.
pub(super) fn explains(model: &Loaded, ask: Ask) -> Result<(), Refusal> {
    match ask.cam.map(|_| model.predictor.layer()) {
        Some(Err(error)) => Err(Refusal::malformed(format!("`{}`: {error}", model.name))),
        _ => Ok(()),
    }
}

/// Notes what was computed, for the log.
pub(super) fn note(about: &mut About, seen: &[Result<Seen, Refusal>]) {
    about.pictures = seen.len();
    about.stages = sum(seen);
}

/// A reply that says how long its stages took, where a browser shows it.
pub(super) fn timed(reply: Reply, stages: &Stages) -> Reply {
    let Stages { queue, decode, compute } = stages;
    let stage = |name: &str, took: &std::time::Duration| format!("{name};dur={:.3}", ms(*took));
    let text =
        [stage("queue", queue), stage("decode", decode), stage("compute", compute)].join(", ");
    reply.with(TIMING, &text)
}

/// All pictures of a batch, or why the first of them was refused.
pub(super) fn all(seen: Vec<Result<Seen, Refusal>>) -> Result<Vec<Seen>, Refusal> {
    seen.into_iter().collect()
}

/// As TorchServe answers: labels and their probabilities, most likely first.
pub(super) async fn predictions(
    state: &State,
    call: &mut Call,
    about: &mut About,
    client: Client,
    name: &str,
    version: Option<&str>,
) -> Result<Reply, Refusal> {
    let model = admitted(state, call, about, client, name, version)?;
    let content_type = call.header(CONTENT_TYPE).unwrap_or_default().to_owned();
    let bytes = call.body(state.options.max_body).await?;
    let body = classify::read(&call.content_type(), &content_type, bytes)?;
    let (alone, pictures) = match body {
        Body::Raw(bytes) => (true, vec![bytes]),
        Body::Many(many) => {
            (many.len() == 1, many.into_iter().map(|named| named.picture).collect())
        }
    };
    let called = |(i, bytes)| (place(i), Picture::File(bytes));
    let pictures = pictures.into_iter().enumerate().map(called).collect();
    let ask = Ask::default();
    let batch = Batch { model: &model, client, ask, top: TOP, priority: 0, timeout: None };
    let seen = state.see(call, batch, pictures).await?;
    note(about, &seen);
    let labels = |seen: &Seen| {
        // Of two classes of one name none is lost: the second tells its number.
        let mut text = Vec::new();
        let mut known: Vec<&str> = Vec::new();
        for guess in &seen.top {
            let name = match known.contains(&guess.label.as_str()) {
                true => format!("{} ({})", guess.label, guess.class),
                false => guess.label.clone(),
            };
            known.push(&guess.label);
            text.push(format!("{}:{}", Value::from(name), guess.probability));
        }
        // An object whose members keep their order.
        format!("{{{}}}", text.join(","))
    };
    let answers: Vec<String> = all(seen)?.iter().map(labels).collect();
    let text = match (alone, &answers[..]) {
        (true, [only]) => only.clone(),
        _ => format!("[{}]", answers.join(",")),
    };
    Ok(timed(Reply::bytes("application/json", text), &about.stages))
}

/// The older protocol's predictions, or explanations.
pub(super) async fn v1(
    state: &State,
    call: &mut Call,
    about: &mut About,
    client: Client,
    name: &str,
    explain: bool,
) -> Result<Reply, Refusal> {
    let model = admitted(state, call, about, client, name, None)?;
    let ask = Ask { cam: explain.then_some(Look::Likeliest), ..Ask::default() };
    explains(&model, ask)?;
    let body = call.body(state.options.max_body).await?;
    let pictures = v1::read(&body)?;
    let called = |(i, picture)| (format!("instance {i}"), picture);
    let pictures = pictures.into_iter().enumerate().map(called).collect();
    let batch = Batch { model: &model, client, ask, top: TOP, priority: 0, timeout: None };
    let seen = state.see(call, batch, pictures).await?;
    note(about, &seen);
    none_refused(&seen)?;
    let shown = |seen| classify::picture(None, seen, Shown::default());
    let key = if explain { "explanations" } else { "predictions" };
    let written = BTreeMap::from([(key, seen.iter().map(shown).collect::<Vec<_>>())]);
    Ok(timed(Reply::json(&written), &about.stages))
}
