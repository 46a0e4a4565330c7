//! Numbers of the papers, to stand beside ours. They are theirs.

/// A published result on CIFAR-10.
pub(super) struct Published {
    pub(super) arch: &'static str,
    /// Test error, a fraction.
    pub(super) test_error: f64,
    pub(super) source: &'static str,
}

const TABLE_6: &str = "He et al. 2015, table 6";
const IDENTITY: &str = "He et al. 2016, table 3, median of 5 runs";

/// Single-crop test errors after 64,000 iterations of batch 128. Plain networks have no entry in
/// the papers' tables.
const CIFAR10: &[Published] = &[
    row("resnet20", 8.75, TABLE_6),
    row("resnet32", 7.51, TABLE_6),
    row("resnet44", 7.17, TABLE_6),
    row("resnet56", 6.97, TABLE_6),
    row("resnet110", 6.43, "He et al. 2015, table 6, best of 5 runs"),
    row("resnet1202", 7.93, TABLE_6),
    row("preresnet110", 6.37, IDENTITY),
    row("preresnet164", 5.46, IDENTITY),
    row("preresnet1001", 4.92, IDENTITY),
];

const fn row(arch: &'static str, percent: f64, source: &'static str) -> Published {
    Published { arch, test_error: percent / 100.0, source }
}

/// What was published for a network on some data.
pub(super) fn of(arch: &str, data: &str) -> Option<&'static Published> {
    let cifar10 = data.starts_with("cifar10:");
    CIFAR10.iter().find(|row| cifar10 && row.arch == arch)
}
