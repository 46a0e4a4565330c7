//! What is measured, as Prometheus reads it; also under the names that dashboards of Triton know.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::model::Loaded;
use super::models::Listed;
use crate::http::Refusal;
use crate::wire::{Seen, Stages};

/// Upper ends of the buckets of times, in seconds.
const TIMES: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
/// Upper ends of the buckets of probabilities.
const SHARES: [f64; 12] = [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99];

/// A histogram.
#[derive(Clone, Debug)]
struct Histogram {
    ends: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    fn new(ends: &'static [f64]) -> Histogram {
        Histogram { ends, counts: vec![0; ends.len() + 1], sum: 0.0 }
    }

    fn add(&mut self, value: f64) {
        self.counts[self.ends.partition_point(|end| *end < value)] += 1;
        self.sum += value;
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut all = 0;
        for (i, count) in self.counts.iter().enumerate() {
            all += count;
            let end = self.ends.get(i).map_or("+Inf".to_string(), f64::to_string);
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{end}\"}} {all}");
        }
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(out, "{name}_sum{braced} {}\n{name}_count{braced} {all}", self.sum);
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By model, version and status.
    requests: BTreeMap<(String, String, u16), Histogram>,
    stages: BTreeMap<&'static str, Histogram>,
    rejected: BTreeMap<&'static str, u64>,
    cancelled: u64,
    reloads: BTreeMap<&'static str, u64>,
    /// By model.
    confidence: BTreeMap<String, Histogram>,
    /// Likeness to the training pictures by model, where it is known.
    likeness: BTreeMap<String, Histogram>,
}

/// What stands now, beside what was counted.
pub(crate) struct Now<'a> {
    pub(crate) models: &'a [Listed],
    pub(crate) waiting: usize,
    pub(crate) decode_bytes: u64,
    pub(crate) connections: usize,
    pub(crate) ready: bool,
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request. Names that no model has are one.
    pub(crate) fn request(
        &self,
        model: Option<(&str, u64)>,
        status: u16,
        took: Duration,
        refused: Option<&'static str>,
    ) {
        let (name, version) = match model {
            Some((name, version)) => (name.to_owned(), version.to_string()),
            None => ("other".to_owned(), String::new()),
        };
        let mut state = self.lock();
        let requests = &mut state.requests;
        let times =
            requests.entry((name, version, status)).or_insert_with(|| Histogram::new(&TIMES));
        times.add(took.as_secs_f64());
        if let Some(reason) = refused {
            *state.rejected.entry(reason).or_default() += 1;
        }
    }

    /// Counts a picture.
    pub(crate) fn picture(&self, model: &Loaded, stages: &Stages, seen: &Result<Seen, Refusal>) {
        let refused = seen.as_ref().err().map(|refusal| refusal.reason);
        model.counts.add(stages, refused);
        let mut state = self.lock();
        let Stages { queue, decode, compute } = stages;
        for (name, took) in [("queue", queue), ("decode", decode), ("compute", compute)] {
            let times = state.stages.entry(name).or_insert_with(|| Histogram::new(&TIMES));
            times.add(took.as_secs_f64());
        }
        if let Ok(seen) = seen
            && let Some(best) = seen.top.first()
        {
            note(&mut state.confidence, &model.name, best.probability);
            if let Some(likeness) = seen.verdict.likeness {
                note(&mut state.likeness, &model.name, likeness);
            }
        }
    }

    /// Counts a picture that nobody waits for any more.
    pub(crate) fn cancelled(&self) {
        self.lock().cancelled += 1;
    }

    /// Counts an attempt to load models.
    pub(crate) fn reload(&self, well: bool) {
        let result = if well { "ok" } else { "failed" };
        *self.lock().reloads.entry(result).or_default() += 1;
    }

    /// All of it, as text (Prometheus' exposition format 0.0.4).
    pub(crate) fn render(&self, now: &Now<'_>) -> String {
        let mut out = String::new();
        let state = self.lock();
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        let name = "resnet_request_duration_seconds";
        head(&mut out, name, "histogram", "From the head of a request to its reply.");
        for ((model, version, code), times) in &state.requests {
            let model = escaped(model);
            let labels = format!("model=\"{model}\",version=\"{version}\",code=\"{code}\"");
            times.write(&mut out, name, &labels);
        }
        let name = "resnet_stage_duration_seconds";
        head(&mut out, name, "histogram", "Stages of a picture.");
        for (stage, times) in &state.stages {
            times.write(&mut out, name, &format!("stage=\"{stage}\""));
        }
        let shares = [
            ("resnet_confidence", "Probability of the most likely class.", &state.confidence),
            (
                "resnet_ood_score",
                "Likeness to the training pictures: evenly from 0 to 1, unless the pictures drift.",
                &state.likeness,
            ),
        ];
        for (name, help, by_model) in shares {
            head(&mut out, name, "histogram", help);
            for (model, shares) in by_model {
                shares.write(&mut out, name, &format!("model=\"{}\"", escaped(model)));
            }
        }
        let name = "resnet_rejected_total";
        head(&mut out, name, "counter", "Requests that were refused, by reason.");
        for (reason, count) in &state.rejected {
            let _ = writeln!(out, "{name}{{reason=\"{reason}\"}} {count}");
        }
        let name = "resnet_reload_total";
        head(&mut out, name, "counter", "Attempts to load models again.");
        for result in ["ok", "failed"] {
            let count = state.reloads.get(result).copied().unwrap_or(0);
            let _ = writeln!(out, "{name}{{result=\"{result}\"}} {count}");
        }
        let numbers = [
            ("resnet_cancelled_total", "counter", "Pictures whose callers had gone.", {
                state.cancelled as f64
            }),
            ("resnet_queue_depth", "gauge", "Pictures that wait.", now.waiting as f64),
            ("resnet_decode_bytes", "gauge", "Memory lent for decoding.", now.decode_bytes as f64),
            ("resnet_connections", "gauge", "Open connections.", now.connections as f64),
            ("resnet_ready", "gauge", "Whether all models answer.", f64::from(now.ready)),
        ];
        for (name, kind, help, value) in numbers {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        drop(state);
        triton(&mut out, now);
        process(&mut out);
        out
    }
}

/// Adds a share to a model's histogram.
fn note(by_model: &mut BTreeMap<String, Histogram>, model: &str, share: f32) {
    match by_model.get_mut(model) {
        Some(shares) => shares.add(share.into()),
        None => {
            let mut shares = Histogram::new(&SHARES);
            shares.add(share.into());
            by_model.insert(model.to_owned(), shares);
        }
    }
}

/// The counts of models under the names of Triton, whose dashboards are in use.
fn triton(out: &mut String, now: &Now<'_>) {
    type Of = fn(&super::model::Totals) -> f64;
    let rows: [(&str, &str, &str, Of); 7] = [
        ("nv_inference_request_success", "counter", "Pictures answered.", |t| t.success as f64),
        ("nv_inference_count", "counter", "Pictures answered.", |t| t.success as f64),
        ("nv_inference_exec_count", "counter", "Runs of the network.", |t| t.success as f64),
        ("nv_inference_request_duration_us", "counter", "All stages.", |t| {
            (t.queue + t.decode + t.compute).as_secs_f64() * 1e6
        }),
        ("nv_inference_queue_duration_us", "counter", "Waiting.", |t| t.queue.as_secs_f64() * 1e6),
        ("nv_inference_compute_input_duration_us", "counter", "Decoding.", |t| {
            t.decode.as_secs_f64() * 1e6
        }),
        ("nv_inference_compute_infer_duration_us", "counter", "The network.", |t| {
            t.compute.as_secs_f64() * 1e6
        }),
    ];
    let labels = |listed: &Listed| {
        format!("model=\"{}\",version=\"{}\"", escaped(&listed.name), listed.version)
    };
    let totals: Vec<_> =
        now.models.iter().map(|listed| (labels(listed), listed.counts.totals())).collect();
    for (name, kind, help, of) in rows {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, totals) in &totals {
            let _ = writeln!(out, "{name}{{{labels}}} {}", of(totals));
        }
    }
    let name = "nv_inference_request_failure";
    let _ = writeln!(out, "# HELP {name} Pictures not answered.\n# TYPE {name} counter");
    for (labels, totals) in &totals {
        for (reason, count) in &totals.failure {
            let _ = writeln!(out, "{name}{{{labels},reason=\"{reason}\"}} {count}");
        }
    }
    let name = "nv_inference_pending_request_count";
    let _ = writeln!(out, "# HELP {name} Pictures that wait.\n# TYPE {name} gauge");
    let _ = writeln!(out, "{name} {}", now.waiting);
}

/// What the system says of this process, where it does.
fn process(out: &mut String) {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()
    };
    let threads = kilobytes("Threads:");
    // Clock ticks, a hundred a second on every Linux; the name in front may hold anything.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    let name = "process_cpu_seconds_total";
    let _ = writeln!(out, "# HELP {name} Time on cores.\n# TYPE {name} counter");
    let _ = writeln!(out, "{name} {}", ticks as f64 / 100.0);
    let rows = [
        ("process_resident_memory_bytes", "Memory in use.", kilobytes("VmRSS:").map(|k| k << 10)),
        ("process_threads", "Threads.", threads),
        (
            "process_open_fds",
            "Open files.",
            std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
        ),
    ];
    for (name, help, value) in rows {
        if let Some(value) = value {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
    }
}

/// A text within quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
