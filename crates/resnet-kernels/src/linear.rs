//! Fully connected layer: y = x w + b, x: [n, c_in], w: [c_in, c_out], y: [n, c_out].
//!
//! It is the 1x1 convolution of n images of one pixel, and runs as one.

use crate::{Conv2d, Conv2dShape, Cpu, Epilogue, Scratch, ScratchLen};

/// The convolution that a linear layer is.
pub fn shape(n: usize, c_in: usize, c_out: usize) -> Conv2dShape {
    Conv2dShape { n, h: 1, w: 1, c_in, c_out, kernel: 1, stride: 1, padding: 0, groups: 1 }
}

fn conv(cpu: &Cpu, n: usize, c_in: usize, c_out: usize) -> Conv2d {
    Conv2d::choose(cpu, &shape(n, c_in, c_out))
}

/// Numbers of scratch that each of the passes needs.
pub fn scratch_len(cpu: &Cpu, n: usize, c_in: usize, c_out: usize) -> ScratchLen {
    conv(cpu, n, c_in, c_out).scratch_len()
}

/// y = x w + b.
pub fn forward(
    cpu: &Cpu,
    n: usize,
    c_in: usize,
    c_out: usize,
    x: &[f32],
    w: &[f32],
    b: Option<&[f32]>,
    y: &mut [f32],
    scratch: Scratch,
) {
    let epilogue = Epilogue { shift: b, ..Epilogue::default() };
    conv(cpu, n, c_in, c_out).forward(cpu, x, w, epilogue, y, scratch);
}

/// dx (+)= dy wᵀ.
pub fn backward_input(
    cpu: &Cpu,
    n: usize,
    c_in: usize,
    c_out: usize,
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    scratch: Scratch,
) {
    conv(cpu, n, c_in, c_out).backward_input(cpu, dy, w, dx, accumulate, scratch);
}

/// dw = xᵀ dy, db = Σ dy over the batch.
pub fn backward_weight(
    cpu: &Cpu,
    n: usize,
    c_in: usize,
    c_out: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
    scratch: Scratch,
) {
    conv(cpu, n, c_in, c_out).backward_weight(cpu, x, dy, dw, db, scratch);
}
