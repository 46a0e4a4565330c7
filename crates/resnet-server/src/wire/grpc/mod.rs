//! gRPC's half of the Open Inference Protocol: messages in frames of five bytes and more, and a
//! status behind them (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md).

pub(crate) mod convert;
pub(crate) mod frame;
mod limit;
pub(crate) mod messages;
mod status;

pub(crate) use limit::within_limits;
pub(crate) use status::{Code, Status};
