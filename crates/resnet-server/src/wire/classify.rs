//! This server's own route: pictures in, labels out.

use std::time::Duration;

use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

use super::{MOST_PICTURES, Seen, Stages, json as text, ms, multipart};
use crate::http::Refusal;

/// A picture and its name, where it has one.
pub(crate) struct Named {
    pub(crate) name: Option<String>,
    pub(crate) picture: Bytes,
}

/// What a body holds.
pub(crate) enum Body {
    /// One picture, as it is.
    Raw(Bytes),
    /// Any number, each of which may be refused for itself.
    Many(Vec<Named>),
}

#[derive(Deserialize)]
struct Request {
    pictures: Vec<Encoded>,
}

#[derive(Deserialize)]
struct Encoded {
    name: Option<String>,
    b64: String,
}

/// Reads a body of some kind.
pub(crate) fn read(kind: &str, content_type: &str, body: Bytes) -> Result<Body, Refusal> {
    let many = match kind {
        "application/json" => {
            let request: Request = text::read(&body)?;
            let decode = |picture: Encoded| {
                let what = picture.name.clone().unwrap_or_else(|| "`b64`".into());
                let bytes = super::base64::decode(&picture.b64, &what)?;
                Ok(Named { name: picture.name, picture: bytes })
            };
            let pictures: Result<Vec<Named>, Refusal> =
                request.pictures.into_iter().map(decode).collect();
            pictures?
        }
        "multipart/form-data" => {
            let parts = multipart::read(content_type, &body)?;
            let named = |part: multipart::Part| Named {
                name: part.file.or(part.field),
                picture: part.bytes,
            };
            parts.into_iter().map(named).collect()
        }
        // What `curl --data-binary` says of any file is among the others.
        _ if body.is_empty() => {
            return Err(Refusal::malformed(
                "the body is empty; send a picture, as `curl --data-binary @picture.jpg` does",
            ));
        }
        _ => return Ok(Body::Raw(body)),
    };
    match many.len() {
        0 => Err(Refusal::malformed("there is no picture in the request")),
        1..=MOST_PICTURES => Ok(Body::Many(many)),
        n => Err(Refusal::malformed(format!(
            "there are {n} pictures in the request, at most {MOST_PICTURES} are taken"
        ))),
    }
}

/// What of an answer is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) embedding: bool,
    pub(crate) logits: bool,
}

/// A picture's answer, as JSON shows it.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Picture<'a> {
    /// What it is.
    Seen(Box<Found<'a>>),
    /// Why that is not known.
    Refused {
        /// Its name.
        name: Option<&'a str>,
        /// A sentence.
        error: &'a str,
    },
}

/// What was found out about a picture, as JSON shows it.
#[derive(Serialize)]
pub(crate) struct Found<'a> {
    name: Option<&'a str>,
    width: usize,
    height: usize,
    top: Vec<Guess<'a>>,
    /// Whether the answer reaches the threshold, where the model is calibrated.
    sure: Option<bool>,
    /// Whether the picture is unlike those that the model learned from, where that is known.
    unlike: Option<bool>,
    /// The share of held-out pictures that are less like them.
    likeness: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cam: Option<Cam<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<&'a [f32]>,
    ms: Times,
}

#[derive(Serialize)]
struct Guess<'a> {
    class: usize,
    label: &'a str,
    probability: f32,
}

#[derive(Serialize)]
struct Cam<'a> {
    class: usize,
    height: usize,
    width: usize,
    values: &'a [f32],
    region: [f64; 4],
}

#[derive(Serialize)]
struct Times {
    queue: f64,
    decode: f64,
    compute: f64,
}

/// A picture's answer.
pub(crate) fn picture<'a>(
    name: Option<&'a str>,
    seen: &'a Result<Seen, Refusal>,
    shown: Shown,
) -> Picture<'a> {
    let seen = match seen {
        Ok(seen) => seen,
        Err(refusal) => return Picture::Refused { name, error: &refusal.message },
    };
    let Stages { queue, decode, compute } = seen.stages;
    let guess = |guess: &'a resnet::Guess| Guess {
        class: guess.class,
        label: &guess.label,
        probability: guess.probability,
    };
    Picture::Seen(Box::new(Found {
        name,
        width: seen.width,
        height: seen.height,
        top: seen.top.iter().map(guess).collect(),
        sure: seen.verdict.sure,
        unlike: seen.verdict.unlike,
        likeness: seen.verdict.likeness,
        cam: seen.answer.cam.as_ref().map(|cam| Cam {
            class: cam.class,
            height: cam.height,
            width: cam.width,
            values: &cam.values,
            region: seen.region,
        }),
        embedding: seen.answer.embedding.as_deref().filter(|_| shown.embedding),
        logits: shown.logits.then_some(&seen.answer.logits),
        ms: Times { queue: ms(queue), decode: ms(decode), compute: ms(compute) },
    }))
}

/// All answers of a request.
#[derive(Serialize)]
pub(crate) struct Written<'a> {
    model: &'a str,
    version: &'a str,
    pictures: Vec<Picture<'a>>,
    ms: Total,
}

#[derive(Serialize)]
struct Total {
    total: f64,
}

/// All answers of a request, and how long it took.
pub(crate) fn written<'a>(
    model: &'a str,
    version: &'a str,
    pictures: Vec<Picture<'a>>,
    total: Duration,
) -> Written<'a> {
    Written { model, version, pictures, ms: Total { total: ms(total) } }
}
