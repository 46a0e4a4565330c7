//! Every kernel for one convolution, checked and timed.

use std::time::{Duration, Instant};

use crate::{Bf16, Conv2d, Conv2dShape, Cpu, Epilogue, Map, Scratch, reference};

/// One pass of one kernel.
#[derive(Clone, Debug)]
pub struct OpTime {
    /// The kernel.
    pub kernel: &'static str,
    /// Whether [`Conv2d::choose`] takes it for this shape here.
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

/// Largest convolution that is compared with the plain f64 sum as a whole; of larger ones, as few
/// images as the kernel takes.
const CHECKED_MACS: u64 = 300_000_000;
/// Largest convolution that is timed.
pub const MOST_MACS: u64 = 1 << 40;

/// Checks and times every kernel that takes the convolution `shape`, with maps of bf16 or f32, all
/// passes together for about `time`.
///
/// # Panics
/// If the shape does not pass [`Conv2dShape::check`], or takes more than [`MOST_MACS`].
pub fn convolution(cpu: &Cpu, shape: &Conv2dShape, bf16: bool, time: Duration) -> Vec<OpTime> {
    if bf16 { time_all::<Bf16>(cpu, shape, time) } else { time_all::<f32>(cpu, shape, time) }
}

fn time_all<T: Map>(cpu: &Cpu, shape: &Conv2dShape, time: Duration) -> Vec<OpTime> {
    let chosen = Conv2d::<T>::choose(cpu, shape).name();
    let macs = shape.macs();
    assert!(macs <= MOST_MACS, "time: {shape} takes {macs} multiply-adds of at most {MOST_MACS}");
    let time = time / 3;
    let mut found = Vec::new();
    let candidates = Conv2d::<T>::candidates(cpu, shape);
    let each = time / candidates.len() as u32;
    for conv in candidates {
        let errors = errors(cpu, &few_images(cpu, &conv));
        let mut run = Run::new(cpu, &conv);
        for (pass, error) in PASSES.into_iter().zip(errors) {
            let mut times = Vec::new();
            let begin = Instant::now();
            run.pass(cpu, pass);
            while times.len() < 3 || begin.elapsed() < each {
                let start = Instant::now();
                run.pass(cpu, pass);
                times.push(start.elapsed().as_secs_f64());
            }
            times.sort_by(f64::total_cmp);
            let median = times[times.len() / 2];
            found.push(OpTime {
                kernel: conv.name(),
                chosen: conv.name() == chosen,
                pass,
                ms: median * 1e3,
                best_ms: times[0] * 1e3,
                gflops: 2.0 * macs as f64 / median / 1e9,
                error,
            });
        }
    }
    found
}

/// The same kernel for as few images as it takes, where the batch is too large to check.
fn few_images<T: Map>(cpu: &Cpu, conv: &Conv2d<T>) -> Conv2d<T> {
    let mut few = conv.clone();
    while few.shape().macs() > CHECKED_MACS && few.shape().n > 1 {
        let mut shape = *few.shape();
        shape.n = shape.n.div_ceil(2);
        let same = |other: &Conv2d<T>| other.name() == conv.name();
        match Conv2d::candidates(cpu, &shape).into_iter().find(same) {
            Some(fewer) => few = fewer,
            None => break,
        }
    }
    few
}

const PASSES: [&str; 3] = ["forward", "dx", "dw"];

/// Operands and results of a kernel.
struct Run<'a, T: Map> {
    conv: &'a Conv2d<T>,
    x: Vec<T>,
    w: Vec<f32>,
    dy: Vec<T>,
    y: Vec<T>,
    dx: Vec<T>,
    dw: Vec<f32>,
    scratch: Vec<f32>,
}

impl<'a, T: Map> Run<'a, T> {
    /// Normal numbers, the inputs cut off at zero as behind a ReLU.
    fn new(cpu: &Cpu, conv: &'a Conv2d<T>) -> Run<'a, T> {
        let shape = conv.shape();
        let mut random = Normal(1);
        let mut normal = |len: usize| (0..len).map(|_| random.next() as f32).collect::<Vec<_>>();
        let mut x = normal(shape.x_len());
        x.iter_mut().for_each(|x| *x = x.max(0.0));
        let (w, dy) = (normal(shape.w_len()), normal(shape.y_len()));
        let stored = |x: Vec<f32>| x.into_iter().map(T::of).collect::<Vec<T>>();
        // Rounding weights is the kernel's part, and counts in its error.
        let (x, dy) = (stored(x), stored(dy));
        let scratch = vec![0.0; conv.scratch_len().total(cpu)];
        Run { conv, y: dy.clone(), dx: x.clone(), dw: w.clone(), x, w, dy, scratch }
    }

    fn pass(&mut self, cpu: &Cpu, pass: &str) {
        let Run { conv, x, w, dy, y, dx, dw, scratch } = self;
        let scratch = Scratch::new(cpu, scratch, conv.scratch_len());
        match pass {
            "forward" => conv.forward(cpu, x, w, Epilogue::default(), y, scratch),
            "dx" => conv.backward_input(cpu, dy, w, dx, false, scratch),
            _ => conv.backward_weight(cpu, x, dy, dw, None, scratch),
        }
    }
}

/// Relative error of each pass.
fn errors<T: Map>(cpu: &Cpu, conv: &Conv2d<T>) -> [f64; 3] {
    let mut run = Run::new(cpu, conv);
    PASSES.iter().for_each(|pass| run.pass(cpu, pass));
    let (x, w, dy) = (wide(&run.x), wide(&run.w), wide(&run.dy));
    let out = [wide(&run.y), wide(&run.dx), wide(&run.dw)];
    let shape = conv.shape();
    let exact = [
        reference::conv2d_forward(shape, &x, &w, None),
        reference::conv2d_backward_input(shape, &dy, &w),
        reference::conv2d_backward_weight(shape, &x, &dy),
    ];
    std::array::from_fn(|i| {
        let squares = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
            let pairs = out[i].iter().zip(&exact[i]);
            pairs.map(|(&a, &b)| f(a, b).powi(2)).sum()
        };
        (squares(&|a, b| a - b) / squares(&|_, b| b)).sqrt()
    })
}

fn wide<T: Map>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| f64::from(x.get())).collect()
}

/// Standard normal numbers (Box & Muller 1958) from a seed (splitmix64; Steele, Lea & Flood 2014).
struct Normal(u64);

impl Normal {
    fn next(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Uniform in 0..1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(shape: &str, bf16: bool) -> Vec<OpTime> {
        convolution(&Cpu::new(2), &shape.parse().unwrap(), bf16, Duration::ZERO)
    }

    #[test]
    fn every_kernel_is_close_to_f64_and_one_is_chosen() {
        let found = times("n3 ic16 ih13 oc32 k3 p1", false);
        assert!(found.len() >= 6 && found.len().is_multiple_of(3));
        assert_eq!(found.iter().filter(|op| op.chosen).count(), 3);
        for op in &found {
            assert!(op.error < 1e-5, "{op:?}");
            assert!(op.ms >= op.best_ms && op.gflops > 0.0);
        }
        // Half of these images would be too few for Winograd's algorithm.
        let few = times("n3 ic512 ih7 oc512 k3 p1", false);
        assert!(few.iter().all(|op| op.error < 1e-5), "{few:?}");
        let half = times("n3 ic16 ih13 oc32 k3 p1", true);
        assert!(half.iter().all(|op| op.error < 4e-3), "{half:?}");
    }

    #[test]
    #[should_panic(expected = "multiply-adds of at most 1099511627776")]
    fn a_convolution_that_would_take_minutes_is_refused() {
        times("n9000 ic512 ih56 oc512 k3 p1", false);
    }

    #[test]
    #[should_panic(expected = "larger than the 4x4 input")]
    fn an_impossible_shape_says_why() {
        let shape: Conv2dShape = "ic3 ih4 oc8 k3".parse().unwrap();
        convolution(&Cpu::new(1), &Conv2dShape { kernel: 7, ..shape }, false, Duration::ZERO);
    }

    #[test]
    fn normal_has_its_moments() {
        let mut random = Normal(7);
        let n = 100_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..n {
            let x = random.next();
            sum += x;
            squares += x * x;
        }
        assert!((sum / f64::from(n)).abs() < 0.01);
        assert!((squares / f64::from(n) - 1.0).abs() < 0.02);
    }
}
