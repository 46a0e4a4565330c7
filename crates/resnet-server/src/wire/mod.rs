//! Bytes to what is asked, and what is answered to bytes: one file a protocol. No sockets, no
//! models.

pub(crate) mod base64;
pub(crate) mod classify;
pub(crate) mod grpc;
pub(crate) mod infer;
pub(crate) mod json;
pub(crate) mod multipart;
mod picture;
pub(crate) mod tensor;
pub(crate) mod v1;
pub(crate) mod v2;

pub(crate) use picture::{MOST_PICTURES, Picture, Seen, Stages, ms};
