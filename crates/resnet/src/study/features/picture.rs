//! Pictures of a look at features: what the network saw, parts of it, maps, filters.

use super::found::{FeatureError, PointSeen};
use crate::data::{Augment, Dataset, Image, Normalize, Transform};
use crate::measure::feature::{Peak, Point, TOP};
use crate::model::Model;
use crate::page::charts::tile::Tile;
use resnet_engine::graph::{Graph, Op, Shape};

/// Cells of a channel in a sheet: the picture made for it, and those that excite it.
pub(super) const ROW: usize = 1 + TOP;
/// How bright a place is where a channel does not answer, of the brightness where it does.
const DIM: f32 = 0.35;

/// What the network sees of a picture, as bytes again.
pub(super) fn input(model: &Model, data: &dyn Dataset, index: u32) -> Result<Tile, FeatureError> {
    let mut image = Image::default();
    data.read(index as usize, &mut image)?;
    let transform = Transform::new(model.preprocess.clone(), Augment::default())?;
    let shape = transform.shape();
    let mut x = vec![0.0; shape.len()];
    transform.eval(&image, &mut x);
    let byte = |(i, x): (usize, &f32)| {
        let v = match &model.preprocess.normalize {
            Normalize::Channel { mean, std } => x * std[i % shape.c] + mean[i % shape.c],
            Normalize::Pixel { mean } => x + mean[i],
        };
        (v * 255.0).round() as u8
    };
    let pixels = x.iter().enumerate().map(byte).collect();
    Ok(Tile { width: shape.w, height: shape.h, channels: shape.c, pixels })
}

/// The part of a picture that a channel's answer depends on, bright where the channel answers; and
/// its first and last rows and columns.
pub(super) fn patch(
    model: &Model,
    data: &dyn Dataset,
    point: &Point,
    peak: &Peak,
) -> Result<([usize; 2], [usize; 2], Tile), FeatureError> {
    let whole = input(model, data, peak.picture)?;
    let rows = point.field.pixels(peak.at.0, whole.height);
    let columns = point.field.pixels(peak.at.1, whole.width);
    let field = point.field;
    let is_large = field.side().is_none_or(|side| side > 2 * field.jump + 1);
    let bright = |row: usize, column: usize| {
        // The place in the map whose field is centred on the pixel.
        let at = |pixel: usize| {
            (pixel as f32 - (field.from + field.to) as f32 / 2.0) / field.jump.max(1) as f32
        };
        let answer = between(&peak.map, point.shape, at(row), at(column));
        let part = (answer / peak.value / 0.5).clamp(0.0, 1.0);
        if is_large { DIM + (1.0 - DIM) * part } else { 1.0 }
    };
    let mut pixels = Vec::with_capacity(rows.len() * columns.len() * whole.channels);
    for row in rows.clone() {
        for column in columns.clone() {
            let light = bright(row, column);
            let at = (row * whole.width + column) * whole.channels;
            let pixel = &whole.pixels[at..][..whole.channels];
            pixels.extend(pixel.iter().map(|&v| (f32::from(v) * light).round() as u8));
        }
    }
    let tile = Tile { width: columns.len(), height: rows.len(), channels: whole.channels, pixels };
    Ok(([rows.start, rows.end], [columns.start, columns.end], tile))
}

/// A map's value between its places, bilinear.
fn between(map: &[f32], shape: Shape, y: f32, x: f32) -> f32 {
    let ends = |t: f32, n: usize| {
        let t = t.clamp(0.0, (n - 1) as f32);
        let low = t.floor() as usize;
        (low, (low + 1).min(n - 1), t - low as f32)
    };
    let ((y0, y1, b), (x0, x1, a)) = (ends(y, shape.h), ends(x, shape.w));
    let row = |y: usize| map[y * shape.w + x0] * (1.0 - a) + map[y * shape.w + x1] * a;
    row(y0) * (1.0 - b) + row(y1) * b
}

/// A channel's map, white where it is largest; negative numbers are black.
pub(super) fn map(maps: &[f32], shape: Shape, channel: usize) -> Tile {
    let values: Vec<f32> = maps.iter().skip(channel).step_by(shape.c).copied().collect();
    let most = values.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let byte = |v: &f32| (v.max(0.0) / most * 255.0).round() as u8;
    let pixels = values.iter().map(byte).collect();
    Tile { width: shape.w, height: shape.h, channels: 1, pixels }
}

/// The filters of the first convolution, each from its least weight to its largest.
pub(super) fn filters(model: &Model, graph: &Graph) -> Vec<Tile> {
    let is_conv = |op: &Op| matches!(op, Op::Conv2d { .. });
    let Some(first) = graph.layers.iter().find(|layer| is_conv(&layer.op)) else {
        return Vec::new();
    };
    let Some(weight) = model.tensors.entries.get(&format!("{}.weight", first.name)) else {
        return Vec::new();
    };
    let (&[_, c, h, w], Some(values)) = (weight.shape(), weight.to_f32()) else {
        return Vec::new();
    };
    if !matches!(c, 1 | 3) {
        return Vec::new();
    }
    let filter = |w_of_one: &[f32]| {
        let low = w_of_one.iter().copied().fold(f32::INFINITY, f32::min);
        let high = w_of_one.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let range = (high - low).max(f32::MIN_POSITIVE);
        let pixels = (0..h * w).flat_map(|at| {
            (0..c).map(move |k| ((w_of_one[k * h * w + at] - low) / range * 255.0).round() as u8)
        });
        Tile { width: w, height: h, channels: c, pixels: pixels.collect() }
    };
    values.chunks_exact(c * h * w).map(filter).collect()
}

/// For each channel of a point its row of a sheet.
pub(super) fn rows(point: &PointSeen) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for seen in &point.seen {
        tiles.push(seen.made.as_ref().map(|made| made.tile.clone()).unwrap_or_default());
        let patches = seen.top.iter().map(|patch| patch.tile.clone());
        tiles.extend(patches.chain(std::iter::repeat(Tile::default())).take(TOP));
    }
    tiles
}
