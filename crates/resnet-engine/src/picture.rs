//! Pictures on their way to a network: resized and normalised by the host, whatever device the
//! network is on. The kernels' room for pictures, with the best instructions that `RESNET_ISA`
//! allows.

use std::sync::OnceLock;

use resnet_kernels::Isa;
pub use resnet_kernels::jpeg::JpegStages;
pub use resnet_kernels::picture::{Area, Normalizer, Pixels, Resize, Resizer};

/// A resizer for this CPU.
pub fn resizer() -> Resizer {
    on_best(Resizer::new)
}

/// Normalises bytes to (v / 255 - mean) / std, by channel.
///
/// # Panics
/// If there are not 1 or 3 means, and as many deviations.
pub fn normalizer(mean: &[f32], std: &[f32]) -> Normalizer {
    on_best(|isa| Normalizer::new(isa, mean, std))
}

/// What a JPEG decoder computes of every sample, for this CPU; `None` where portable code is as
/// good.
pub fn jpeg_stages() -> Option<JpegStages> {
    if best() >= Isa::Avx2 { JpegStages::probe() } else { None }
}

fn on_best<T>(make: impl Fn(Isa) -> Option<T>) -> T {
    make(best()).or_else(|| make(Isa::Scalar)).expect("every CPU runs portable code")
}

fn best() -> Isa {
    static BEST: OnceLock<Isa> = OnceLock::new();
    // A wrong name in the environment is refused where devices are opened.
    *BEST.get_or_init(|| Isa::best().unwrap_or(Isa::best_up_to(Isa::Amx)))
}
