//! Stored results of PyTorch in f64, and the comparison with them. `tools/fixtures/README.md` says
//! what each number is.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::hashed::Hashed;

/// Sums under hashed signs in a digest.
const PROJECTIONS: usize = 4;
/// Elements in a digest.
const SAMPLES: usize = 6;

/// Norm, sums under hashed signs, elements at hashed positions.
pub(crate) type Digest = Vec<f64>;
pub(crate) type Digests = BTreeMap<String, Digest>;

#[derive(Deserialize)]
pub(crate) struct Network {
    pub(crate) arch: String,
    pub(crate) salt: u32,
    pub(crate) batch: usize,
    pub(crate) side: usize,
    pub(crate) classes: usize,
    pub(crate) lr: f64,
    pub(crate) momentum: f64,
    pub(crate) weight_decay: f64,
    pub(crate) logits: Vec<Vec<f64>>,
    pub(crate) loss: f64,
    pub(crate) gradients: Digests,
    pub(crate) buffers: Digests,
    pub(crate) eval_logits: Vec<Vec<f64>>,
    pub(crate) curves: BTreeMap<String, Curve>,
}

#[derive(Deserialize)]
pub(crate) struct Curve {
    pub(crate) nesterov: bool,
    pub(crate) decay_norm_bias: bool,
    pub(crate) losses: Vec<f64>,
    pub(crate) moved: Digests,
}

pub(crate) fn load<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn l2(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Asserts that every number is within `tolerance` of its own size or of the typical one (RMS),
/// whichever is larger.
pub(crate) fn assert_close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}: number of values");
    let rms = l2(want.iter().copied()) / (want.len() as f64).sqrt();
    let error = |i: usize| (got[i] - want[i]).abs() / want[i].abs().max(rms);
    for i in 0..want.len() {
        assert!(
            error(i) <= tolerance,
            "{what}[{i}] is {} and in PyTorch {}: off by {:.1e}, allowed {tolerance:.0e}",
            got[i],
            want[i],
            error(i)
        );
    }
}

/// How far a tensor is from the one that a digest was made of, over `scale`: the estimate of the L2
/// distance from the hashed sums, the difference of the norms, or the largest difference of an
/// element over the RMS, whichever is largest.
///
/// A sum of a difference e under random signs has mean square |e|^2, so the four sums estimate |e|.
pub(crate) fn distance(name: &str, got: &[f64], want: &[f64], scale: f64) -> f64 {
    assert_eq!(want.len(), 1 + PROJECTIONS + SAMPLES, "{name}: digest");
    let signs = Hashed::new(&format!("{name}/signs"));
    let mut sums = [0.0; PROJECTIONS];
    for (i, value) in got.iter().enumerate() {
        let word = signs.word(i);
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum += if word >> (63 - k) & 1 == 1 { -value } else { *value };
        }
    }
    let differences = sums.iter().zip(&want[1..]).map(|(got, want)| got - want);
    let projected = l2(differences) / (PROJECTIONS as f64).sqrt() / scale;
    let norm = (l2(got.iter().copied()) - want[0]).abs() / scale;
    let rms = scale / (got.len() as f64).sqrt();
    let positions = Hashed::new(&format!("{name}/samples"));
    let samples = want[1 + PROJECTIONS..].iter().enumerate();
    let sampled = samples
        .map(|(j, want)| (got[positions.index(j, got.len())] - want).abs() / want.abs().max(rms));
    sampled.fold(projected.max(norm), f64::max)
}

/// Asserts the same names on both sides, and every tensor within `tolerance` of its digest relative
/// to its own norm. The gradient of a bias that a batch norm follows is zero but for rounding; it
/// is measured against its weight's.
pub(crate) fn compare_all(
    what: &str,
    got: BTreeMap<String, Vec<f64>>,
    want: &Digests,
    tolerance: f64,
) {
    let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(got.keys().collect()), names(want.keys().collect()), "{what}: names");
    let total = l2(want.values().map(|digest| digest[0]));
    let mut worst = (0.0, "");
    for (name, digest) in want {
        let scale = if digest[0] > 1e-9 * total {
            digest[0]
        } else {
            want[&name.replace(".bias", ".weight")][0]
        };
        let off = distance(name, &got[name], digest, scale);
        if off > worst.0 || off.is_nan() {
            worst = (off, name);
        }
    }
    let (off, name) = worst;
    println!("{what}: farthest is {name}, {off:.1e}");
    assert!(
        off <= tolerance,
        "{what} of {name} is {off:.1e} from PyTorch's, allowed {tolerance:.0e}"
    );
}
