//! What connections serve: calls go there, and what comes back goes out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Call, Reply};

/// Who answers calls.
pub(crate) trait App: Send + Sync + 'static {
    /// The reply to a call, whose body is read only if it is asked for.
    fn call(self: Arc<Self>, call: Call) -> Pin<Box<dyn Future<Output = Reply> + Send>>;
}
