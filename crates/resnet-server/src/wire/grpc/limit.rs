//! Requests for inference from strangers: never more parts than any request has. Two bytes can
//! stand for an empty input, which takes a hundred times as much memory once it is read.

use std::ops::ControlFlow;

use hyper::body::Bytes;
use prost::decode_length_delimiter;

use super::super::MOST_PICTURES;
use crate::http::Refusal;

/// Most parts of a request: pictures, inputs, outputs, parameters, sizes of shapes.
const MOST: usize = 4 * MOST_PICTURES;

/// Where in a request for inference a field stands.
#[derive(Clone, Copy)]
enum Level {
    Request,
    Input,
    Contents,
    Output,
}

/// Refuses a request for inference that has too many parts, before it is read. What is damaged
/// otherwise is left to its reader.
pub(crate) fn within_limits(request: &Bytes) -> Result<(), Refusal> {
    let mut left = MOST;
    match count(request, Level::Request, &mut left) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => {
            let message = format!("the request has more than {MOST} parts");
            Err(Refusal::malformed(message))
        }
    }
}

/// Counts the parts of a message; breaks off where there are more than are left.
fn count(mut message: &[u8], level: Level, left: &mut usize) -> ControlFlow<()> {
    while let Some((tag, field)) = next(&mut message) {
        let parts = match (level, field) {
            // A number takes no more memory than a few times its bytes here.
            (Level::Contents, None) => 0,
            (Level::Contents, Some(_)) => usize::from(tag == BYTES),
            // A size takes a byte at least where they stand together.
            (Level::Input, Some(sizes)) if tag == SHAPE => 1 + sizes.len(),
            _ => 1,
        };
        *left = match left.checked_sub(parts) {
            Some(left) => left,
            None => return ControlFlow::Break(()),
        };
        match (level, tag, field) {
            (Level::Request, INPUTS, Some(input)) => count(input, Level::Input, left)?,
            (Level::Request, OUTPUTS, Some(output)) => count(output, Level::Output, left)?,
            (Level::Input, CONTENTS, Some(contents)) => count(contents, Level::Contents, left)?,
            _ => {}
        }
    }
    ControlFlow::Continue(())
}

// Numbers of fields in `messages.rs`.
const INPUTS: usize = 5;
const OUTPUTS: usize = 6;
const SHAPE: usize = 3;
const CONTENTS: usize = 5;
const BYTES: usize = 8;

/// The number of the next field, and its bytes where it has a length; none at the end, and where
/// the message is damaged.
fn next<'a>(message: &mut &'a [u8]) -> Option<(usize, Option<&'a [u8]>)> {
    let key = decode_length_delimiter(&mut *message).ok()?;
    let width = match key & 7 {
        0 => {
            while message.split_off_first()? & 0x80 != 0 {}
            return Some((key >> 3, None));
        }
        1 => 8,
        2 => decode_length_delimiter(&mut *message).ok()?,
        // Groups hold nothing that is read; their ends stand between fields that are counted.
        3 | 4 => 0,
        5 => 4,
        _ => return None,
    };
    let bytes = message.split_off(..width)?;
    Some((key >> 3, (key & 7 == 2).then_some(bytes)))
}

#[cfg(test)]
mod tests {
    use super::super::messages::{
        InferInputTensor, InferRequestedOutputTensor, InferTensorContents, ModelInferRequest,
    };
    use super::*;
    use prost::Message;

    fn refused(request: &ModelInferRequest) -> bool {
        let bytes = Bytes::from(request.encode_to_vec());
        // What is refused is read as well: so it is its number that is held here.
        assert_eq!(ModelInferRequest::decode(bytes.clone()).as_ref(), Ok(request));
        within_limits(&bytes).is_err()
    }

    fn of_input(input: InferInputTensor) -> ModelInferRequest {
        ModelInferRequest { inputs: vec![input], ..ModelInferRequest::default() }
    }

    #[test]
    fn as_many_pictures_as_are_taken_are_within_the_limits() {
        let contents = InferTensorContents {
            bytes_contents: vec![Bytes::from("a"); MOST_PICTURES],
            uint_contents: vec![7; 100_000],
            fp32_contents: vec![0.5; 100_000],
            ..InferTensorContents::default()
        };
        let shape = vec![MOST_PICTURES as i64, 1];
        let input = InferInputTensor { shape, contents: Some(contents), ..Default::default() };
        assert!(!refused(&of_input(input)));
    }

    #[test]
    fn nothing_comes_without_number() {
        let many = MOST + 1;
        let contents = InferTensorContents {
            bytes_contents: vec![Bytes::new(); many],
            ..InferTensorContents::default()
        };
        let parameters = |n: usize| (0..n).map(|i| (i.to_string(), Default::default())).collect();
        let output =
            InferRequestedOutputTensor { parameters: parameters(many), ..Default::default() };
        let cases = [
            ModelInferRequest { inputs: vec![Default::default(); many], ..Default::default() },
            ModelInferRequest { outputs: vec![Default::default(); many], ..Default::default() },
            ModelInferRequest {
                raw_input_contents: vec![Bytes::new(); many],
                ..Default::default()
            },
            ModelInferRequest { parameters: parameters(many), ..Default::default() },
            ModelInferRequest { outputs: vec![output], ..Default::default() },
            of_input(InferInputTensor { shape: vec![1; many], ..Default::default() }),
            of_input(InferInputTensor { parameters: parameters(many), ..Default::default() }),
            of_input(InferInputTensor { contents: Some(contents), ..Default::default() }),
        ];
        for (i, case) in cases.iter().enumerate() {
            assert!(refused(case), "{i}");
        }
        // Sizes one by one instead of together.
        let sizes = b"\x18\x01".repeat(many);
        let mut bytes = vec![0x2a];
        prost::encode_length_delimiter(sizes.len(), &mut bytes).unwrap();
        bytes.extend_from_slice(&sizes);
        assert!(within_limits(&bytes.into()).is_err());
    }

    #[test]
    fn groups_hide_nothing() {
        // Within a group of an unknown number, and behind it.
        let inputs = b"\x2a\x00".repeat(MOST + 1);
        for bytes in [[b"\x7b", &inputs[..], b"\x7c"].concat(), [b"\x7b\x7c", &inputs[..]].concat()]
        {
            assert!(within_limits(&bytes.into()).is_err());
        }
    }
}
