//! Square convolutions: forward, and the gradients of input, weights and bias.

mod shape;

pub use shape::Conv2dShape;

use crate::{Cpu, reference};

/// A convolution of one shape with the kernel chosen for it.
#[derive(Clone, Debug)]
pub struct Conv2d {
    shape: Conv2dShape,
}

impl Conv2d {
    /// The best kernel for `shape` on this CPU.
    ///
    /// # Panics
    /// If the shape does not pass [`Conv2dShape::check`].
    pub fn choose(_cpu: &Cpu, shape: &Conv2dShape) -> Conv2d {
        if let Err(reason) = shape.check() {
            panic!("convolution {shape}: {reason}");
        }
        Conv2d { shape: *shape }
    }

    /// The kernel's name, for reports.
    pub fn name(&self) -> &'static str {
        "conv_reference"
    }

    /// Numbers of scratch that each of the passes needs.
    pub fn scratch_len(&self) -> usize {
        0
    }

    /// y = x * w + bias.
    pub fn forward(
        &self,
        _cpu: &Cpu,
        x: &[f32],
        w: &[f32],
        bias: Option<&[f32]>,
        y: &mut [f32],
        _scratch: &mut [f32],
    ) {
        let bias = bias.map(wide);
        narrow(
            &reference::conv2d_forward(&self.shape, &wide(x), &wide(w), bias.as_deref()),
            y,
            false,
        );
    }

    /// dx (+)= the gradient of x.
    pub fn backward_input(
        &self,
        _cpu: &Cpu,
        dy: &[f32],
        w: &[f32],
        dx: &mut [f32],
        accumulate: bool,
        _scratch: &mut [f32],
    ) {
        narrow(
            &reference::conv2d_backward_input(&self.shape, &wide(dy), &wide(w)),
            dx,
            accumulate,
        );
    }

    /// dw = the gradient of w, db = that of the bias.
    pub fn backward_weight(
        &self,
        _cpu: &Cpu,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        db: Option<&mut [f32]>,
        _scratch: &mut [f32],
    ) {
        narrow(
            &reference::conv2d_backward_weight(&self.shape, &wide(x), &wide(dy)),
            dw,
            false,
        );
        if let Some(db) = db {
            narrow(
                &reference::conv2d_backward_bias(self.shape.c_out, &wide(dy)),
                db,
                false,
            );
        }
    }
}

fn wide(a: &[f32]) -> Vec<f64> {
    a.iter().map(|&a| f64::from(a)).collect()
}

fn narrow(from: &[f64], to: &mut [f32], accumulate: bool) {
    assert_eq!(from.len(), to.len());
    for (to, &from) in to.iter_mut().zip(from) {
        *to = if accumulate {
            *to + from as f32
        } else {
            from as f32
        };
    }
}
