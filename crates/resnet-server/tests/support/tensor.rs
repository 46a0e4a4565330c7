//! The Open Inference Protocol as a client speaks it.

use serde_json::{Value, json};

use super::{Request, Response};

/// The header that says how long the JSON before binary data is.
pub(crate) const JSON_LENGTH: &str = "inference-header-content-length";

/// Elements of BYTES as they stand behind the JSON.
pub(crate) fn elements(elements: &[&[u8]]) -> Vec<u8> {
    let one = |bytes: &&[u8]| [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
    elements.iter().flat_map(one).collect()
}

/// A request whose inputs' data stand behind the JSON; `outputs` and whatever else is `more`.
pub(crate) fn binary(target: &str, inputs: &[(Value, Vec<u8>)], more: &Value) -> Request {
    let mut all = more.clone();
    let described = inputs.iter().map(|(input, data)| {
        let mut input = input.clone();
        input["parameters"] = json!({ "binary_data_size": data.len() });
        input
    });
    all["inputs"] = described.collect();
    let mut body = all.to_string().into_bytes();
    let length = body.len();
    inputs.iter().for_each(|(_, data)| body.extend_from_slice(data));
    // As Triton's client sends it: without a type.
    Request::post(target, body).with(JSON_LENGTH, length.to_string())
}

/// An output that was answered: its description and, where they stand behind the JSON, its bytes.
pub(crate) struct Output {
    pub(crate) about: Value,
    bytes: Option<Vec<u8>>,
}

/// The JSON of a good answer and its outputs.
pub(crate) fn outputs(response: &Response) -> (Value, Vec<Output>) {
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    let length = response.header(JSON_LENGTH).map(|text| text.parse::<usize>().unwrap());
    let (text, mut rest) = response.body.split_at(length.unwrap_or(response.body.len()));
    let answer: Value = serde_json::from_slice(text).unwrap();
    let mut found = Vec::new();
    for about in answer["outputs"].as_array().unwrap() {
        let bytes = about["parameters"]["binary_data_size"].as_u64().map(|size| {
            let (bytes, more) = rest.split_at(size as usize);
            rest = more;
            bytes.to_vec()
        });
        assert_eq!(bytes.is_some(), about.get("data").is_none(), "{about}");
        found.push(Output { about: about.clone(), bytes });
    }
    assert!(rest.is_empty(), "{} bytes are left", rest.len());
    // The header is there if and only if binary data are.
    assert_eq!(length.is_some(), found.iter().any(|output| output.bytes.is_some()));
    (answer, found)
}

impl Output {
    pub(crate) fn name(&self) -> &str {
        self.about["name"].as_str().unwrap()
    }

    pub(crate) fn shape(&self) -> Vec<usize> {
        serde_json::from_value(self.about["shape"].clone()).unwrap()
    }

    /// Its numbers, as many as its shape says.
    pub(crate) fn floats(&self) -> Vec<f32> {
        assert_eq!(self.about["datatype"], "FP32", "{}", self.about);
        let floats: Vec<f32> = match &self.bytes {
            Some(bytes) => {
                bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
            }
            None => serde_json::from_value(self.about["data"].clone()).unwrap(),
        };
        assert_eq!(floats.len(), self.shape().iter().product::<usize>(), "{}", self.about);
        floats
    }

    /// Its texts, as many as its shape says.
    pub(crate) fn texts(&self) -> Vec<String> {
        assert_eq!(self.about["datatype"], "BYTES", "{}", self.about);
        let texts: Vec<String> = match &self.bytes {
            Some(bytes) => {
                let (mut rest, mut texts) = (&bytes[..], Vec::new());
                while let Some((length, more)) = rest.split_first_chunk() {
                    let (text, more) = more.split_at(u32::from_le_bytes(*length) as usize);
                    texts.push(String::from_utf8(text.to_vec()).unwrap());
                    rest = more;
                }
                texts
            }
            None => serde_json::from_value(self.about["data"].clone()).unwrap(),
        };
        assert_eq!(texts.len(), self.shape().iter().product::<usize>(), "{}", self.about);
        texts
    }
}
