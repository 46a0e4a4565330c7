//! This server's own route: pictures in, labels out.

use std::time::Duration;

use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{MOST_PICTURES, Picture, Seen, json as text, ms, multipart};
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

/// A picture's answer.
pub(crate) fn picture(name: Option<&str>, seen: &Result<Seen, Refusal>, shown: Shown) -> Value {
    let seen = match seen {
        Ok(seen) => seen,
        Err(refusal) => return json!({ "name": name, "error": refusal.message }),
    };
    let top: Vec<Value> = seen.top.iter().map(guess).collect();
    let mut value = json!({
        "name": name, "width": seen.width, "height": seen.height, "top": top,
        "ms": {
            "queue": ms(seen.stages.queue),
            "decode": ms(seen.stages.decode),
            "compute": ms(seen.stages.compute),
        },
    });
    if let Some(cam) = &seen.answer.cam {
        value["cam"] = json!({
            "class": cam.class, "height": cam.height, "width": cam.width, "values": cam.values,
            "region": seen.region,
        });
    }
    if shown.embedding {
        value["embedding"] = json!(seen.answer.embedding);
    }
    if shown.logits {
        value["logits"] = json!(seen.answer.logits);
    }
    value
}

pub(crate) fn guess(guess: &resnet::Guess) -> Value {
    json!({ "class": guess.class, "label": guess.label, "probability": guess.probability })
}

/// All answers of a request.
pub(crate) fn write(model: &str, version: &str, pictures: Vec<Value>, total: Duration) -> Value {
    json!({
        "model": model, "version": version, "pictures": pictures, "ms": { "total": ms(total) },
    })
}
