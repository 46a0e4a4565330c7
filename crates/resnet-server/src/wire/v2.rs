//! The Open Inference Protocol over HTTP: JSON, with binary data behind it.

use std::time::Duration;

use hyper::body::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use super::infer::{Infer, Kind, Output};
use super::json as text;
use super::json::Data;
use super::tensor::{self, Tensor, Values};
use crate::http::{Refusal, Reply};

/// The header that says how long the JSON before binary data is.
pub(crate) const JSON_LENGTH: &str = "inference-header-content-length";

#[derive(Deserialize)]
struct Request {
    id: Option<String>,
    #[serde(default)]
    parameters: Parameters,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Wanted>,
}

#[derive(Default, Deserialize)]
struct Parameters {
    priority: Option<u64>,
    /// Microseconds.
    timeout: Option<u64>,
    binary_data_output: Option<bool>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: InputParameters,
    data: Option<Data>,
}

#[derive(Default, Deserialize)]
struct InputParameters {
    binary_data_size: Option<usize>,
}

#[derive(Deserialize)]
struct Wanted {
    name: String,
    #[serde(default)]
    parameters: OutputParameters,
}

#[derive(Default, Deserialize)]
struct OutputParameters {
    classification: Option<i64>,
    binary_data: Option<bool>,
}

/// A request for inference: the body, and what [`JSON_LENGTH`] says.
pub(crate) fn read(body: &Bytes, json_length: Option<&str>) -> Result<Infer, Refusal> {
    let Some(length) = json_length else { return read_parts(body, Bytes::new()) };
    let length = length.trim().parse().ok().filter(|length| *length <= body.len());
    let length: usize = length.ok_or_else(|| {
        Refusal::malformed(format!(
            "{JSON_LENGTH} is `{}`, and the body has {} bytes",
            json_length.unwrap_or_default(),
            body.len()
        ))
    })?;
    // Triton's raw request: the body is the one input.
    if length == 0 {
        let picture = Values::Bytes(vec![body.clone()]);
        let image = Tensor { name: "image".into(), shape: vec![1], values: picture };
        let outputs = Output::usual(&Kind::INFER, false);
        return Ok(Infer { inputs: vec![image], outputs, ..Infer::default() });
    }
    read_parts(&body.slice(..length), body.slice(length..))
}

fn read_parts(json: &Bytes, mut binary: Bytes) -> Result<Infer, Refusal> {
    let request: Request = text::read(json)?;
    let mut inputs = Vec::with_capacity(request.inputs.len().min(4));
    for input in request.inputs {
        let Input { name, shape, datatype, parameters, data } = input;
        let (name, datatype) = (name.as_str(), datatype.as_str());
        let shape = tensor::shape(name, &shape)?;
        inputs.push(match (parameters.binary_data_size, data) {
            (Some(size), None) => {
                if size > binary.len() {
                    return Err(Refusal::malformed(format!(
                        "input `{name}` has {size} bytes of binary data, and {} are there",
                        binary.len()
                    )));
                }
                Tensor::of_raw(name, datatype, shape, binary.split_to(size))?
            }
            (None, Some(data)) => Tensor::of_json(name, datatype, shape, data)?,
            (None, None) => {
                return Err(Refusal::malformed(format!("input `{name}` has no data")));
            }
            (Some(_), Some(_)) => {
                let problem = format!("input `{name}` has data both in the JSON and behind it");
                return Err(Refusal::malformed(problem));
            }
        });
    }
    if !binary.is_empty() {
        return Err(Refusal::malformed(format!(
            "{} bytes stand behind the inputs' binary data",
            binary.len()
        )));
    }
    let Parameters { priority, timeout, binary_data_output } = request.parameters;
    let binary = binary_data_output.unwrap_or(false);
    let outputs = request.outputs.iter().map(|wanted| {
        let OutputParameters { classification, binary_data } = wanted.parameters;
        Output::new(&wanted.name, binary_data.unwrap_or(binary), classification)
    });
    let outputs: Vec<Output> = outputs.collect::<Result<_, _>>()?;
    Ok(Infer {
        id: request.id,
        inputs,
        outputs: match outputs.is_empty() {
            true => Output::usual(&Kind::INFER, binary),
            false => outputs,
        },
        priority: priority.unwrap_or(0),
        timeout: timeout.filter(|t| *t > 0).map(Duration::from_micros),
    })
}

/// The answer to a request.
pub(crate) fn write(infer: &Infer, model: &str, version: &str, tensors: &[Tensor]) -> Reply {
    let mut binary = Vec::new();
    let described = tensors.iter().zip(&infer.outputs).map(|(tensor, output)| {
        let before = binary.len();
        if output.binary {
            binary.extend_from_slice(&tensor.raw());
        }
        Written {
            name: &tensor.name,
            datatype: tensor.datatype(),
            shape: &tensor.shape,
            parameters: output.binary.then(|| Behind { binary_data_size: binary.len() - before }),
            data: (!output.binary).then_some(Elements(&tensor.values)),
        }
    });
    let outputs = described.collect();
    let id = infer.id.as_deref();
    let answer = Answer { model_name: model, model_version: version, id, outputs };
    if !infer.outputs.iter().any(|output| output.binary) {
        return Reply::json(&answer);
    }
    // Texts and numbers always become JSON.
    let mut bytes = serde_json::to_vec(&answer).unwrap_or_default();
    let length = bytes.len().to_string();
    bytes.extend_from_slice(&binary);
    let name = hyper::header::HeaderName::from_static(JSON_LENGTH);
    Reply::bytes("application/octet-stream", bytes).with(name, &length)
}

#[derive(Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<Written<'a>>,
}

#[derive(Serialize)]
struct Written<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Behind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Elements<'a>>,
}

#[derive(Serialize)]
struct Behind {
    binary_data_size: usize,
}

/// A tensor's elements as JSON has them: flat.
struct Elements<'a>(&'a Values);

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Values::Bytes(elements) => {
                serializer.collect_seq(elements.iter().map(|bytes| String::from_utf8_lossy(bytes)))
            }
            Values::U8(bytes) => serializer.collect_seq(bytes.iter()),
            Values::F32(numbers) => serializer.collect_seq(numbers),
            Values::I64(numbers) => serializer.collect_seq(numbers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str, binary: &[u8]) -> (Bytes, String) {
        ([json.as_bytes(), binary].concat().into(), json.len().to_string())
    }

    #[test]
    fn binary_data_follow_in_the_order_of_the_inputs() {
        let json = r#"{"id":"7","inputs":[
            {"name":"image","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":6}}],
            "outputs":[{"name":"logits","parameters":{"binary_data":true}},{"name":"labels"}],
            "parameters":{"timeout":5000,"priority":2,"other":[{}]},"model_name":"m"}"#;
        let (bytes, length) = body(json, b"\x02\0\0\0ab");
        let infer = read(&bytes, Some(&length)).unwrap();
        assert_eq!(infer.inputs[0].values, Values::Bytes(vec!["ab".into()]));
        let binary: Vec<bool> = infer.outputs.iter().map(|output| output.binary).collect();
        assert_eq!(binary, [true, false]);
        assert_eq!((infer.priority, infer.timeout), (2, Some(Duration::from_millis(5))));

        let labels = Tensor {
            name: "labels".into(),
            shape: vec![1],
            values: Values::Bytes(vec!["cat".into()]),
        };
        let logits =
            Tensor { name: "logits".into(), shape: vec![1, 1], values: Values::F32(vec![1.0]) };
        let reply = write(&infer, "m", "3", &[logits, labels]);
        let length = reply.headers[JSON_LENGTH].to_str().unwrap().parse::<usize>().unwrap();
        assert!(length > 100);
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let input = |size: &str| {
            format!(
                r#"{{"inputs":[{{"name":"image","shape":[1],"datatype":"BYTES","parameters":
                {{"binary_data_size":{size}}}}}]}}"#
            )
        };
        for size in ["5", "7", "18446744073709551615", "-1"] {
            let (bytes, length) = body(&input(size), b"\x02\0\0\0ab");
            assert_eq!(read(&bytes, Some(&length)).unwrap_err().status, 400, "{size}");
        }
        let (bytes, _) = body(&input("6"), b"\x02\0\0\0ab");
        for length in ["1000", "-1", "x", "3", ""] {
            assert_eq!(read(&bytes, Some(length)).unwrap_err().status, 400, "{length}");
        }
    }

    #[test]
    fn a_length_of_zero_is_a_picture_as_it_is() {
        let infer = read(&Bytes::from("abc"), Some("0")).unwrap();
        assert_eq!(infer.inputs[0].values, Values::Bytes(vec!["abc".into()]));
        assert_eq!(infer.outputs, Output::usual(&Kind::INFER, false));
    }

    #[test]
    fn requests_without_sense_are_refused() {
        let cases = [
            "",
            "{}",
            "[]",
            r#"{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES"}]}"#,
            r#"{"inputs":[{"name":"image","shape":[2],"datatype":"BYTES","data":["YQ=="]}]}"#,
            r#"{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES","data":["a"]}]}"#,
            r#"{"inputs":[{"name":"x","shape":[-1],"datatype":"FP32","data":[]}]}"#,
            r#"{"inputs":[],"inputs":[]}"#,
            r#"{"inputs":[],"outputs":[{"name":"none"}]}"#,
        ];
        for case in cases {
            let refused = read(&Bytes::from(case), None);
            assert_eq!(refused.unwrap_err().status, 400, "{case}");
        }
    }
}
