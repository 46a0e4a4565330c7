//! Stochastic gradient descent with momentum, in PyTorch's form, and what goes with it: gradients
//! summed over batches, weights averaged over steps.
//!
//! ```text
//! g = scale · dw + weight_decay · w               v = momentum · v + g
//! w -= lr · (nesterov ? g + momentum · v : v)
//!
//! sum += dw                                       a += rate · (w - a)
//! ```
//!
//! v starts at zero. The learning rate multiplies v and is not part of it, so a changed rate acts
//! at once (Sutskever et al. 2013 fold it into v).

use crate::Cpu;
use crate::cpu::Parts;
use crate::simd::{Simd, Task};
use crate::split::{CHUNK, chunks, range};

/// Settings of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
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
}

/// Updates `w` and `v` in place; all three slices have the same length.
pub fn update(cpu: &Cpu, sgd: &Sgd, w: &mut [f32], dw: &[f32], v: &mut [f32]) {
    assert!(
        w.len() == dw.len() && v.len() == dw.len(),
        "sgd: w {}, dw {}, v {}",
        w.len(),
        dw.len(),
        v.len()
    );
    let (w, v) = (Parts::new(w), Parts::new(v));
    cpu.parallel(chunks(dw.len(), CHUNK), |i| {
        let part = range(dw.len(), CHUNK, i);
        // SAFETY: tasks take disjoint ranges.
        let (w, v) = unsafe { (w.get(part.clone()), v.get(part.clone())) };
        cpu.run(Update { sgd: *sgd, w, dw: &dw[part], v });
    });
}

struct Update<'a> {
    sgd: Sgd,
    w: &'a mut [f32],
    dw: &'a [f32],
    v: &'a mut [f32],
}

impl Task for Update<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Sgd { lr, scale, momentum, weight_decay, nesterov } = self.sgd;
        // Nesterov's g + momentum · v and the plain v are both a · g + b · v.
        let (a, b) = if nesterov { (1.0, momentum) } else { (0.0, 1.0) };
        for ((w, v), dw) in self.w.iter_mut().zip(self.v.iter_mut()).zip(self.dw) {
            let g = scale * dw + weight_decay * *w;
            *v = momentum * *v + g;
            *w -= lr * (a * g + b * *v);
        }
    }
}

/// sum += dw; both have the same length.
pub fn accumulate(cpu: &Cpu, sum: &mut [f32], dw: &[f32]) {
    assert_eq!(sum.len(), dw.len(), "accumulate: sum and dw differ in length");
    let sum = Parts::new(sum);
    cpu.parallel(chunks(dw.len(), CHUNK), |i| {
        let part = range(dw.len(), CHUNK, i);
        // SAFETY: tasks take disjoint ranges.
        let sum = unsafe { sum.get(part.clone()) };
        cpu.run(Accumulate { sum, dw: &dw[part] });
    });
}

struct Accumulate<'a> {
    sum: &'a mut [f32],
    dw: &'a [f32],
}

impl Task for Accumulate<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.sum.iter_mut().zip(self.dw).for_each(|(sum, dw)| *sum += dw);
    }
}

/// a += rate · (w - a), an exponential moving average of w; both have the same length.
pub fn average(cpu: &Cpu, a: &mut [f32], w: &[f32], rate: f32) {
    assert_eq!(a.len(), w.len(), "average: a and w differ in length");
    let a = Parts::new(a);
    cpu.parallel(chunks(w.len(), CHUNK), |i| {
        let part = range(w.len(), CHUNK, i);
        // SAFETY: tasks take disjoint ranges.
        let a = unsafe { a.get(part.clone()) };
        cpu.run(Average { a, w: &w[part], rate });
    });
}

struct Average<'a> {
    a: &'a mut [f32],
    w: &'a [f32],
    rate: f32,
}

impl Task for Average<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // Not fused: every backend can round each of the three operations.
        self.a.iter_mut().zip(self.w).for_each(|(a, w)| *a += self.rate * (w - *a));
    }
}
