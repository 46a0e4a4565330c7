//! What a file of weights holds beside the network's body: the last layer under another name, and
//! tensors that are no part of it.

use std::collections::{BTreeMap, HashSet};

use resnet_formats::{Array, Data};

use super::naming::Naming;

/// Words in the names of tensors that training kept and the network does not compute with.
const BESIDE: &[&str] = &[
    "acc",
    "accuracy",
    "auc",
    "auroc",
    "confidence",
    "confmat",
    "criterion",
    "ema",
    "f1",
    "loss",
    "losses",
    "metric",
    "metrics",
    "momentum",
    "precision",
    "queue",
    "recall",
    "teacher",
];
/// Counters of a profiler, inside the network.
const COUNTERS: &[&str] = &["total_ops", "total_params"];

/// Our name of the last layer.
pub(super) const HEAD: &str = "fc";

/// Sorts a file's tensors, which have their names there, into those of the network, by our names,
/// and a phrase on each group that is left out.
pub(super) fn sort(
    entries: BTreeMap<String, Array>,
    naming: &'static Naming,
    prefix: &str,
) -> (BTreeMap<String, Array>, Vec<String>) {
    let copies: HashSet<&str> = naming.prefixes(&entries).collect();
    let twin = |name: &str| {
        let mut ends = name.match_indices('.').map(|(dot, _)| &name[..=dot]);
        let copy = ends.find(|end| copies.contains(end));
        copy.filter(|copy| *copy != prefix && !prefix.starts_with(*copy)).map(str::to_owned)
    };
    let twins: BTreeMap<&String, String> =
        entries.keys().filter_map(|name| Some((name, twin(name)?))).collect();
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    let mut inside: BTreeMap<String, bool> = BTreeMap::new();
    for name in entries.keys() {
        let last = name.rsplit('.').next().unwrap_or_default();
        let group = if last == "num_batches_tracked" {
            // Counters of training steps are no part of what a network computes.
            continue;
        } else if let Some(twin) = twins.get(name) {
            format!("{twin}*")
        } else if COUNTERS.contains(&last) {
            format!("*.{last}")
        } else if let Some(first) = beside(name, prefix) {
            format!("{first}.*")
        } else {
            inside.insert(name.clone(), name.starts_with(prefix));
            continue;
        };
        *left_out.entry(group).or_default() += 1;
    }
    drop(twins);
    let mut network = BTreeMap::new();
    for (name, array) in entries {
        if let Some(inside) = inside.get(&name) {
            let ours = match inside {
                true => naming.rename(&name[prefix.len()..]),
                false => name,
            };
            network.insert(ours, array);
        }
    }
    let phrase = |(group, count): (String, usize)| match count {
        1 => format!("{group}: a tensor"),
        count => format!("{group}: {count} tensors"),
    };
    (network, left_out.into_iter().map(phrase).collect())
}

/// The first part of a name that says that the tensor was kept beside the network.
fn beside<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let first = |text: &str| text.find('.').unwrap_or(text.len());
    let known = |text: &str| text.split(['.', '_']).any(|word| BESIDE.contains(&word));
    match name.strip_prefix(prefix) {
        Some(rest) => {
            let end = first(rest);
            known(&rest[..end]).then(|| &name[..prefix.len() + end])
        }
        None => known(name).then(|| &name[..first(name)]),
    }
}

/// What became of the last layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// It has our name, or the network's last layer is of another kind.
    Ours,
    /// It had this name.
    Renamed(String),
    /// There is none that is a single linear layer.
    Missing,
}

/// Gives the last layer our name, or one of zeros for a single class to a network that has none.
/// What would be left of a head of another kind, and of what follows a body, is left out.
pub(super) fn head(network: &mut BTreeMap<String, Array>, left_out: &mut Vec<String>) -> Head {
    if network.contains_key("fc.weight") || network.contains_key("features.0.weight") {
        return Head::Ours;
    }
    let of_head = |name: &&String| {
        let (layer, _) = name.rsplit_once('.').unwrap_or((name.as_str(), ""));
        layer.split('.').all(|part| {
            matches!(part, "fc" | "head" | "heads" | "classifier" | "linear" | "last_linear")
                || matches!(part, "cls_head" | "logits" | "model" | "module" | "net" | "output")
                || part.parse::<u32>().is_ok()
        }) && !layer.is_empty()
    };
    let names: Vec<String> = network.keys().filter(of_head).cloned().collect();
    let width = width(network);
    let weight = names.iter().find(|name| name.ends_with(".weight")).cloned();
    if let Some(weight) = weight {
        let layer = weight.trim_end_matches(".weight").to_owned();
        let bias = format!("{layer}.bias");
        let alone = names.iter().all(|name| *name == weight || *name == bias);
        let shape = network[&weight].shape();
        let linear = shape.len() >= 2 && shape[2..].iter().all(|&axis| axis == 1);
        if alone && linear && Some(shape[1]) == width {
            let classes = shape[0];
            let w = network.remove(&weight).expect("its name is one of them");
            let b = network.remove(&bias).unwrap_or_else(|| zeros(vec![classes]));
            network.insert(format!("{HEAD}.weight"), w);
            network.insert(format!("{HEAD}.bias"), b);
            return Head::Renamed(layer);
        }
    }
    let Some(width) = width else {
        return Head::Ours;
    };
    // Without a head, what stands beside the body is another task's.
    let body = |name: &String| {
        ["conv1.", "bn1.", "bn.", "layer"].iter().any(|start| name.starts_with(start))
    };
    let others: Vec<String> = network.keys().filter(|name| !body(name)).cloned().collect();
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for name in others {
        network.remove(&name);
        let first = name.split('.').next().unwrap_or_default();
        *groups.entry(format!("{first}.*")).or_default() += 1;
    }
    left_out.extend(groups.into_iter().map(|(group, count)| match count {
        1 => format!("{group}: a tensor"),
        count => format!("{group}: {count} tensors"),
    }));
    network.insert(format!("{HEAD}.weight"), zeros(vec![1, width]));
    network.insert(format!("{HEAD}.bias"), zeros(vec![1]));
    Head::Missing
}

fn zeros(shape: Vec<usize>) -> Array {
    let count = shape.iter().product();
    Array::new(shape, Data::F32(vec![0.0; count])).expect("the shape was counted")
}

/// Channels of the last stage's last block, which the last layer reads.
fn width(network: &BTreeMap<String, Array>) -> Option<usize> {
    let number = |text: &str| text.parse::<u32>().ok();
    let place = |name: &str| {
        let mut parts = name.split('.');
        let stage = number(parts.next()?.strip_prefix("layer")?)?;
        let block = number(parts.next()?)?;
        let conv = number(parts.next()?.strip_prefix("conv")?)?;
        (parts.next()? == "weight").then_some((stage, block, conv))
    };
    let last = network
        .iter()
        .filter_map(|(name, array)| Some((place(name)?, array)))
        .max_by_key(|(place, _)| *place);
    last.and_then(|(_, array)| array.shape().first().copied())
}
