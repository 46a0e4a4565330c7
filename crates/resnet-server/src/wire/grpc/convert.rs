//! Requests for inference and their answers, as gRPC carries them.
//!
//! An answer comes as its request did. Raw for raw: Triton's clients send nothing else, and look
//! nowhere else. Typed for typed: KServe's server does so, and users of its client read the lists
//! of such an answer. Both clients' `as_numpy()` finds the numbers in the answers to what it sent.

use std::time::Duration;

use hyper::body::Bytes;

use super::super::infer::{Infer, Kind, Output};
use super::super::tensor::{self, Tensor, Values};
use super::messages::{
    InferInputTensor, InferOutputTensor, InferTensorContents, ModelInferRequest,
    ModelInferResponse, Parameter, Parameters,
};
use crate::http::Refusal;

/// What a request asks for.
///
/// # Errors
/// It contradicts itself, or asks for what is not there.
pub(crate) fn read(request: ModelInferRequest) -> Result<Infer, Refusal> {
    let ModelInferRequest { id, parameters, inputs, outputs, raw_input_contents, .. } = request;
    let raw = !raw_input_contents.is_empty();
    if raw && raw_input_contents.len() != inputs.len() {
        return Err(Refusal::malformed(format!(
            "there are {} raw_input_contents; expected one for each of {} inputs",
            raw_input_contents.len(),
            inputs.len()
        )));
    }
    let mut contents = raw_input_contents.into_iter();
    let inputs = inputs.into_iter().map(|input| input_tensor(input, contents.next()));
    let inputs = inputs.collect::<Result<_, _>>()?;
    let outputs = outputs.iter().map(|output| {
        not_shared(&output.name, &output.parameters)?;
        let count = number(&output.parameters, "classification")?;
        // More classes than any network has are all classes.
        let count = count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        Output::new(&output.name, raw, count)
    });
    let outputs: Vec<Output> = outputs.collect::<Result<_, _>>()?;
    Ok(Infer {
        id: Some(id).filter(|id| !id.is_empty()),
        inputs,
        outputs: match outputs.is_empty() {
            true => Output::usual(&Kind::INFER, raw),
            false => outputs,
        },
        priority: number(&parameters, "priority")?.unwrap_or(0),
        timeout: number(&parameters, "timeout")?.filter(|t| *t > 0).map(Duration::from_micros),
    })
}

fn input_tensor(input: InferInputTensor, raw: Option<Bytes>) -> Result<Tensor, Refusal> {
    let InferInputTensor { name, datatype, shape, parameters, contents } = input;
    not_shared(&name, &parameters)?;
    let shape = tensor::shape(&name, &shape)?;
    match (raw, contents) {
        (Some(raw), None) => Tensor::of_raw(&name, &datatype, shape, raw),
        (Some(_), Some(_)) => Err(Refusal::malformed(format!(
            "input `{name}` has contents beside raw_input_contents; expected either"
        ))),
        (None, contents) => typed(name, &datatype, shape, contents.unwrap_or_default()),
    }
}

/// A tensor whose elements stand in the field of their type.
fn typed(
    name: String,
    datatype: &str,
    shape: Vec<usize>,
    contents: InferTensorContents,
) -> Result<Tensor, Refusal> {
    let (field, values) = match datatype {
        "BYTES" => ("bytes_contents", Values::Bytes(contents.bytes_contents)),
        "UINT8" => {
            let bytes = contents.uint_contents.iter().map(|&number| u8::try_from(number).ok());
            let bytes: Vec<u8> = bytes.collect::<Option<_>>().ok_or_else(|| {
                Refusal::malformed(format!("input `{name}` has a number that is above 255"))
            })?;
            ("uint_contents", Values::U8(bytes.into()))
        }
        "FP32" => ("fp32_contents", Values::F32(contents.fp32_contents)),
        other => return Err(tensor::unknown(&name, other)),
    };
    let tensor = Tensor { name, shape, values };
    match tensor.len() {
        0 => Err(Refusal::malformed(format!(
            "input `{}` has no data; expected them in raw_input_contents, or, for {datatype}, in \
             {field} of its contents",
            tensor.name
        ))),
        _ => tensor.checked(),
    }
}

/// A whole number among parameters.
fn number(parameters: &Parameters, name: &str) -> Result<Option<u64>, Refusal> {
    let Some(value) = parameters.get(name).and_then(|value| value.parameter.as_ref()) else {
        return Ok(None);
    };
    let number = match value {
        Parameter::Uint64(number) => Some(*number),
        Parameter::Int64(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    number.map(Some).ok_or_else(|| {
        Refusal::malformed(format!("parameter `{name}` is {value:?}, expected a number from 0 on"))
    })
}

/// Refuses what would have to be in memory that is shared with the client.
fn not_shared(tensor: &str, parameters: &Parameters) -> Result<(), Refusal> {
    match parameters.contains_key("shared_memory_region") {
        true => Err(Refusal::malformed(format!(
            "`{tensor}` is to be in shared memory; expected it in the request or answer"
        ))),
        false => Ok(()),
    }
}

/// The answer to a request.
pub(crate) fn write(
    infer: &Infer,
    model: &str,
    version: &str,
    tensors: Vec<Tensor>,
) -> ModelInferResponse {
    let mut raw_output_contents = Vec::new();
    let outputs = tensors.into_iter().zip(&infer.outputs).map(|(tensor, output)| {
        let datatype = tensor.datatype().into();
        let shape = tensor.shape.iter().map(|&dim| dim as i64).collect();
        let contents = match output.binary {
            true => {
                raw_output_contents.push(tensor.raw().into());
                None
            }
            false => Some(contents(tensor.values)),
        };
        InferOutputTensor { name: tensor.name, datatype, shape, contents }
    });
    ModelInferResponse {
        model_name: model.into(),
        model_version: version.into(),
        id: infer.id.clone().unwrap_or_default(),
        outputs: outputs.collect(),
        raw_output_contents,
    }
}

fn contents(values: Values) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match values {
        Values::Bytes(elements) => contents.bytes_contents = elements,
        Values::U8(bytes) => {
            contents.uint_contents = bytes.iter().copied().map(u32::from).collect()
        }
        Values::F32(numbers) => contents.fp32_contents = numbers,
        Values::I64(numbers) => contents.int64_contents = numbers,
    }
    contents
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use resnet::Shape;

    use super::super::messages::{InferParameter, InferRequestedOutputTensor};
    use super::super::{frame, within_limits};
    use super::*;

    fn parameters(values: &[(&str, Parameter)]) -> Parameters {
        let value = |(name, value): &(&str, Parameter)| {
            (name.to_string(), InferParameter { parameter: Some(value.clone()) })
        };
        values.iter().map(value).collect()
    }

    fn input(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
        InferInputTensor {
            name: name.into(),
            datatype: datatype.into(),
            shape: shape.to_vec(),
            ..Default::default()
        }
    }

    fn with_raw(input: InferInputTensor, raw: &[u8]) -> ModelInferRequest {
        ModelInferRequest {
            inputs: vec![input],
            raw_input_contents: vec![Bytes::copy_from_slice(raw)],
            ..Default::default()
        }
    }

    fn with_contents(
        mut input: InferInputTensor,
        contents: InferTensorContents,
    ) -> ModelInferRequest {
        input.contents = Some(contents);
        ModelInferRequest { inputs: vec![input], ..Default::default() }
    }

    fn output(name: &str, values: &[(&str, Parameter)]) -> InferRequestedOutputTensor {
        InferRequestedOutputTensor { name: name.into(), parameters: parameters(values) }
    }

    fn tensors() -> Vec<Tensor> {
        let tensor = |name: &str, shape: &[usize], values| Tensor {
            name: name.into(),
            shape: shape.to_vec(),
            values,
        };
        vec![
            tensor("probabilities", &[1, 2], Values::F32(vec![0.25, 0.75])),
            tensor("labels", &[1], Values::Bytes(vec!["cat".into()])),
        ]
    }

    #[test]
    fn raw_requests_have_raw_answers() {
        let mut request = with_raw(input("image", "BYTES", &[1]), b"\x02\0\0\0ab");
        request.id = "7".into();
        request.parameters = parameters(&[
            ("priority", Parameter::Uint64(2)),
            ("timeout", Parameter::Int64(5000)),
            ("other", Parameter::Text("x".into())),
        ]);
        request.outputs = vec![
            output("probabilities", &[("classification", Parameter::Int64(3))]),
            output("labels", &[("binary_data", Parameter::Bool(true))]),
        ];
        let infer = read(request).unwrap();
        assert_eq!(infer.inputs[0].values, Values::Bytes(vec!["ab".into()]));
        assert_eq!(infer.outputs[0].classification, Some(3));
        assert_eq!((infer.priority, infer.timeout), (2, Some(Duration::from_millis(5))));

        let answer = write(&infer, "m", "3", tensors());
        assert_eq!((&answer.model_name[..], &answer.model_version[..]), ("m", "3"));
        assert_eq!((&answer.id[..], &answer.outputs[0].shape[..]), ("7", &[1, 2][..]));
        assert_eq!(
            (&answer.outputs[1].datatype[..], &answer.outputs[1].contents),
            ("BYTES", &None)
        );
        let raw = [&b"\0\0\x80\x3e\0\0\x40\x3f"[..], b"\x03\0\0\0cat"];
        assert_eq!(answer.raw_output_contents, raw);
    }

    #[test]
    fn typed_requests_have_typed_answers() {
        let contents = |uint: &[u32], fp32: &[f32]| InferTensorContents {
            uint_contents: uint.to_vec(),
            fp32_contents: fp32.to_vec(),
            bytes_contents: vec!["ab".into()],
            ..Default::default()
        };
        let cases = [
            (input("image", "BYTES", &[1]), Values::Bytes(vec!["ab".into()])),
            (input("pixels", "UINT8", &[3]), Values::U8(Bytes::from_static(&[0, 7, 255]))),
            (input("input", "FP32", &[2]), Values::F32(vec![0.5, -1.0])),
        ];
        for (input, values) in cases {
            let request = with_contents(input, contents(&[0, 7, 255], &[0.5, -1.0]));
            let infer = read(request).unwrap();
            assert_eq!(infer.inputs[0].values, values);
            assert_eq!(infer.outputs, Output::usual(&Kind::INFER, false));
            let answer = write(&infer, "m", "1", tensors());
            assert!(answer.raw_output_contents.is_empty());
            let of = |i: usize| answer.outputs[i].contents.clone().unwrap();
            assert_eq!(of(0).fp32_contents, [0.25, 0.75]);
            assert_eq!(of(1).bytes_contents, ["cat"]);
        }
    }

    #[test]
    fn requests_without_sense_are_refused() {
        let image = || input("image", "BYTES", &[1]);
        let picture = InferTensorContents {
            bytes_contents: vec!["ab".into()],
            uint_contents: vec![256],
            ..Default::default()
        };
        let raw = || with_raw(image(), b"\x02\0\0\0ab");
        let asking = |name: &str, values: &[(&str, Parameter)]| ModelInferRequest {
            outputs: vec![output(name, values)],
            ..raw()
        };
        let told = |name: &str, value: Parameter| ModelInferRequest {
            parameters: parameters(&[(name, value)]),
            ..raw()
        };
        let shared = parameters(&[("shared_memory_region", Parameter::Text("r".into()))]);
        let cases = [
            ("one for each of 2", ModelInferRequest { inputs: vec![image(), image()], ..raw() }),
            ("one for each of 0", ModelInferRequest { inputs: vec![], ..raw() }),
            ("beside raw", {
                let mut request = raw();
                request.inputs[0].contents = Some(picture.clone());
                request
            }),
            ("no data", with_contents(image(), InferTensorContents::default())),
            ("no data", ModelInferRequest { inputs: vec![image()], ..Default::default() }),
            ("fp32_contents", with_contents(input("input", "FP32", &[1]), picture.clone())),
            ("above 255", with_contents(input("pixels", "UINT8", &[1]), picture.clone())),
            ("is FP64", with_contents(input("input", "FP64", &[1]), picture.clone())),
            ("has 1 elements", with_contents(input("image", "BYTES", &[2]), picture.clone())),
            ("no shape", with_contents(input("image", "BYTES", &[-1]), picture)),
            ("element is longer", with_raw(image(), b"\x03\0\0\0ab")),
            ("no output `none`", asking("none", &[])),
            ("expected a number", asking("logits", &[("classification", Parameter::Int64(-1))])),
            ("shared memory", {
                let mut request = asking("logits", &[]);
                request.outputs[0].parameters = shared.clone();
                request
            }),
            ("shared memory", {
                let mut request = raw();
                request.inputs[0].parameters = shared;
                request
            }),
            ("`timeout` is Int64(-5)", told("timeout", Parameter::Int64(-5))),
            ("`priority` is Text", told("priority", Parameter::Text("1".into()))),
        ];
        for (text, request) in cases {
            let refused = read(request).unwrap_err();
            assert_eq!(refused.status, 400, "{text}");
            assert!(refused.message.contains(text), "{text}: {}", refused.message);
        }
    }

    #[test]
    fn damaged_messages_are_refused_or_read_and_nothing_else() {
        let contents = InferTensorContents {
            int64_contents: vec![1, -1],
            uint_contents: vec![1, 2, 300],
            fp32_contents: vec![1.0; 24],
            bytes_contents: vec!["ab".into(), Bytes::new()],
        };
        let mut raw = with_raw(input("pixels", "UINT8", &[1, 2, 1, 3]), b"abcdef");
        raw.parameters = parameters(&[("timeout", Parameter::Int64(9))]);
        raw.outputs = vec![output("labels", &[("classification", Parameter::Int64(0))])];
        let seeds = [
            raw.encode_to_vec(),
            with_raw(input("image", "BYTES", &[2]), b"\x01\0\0\0a\0\0\0\0").encode_to_vec(),
            with_contents(input("input", "FP32", &[1, 3, 4, 2]), contents).encode_to_vec(),
        ];
        // Xorshift, so that every run tries the same.
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let (mut read_whole, mut refused) = (0, 0);
        for round in 0..30_000 {
            let mut bytes = seeds[round % seeds.len()].clone();
            for _ in 0..1 + random(4) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes[at] ^= 1 << random(8),
                    2 => bytes.insert(at, [0, 0x2a, 0x7f, 0xff][random(4)]),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let pictures = (|| {
                let bytes = Bytes::from(bytes);
                within_limits(&bytes)?;
                let request = frame::decode::<ModelInferRequest>(bytes)?;
                read(request)?.pictures(Shape::new(3, 4, 2))
            })();
            match pictures {
                Ok(_) => read_whole += 1,
                Err(refusal) => {
                    assert_eq!(refusal.status, 400, "{refusal:?}");
                    refused += 1;
                }
            }
        }
        assert!(read_whole > 100 && refused > 100, "{read_whole} read, {refused} refused");
    }
}
