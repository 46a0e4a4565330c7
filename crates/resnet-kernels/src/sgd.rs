//! Stochastic gradient descent with momentum, in PyTorch's form.
//!
//! ```text
//! g = dw + weight_decay · w     v = momentum · v + g     w -= lr · (nesterov ? g + momentum · v : v)
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
        let Sgd { lr, momentum, weight_decay, nesterov } = self.sgd;
        // Nesterov's g + momentum · v and the plain v are both a · g + b · v.
        let (a, b) = if nesterov { (1.0, momentum) } else { (0.0, 1.0) };
        for ((w, v), dw) in self.w.iter_mut().zip(self.v.iter_mut()).zip(self.dw) {
            let g = dw + weight_decay * *w;
            *v = momentum * *v + g;
            *w -= lr * (a * g + b * *v);
        }
    }
}
