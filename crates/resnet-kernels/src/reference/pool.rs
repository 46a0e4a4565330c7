//! Max and average pools.

use crate::Pool2dShape;

/// Calls `f(y index, x indices of the window in row order)` for every output number.
fn for_each_window(shape: &Pool2dShape, mut f: impl FnMut(usize, &[usize])) {
    let Pool2dShape { n, h, w, c, kernel, stride, padding } = *shape;
    let mut window = Vec::new();
    for y_index in 0..shape.y_len() {
        let (pixel, channel) = (y_index / c, y_index % c);
        let (j, i, image) = (
            pixel % shape.w_out(),
            pixel / shape.w_out() % shape.h_out(),
            pixel / shape.w_out() / shape.h_out(),
        );
        assert!(image < n);
        window.clear();
        for row in i * stride..i * stride + kernel {
            for column in j * stride..j * stride + kernel {
                if (padding..h + padding).contains(&row) && (padding..w + padding).contains(&column)
                {
                    window.push(((image * h + row - padding) * w + column - padding) * c + channel);
                }
            }
        }
        f(y_index, &window);
    }
}

/// The index in `window` of its maximum: the first of equals, the last NaN if there is one.
fn winner(x: &[f64], window: &[usize]) -> usize {
    let mut best = window[0];
    for &i in window {
        if x[i] > x[best] || x[i].is_nan() {
            best = i;
        }
    }
    best
}

/// y: [n, h_out, w_out, c]
pub fn max_pool_forward(shape: &Pool2dShape, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; shape.y_len()];
    for_each_window(shape, |i, window| y[i] = x[winner(x, window)]);
    y
}

/// dx: [n, h, w, c]; the winner of each window gets its gradient.
pub fn max_pool_backward(shape: &Pool2dShape, x: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; shape.x_len()];
    for_each_window(shape, |i, window| dx[winner(x, window)] += dy[i]);
    dx
}

/// y: [n, h_out, w_out, c]; without padding.
pub fn avg_pool_forward(shape: &Pool2dShape, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; shape.y_len()];
    for_each_window(shape, |i, window| {
        y[i] = window.iter().map(|&i| x[i]).sum::<f64>() / window.len() as f64
    });
    y
}

/// dx: [n, h, w, c]
pub fn avg_pool_backward(shape: &Pool2dShape, dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; shape.x_len()];
    for_each_window(shape, |i, window| {
        window.iter().for_each(|&x| dx[x] += dy[i] / window.len() as f64)
    });
    dx
}
