//! Layer-wise adaptive rate scaling (You, Gitman & Ginsburg 2017, algorithm 1): momentum, with a
//! rate that is fitted to the lengths of each weight tensor and of its gradient.
//!
//! ```text
//! g = scale · dw                                  local = trust · |w| / (|g| + weight_decay · |w|)
//! u = lr · local · (g + weight_decay · w)         v = momentum · v + u
//! w -= nesterov ? u + momentum · v : v
//! ```
//!
//! v starts at zero. The rate is part of it, as in the paper; in [`crate::sgd`] it is not. local is
//! 1 where w or g is all zeros, and for what has no rate of its own.

use crate::Cpu;
use crate::cpu::Parts;
use crate::diagnose::sum_of_squares;
use crate::simd::{Simd, Task};
use crate::split::{CHUNK, chunks, range};

/// Settings of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lars {
    /// Learning rate.
    pub lr: f32,
    /// Factor on dw: one over the number of gradients that were summed, 1 where it is one batch's.
    pub scale: f32,
    /// Share of the old v that stays.
    pub momentum: f32,
    /// L2 penalty's gradient per unit of w.
    pub weight_decay: f32,
    /// Nesterov's look-ahead.
    pub nesterov: bool,
    /// The part of its length that w moves at a rate of 1; `None` takes the rate as it is.
    pub trust: Option<f32>,
}

impl Lars {
    /// lr · local of a tensor.
    fn rate(&self, cpu: &Cpu, w: &[f32], dw: &[f32]) -> f32 {
        let Some(trust) = self.trust else { return self.lr };
        let length = |x: &[f32]| sum_of_squares(cpu, x).sqrt();
        let (w, g) = (length(w), f64::from(self.scale).abs() * length(dw));
        if w == 0.0 || g == 0.0 {
            return self.lr;
        }
        let local = f64::from(trust) * w / (g + f64::from(self.weight_decay) * w);
        // A gradient that all but vanishes makes no rate infinite.
        (f64::from(self.lr) * local).min(f64::from(f32::MAX)) as f32
    }
}

/// Updates one tensor's `w` and `v` in place; all three slices have the same length.
pub fn update(cpu: &Cpu, lars: &Lars, w: &mut [f32], dw: &[f32], v: &mut [f32]) {
    assert!(
        w.len() == dw.len() && v.len() == dw.len(),
        "lars: w {}, dw {}, v {}",
        w.len(),
        dw.len(),
        v.len()
    );
    let rate = lars.rate(cpu, w, dw);
    let (w, v) = (Parts::new(w), Parts::new(v));
    cpu.parallel(chunks(dw.len(), CHUNK), |i| {
        let part = range(dw.len(), CHUNK, i);
        // SAFETY: tasks take disjoint ranges.
        let (w, v) = unsafe { (w.get(part.clone()), v.get(part.clone())) };
        cpu.run(Update { lars: *lars, rate, w, dw: &dw[part], v });
    });
}

struct Update<'a> {
    lars: Lars,
    rate: f32,
    w: &'a mut [f32],
    dw: &'a [f32],
    v: &'a mut [f32],
}

impl Task for Update<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Lars { scale, momentum, weight_decay, nesterov, .. } = self.lars;
        // Nesterov's u + momentum · v and the plain v are both a · u + b · v.
        let (a, b) = if nesterov { (1.0, momentum) } else { (0.0, 1.0) };
        for ((w, v), dw) in self.w.iter_mut().zip(self.v.iter_mut()).zip(self.dw) {
            let u = self.rate * (scale * dw + weight_decay * *w);
            *v = momentum * *v + u;
            *w -= a * u + b * *v;
        }
    }
}
