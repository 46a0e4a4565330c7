//! Which path is answered by what, and what is done around every call: its name, its token, other
//! origins, the log and the metrics.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    CACHE_CONTROL, CONNECTION, EXPECT, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, StatusCode, Version};
use serde_json::json;

use super::log::{About, Line};
use super::metrics::Now;
use super::state::State;
use super::{classify, infer, repository};
use crate::http::{App, Call, Refusal, Reply};
use crate::page;

/// The server as HTTP sees it.
pub(crate) struct Routes(pub(crate) Arc<State>);

const ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE: HeaderName = HeaderName::from_static("traceparent");

impl App for Routes {
    fn call(self: Arc<Self>, call: Call) -> Pin<Box<dyn Future<Output = Reply> + Send>> {
        Box::pin(async move { answer(&self.0, call).await })
    }
}

async fn answer(state: &Arc<State>, mut call: Call) -> Reply {
    let mut about = About::default();
    let routed = route(state, &mut call, &mut about).await;
    let mut reply = routed.unwrap_or_else(Refusal::reply);
    if reply.refused.is_some() {
        call.discard().await;
    }
    share(state, &call, &mut reply);
    // Who asks again is to ask another server.
    if state.stopping.load(Ordering::SeqCst) && call.version < Version::HTTP_2 {
        reply.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    finish(state, &call, about, reply.status, &mut reply);
    reply
}

/// Names a reply, counts and logs it. `status`: what it is over HTTP.
pub(super) fn finish(
    state: &State,
    call: &Call,
    about: About,
    status: StatusCode,
    reply: &mut Reply,
) {
    let id = call.header(ID).filter(|id| is_name(id)).map_or_else(|| state.next_id(), String::from);
    if let Ok(value) = HeaderValue::from_str(&id) {
        reply.headers.insert(ID, value);
    }
    if let Some(trace) = call.headers.get(TRACE) {
        reply.headers.insert(TRACE, trace.clone());
    }
    let (status, took) = (status.as_u16(), call.began.elapsed());
    let model = about.model.as_ref().map(|(name, version)| (name.as_str(), *version));
    if !is_probe(&call.path) {
        state.shop.metrics.request(model, status, took, reply.refused);
    }
    if status == 500 {
        (state.log)(&format!("{} {}: {id} was answered with 500", call.method, call.path));
    }
    if state.options.log_requests {
        let line = Line {
            id: &id,
            peer: call.peer.to_string(),
            method: call.method.as_str(),
            path: &call.path,
            status,
            took,
            model: about.model,
            pictures: about.pictures,
            stages: about.stages,
            traceparent: call.header(TRACE),
            refused: reply.refused,
        };
        (state.log)(&line.json());
    }
}

/// Whether a path is asked over and over by what watches the server, and so is not counted.
fn is_probe(path: &str) -> bool {
    matches!(path, "/metrics" | "/ping")
        || path.starts_with("/v2/health")
        || path.ends_with("/ServerLive")
        || path.ends_with("/ServerReady")
}

/// Whether a text may name a request.
fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Lets pages of other origins read a reply, where they may.
fn share(state: &State, call: &Call, reply: &mut Reply) {
    let origins = &state.options.origins;
    let Some(origin) = call.headers.get(ORIGIN) else { return };
    let Some(known) = origins.iter().find(|known| *known == "*" || known.as_bytes() == origin)
    else {
        return;
    };
    let allowed = if known == "*" { HeaderValue::from_static("*") } else { origin.clone() };
    let exposed = "x-request-id, server-timing, inference-header-content-length, retry-after";
    reply.headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    reply.headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
    reply.headers.insert(VARY, HeaderValue::from_static("origin"));
}

/// What a browser asks before a page of another origin may ask.
fn preflight(state: &State, call: &Call) -> Reply {
    let mut reply = Reply::bytes("text/plain", "");
    reply.status = StatusCode::NO_CONTENT;
    share(state, call, &mut reply);
    reply
        .with(ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT")
        .with(
            ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, content-encoding, x-api-key, x-request-id, \
             inference-header-content-length, traceparent",
        )
        .with(ACCESS_CONTROL_MAX_AGE, "600")
}

/// Answers a call by its path.
async fn route(state: &Arc<State>, call: &mut Call, about: &mut About) -> Result<Reply, Refusal> {
    let expects = call.header(EXPECT).unwrap_or_default();
    if !expects.is_empty() && !expects.eq_ignore_ascii_case("100-continue") {
        return Err(Refusal::expectation(expects));
    }
    if call.method == Method::OPTIONS && call.headers.contains_key(ORIGIN) {
        return Ok(preflight(state, call));
    }
    let path = call.segments()?;
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let get = only(call, &[Method::GET, Method::HEAD]);
    let post = only(call, &[Method::POST]);
    let either = only(call, &[Method::GET, Method::HEAD, Method::POST]);
    match &path[..] {
        [""] => get.and_then(|()| home(state, call)),
        ["page", name] => get.and_then(|()| asset(state, name)),
        ["ping"] => get.map(|()| repository::ping(state)),
        ["v2", "health", "live"] => get.map(|()| Reply::json(&json!({ "live": true }))),
        ["v2", "health", "ready"] => get.map(|()| repository::ready(state)),
        _ => {
            let client = state.client(call)?;
            match &path[..] {
                ["metrics"] => get.map(|()| metrics(state)),
                ["openapi.json"] => get.map(|()| Reply::bytes("application/json", page::OPENAPI)),
                ["classify"] if call.method != Method::POST => {
                    either.map(|()| classify::about(state))
                }
                ["classify", named @ ..] if named.len() <= 2 => {
                    post?;
                    classify::classify(state, call, about, client, named).await
                }
                ["predictions", name, version @ ..] if version.len() <= 1 => {
                    only(call, &[Method::POST, Method::PUT])?;
                    let version = version.first().copied();
                    classify::predictions(state, call, about, client, name, version).await
                }
                ["v1", "models"] => get.map(|()| repository::v1_list(state)),
                ["v1", "models", name] => match name.rsplit_once(':') {
                    Some((name, verb @ ("predict" | "explain"))) => {
                        post?;
                        classify::v1(state, call, about, client, name, verb == "explain").await
                    }
                    _ => get.and_then(|()| repository::v1_state(state, name)),
                },
                ["v2"] => get.map(|()| repository::server()),
                ["v2", "models"] => get.map(|()| repository::names(state)),
                ["v2", "models", "stats"] => {
                    get.and_then(|()| repository::statistics(state, None, None))
                }
                ["v2", "models", name, "versions", version, rest @ ..] => {
                    v2(state, call, about, client, (name, Some(version)), rest).await
                }
                ["v2", "models", name, rest @ ..] => {
                    v2(state, call, about, client, (name, None), rest).await
                }
                ["v2", "repository", "index"] => {
                    post?;
                    repository::index(state, call).await
                }
                ["v2", "repository", "models", name, verb @ ("load" | "unload")] => {
                    post?;
                    repository::change(state, call, name, *verb == "load").await
                }
                _ => Err(nothing(call)),
            }
        }
    }
}

/// What is asked of one model.
async fn v2(
    state: &Arc<State>,
    call: &mut Call,
    about: &mut About,
    client: super::queue::Client,
    (name, version): (&str, Option<&str>),
    rest: &[&str],
) -> Result<Reply, Refusal> {
    let get = only(call, &[Method::GET, Method::HEAD]);
    match rest {
        [] => get.and_then(|()| repository::metadata(state, name, version)),
        ["ready"] => get.and_then(|()| repository::model_ready(state, name, version)),
        ["config"] => get.and_then(|()| repository::config(state, name, version)),
        ["stats"] => get.and_then(|()| repository::statistics(state, Some(name), version)),
        ["infer"] => {
            only(call, &[Method::POST])?;
            infer::infer(state, call, about, client, name, version, false).await
        }
        ["explain"] => {
            only(call, &[Method::POST])?;
            infer::infer(state, call, about, client, name, version, true).await
        }
        _ => Err(nothing(call)),
    }
}

fn nothing(call: &Call) -> Refusal {
    let path = &call.path;
    Refusal::unknown(format!("there is nothing at {path}; /openapi.json lists what there is"))
}

fn only(call: &Call, allowed: &[Method]) -> Result<(), Refusal> {
    match allowed.contains(&call.method) {
        true => Ok(()),
        false => {
            let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
            Err(Refusal::method(&call.method, &names.join(", ")))
        }
    }
}

/// The page for people, or a word for programs.
fn home(state: &State, call: &Call) -> Result<Reply, Refusal> {
    let wants_page = call.header(ACCEPT).is_some_and(|accept| accept.contains("text/html"));
    match state.options.page && wants_page {
        true => page::classify("/").ok_or_else(|| Refusal::unknown("there is no page")),
        false => Ok(Reply::json(&json!({ "status": "alive" }))),
    }
}

fn asset(state: &State, name: &str) -> Result<Reply, Refusal> {
    let path = format!("/page/{name}");
    let found = if state.options.page { page::classify(&path) } else { None };
    found.ok_or_else(|| Refusal::unknown(format!("the page has no `{name}`")))
}

fn metrics(state: &State) -> Reply {
    let models = state.models.list();
    let now = Now {
        models: &models,
        waiting: state.shop.queue.len(),
        decode_bytes: state.shop.budget.taken(),
        connections: state.open.load(Ordering::Relaxed),
        ready: state.is_ready(),
    };
    let text = state.shop.metrics.render(&now);
    Reply::bytes("text/plain; version=0.0.4; charset=utf-8", text).with(CACHE_CONTROL, "no-store")
}
