//! Bodies that hold pictures.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use super::Request;

/// A form of files: name and bytes each.
pub(crate) fn form(target: &str, files: &[(&str, &[u8])]) -> Request {
    let mut body = Vec::new();
    for (name, bytes) in files {
        let head = format!(
            "--boundary\r\nContent-Disposition: form-data; name=\"data\"; filename=\"{name}\"\r\n\
             Content-Type: image/x-portable-pixmap\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--boundary--\r\n");
    Request::post(target, body).with("content-type", "multipart/form-data; boundary=boundary")
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new()).encode(bytes)
}
