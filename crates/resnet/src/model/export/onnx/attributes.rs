//! Settings of ONNX operations.

use resnet_formats::onnx::proto::{Attribute, Node};

/// The setting of this name.
pub(super) fn find<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    node.attribute.iter().find(|a| a.name.as_deref() == Some(name))
}

/// A list of integers; empty where there is none.
pub(super) fn list(node: &Node, name: &str) -> Vec<i64> {
    find(node, name).map(|a| a.ints.clone()).unwrap_or_default()
}

/// An integer setting of a plausible size.
pub(super) fn integer(node: &Node, name: &str, otherwise: usize) -> Result<usize, String> {
    match find(node, name).and_then(|a| a.i) {
        None => Ok(otherwise),
        Some(value) => plausible(name, value),
    }
}

/// A size, if it is one that a layer may have.
pub(super) fn plausible(name: &str, value: i64) -> Result<usize, String> {
    let size = usize::try_from(value).ok().filter(|size| *size <= 65_535);
    size.ok_or_else(|| format!("its {name} of {value} is not 0 to 65535"))
}

/// Kernel, stride and padding of a square window.
pub(super) fn window(node: &Node) -> Result<[usize; 3], String> {
    let pad = find(node, "auto_pad").and_then(|a| a.s.as_deref()).unwrap_or(b"NOTSET");
    let ceil = integer(node, "ceil_mode", 0)?;
    if pad != b"NOTSET" || ceil != 0 || list(node, "dilations").iter().any(|&d| d != 1) {
        return Err("automatic padding, ceil_mode and dilations are not ours".into());
    }
    let same = |name: &str, otherwise: i64| {
        let values = list(node, name);
        let first = values.first().copied().unwrap_or(otherwise);
        match values.iter().all(|&v| v == first) {
            true => plausible(name, first),
            false => Err(format!("its {name} must be the same on every side")),
        }
    };
    Ok([same("kernel_shape", 1)?, same("strides", 1)?, same("pads", 0)?])
}
