//! Pictures made for a channel: gradient ascent on the input (Erhan et al. 2009; Olah et al. 2017).
//!
//! Ascent on pixels alone ends in noise that no photograph has. Two things keep the pictures like
//! photographs: they are sums of a pyramid of pictures, each half as large as the one before,
//! coarse ones moving faster, as photographs have more in coarse scales than in fine ones; and the
//! network sees them shifted by a few pixels, another way at each step, so that nothing counts that
//! stands on one pixel. Colours lie between black and white, differ less than brightness does, and
//! have no more contrast than photographs have.

use resnet_engine::exec::{Device, Session};
use resnet_engine::graph::{Graph, LayerId, Op, Shape};
use resnet_engine::op;
use resnet_engine::plan::{Mode, Options, Plan};

use super::points::Point;
use crate::base::rng::Rng;
use crate::data::Normalize;
use crate::measure::evaluate::UseError;
use crate::model::Model;

/// Steps of the ascent.
const STEPS: usize = 80;
/// Length of a step, in units of the pyramid.
const RATE: f32 = 0.06;
/// Standard deviation of the pyramid's numbers at the start.
const START: f64 = 0.02;
/// How much faster a level of the pyramid moves than the next finer one.
const COARSER: f32 = 1.5;
/// The smallest side of a level, in pixels.
const SMALLEST: usize = 4;
/// Largest side of a picture that is made, in pixels.
const LARGEST: usize = 112;
/// Pictures that are made at once.
const TOGETHER: usize = 8;
/// Most that pixels differ from the mean colour, in the mean square, on the scale of logits: as in
/// photographs.
const CONTRAST: f32 = 1.1;
/// Adam's factors (Kingma & Ba 2015, algorithm 1).
const BETA1: f32 = 0.9;
const BETA2: f32 = 0.99;

/// A picture made for a channel.
#[derive(Clone, Debug)]
pub struct Made {
    /// The channel.
    pub channel: usize,
    /// Height and width.
    pub size: (usize, usize),
    /// Bytes, `[h, w, c]`.
    pub pixels: Vec<u8>,
    /// Mean answer of the channel over its places.
    pub response: f64,
    /// The same to the noise that the ascent began with.
    pub noise: f64,
}

/// Makes a picture for each of some channels of a point. The same seed gives the same bits. `on` is
/// told how many steps are done of how many.
///
/// # Errors
/// The network cannot be run.
pub fn synthesise(
    model: &Model,
    point: &Point,
    channels: &[usize],
    seed: u64,
    device: &dyn Device,
    on: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Made>, UseError> {
    let shape = side_of(model.preprocess.shape);
    let mut made = Vec::new();
    let parts = channels.chunks(TOGETHER);
    let steps = parts.len() * STEPS;
    for (part, channels) in parts.enumerate() {
        let mut on = |step| on(part * STEPS + step, steps);
        let mut ascent = Ascent::new(model, point, shape, channels.len(), device)?;
        made.extend(ascent.run(channels, seed, &mut on)?);
    }
    Ok(made)
}

/// The size of the pictures: that of the network's input, or a smaller one of the same form.
fn side_of(input: Shape) -> Shape {
    let most = input.h.max(input.w);
    let side = |n: usize| (n * LARGEST.min(most) / most).max(1);
    Shape { h: side(input.h), w: side(input.w), ..input }
}

/// A network up to a point, ready to be gone back through to its input.
struct Ascent {
    session: Session,
    name: String,
    shape: Shape,
    /// The shape of the maps at the end.
    end: Shape,
    /// Mean and deviation by which bytes become inputs, for each channel.
    normalize: Vec<[f32; 2]>,
}

impl Ascent {
    fn new(
        model: &Model,
        point: &Point,
        shape: Shape,
        batch: usize,
        device: &dyn Device,
    ) -> Result<Ascent, UseError> {
        let graph = model.arch.graph(shape, model.classes.len())?;
        // What is climbed is the sum before the ReLU, which has a slope everywhere.
        let last = match graph.layer(point.layer) {
            layer if layer.op == Op::Relu => layer.inputs[0],
            _ => point.layer,
        };
        let graph = Graph { layers: graph.layers[..=last.0].to_vec(), ..graph };
        let end = op::shapes(&graph)?[last.0];
        let mode = Mode::Explain { layer: LayerId(0) };
        let plan = Plan::build(&graph, Options { mode, ..Options::infer(batch) })?;
        let mut session = Session::new(device, plan)?;
        model.apply(&mut session)?;
        let normalize = match &model.preprocess.normalize {
            Normalize::Channel { mean, std } => {
                mean.iter().zip(std).map(|(&mean, &std)| [mean, std]).collect()
            }
            Normalize::Pixel { mean } => {
                let channel = |c| mean.iter().skip(c).step_by(shape.c).sum::<f32>();
                let pixels = (mean.len() / shape.c).max(1) as f32;
                (0..shape.c).map(|c| [channel(c) / pixels, 1.0]).collect()
            }
        };
        Ok(Ascent { session, name: point.name.clone(), shape, end, normalize })
    }

    fn run(
        &mut self,
        channels: &[usize],
        seed: u64,
        on: &mut dyn FnMut(usize),
    ) -> Result<Vec<Made>, UseError> {
        let (shape, end) = (self.shape, self.end);
        let plan = self.session.plan().clone();
        let dx = plan.gradients[0].expect("a plan that explains its input has its gradient");
        let dy = plan.gradients.last().copied().flatten().expect("it begins at the output");
        let mut rngs: Vec<Rng> = channels
            .iter()
            .map(|channel| Rng::named(seed, &format!("{}.{channel}", self.name)))
            .collect();
        let mut pyramids: Vec<Pyramid> =
            rngs.iter_mut().map(|rng| Pyramid::new(shape, rng)).collect();
        let start = self.bytes(&pyramids);
        let noise = self.answers(&start, channels)?;
        let wanted: Vec<f32> = channels
            .iter()
            .flat_map(|&wanted| {
                let share = 1.0 / (end.h * end.w) as f32;
                (0..end.len()).map(move |i| if i % end.c == wanted { share } else { 0.0 })
            })
            .collect();
        let mut x = vec![0.0; channels.len() * shape.len()];
        let mut gradient = x.clone();
        let mut y = vec![0.0; channels.len() * end.len()];
        let reach = shape.h.min(shape.w) / 16;
        for step in 0..STEPS {
            let shifts: Vec<(usize, usize)> =
                rngs.iter_mut().map(|rng| (rng.below(reach + 1), rng.below(reach + 1))).collect();
            let mut values = Vec::new();
            for (i, x) in x.chunks_exact_mut(shape.len()).enumerate() {
                let v = self.colours(&pyramids[i].render());
                shifted(shape, shifts[i], |from, to| x[to] = self.input(v[from], to % shape.c));
                values.push(v);
            }
            self.session.infer(&x, &mut y)?;
            self.session.write(dy, &wanted)?;
            self.session.backward()?;
            self.session.read(dx, &mut gradient)?;
            for (i, dx) in gradient.chunks_exact(shape.len()).enumerate() {
                let v = &values[i];
                let mut dv = vec![0.0; shape.len()];
                shifted(shape, shifts[i], |from, to| {
                    let slope = v[from] * (1.0 - v[from]) / self.normalize[to % shape.c][1];
                    dv[from] = dx[to] * slope;
                });
                pyramids[i].climb(&mixed(&dv, shape.c), step);
            }
            on(step + 1);
        }
        let pixels = self.bytes(&pyramids);
        let responses = self.answers(&pixels, channels)?;
        let pixels = pixels.into_iter();
        Ok(channels
            .iter()
            .zip(pixels)
            .enumerate()
            .map(|(i, (&channel, pixels))| Made {
                channel,
                size: (shape.h, shape.w),
                pixels,
                response: responses[i],
                noise: noise[i],
            })
            .collect())
    }

    /// The pictures as bytes.
    fn bytes(&self, pyramids: &[Pyramid]) -> Vec<Vec<u8>> {
        let bytes = |pyramid: &Pyramid| {
            let v = self.colours(&pyramid.render());
            v.iter().map(|v| (v * 255.0).round() as u8).collect()
        };
        pyramids.iter().map(bytes).collect()
    }

    /// Mean answer of each picture's channel over its places, behind the ReLU.
    fn answers(&mut self, pictures: &[Vec<u8>], channels: &[usize]) -> Result<Vec<f64>, UseError> {
        let inputs = pictures.iter().flatten().enumerate();
        let x: Vec<f32> =
            inputs.map(|(i, &v)| self.input(f32::from(v) / 255.0, i % self.shape.c)).collect();
        let mut y = vec![0.0; pictures.len() * self.end.len()];
        self.session.infer(&x, &mut y)?;
        let places = (self.end.h * self.end.w) as f64;
        let maps = y.chunks_exact(self.end.len()).zip(channels);
        let answer = |(maps, &channel): (&[f32], &usize)| {
            let values = maps.iter().skip(channel).step_by(self.end.c);
            values.map(|&v| f64::from(v.max(0.0))).sum::<f64>() / places
        };
        Ok(maps.map(answer).collect())
    }

    /// Values between 0 and 1 of a sum of levels, where 0 is the mean.
    fn colours(&self, z: &[f32]) -> Vec<f32> {
        let c = self.shape.c;
        let colour = |(i, z): (usize, f32)| {
            let mean = self.normalize[i % c][0].clamp(0.05, 0.95);
            1.0 / (1.0 + (-(z + (mean / (1.0 - mean)).ln())).exp())
        };
        mixed(z, c).into_iter().enumerate().map(colour).collect()
    }

    /// The network's input of a value between 0 and 1.
    fn input(&self, v: f32, c: usize) -> f32 {
        let [mean, std] = self.normalize[c];
        (v - mean) / std
    }
}

/// How much colours differ from grey, for grey that varies by 1.
const CHROMA: f32 = 0.4;

/// Colours whose channels go together, of colours whose channels do not: its own transpose.
fn mixed(z: &[f32], c: usize) -> Vec<f32> {
    let pixel = |z: &[f32]| {
        let grey = z.iter().sum::<f32>() / c as f32;
        z.iter().map(|z| grey + CHROMA * (z - grey)).collect::<Vec<f32>>()
    };
    z.chunks_exact(c).flat_map(pixel).collect()
}

/// Calls `f` with where each number of a picture is and where it goes, if the picture is shifted
/// down and to the right and what leaves it comes in again on the other side.
fn shifted(shape: Shape, (down, right): (usize, usize), mut f: impl FnMut(usize, usize)) {
    for row in 0..shape.h {
        for column in 0..shape.w {
            let to = (row + down) % shape.h * shape.w + (column + right) % shape.w;
            for c in 0..shape.c {
                f((row * shape.w + column) * shape.c + c, to * shape.c + c);
            }
        }
    }
}

/// A picture as a sum of pictures of falling size.
struct Pyramid {
    shape: Shape,
    levels: Vec<Level>,
}

struct Level {
    shape: Shape,
    factor: f32,
    z: Vec<f32>,
    /// Adam's means of gradients and of their squares.
    means: Vec<[f32; 2]>,
}

impl Pyramid {
    fn new(shape: Shape, rng: &mut Rng) -> Pyramid {
        let mut levels = Vec::new();
        let (mut h, mut w, mut factor) = (shape.h, shape.w, 1.0);
        loop {
            let level = Shape { h, w, ..shape };
            let z = (0..level.len()).map(|_| (rng.normal() * START) as f32).collect();
            levels.push(Level { shape: level, factor, z, means: vec![[0.0; 2]; level.len()] });
            (h, w, factor) = (h.div_ceil(2), w.div_ceil(2), factor * COARSER);
            if h.min(w) < SMALLEST {
                return Pyramid { shape, levels };
            }
        }
    }

    fn render(&self) -> Vec<f32> {
        let mut sum = vec![0.0; self.shape.len()];
        for level in &self.levels {
            level.spread(self.shape, |from, to, weight| sum[to] += weight * level.z[from]);
        }
        sum
    }

    /// A step along the gradient of the sum.
    fn climb(&mut self, gradient: &[f32], step: usize) {
        for level in &mut self.levels {
            let mut dz = vec![0.0; level.z.len()];
            level.spread(self.shape, |from, to, weight| dz[from] += weight * gradient[to]);
            let [b1, b2] = [BETA1, BETA2].map(|b| 1.0 - b.powi(step as i32 + 1));
            for ((z, [m, v]), g) in level.z.iter_mut().zip(&mut level.means).zip(dz) {
                *m = BETA1 * *m + (1.0 - BETA1) * g;
                *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                *z += RATE * (*m / b1) / ((*v / b2).sqrt() + 1e-12);
            }
        }
        let sum = mixed(&self.render(), self.shape.c);
        let square = sum.iter().map(|z| f64::from(z * z)).sum::<f64>() / sum.len() as f64;
        let contrast = square.sqrt() as f32;
        if contrast > CONTRAST {
            let numbers = self.levels.iter_mut().flat_map(|level| &mut level.z);
            numbers.for_each(|z| *z *= CONTRAST / contrast);
        }
    }
}

impl Level {
    /// Calls `f` with a number of this level, one of the whole picture that it adds to, and with
    /// what weight: bilinear between the centres of pixels.
    fn spread(&self, whole: Shape, mut f: impl FnMut(usize, usize, f32)) {
        let (rows, columns) = (ends(self.shape.h, whole.h), ends(self.shape.w, whole.w));
        for (row, ends_of_row) in rows.iter().enumerate() {
            for (column, ends_of_column) in columns.iter().enumerate() {
                let to = (row * whole.w + column) * whole.c;
                for (y, a) in ends_of_row {
                    for (x, b) in ends_of_column {
                        let from = (y * self.shape.w + x) * whole.c;
                        for c in 0..whole.c {
                            f(from + c, to + c, self.factor * a * b);
                        }
                    }
                }
            }
        }
    }
}

/// For each of `many` pixels the two of `few` that it lies between, with weights.
fn ends(few: usize, many: usize) -> Vec<[(usize, f32); 2]> {
    let at = |i: usize| {
        let at = (i as f32 + 0.5) * few as f32 / many as f32 - 0.5;
        let at = at.clamp(0.0, (few - 1) as f32);
        let low = at.floor() as usize;
        let part = at - low as f32;
        [(low, 1.0 - part), ((low + 1).min(few - 1), part)]
    };
    (0..many).map(at).collect()
}
