//! HTTP for whoever answers calls: connections, their timeouts and limits, requests in, replies
//! out. Knows no models and no runs.

mod body;
mod call;
mod connection;
mod listen;
mod refusal;
mod reply;
#[cfg(feature = "tls")]
mod tls;
mod token;
mod unpack;

pub(crate) use body::Held;
pub(crate) use call::{Call, Query};
pub(crate) use connection::Timeouts;
pub(crate) use listen::{Listening, Phase};
pub(crate) use refusal::Refusal;
pub(crate) use reply::{Reply, Sender};
#[cfg(feature = "tls")]
pub(crate) use tls::acceptor;
pub use token::Tokens;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Who answers calls.
pub(crate) trait App: Send + Sync + 'static {
    /// The reply to a call, whose body is read only if it is asked for.
    fn call(self: Arc<Self>, call: Call) -> Pin<Box<dyn Future<Output = Reply> + Send>>;
}
