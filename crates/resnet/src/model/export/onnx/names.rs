//! Versions, and names of what a graph takes and gives.

use resnet_formats::onnx::proto::Node;

/// Versions of the operations that are read: what the table uses means the same in all of them.
pub(super) const READ: std::ops::RangeInclusive<i64> = 13..=28;
/// Versions of the operations that are written, those of ONNX 1.8 to 1.21, each with the version of
/// the messages that came with it (`docs/Versioning.md` of ONNX).
const VERSIONS: &[(i64, i64)] = &[
    (13, 7),
    (14, 7),
    (15, 8),
    (16, 8),
    (17, 8),
    (18, 8),
    (19, 9),
    (20, 9),
    (21, 10),
    (22, 10),
    (23, 11),
    (24, 12),
    (25, 13),
    (26, 13),
];
/// For each operation that is written, the version that its definition is of: the newest that no
/// runtime of the last years lacks. What came later changes nothing in what is written here.
const NEEDS: &[(&str, i64)] = &[
    ("Add", 14),
    ("AveragePool", 11),
    ("BatchNormalization", 15),
    ("Cast", 13),
    ("Conv", 11),
    ("Div", 14),
    ("Flatten", 13),
    ("Gemm", 13),
    ("GlobalAveragePool", 1),
    ("MaxPool", 12),
    ("Pad", 13),
    ("Relu", 14),
    ("Sub", 14),
    ("Transpose", 13),
];
/// Name of the input.
pub(super) const IMAGES: &str = "images";
/// Name of the output.
pub(super) const LOGITS: &str = "logits";

/// The oldest version of the operations that has all of these as they are written.
pub(super) fn needed(nodes: &[Node]) -> i64 {
    let of = |node: &Node| {
        let row = NEEDS.iter().find(|(op, _)| node.op_type.as_deref() == Some(op));
        row.expect("every operation that is written has a row").1
    };
    nodes.iter().map(of).fold(VERSIONS[0].0, i64::max)
}

/// The version of the messages for one of the operations.
pub(super) fn ir(opset: i64) -> Option<i64> {
    VERSIONS.iter().find(|(version, _)| *version == opset).map(|row| row.1)
}

/// The newest version of the operations that is written.
pub(super) fn newest() -> i64 {
    VERSIONS[VERSIONS.len() - 1].0
}
