//! Where in a network its features are looked at: at the end of every block.

use resnet_engine::graph::{Graph, LayerId, Op, Shape};
use resnet_engine::op::{self, ShapeError};

use super::field::{Field, fields};
use crate::net::block_of;

/// A place in a network that all of its paths lead through.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The block that ends there, such as `layer1.0`, or the layer.
    pub name: String,
    /// The layer whose output it is.
    pub layer: LayerId,
    /// The output's shape.
    pub shape: Shape,
    /// Convolutions on the longest way from the picture.
    pub depth: usize,
    /// What an output depends on.
    pub field: Field,
}

/// The points of a network in order: its stem, and the end of every block, or without blocks every
/// ReLU. All have maps.
///
/// # Errors
/// A layer cannot read its inputs.
pub fn points(graph: &Graph) -> Result<Vec<Point>, ShapeError> {
    let shapes = op::shapes(graph)?;
    let fields = fields(graph);
    let depths = depths(graph);
    let mut points: Vec<Point> = Vec::new();
    // The farthest layer that reads something that lies before.
    let mut reach = 0;
    let mut readers = vec![0; graph.layers.len()];
    for (i, layer) in graph.layers.iter().enumerate() {
        layer.inputs.iter().for_each(|input| readers[input.0] = i);
    }
    for (i, layer) in graph.layers.iter().enumerate() {
        let all_lead_here = reach <= i;
        reach = reach.max(readers[i]);
        let shape = shapes[i];
        if !all_lead_here || !matches!(layer.op, Op::Relu | Op::Add) || shape.h * shape.w == 1 {
            continue;
        }
        let name = block_of(&layer.name).unwrap_or(&layer.name).to_owned();
        if points.last().is_some_and(|last| last.name == name) {
            points.pop();
        }
        let (depth, field) = (depths[i], fields[i]);
        points.push(Point { name, layer: LayerId(i), shape, depth, field });
    }
    Ok(points)
}

/// The points that end a stage: the last of each size of maps, but for those of the stem.
pub fn stages(points: &[Point]) -> Vec<usize> {
    let side = |i: usize| points[i].shape.h * points[i].shape.w;
    let ends = (0..points.len()).filter(|&i| i + 1 == points.len() || side(i + 1) < side(i));
    ends.filter(|&i| i > 0 || points.len() == 1).collect()
}

/// Convolutions on the longest way to each layer.
fn depths(graph: &Graph) -> Vec<usize> {
    let mut depths: Vec<usize> = Vec::with_capacity(graph.layers.len());
    for layer in &graph.layers {
        let before = layer.inputs.iter().map(|input| depths[input.0]).max().unwrap_or(0);
        depths.push(before + usize::from(matches!(layer.op, Op::Conv2d { .. })));
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Arch;

    fn found(arch: &str, side: usize) -> Vec<(String, usize, usize)> {
        let graph = Arch::parse(arch).unwrap().graph(Shape::new(3, side, side), 10).unwrap();
        let points = points(&graph).unwrap();
        points.into_iter().map(|p| (p.name, p.shape.c, p.depth)).collect()
    }

    #[test]
    fn points_are_the_ends_of_blocks() {
        let points = found("resnet50", 224);
        assert_eq!(points.len(), 17);
        assert_eq!(points[0], ("relu".into(), 64, 1));
        assert_eq!(points[1], ("layer1.0".into(), 256, 4));
        assert_eq!(points[16], ("layer4.2".into(), 2048, 49));
        for (arch, first, last) in [
            ("resnet20", "relu", "layer3.2"),
            ("plain20", "relu", "layer3.2"),
            ("preresnet20", "layer1.0", "relu_last"),
        ] {
            let points = found(arch, 32);
            assert_eq!(points.len(), 10, "{arch}: {points:?}");
            assert_eq!((points[0].0.as_str(), points[9].0.as_str()), (first, last), "{arch}");
            assert_eq!(points[9].2, 19, "{arch}");
        }
        assert_eq!(found("vgg16_bn", 64).len(), 13);
    }

    #[test]
    fn stages_end_where_maps_become_smaller() {
        let names = |arch: &str, side| {
            let graph = Arch::parse(arch).unwrap().graph(Shape::new(3, side, side), 10).unwrap();
            let points = points(&graph).unwrap();
            let stages = stages(&points);
            stages.into_iter().map(|i| points[i].name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names("resnet50", 224), ["layer1.2", "layer2.3", "layer3.5", "layer4.2"]);
        assert_eq!(names("resnet20", 32), ["layer1.2", "layer2.2", "layer3.2"]);
    }
}
