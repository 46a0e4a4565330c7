//! Which inputs each output of one pass is a mean of, and by what weights.

use std::ops::Range;

/// Fractional bits of a weight; 8 bits of a byte and these fit an i32.
pub(super) const BITS: u32 = 22;
/// One half, which rounds a sum of products.
pub(super) const HALF: i32 = 1 << (BITS - 1);

/// A triangle over the inputs, which is as wide as one output where there are fewer outputs than
/// inputs, and as one input where there are more.
struct Triangle {
    inputs: usize,
    scale: f64,
    radius: f64,
}

impl Triangle {
    fn new(inputs: usize, outputs: usize) -> Triangle {
        let scale = inputs as f64 / outputs as f64;
        Triangle { inputs, scale, radius: scale.max(1.0) }
    }

    fn centre(&self, output: usize) -> f64 {
        (output as f64 + 0.5) * self.scale
    }

    /// The inputs that lie under it.
    fn inputs(&self, output: usize) -> Range<usize> {
        let centre = self.centre(output);
        let start = (centre - self.radius + 0.5).max(0.0) as usize;
        start..((centre + self.radius + 0.5) as usize).min(self.inputs)
    }
}

/// Of `inputs` resized to `outputs`, those that the outputs `window` are made of.
///
/// # Panics
/// If `window` is empty or does not lie in `outputs`.
pub fn reads(inputs: usize, outputs: usize, window: Range<usize>) -> Range<usize> {
    assert!(!window.is_empty() && window.end <= outputs, "window {window:?} of {outputs} outputs");
    let triangle = Triangle::new(inputs, outputs);
    triangle.inputs(window.start).start..triangle.inputs(window.end - 1).end
}

/// The weights of one pass.
#[derive(Debug, Default)]
pub(super) struct Taps {
    /// First input of each output, counted from the first that any output reads.
    pub(super) starts: Vec<usize>,
    /// Weights of each output from its first input on, up to `ends[i]`.
    weights: Vec<i32>,
    ends: Vec<usize>,
    /// The weights of one output before they are rounded.
    exact: Vec<f64>,
    /// Inputs that any output reads.
    pub(super) reads: Range<usize>,
}

impl Taps {
    /// Weights for the outputs `window` of `inputs` resized to `outputs`, last to first if
    /// `mirrored`.
    pub(super) fn compute(
        &mut self,
        inputs: usize,
        outputs: usize,
        window: Range<usize>,
        mirrored: bool,
    ) {
        self.starts.clear();
        self.weights.clear();
        self.ends.clear();
        self.reads = reads(inputs, outputs, window.clone());
        let triangle = Triangle::new(inputs, outputs);
        for step in 0..window.len() {
            self.add(&triangle, if mirrored { window.end - 1 - step } else { window.start + step });
        }
    }

    fn add(&mut self, triangle: &Triangle, output: usize) {
        let (centre, inputs) = (triangle.centre(output), triangle.inputs(output));
        self.starts.push(inputs.start - self.reads.start);
        let exact = &mut self.exact;
        exact.clear();
        exact.extend(inputs.map(|input| {
            let distance = (input as f64 - centre + 0.5) * (1.0 / triangle.radius);
            (1.0 - distance.abs()).max(0.0)
        }));
        let sum: f64 = exact.iter().sum();
        let whole = f64::from(1 << BITS);
        self.weights.extend(exact.iter().map(|weight| (0.5 + weight / sum * whole) as i32));
        self.ends.push(self.weights.len());
    }

    /// Of each output its first input and its weights.
    pub(super) fn outputs(&self) -> impl Iterator<Item = (usize, &[i32])> {
        (0..self.starts.len()).map(|output| (self.starts[output], self.weights(output)))
    }

    pub(super) fn weights(&self, output: usize) -> &[i32] {
        let from = output.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.weights[from..self.ends[output]]
    }
}
