//! The way from bytes `[n, h, w, c]` to the network's input, as nodes of ONNX: Cast, Transpose,
//! Div, Sub, Div.

use resnet_formats::onnx::proto::{Node, kind};

use super::attributes::{find, list};
use crate::data::Normalize;
use resnet_engine::graph::Shape;

/// What has happened to bytes so far.
#[derive(Debug, Default)]
pub(super) struct Picture {
    float: bool,
    planes: bool,
    scaled: bool,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
}

impl Picture {
    /// Takes one more step; `constant` gives the node's second input.
    pub(super) fn step(
        &mut self,
        node: &Node,
        op_type: &str,
        shape: Shape,
        constant: impl FnOnce() -> Result<Vec<f32>, String>,
    ) -> Result<(), String> {
        match op_type {
            "Cast" if !self.float => {
                let to = find(node, "to").and_then(|a| a.i);
                if to != Some(i64::from(kind::FLOAT)) {
                    return Err("bytes must be cast to 32-bit floats".into());
                }
                self.float = true;
            }
            "Transpose" if !self.planes => {
                if list(node, "perm") != [0, 3, 1, 2] {
                    return Err("pixels must be transposed to planes".into());
                }
                self.planes = true;
            }
            "Div" if self.float && !self.scaled => {
                if constant()? != [255.0] {
                    return Err("bytes must be divided by 255".into());
                }
                self.scaled = true;
            }
            "Sub" if self.scaled && self.mean.is_none() => {
                let mean = constant()?;
                if mean.len() != shape.c && mean.len() != shape.len() {
                    return Err("the mean must be one number a channel, or a picture".into());
                }
                self.mean = Some(mean);
            }
            "Div" if self.mean.is_some() && self.std.is_none() => {
                let std = constant()?;
                if std.len() != shape.c {
                    return Err("the standard deviation must be one number a channel".into());
                }
                self.std = Some(std);
            }
            _ => {
                return Err(format!("{op_type} is not expected here on the way to the network"));
            }
        }
        Ok(())
    }

    /// How the bytes were normalised, once they are the network's input.
    pub(super) fn normalize(self, shape: Shape) -> Result<Normalize, String> {
        let (true, Some(mean)) = (self.planes, self.mean) else {
            return Err("bytes must be cast, transposed, scaled and centred first".into());
        };
        let Shape { c, h, w } = shape;
        match self.std {
            Some(std) if mean.len() == c => Ok(Normalize::Channel { mean, std }),
            None if mean.len() == shape.len() => {
                let pixels = h * w;
                let hwc = (0..c * pixels).map(|i| mean[i % c * pixels + i / c]);
                Ok(Normalize::Pixel { mean: hwc.collect() })
            }
            _ => Err("mean and standard deviation do not belong together".into()),
        }
    }
}
