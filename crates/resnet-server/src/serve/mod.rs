//! The server of models: what is asked over any protocol becomes pictures in one queue, which the
//! threads of the device empty.

mod budget;
mod classify;
mod grpc;
mod infer;
mod log;
mod metrics;
mod model;
mod models;
mod options;
mod queue;
mod repository;
mod routes;
mod run;
mod state;
mod work;

pub use log::Log;
pub use options::{Options, Source};
pub use run::{ServeError, Server};
