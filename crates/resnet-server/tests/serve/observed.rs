//! What who runs a server sees of it: metrics and lines of its log.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::form::form;
use crate::support::{Folder, NAME, Request, Running, picture};

fn classify() -> Request {
    Request::post("/classify", picture(8, 8, 1))
}

/// A sample's name, labels and value.
type Sample = (String, BTreeMap<String, String>, f64);

/// A line of Prometheus' text format 0.0.4.
fn sample(line: &str) -> Sample {
    let (head, value) = line.rsplit_once(' ').unwrap();
    let value = value.parse().unwrap_or_else(|_| panic!("no number in `{line}`"));
    let (name, mut rest) = match head.split_once('{') {
        None => return (head.to_owned(), BTreeMap::new(), value),
        Some((name, rest)) => (name, rest.strip_suffix('}').unwrap()),
    };
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (label, text) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        let (mut unescaped, mut chars) = (String::new(), text.char_indices());
        let end = loop {
            match chars.next().unwrap_or_else(|| panic!("an open quote in `{line}`")) {
                (at, '"') => break at,
                (_, '\\') => unescaped.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("\\{c} in `{line}`"),
                }),
                (_, c) => unescaped.push(c),
            }
        };
        assert!(labels.insert(label.to_owned(), unescaped).is_none(), "{label} twice: {line}");
        rest = &text[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    (name.to_owned(), labels, value)
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(fits) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Reads a page of metrics as strictly as its format is: the samples, and each family's kind.
fn read(text: &str) -> (Vec<Sample>, BTreeMap<String, String>) {
    assert!(text.ends_with('\n'));
    let (mut kinds, mut helped) = (BTreeMap::new(), BTreeSet::new());
    let (mut samples, mut known, mut family) = (Vec::new(), BTreeSet::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !help.is_empty(), "{line}");
            assert!(helped.insert(name.to_owned()), "a second help: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(helped.contains(name), "no help before {line}");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "again: {line}");
            family = name.to_owned();
        } else {
            let sample = sample(line);
            let (name, labels, value) = &sample;
            assert!(labels.keys().all(|label| is_name(label)), "{line}");
            let parts: &[&str] = match kinds[&family].as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            // Samples of a family stand together, below its head.
            let of_family = parts.iter().any(|part| *name == format!("{family}{part}"));
            assert!(of_family, "`{line}` stands below {family}");
            assert!(*value >= 0.0, "{line}");
            assert!(known.insert((name.clone(), labels.clone())), "twice: {line}");
            samples.push(sample);
        }
    }
    (samples, kinds)
}

/// Checks that buckets rise up to the count.
fn check_histograms(samples: &[Sample], kinds: &BTreeMap<String, String>) {
    for family in kinds.keys().filter(|name| kinds[*name] == "histogram") {
        let mut buckets: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for (name, labels, value) in samples {
            if *name == format!("{family}_bucket") {
                let mut labels = labels.clone();
                let end = labels.remove("le").unwrap().replace("+Inf", "inf").parse().unwrap();
                buckets.entry(labels).or_default().push((end, *value));
            }
        }
        for (labels, buckets) in buckets {
            let rises = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
            assert!(buckets.windows(2).all(rises), "{family} {labels:?} {buckets:?}");
            let (end, all) = *buckets.last().unwrap();
            assert_eq!(end, f64::INFINITY);
            let count = format!("{family}_count");
            let counted = samples.iter().find(|(n, l, _)| *n == count && *l == labels).unwrap();
            assert_eq!(counted.2, all, "{family} {labels:?}");
        }
    }
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let folder = Folder::new();
    let odd = "K\u{e4}tzchen +1.0 \u{4e16}";
    let models = [NAME, odd].map(|name| (name, folder.model("small.safetensors", 1)));
    let mut server = Running::of(folder, models.to_vec(), 1, |_| {});
    let before = server.get("/metrics");
    let kind = before.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert_eq!(before.header("cache-control"), Some("no-store"));
    read(&before.text());
    server.load().unwrap();
    let encoded: String = odd.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let other = |target: &str| Request::post(target, picture(8, 8, 1));
    server.ask(&classify()).good();
    server.ask(&other(&format!("/classify/{encoded}"))).good();
    server.ask(&Request::post("/classify", "no picture")).refused(415);
    // Names and paths that strangers make up are one label.
    for i in 0..3 {
        server.ask(&other(&format!("/classify/unknown-{i}"))).refused(404);
        server.get(&format!("/nothing/{i}")).refused(404);
    }
    server.get("/ping").good();
    let (samples, kinds) = read(&server.get("/metrics").text());
    check_histograms(&samples, &kinds);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let pairs = labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let labels = pairs.collect::<BTreeMap<_, _>>();
        samples.iter().find(|(n, l, _)| n == name && *l == labels).map(|sample| sample.2)
    };
    let requests = "resnet_request_duration_seconds_count";
    for (model, version, code, count) in
        [(NAME, "1", "200", 1.0), (NAME, "1", "415", 1.0), (odd, "1", "200", 1.0)]
    {
        let labels = [("model", model), ("version", version), ("code", code)];
        assert_eq!(value(requests, &labels), Some(count), "{labels:?}");
    }
    let unknown = [("model", "other"), ("version", ""), ("code", "404")];
    assert_eq!(value(requests, &unknown), Some(6.0));
    let all: Vec<_> = samples.iter().filter(|(name, ..)| name == requests).collect();
    assert_eq!(all.len(), 4, "probes are not counted: {all:?}");
    for stage in ["queue", "decode", "compute"] {
        let name = "resnet_stage_duration_seconds_count";
        assert_eq!(value(name, &[("stage", stage)]), Some(3.0), "{stage}");
    }
    let labels = [("model", odd), ("version", "1")];
    assert_eq!(value("nv_inference_request_success", &labels), Some(1.0));
    assert_eq!(value("resnet_rejected_total", &[("reason", "unknown")]), Some(6.0));
    assert_eq!(value("resnet_rejected_total", &[("reason", "format")]), Some(1.0));
    assert_eq!(value("resnet_confidence_count", &[("model", odd)]), Some(1.0));
    for (name, expected) in [
        ("resnet_queue_depth", 0.0),
        ("resnet_connections", 1.0),
        ("resnet_decode_bytes", 0.0),
        ("resnet_cancelled_total", 0.0),
        ("resnet_ready", 1.0),
        ("nv_inference_pending_request_count", 0.0),
    ] {
        assert_eq!(value(name, &[]), Some(expected), "{name}");
    }
    if cfg!(target_os = "linux") {
        for name in ["process_resident_memory_bytes", "process_threads", "process_open_fds"] {
            assert!(value(name, &[]).unwrap() > 0.0, "{name}");
        }
    }
    // What dashboards and alerts ask for is there.
    for name in [
        "resnet_reload_total",
        "resnet_ood_score",
        "nv_inference_request_failure",
        "nv_inference_count",
        "nv_inference_exec_count",
        "nv_inference_request_duration_us",
        "nv_inference_queue_duration_us",
        "nv_inference_compute_input_duration_us",
        "nv_inference_compute_infer_duration_us",
        "process_cpu_seconds_total",
    ] {
        assert!(kinds.contains_key(name), "{name}");
    }
}

#[test]
fn every_request_is_a_line_with_its_stages() {
    let server = Running::new(|options| options.log_requests = true);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let line = |request: Request, id: &str| -> Value {
        server.ask(&request.with("x-request-id", id));
        let line = server.log.wait_for(&format!("\"id\":\"{id}\""));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let files = [picture(8, 8, 1), picture(9, 9, 2)];
    let many = form("/classify?top=1", &[("a", &files[0]), ("b", &files[1])]);
    let said = line(many.with("traceparent", trace), "one");
    for (key, expected) in [
        ("event", json!("request")),
        ("peer", json!("127.0.0.1")),
        ("method", json!("POST")),
        ("path", json!("/classify")),
        ("status", json!(200)),
        ("model", json!(NAME)),
        ("version", json!(1)),
        ("pictures", json!(2)),
        ("traceparent", json!(trace)),
    ] {
        assert_eq!(said[key], expected, "{said}");
    }
    let stages: f64 = ["queue_ms", "decode_ms", "compute_ms"].map(|k| said[k].as_f64().unwrap())
        [1..]
        .iter()
        .sum();
    assert!(stages > 0.0 && said["ms"].as_f64().unwrap() >= stages, "{said}");
    assert_eq!(said.get("refused"), None);

    let said = line(Request::get("/a\"b%0a\\c"), "two");
    assert_eq!((&said["status"], &said["refused"]), (&json!(404), &json!("unknown")));
    assert_eq!(said["path"], "/a\"b%0a\\c");
    assert_eq!(said.get("model").or(said.get("pictures")).or(said.get("traceparent")), None);
    let said = line(Request::post("/classify", "no picture"), "three");
    assert_eq!((&said["status"], &said["refused"]), (&json!(415), &json!("format")));
}

#[test]
fn without_that_only_what_matters_is_told() {
    let server = Running::new(|_| {});
    server.ask(&classify()).good();
    server.get("/nothing").refused(404);
    assert_eq!(server.log.all(), [""; 0]);
}
