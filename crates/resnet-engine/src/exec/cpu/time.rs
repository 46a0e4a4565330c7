//! Every kernel for one convolution, checked and timed.

use std::time::Duration;

use resnet_kernels::{Conv2dShape, Cpu, time};

use crate::step::Precision;

/// One pass of one kernel.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ConvTime {
    /// The kernel.
    pub kernel: &'static str,
    /// Whether plans take it for this shape here.
    pub chosen: bool,
    /// forward, dx or dw.
    pub pass: &'static str,
    /// Milliseconds: the median.
    pub ms: f64,
    /// The fastest, in milliseconds.
    pub best_ms: f64,
    /// 1e9 floating-point operations in a second, at the median, two a multiply-add of the sum as
    /// it is written.
    pub gflops: f64,
    /// Root of the mean squared error against f64 over that of the values.
    pub error: f64,
}

/// Checks and times every kernel of the CPU that takes the convolution `shape` (as in
/// `n32 ic64 ih56 oc64 k3 s1 p1`), all passes together for about `time`.
///
/// # Errors
/// What is wrong with the shape.
pub fn time_convolution(
    shape: &str,
    precision: Precision,
    threads: usize,
    time: Duration,
) -> Result<Vec<ConvTime>, String> {
    let shape: Conv2dShape = shape.parse()?;
    if shape.macs() > time::MOST_MACS {
        return Err(format!(
            "{shape} takes {:.1e} multiply-adds, expected at most {:.1e}; use fewer images",
            shape.macs() as f64,
            time::MOST_MACS as f64
        ));
    }
    let times = time::convolution(&Cpu::new(threads), &shape, precision == Precision::Bf16, time);
    let of = |t: time::OpTime| {
        let time::OpTime { kernel, chosen, pass, ms, best_ms, gflops, error } = t;
        ConvTime { kernel, chosen, pass, ms, best_ms, gflops, error }
    };
    Ok(times.into_iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_shapes_are_told() {
        let refused =
            |shape| time_convolution(shape, Precision::F32, 1, Duration::ZERO).unwrap_err();
        let error = refused("ic3 ih4 oc8 k7");
        assert!(error.contains("larger than the 4x4 input"), "{error}");
        let error = refused("n60000 ic512 ih56 oc512 k3 p1");
        assert!(error.contains("use fewer images"), "{error}");
    }

    #[test]
    fn one_kernel_is_chosen_and_all_are_near_f64() {
        let shape = "n3 ic16 ih13 oc32 k3 p1";
        for (precision, most) in [(Precision::F32, 1e-5), (Precision::Bf16, 4e-3)] {
            let found = time_convolution(shape, precision, 2, Duration::ZERO).unwrap();
            assert_eq!(found.iter().filter(|op| op.chosen).count(), 3);
            assert!(found.iter().all(|op| op.error < most), "{found:?}");
        }
    }
}
