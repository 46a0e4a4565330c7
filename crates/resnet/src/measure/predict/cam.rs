//! Grad-CAM (Selvaraju et al. 2017): where in the picture the network saw the class.
//!
//! A: `[h, w, c]`, the last maps that still have places, before they are pooled; z: the logit of
//! the class.
//!
//! ```text
//! alpha[k] = mean over i,j of dz / dA[i,j,k]      (eq. 1)
//! cam[i,j] = max(0, sum over k of alpha[k] A[i,j,k])      (eq. 2)
//! ```
//! The gradient is the engine's own: a plan that goes back from the logits to A, with batch norm as
//! in inference.

use resnet_engine::exec::{ExecError, Session};
use resnet_engine::graph::{Graph, LayerId, Op, Shape};
use resnet_engine::op::ShapeError;

/// Where a network saw a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Cam {
    /// The class.
    pub class: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Weight of each of the layer's maps: alpha.
    pub alpha: Vec<f32>,
    /// `[height, width]`, as the formula says.
    pub values: Vec<f32>,
}

/// The layer whose maps are looked at: the last on the main path whose maps have more than one
/// place, pools not counted.
pub(super) fn layer(graph: &Graph, shapes: &[Shape]) -> Result<LayerId, ShapeError> {
    let is_pool =
        |id: LayerId| matches!(graph.layer(id).op, Op::MaxPool2d { .. } | Op::AvgPool2d(_));
    let mut path = graph.path_to(graph.output());
    let found = path.find(|id| shapes[id.0].h * shapes[id.0].w > 1 && !is_pool(*id));
    match found {
        Some(id) if graph.layer(id).op != Op::Input => Ok(id),
        _ => Err(ShapeError {
            layer: graph.layer(graph.output()).name.clone(),
            reason: "no map behind a convolution has more than one place, so there is nothing to show; use larger images".into(),
        }),
    }
}

/// The map of a class, by a layer whose output is of `shape`, for the picture that the session
/// inferred last.
pub(super) fn cam(
    session: &mut Session,
    layer: LayerId,
    shape: Shape,
    class: usize,
) -> Result<Cam, ExecError> {
    let plan = session.plan().clone();
    let (maps, gradient) = (plan.outputs[layer.0], plan.gradients[layer.0]);
    let (maps, gradient) = maps.zip(gradient).expect("the layer keeps its output");
    let logits = plan.gradients.last().copied().flatten();
    let logits = logits.expect("a plan that explains begins at the logits");
    let mut one = vec![0.0; plan.classes];
    one[class] = 1.0;
    session.write(logits, &one)?;
    session.backward()?;
    let (maps, gradient) = (session.get(maps)?, session.get(gradient)?);
    let mut alpha = vec![0f64; shape.c];
    for place in gradient.chunks_exact(shape.c) {
        alpha.iter_mut().zip(place).for_each(|(a, g)| *a += f64::from(*g));
    }
    let places = (shape.h * shape.w) as f64;
    alpha.iter_mut().for_each(|a| *a /= places);
    let weighed = |place: &[f32]| {
        let sum: f64 = alpha.iter().zip(place).map(|(a, x)| a * f64::from(*x)).sum();
        sum.max(0.0) as f32
    };
    Ok(Cam {
        class,
        height: shape.h,
        width: shape.w,
        values: maps.chunks_exact(shape.c).map(weighed).collect(),
        alpha: alpha.iter().map(|&a| a as f32).collect(),
    })
}

impl Cam {
    /// The value at a place, both coordinates from 0 to 1, bilinear between the centres of cells.
    pub(super) fn at(&self, v: f64, u: f64) -> f32 {
        let split = |t: f64, n: usize| {
            let at = (t * n as f64 - 0.5).clamp(0.0, (n - 1) as f64);
            let low = at.floor() as usize;
            (low, (low + 1).min(n - 1), (at - low as f64) as f32)
        };
        let ((y0, y1, b), (x0, x1, a)) = (split(v, self.height), split(u, self.width));
        let value = |y: usize, x: usize| self.values[y * self.width + x];
        let row = |y: usize| value(y, x0) * (1.0 - a) + value(y, x1) * a;
        row(y0) * (1.0 - b) + row(y1) * b
    }
}

#[cfg(test)]
mod tests;
