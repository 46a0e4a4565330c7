//! Receptive fields: which pixels of the input an output can depend on.
//!
//! Along one side of the picture the output `i` of a layer depends on the input's pixels
//! `from + i jump ..= to + i jump`. A window of `k` every `s` with padding `p` reads the outputs
//! `s i - p ..= s i - p + k - 1` of the layer before, so
//!
//! ```text
//! from' = from - p jump      to' = to + (k - 1 - p) jump      jump' = s jump
//! ```
//! An addition depends on what either of its inputs depends on.

use std::ops::Range;

use resnet_engine::graph::{Graph, Layer, Op, Window};

/// What an output of a layer depends on, along either side of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Field {
    /// The first pixel that the output 0 depends on; negative where padding is seen.
    pub from: isize,
    /// The last one.
    pub to: isize,
    /// Pixels from one output's field to the next one's.
    pub jump: usize,
}

/// More pixels than any picture has: the field of what sees all of it.
const ALL: isize = 1 << 32;

impl Field {
    /// What a pixel of the input depends on: itself.
    const PIXEL: Field = Field { from: 0, to: 0, jump: 1 };
    /// What sees the whole picture.
    const WHOLE: Field = Field { from: -ALL, to: ALL, jump: 0 };

    /// Its side in pixels, padding included; `None` if it is the whole picture, whatever its size.
    pub fn side(self) -> Option<usize> {
        let side = self.to - self.from + 1;
        (side < ALL).then_some(side as usize)
    }

    /// The pixels of a side of `len` that the output `i` depends on.
    pub fn pixels(self, i: usize, len: usize) -> Range<usize> {
        let at = (i * self.jump) as isize;
        let inside = |pixel: isize| pixel.clamp(0, len as isize) as usize;
        inside(self.from + at)..inside(self.to + at + 1)
    }

    fn through(self, kernel: usize, stride: usize, padding: usize) -> Field {
        if self == Field::WHOLE {
            return self;
        }
        let [kernel, padding, jump] = [kernel, padding, self.jump].map(|n| n as isize);
        Field {
            from: self.from - padding * jump,
            to: self.to + (kernel - 1 - padding) * jump,
            jump: self.jump * stride,
        }
    }

    fn with(self, other: Field) -> Field {
        if self == Field::WHOLE || other == Field::WHOLE {
            return Field::WHOLE;
        }
        Field {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
            jump: self.jump.max(other.jump),
        }
    }
}

/// The receptive field of each layer of a network, in order.
pub fn fields(graph: &Graph) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::with_capacity(graph.layers.len());
    for Layer { op, inputs, .. } in &graph.layers {
        let before = inputs.iter().map(|id| fields[id.0]).reduce(Field::with);
        let x = before.unwrap_or(Field::PIXEL);
        fields.push(match *op {
            Op::Input => Field::PIXEL,
            Op::Conv2d { kernel, stride, padding, .. }
            | Op::MaxPool2d { kernel, stride, padding } => x.through(kernel, stride, padding),
            Op::AvgPool2d(Window::Square { kernel, stride }) => x.through(kernel, stride, 0),
            Op::AvgPool2d(Window::Global) | Op::Linear { .. } => Field::WHOLE,
            Op::BatchNorm { .. } | Op::Relu | Op::Add => x,
        });
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Arch;
    use resnet_engine::graph::Shape;
    use resnet_engine::op;
    use std::collections::BTreeSet;

    #[test]
    fn fields_are_those_of_the_field() {
        // torchvision's ResNet-50: 7 pixels behind the stem, 11 behind its pool, 427 at the end.
        let graph = Arch::parse("resnet50").unwrap().graph(Shape::new(3, 224, 224), 10).unwrap();
        let of = |name: &str| {
            let at = graph.layers.iter().position(|layer| layer.name == name).unwrap();
            fields(&graph)[at]
        };
        assert_eq!((of("conv1").side(), of("conv1").jump), (Some(7), 2));
        assert_eq!((of("maxpool").side(), of("maxpool").jump), (Some(11), 4));
        assert_eq!((of("layer4.2.conv3").side(), of("layer4.2.conv3").jump), (Some(427), 32));
        assert_eq!(of("fc").side(), None);
        assert_eq!(of("fc").pixels(0, 224), 0..224);
    }

    /// Which rows of the input each row of a layer's output depends on, followed one by one.
    fn followed(graph: &Graph) -> Vec<Vec<BTreeSet<usize>>> {
        let shapes = op::shapes(graph).unwrap();
        let mut all: Vec<Vec<BTreeSet<usize>>> = Vec::new();
        for (layer, shape) in graph.layers.iter().zip(&shapes) {
            let inputs: Vec<&Vec<BTreeSet<usize>>> =
                layer.inputs.iter().map(|id| &all[id.0]).collect();
            let window = |kernel: usize, stride: usize, padding: usize| {
                let row = |i: usize| {
                    let reads = (i * stride..i * stride + kernel)
                        .filter_map(|at| inputs[0].get(at.checked_sub(padding)?));
                    reads.flatten().copied().collect()
                };
                (0..shape.h).map(row).collect::<Vec<BTreeSet<usize>>>()
            };
            let rows = match layer.op {
                Op::Input => (0..shape.h).map(|row| BTreeSet::from([row])).collect(),
                Op::Conv2d { kernel, stride, padding, .. }
                | Op::MaxPool2d { kernel, stride, padding } => window(kernel, stride, padding),
                Op::AvgPool2d(Window::Square { kernel, stride }) => window(kernel, stride, 0),
                Op::AvgPool2d(Window::Global) | Op::Linear { .. } => {
                    vec![inputs[0].iter().flatten().copied().collect()]
                }
                Op::BatchNorm { .. } | Op::Relu => inputs[0].clone(),
                Op::Add => {
                    let pairs = inputs[0].iter().zip(inputs[1]);
                    pairs.map(|(a, b)| a | b).collect()
                }
            };
            all.push(rows);
        }
        all
    }

    #[test]
    fn an_output_depends_on_the_pixels_of_its_field_and_on_no_others() {
        for (arch, side) in [
            ("resnet8", 40),
            ("preresnet20", 40),
            ("resnet50", 97),
            ("resnet50_v1", 96),
            ("vgg16_bn", 64),
        ] {
            let graph = Arch::parse(arch).unwrap().graph(Shape::new(3, side, side), 2).unwrap();
            let fields = fields(&graph);
            for ((layer, rows), field) in graph.layers.iter().zip(followed(&graph)).zip(fields) {
                for (i, row) in rows.iter().enumerate() {
                    let pixels = field.pixels(i, side);
                    let ends = (row.first().copied(), row.last().map(|last| last + 1));
                    let found = (Some(pixels.start), Some(pixels.end));
                    // A stride of more than a kernel leaves pixels out, but not at the ends.
                    assert_eq!(found, ends, "{arch} {}, row {i}", layer.name);
                }
            }
        }
    }
}
