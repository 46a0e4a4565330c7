//! The older protocol of TensorFlow Serving and KServe: instances in, predictions out.

use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::{MOST_PICTURES, Picture, json as text};
use crate::http::Refusal;

#[derive(Deserialize)]
struct Request {
    instances: Vec<Value>,
}

/// The pictures of a request: each instance is base64, alone, under `b64`, or under another name's
/// `b64`.
pub(crate) fn read(body: &[u8]) -> Result<Vec<Picture>, Refusal> {
    let Request { instances } = text::read(body)?;
    if !(1..=MOST_PICTURES).contains(&instances.len()) {
        return Err(Refusal::malformed(format!(
            "there are {} instances; 1 to {MOST_PICTURES} are taken",
            instances.len()
        )));
    }
    let picture = |(i, instance): (usize, &Value)| {
        let text = encoded(instance).ok_or_else(|| {
            Refusal::malformed(format!(
                "instance {i} is no picture; expected {{\"b64\": \"...\"}}, base64 of its file"
            ))
        })?;
        let bytes: Bytes = super::base64::decode(text, &format!("instance {i}"))?;
        Ok(Picture::File(bytes))
    };
    instances.iter().enumerate().map(picture).collect()
}

fn encoded(instance: &Value) -> Option<&str> {
    match instance {
        Value::String(text) => Some(text),
        Value::Object(fields) => match (fields.get("b64"), fields.len()) {
            (Some(text), _) => text.as_str(),
            (None, 1) => fields.values().next()?.get("b64")?.as_str(),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_of_every_form() {
        let body = br#"{"instances":[{"b64":"YQ=="},{"image_bytes":{"b64":"Yg"}},"Yw=="]}"#;
        let expected = ["a", "b", "c"].map(|text| Picture::File(Bytes::from(text)));
        assert_eq!(read(body).unwrap(), expected);
    }

    #[test]
    fn other_instances_are_refused() {
        let cases = [
            "{}",
            r#"{"instances":[]}"#,
            r#"{"instances":[[1,2]]}"#,
            r#"{"instances":[{"b64":1}]}"#,
            r#"{"instances":[{"a":{"b64":"YQ=="},"b":1}]}"#,
            r#"{"instances":["%"]}"#,
        ];
        for case in cases {
            assert_eq!(read(case.as_bytes()).unwrap_err().status, 400, "{case}");
        }
    }
}
