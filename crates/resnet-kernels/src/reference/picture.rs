//! Resizing and normalising pictures.

/// A triangle's weights over `inputs`, rounded to 22 fractional bits: of each of `outputs` its
/// first input and its weights.
fn triangle(inputs: usize, outputs: usize) -> Vec<(usize, Vec<i64>)> {
    let scale = inputs as f64 / outputs as f64;
    let radius = scale.max(1.0);
    let weights = |output: usize| {
        let centre = (output as f64 + 0.5) * scale;
        let start = (centre - radius + 0.5).max(0.0) as usize;
        let end = ((centre + radius + 0.5) as usize).min(inputs);
        let exact: Vec<f64> = (start..end)
            .map(|input| (input as f64 - centre + 0.5) * (1.0 / radius))
            .map(|distance| (1.0 - distance.abs()).max(0.0))
            .collect();
        let sum: f64 = exact.iter().sum();
        let round = |weight: &f64| (0.5 + weight / sum * f64::from(1 << 22)) as i64;
        (start, exact.iter().map(round).collect())
    };
    (0..outputs).map(weights).collect()
}

/// A picture of `rows` x `columns` pixels, HWC, resized to `size` (rows, columns) as Pillow's
/// bilinear filter does it: along the rows, then down the columns, rounded to bytes each time.
pub fn resize(
    bytes: &[u8],
    (rows, columns): (usize, usize),
    channels: usize,
    size: (usize, usize),
) -> Vec<u8> {
    let mean = |first: usize, step: usize, weights: &[i64]| {
        let products = weights.iter().enumerate();
        let sum: i64 = products.map(|(i, w)| i64::from(bytes[first + i * step]) * w).sum();
        ((sum + (1 << 21)) >> 22).clamp(0, 255) as u8
    };
    if columns != size.1 {
        let across = triangle(columns, size.1);
        let mut between = Vec::with_capacity(rows * size.1 * channels);
        for y in 0..rows {
            for (start, weights) in &across {
                for c in 0..channels {
                    between.push(mean((y * columns + start) * channels + c, channels, weights));
                }
            }
        }
        return resize(&between, (rows, size.1), channels, size);
    }
    let row = columns * channels;
    let mut out = Vec::with_capacity(size.0 * row);
    for (start, weights) in &triangle(rows, size.0) {
        (0..row).for_each(|x| out.push(mean(start * row + x, row, weights)));
    }
    out
}

/// (v / 255 - mean) / std of each byte of HWC pixels, rounded at each step.
pub fn normalize(bytes: &[u8], mean: &[f32], std: &[f32]) -> Vec<f32> {
    let number = |(i, &v): (usize, &u8)| {
        let c = i % mean.len();
        (f32::from(v) / 255.0 - mean[c]) / std[c]
    };
    bytes.iter().enumerate().map(number).collect()
}
