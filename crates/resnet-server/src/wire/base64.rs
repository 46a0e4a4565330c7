//! Base64 as clients send it: either alphabet, padded or not, perhaps behind `data:...;base64,`.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::body::Bytes;

use crate::http::Refusal;

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// The bytes that a text stands for.
pub(crate) fn decode(text: &str, what: &str) -> Result<Bytes, Refusal> {
    let text = match text.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((_, data)) => data,
        None => text,
    };
    let alphabet = match text.contains(['-', '_']) {
        true => &URL_SAFE,
        false => &STANDARD,
    };
    let engine = GeneralPurpose::new(alphabet, CONFIG);
    // Some encoders break lines.
    let decoded = match text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        true => engine.decode(text.split_ascii_whitespace().collect::<String>()),
        false => engine.decode(text),
    };
    decoded.map(Bytes::from).map_err(|error| {
        Refusal::malformed(format!("{what} is not base64 of a picture file: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn all_forms_are_read() {
        for text in ["+/8=", "+/8", "-_8", "data:image/png;base64,+/8=", "+/\r\n8=\n"] {
            assert_eq!(decode(text, "x").unwrap()[..], [0xfb, 0xff], "{text:?}");
        }
        for text in ["+/8-", "a", "???", "+/8=+/8="] {
            let refused = decode(text, "the picture").unwrap_err();
            assert_eq!(refused.status, 400, "{text}");
            assert!(refused.message.starts_with("the picture is not base64"), "{text}");
        }
    }
}
