//! What a server tells: one line a happening, which whoever started it prints.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::wire::{Stages, ms};

/// Where lines go.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// What a call was about, for log and metrics.
#[derive(Default)]
pub(crate) struct About {
    pub(crate) model: Option<(String, u64)>,
    pub(crate) pictures: usize,
    pub(crate) stages: Stages,
}

/// A request that was answered.
#[derive(Debug, Default)]
pub(crate) struct Line<'a> {
    pub(crate) id: &'a str,
    pub(crate) peer: String,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) took: Duration,
    /// The model and its version.
    pub(crate) model: Option<(String, u64)>,
    /// Pictures, and their stages summed up.
    pub(crate) pictures: usize,
    pub(crate) stages: Stages,
    /// Of W3C's trace context, as it came.
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) refused: Option<&'static str>,
}

impl Line<'_> {
    /// As a line of JSON.
    pub(crate) fn json(&self) -> String {
        let mut line = Map::new();
        let mut add = |name: &str, value: Value| {
            line.insert(name.to_owned(), value);
        };
        add("event", "request".into());
        add("id", self.id.into());
        add("peer", self.peer.as_str().into());
        add("method", self.method.into());
        add("path", self.path.into());
        add("status", self.status.into());
        add("ms", ms(self.took).into());
        if let Some((name, version)) = &self.model {
            add("model", name.as_str().into());
            add("version", (*version).into());
        }
        if self.pictures > 0 {
            add("pictures", self.pictures.into());
            add("queue_ms", ms(self.stages.queue).into());
            add("decode_ms", ms(self.stages.decode).into());
            add("compute_ms", ms(self.stages.compute).into());
        }
        if let Some(parent) = self.traceparent {
            add("traceparent", parent.into());
        }
        if let Some(reason) = self.refused {
            add("refused", reason.into());
        }
        Value::Object(line).to_string()
    }
}
