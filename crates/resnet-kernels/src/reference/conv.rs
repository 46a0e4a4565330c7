//! Convolution: y[n,i,j,o] = Σ x[n, i·s - p + ki, j·s - p + kj, c] · w[ki,kj,c,o] + b[o], x being
//! zero outside.

use crate::Conv2dShape;

/// Calls `f(x index, w index, y index)` for every product in the sum.
fn for_each_product(shape: &Conv2dShape, mut f: impl FnMut(usize, usize, usize)) {
    let Conv2dShape { n, h, w, c_in, c_out, kernel, stride, padding, groups } = *shape;
    let (h_out, w_out) = (shape.h_out(), shape.w_out());
    let (group_in, group_out) = (c_in / groups, c_out / groups);
    for image in 0..n {
        for i in 0..h_out {
            for j in 0..w_out {
                for ki in 0..kernel {
                    for kj in 0..kernel {
                        let (row, column) = (i * stride + ki, j * stride + kj);
                        if row < padding
                            || row >= h + padding
                            || column < padding
                            || column >= w + padding
                        {
                            continue;
                        }
                        let pixel = (image * h + row - padding) * w + column - padding;
                        for o in 0..c_out {
                            for c in 0..group_in {
                                let x_index = pixel * c_in + o / group_out * group_in + c;
                                let w_index = ((ki * kernel + kj) * group_in + c) * c_out + o;
                                f(x_index, w_index, ((image * h_out + i) * w_out + j) * c_out + o);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// y: [n, h_out, w_out, c_out]
pub fn conv2d_forward(shape: &Conv2dShape, x: &[f64], w: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let mut y: Vec<f64> = match bias {
        Some(bias) => bias.iter().copied().cycle().take(shape.y_len()).collect(),
        None => vec![0.0; shape.y_len()],
    };
    for_each_product(shape, |xi, wi, yi| y[yi] += x[xi] * w[wi]);
    y
}

/// dx: [n, h, w, c_in]
pub fn conv2d_backward_input(shape: &Conv2dShape, dy: &[f64], w: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; shape.x_len()];
    for_each_product(shape, |xi, wi, yi| dx[xi] += dy[yi] * w[wi]);
    dx
}

/// dw: [kernel, kernel, c_in / groups, c_out]
pub fn conv2d_backward_weight(shape: &Conv2dShape, x: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dw = vec![0.0; shape.w_len()];
    for_each_product(shape, |xi, wi, yi| dw[wi] += x[xi] * dy[yi]);
    dw
}

/// db: `[c_out]`, the sum of `dy` over all pixels.
pub fn conv2d_backward_bias(c_out: usize, dy: &[f64]) -> Vec<f64> {
    let mut db = vec![0.0; c_out];
    for (i, g) in dy.iter().enumerate() {
        db[i % c_out] += g;
    }
    db
}
