//! Frames of gRPC: one message each way, behind a byte that says whether it is compressed and
//! four of its length.

use std::time::Duration;

use hyper::body::Bytes;
use prost::Message;
use prost::bytes::{Buf, BufMut, BytesMut};

use super::status::{self, Code, Status};
use crate::http::{Coding, Refusal, Reply};

/// Bytes before a message.
pub(crate) const HEAD: usize = 5;

/// The message of a request's body, as it came, and how it is compressed, of which `encoding`,
/// the header `grpc-encoding`, tells.
///
/// # Errors
/// The frame is cut off, or is not the only one, or its compression is not known.
pub(crate) fn read(mut body: Bytes, encoding: Option<&str>) -> Result<(Bytes, Coding), Status> {
    let coding = Coding::parse(encoding.unwrap_or_default()).map_err(|_| {
        let encoding = encoding.unwrap_or_default();
        let message = format!("grpc-encoding is `{encoding}`; expected identity, deflate or gzip");
        Status::new(Code::Unimplemented, Refusal::format(message))
    })?;
    let malformed = |message: String| Err(Refusal::malformed(message).into());
    if body.len() < HEAD {
        return malformed(match body.len() {
            0 => "the request has no message; expected one".into(),
            found => format!("the message is cut off: {found} bytes of the {HEAD} before it"),
        });
    }
    let (flag, length) = (body.get_u8(), body.get_u32() as usize);
    if length > body.len() {
        return malformed(format!("the message is cut off: {} of {length} bytes", body.len()));
    }
    if length < body.len() {
        let more = body.len() - length;
        return malformed(format!("{more} bytes stand behind the message; expected one message"));
    }
    match (flag, coding) {
        (0, _) => Ok((body, Coding::Plain)),
        // The code is the standard's (doc/compression.md).
        (1, Coding::Plain) => {
            let problem = "the message is marked as compressed; expected a grpc-encoding";
            Err(Status::new(Code::Internal, Refusal::malformed(problem)))
        }
        (1, coding) => Ok((body, coding)),
        (flag, _) => malformed(format!("the flag of the message is {flag}; expected 0 or 1")),
    }
}

/// What a message says.
pub(crate) fn decode<M: Message + Default>(message: Bytes) -> Result<M, Refusal> {
    M::decode(message).map_err(|error| {
        Refusal::malformed(format!("the message is not the one expected: {error}"))
    })
}

/// The reply that carries a message.
pub(crate) fn write(message: &impl Message) -> Reply {
    let length = message.encoded_len();
    let Ok(head) = u32::try_from(length) else {
        return Status::from(Refusal::too_large("the answer is larger than 4 GiB")).reply();
    };
    let mut frame = BytesMut::with_capacity(HEAD + length);
    frame.put_u8(0);
    frame.put_u32(head);
    message.encode_raw(&mut frame);
    status::reply(Some(frame.freeze()), Code::Ok, None)
}

/// What a header `grpc-timeout` says: at most eight digits and a unit.
pub(crate) fn timeout(text: &str) -> Result<Duration, Refusal> {
    let parsed = text.split_at_checked(text.len().saturating_sub(1)).and_then(|(digits, unit)| {
        let count: u64 = match digits.len() {
            1..=8 if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            _ => return None,
        };
        match unit {
            "H" => Some(Duration::from_secs(count * 3600)),
            "M" => Some(Duration::from_secs(count * 60)),
            "S" => Some(Duration::from_secs(count)),
            "m" => Some(Duration::from_millis(count)),
            "u" => Some(Duration::from_micros(count)),
            "n" => Some(Duration::from_nanos(count)),
            _ => None,
        }
    });
    parsed.ok_or_else(|| {
        Refusal::malformed(format!(
            "grpc-timeout is `{text}`; expected up to eight digits and one of H, M, S, m, u, n"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::super::messages::ModelRequest;
    use super::*;

    fn framed(flag: u8, length: u32, message: &[u8]) -> Bytes {
        [&[flag][..], &length.to_be_bytes(), message].concat().into()
    }

    #[test]
    fn a_frame_holds_its_message_as_it_came() {
        let cases = [
            (0, None, Coding::Plain),
            (0, Some("identity"), Coding::Plain),
            // Small messages are often left as they are, whatever the header says.
            (0, Some("gzip"), Coding::Plain),
            (1, Some("gzip"), Coding::Gzip),
            (1, Some("deflate"), Coding::Deflate),
        ];
        for (flag, encoding, coding) in cases {
            let (message, found) = read(framed(flag, 3, b"abc"), encoding).unwrap();
            assert_eq!((&message[..], found), (&b"abc"[..], coding), "{flag} {encoding:?}");
        }
        assert_eq!(read(framed(0, 0, b""), None).unwrap().0, Bytes::new());
    }

    #[test]
    fn frames_that_lie_are_refused() {
        let two = [framed(0, 1, b"a"), framed(0, 1, b"b")].concat();
        let cases = [
            (Bytes::new(), None, Code::InvalidArgument, "no message"),
            (Bytes::from("\0\0\0\0"), None, Code::InvalidArgument, "4 bytes of the 5"),
            (framed(0, 4, b"abc"), None, Code::InvalidArgument, "3 of 4 bytes"),
            (framed(0, u32::MAX, b"abc"), None, Code::InvalidArgument, "cut off"),
            (two.into(), None, Code::InvalidArgument, "6 bytes stand behind"),
            (framed(2, 3, b"abc"), None, Code::InvalidArgument, "flag of the message is 2"),
            (framed(1, 3, b"abc"), None, Code::Internal, "expected a grpc-encoding"),
            (framed(1, 3, b"abc"), Some("identity"), Code::Internal, "compressed"),
            (framed(0, 3, b"abc"), Some("br"), Code::Unimplemented, "`br`; expected identity"),
        ];
        for (body, encoding, code, text) in cases {
            let status = read(body, encoding).unwrap_err();
            assert_eq!(status.code, code, "{status:?}");
            assert!(status.refusal.message.contains(text), "{status:?}");
        }
    }

    #[test]
    fn messages_that_are_damaged_are_refused() {
        let request = ModelRequest { name: "m".into(), version: "1".into() };
        let bytes = request.encode_to_vec();
        assert_eq!(decode::<ModelRequest>(bytes.into()).unwrap(), request);
        // A length beyond the end; a name that is not UTF-8; a number where a text stands.
        for wrong in [&b"\x0a\xff\xff\xff\xff\x0f"[..], b"\x0a\x01\xff", b"\x08\x01"] {
            let refused = decode::<ModelRequest>(Bytes::copy_from_slice(wrong));
            assert_eq!(refused.unwrap_err().status, 400, "{wrong:?}");
        }
    }

    #[test]
    fn timeouts_have_digits_and_a_unit() {
        let cases = [
            ("1H", 3_600_000_000_000u64),
            ("2M", 120_000_000_000),
            ("3S", 3_000_000_000),
            ("2998m", 2_998_000_000),
            ("5u", 5_000),
            ("00000007n", 7),
            ("0S", 0),
        ];
        for (text, nanoseconds) in cases {
            assert_eq!(timeout(text).unwrap(), Duration::from_nanos(nanoseconds), "{text}");
        }
        assert_eq!(timeout("99999999H").unwrap(), Duration::from_secs(99_999_999 * 3600));
        for wrong in ["", "S", "1", "1s", "+1S", "-1S", "1.5S", "123456789S", "1 S", "1ä", "ä"] {
            assert_eq!(timeout(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }
}
