//! HTTP for whoever answers calls: connections, their timeouts and limits, requests in, replies
//! out. Knows no models and no runs.

mod app;
mod body;
mod call;
mod connection;
mod listen;
mod phase;
mod refusal;
mod reply;
#[cfg(feature = "tls")]
mod tls;
mod token;
mod unpack;

pub(crate) use app::App;
pub(crate) use body::{Held, Share};
pub(crate) use call::Call;
pub(crate) use connection::Timeouts;
pub(crate) use listen::Listening;
pub(crate) use phase::Phase;
pub(crate) use refusal::Refusal;
pub(crate) use reply::{Reply, Sender};
#[cfg(feature = "tls")]
pub(crate) use tls::acceptor;
pub use token::Tokens;
pub(crate) use unpack::Coding;
