//! From our graph to ONNX: one function for each operation.

use std::collections::HashMap;

use resnet_formats::onnx::proto::{
    Attribute, Dimension, Graph as GraphProto, Model as ModelProto, Node, OperatorSet, Property,
    TensorShape, TensorType, Type, ValueInfo, kind,
};
use resnet_formats::{Array, Data, onnx};

use super::names::{self, IMAGES, LOGITS};
use crate::data::Normalize;
use crate::model::export::error::ExportError;
use crate::model::export::options::Options;
use crate::model::{Model, PIXEL_MEAN, PROGRESS};
use resnet_engine::graph::{Graph, Layer, LayerId, Op, Shape, Window};
use resnet_engine::op;

/// The ONNX model of a model.
///
/// # Errors
/// [`ExportError::Model`] if a tensor is missing or does not fit; the network cannot be built.
pub fn from_model(model: &Model, options: &Options) -> Result<ModelProto, ExportError> {
    model.check_weights()?;
    let graph = model.graph()?;
    let shapes = op::shapes(&graph)?;
    let mut readers = vec![0; graph.layers.len()];
    for id in graph.layers.iter().flat_map(|layer| &layer.inputs) {
        readers[id.0] += 1;
    }
    let mut writer = Writer {
        model,
        graph: &graph,
        shapes: &shapes,
        folded: HashMap::new(),
        out: GraphProto::default(),
        values: Vec::new(),
    };
    if options.fold {
        let follows_alone = |layer: &Layer| {
            let conv = *layer.inputs.first()?;
            let is_conv = matches!(graph.layer(conv).op, Op::Conv2d { .. });
            (is_conv && readers[conv.0] == 1).then_some(conv)
        };
        for (index, layer) in graph.layers.iter().enumerate() {
            if let (Op::BatchNorm { .. }, Some(conv)) = (layer.op, follows_alone(layer)) {
                writer.folded.insert(conv, LayerId(index));
            }
        }
    }
    for index in 0..graph.layers.len() {
        let value = writer.layer(LayerId(index), options)?;
        writer.values.push(value);
    }
    let Writer { mut out, values, .. } = writer;
    // The last node gives the logits under a name of their own.
    let last = values.last().cloned().unwrap_or_default();
    for node in &mut out.node {
        node.output.iter_mut().filter(|name| **name == last).for_each(|name| *name = LOGITS.into());
    }
    let Shape { c, h, w } = graph.input;
    out.name = Some(model.arch.name());
    out.input = vec![if options.preprocessing {
        value_info(IMAGES, kind::UINT8, &[h, w, c])
    } else {
        value_info(IMAGES, kind::FLOAT, &[c, h, w])
    }];
    out.output = vec![value_info(LOGITS, kind::FLOAT, &[model.classes.len()])];
    let mut metadata = model.metadata();
    metadata.remove(PROGRESS);
    if let Some(mean) = model.preprocess.pixel_mean() {
        let json = serde_json::to_string(mean).expect("numbers always become JSON");
        metadata.insert(PIXEL_MEAN.into(), json);
    }
    let about = if options.preprocessing {
        format!("{IMAGES}: u8, [batch, {h}, {w}, {c}], red, green, blue; normalised inside")
    } else {
        format!(
            "{IMAGES}: f32, [batch, {c}, {h}, {w}], normalised as `preprocess` in the metadata says"
        )
    };
    let needed = names::needed(&out.node);
    let opset = options.opset.map_or(needed, i64::from);
    let ir = names::ir(opset).filter(|_| opset >= needed).ok_or_else(|| {
        ExportError::Options(format!(
            "opset {opset} does not have the operations of this graph; expected {needed} to {}",
            names::newest()
        ))
    })?;
    Ok(ModelProto {
        ir_version: Some(ir),
        producer_name: Some("resnet".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        doc_string: Some(about),
        graph: Some(out),
        opset_import: vec![OperatorSet { domain: Some(String::new()), version: Some(opset) }],
        metadata_props: metadata
            .into_iter()
            .map(|(key, value)| Property { key: Some(key), value: Some(value) })
            .collect(),
    })
}

/// An input or output whose first axis is the batch, of any length.
fn value_info(name: &str, elem_type: i32, rest: &[usize]) -> ValueInfo {
    let batch = Dimension { dim_param: Some("batch".into()), dim_value: None };
    let fixed =
        rest.iter().map(|&axis| Dimension { dim_value: Some(axis as i64), dim_param: None });
    ValueInfo {
        name: Some(name.into()),
        r#type: Some(Type {
            tensor_type: Some(TensorType {
                elem_type: Some(elem_type),
                shape: Some(TensorShape { dim: std::iter::once(batch).chain(fixed).collect() }),
            }),
        }),
    }
}

struct Writer<'a> {
    model: &'a Model,
    graph: &'a Graph,
    shapes: &'a [Shape],
    /// Convolutions that take in the batch norm behind them.
    folded: HashMap<LayerId, LayerId>,
    out: GraphProto,
    /// Name of each layer's output.
    values: Vec<String>,
}

impl Writer<'_> {
    /// Appends a layer's nodes and returns the name of its output.
    fn layer(&mut self, id: LayerId, options: &Options) -> Result<String, ExportError> {
        let layer = self.graph.layer(id);
        let name = layer.name.as_str();
        match layer.op {
            Op::Input if options.preprocessing => self.preprocessing(),
            Op::Input => Ok(IMAGES.into()),
            Op::Conv2d { .. } => self.conv(id),
            Op::BatchNorm { .. } if self.folded.get(&layer.inputs[0]) == Some(&id) => {
                Ok(self.input(id, 0))
            }
            Op::BatchNorm { eps, .. } => self.batch_norm(id, eps),
            Op::Relu => Ok(self.node("Relu", name, vec![self.input(id, 0)], vec![])),
            Op::Add => self.add(id),
            Op::MaxPool2d { kernel, stride, padding } => {
                let attributes = vec![
                    ints("kernel_shape", &[kernel; 2]),
                    ints("strides", &[stride; 2]),
                    ints("pads", &[padding; 4]),
                ];
                Ok(self.node("MaxPool", name, vec![self.input(id, 0)], attributes))
            }
            Op::AvgPool2d(Window::Global) => {
                Ok(self.node("GlobalAveragePool", name, vec![self.input(id, 0)], vec![]))
            }
            Op::AvgPool2d(Window::Square { kernel, stride }) => {
                let attributes =
                    vec![ints("kernel_shape", &[kernel; 2]), ints("strides", &[stride; 2])];
                Ok(self.node("AveragePool", name, vec![self.input(id, 0)], attributes))
            }
            Op::Linear { .. } => self.linear(id),
        }
    }

    /// Bytes to numbers, in the order of operations that the model was trained with, so that the
    /// bits are the same.
    fn preprocessing(&mut self) -> Result<String, ExportError> {
        let Shape { c, h, w } = self.graph.input;
        let to_float = vec![int("to", i64::from(kind::FLOAT))];
        let x = self.node("Cast", "preprocess.cast", vec![IMAGES.into()], to_float);
        let planes = vec![ints("perm", &[0, 3, 1, 2])];
        let x = self.node("Transpose", "preprocess.transpose", vec![x], planes);
        let scale = self.constant("preprocess.scale", Array::f32(vec![], vec![255.0]));
        let x = self.node("Div", "preprocess.div", vec![x, scale], vec![]);
        match self.model.preprocess.normalize.clone() {
            Normalize::Channel { mean, std } => {
                let mean = self.constant("preprocess.mean", Array::f32(vec![1, c, 1, 1], mean));
                let x = self.node("Sub", "preprocess.sub", vec![x, mean], vec![]);
                let std = self.constant("preprocess.std", Array::f32(vec![1, c, 1, 1], std));
                Ok(self.node("Div", "preprocess.normalize", vec![x, std], vec![]))
            }
            Normalize::Pixel { mean } => {
                let pixels = h * w;
                let planes = (0..c * pixels).map(|i| mean[i % pixels * c + i / pixels]).collect();
                let mean = self.constant("preprocess.mean", Array::f32(vec![1, c, h, w], planes));
                Ok(self.node("Sub", "preprocess.sub", vec![x, mean], vec![]))
            }
        }
    }

    fn conv(&mut self, id: LayerId) -> Result<String, ExportError> {
        let layer = self.graph.layer(id);
        let Op::Conv2d { c_out, kernel, stride, padding, groups, bias } = layer.op else {
            unreachable!()
        };
        let name = layer.name.clone();
        let shape = vec![c_out, self.shape(id, 0).c / groups, kernel, kernel];
        let mut w = self.values_of(&format!("{name}.weight"))?;
        let mut b = match bias {
            true => Some(self.values_of(&format!("{name}.bias"))?),
            false => None,
        };
        if let Some(&norm) = self.folded.get(&id) {
            let norm = self.graph.layer(norm);
            let Op::BatchNorm { eps, .. } = norm.op else { unreachable!() };
            let param = |suffix: &str| self.values_of(&format!("{}.{suffix}", norm.name));
            let (gamma, beta) = (param("weight")?, param("bias")?);
            let (mean, var) = (param("running_mean")?, param("running_var")?);
            // y = gamma (w x + b - mean) / sqrt(var + eps) + beta
            let per_output = w.len() / c_out;
            let before = b.take().unwrap_or_else(|| vec![0.0; c_out]);
            let mut shift = Vec::with_capacity(c_out);
            for (o, w) in w.chunks_exact_mut(per_output).enumerate() {
                let scale = f64::from(gamma[o]) / (f64::from(var[o]) + f64::from(eps)).sqrt();
                w.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
                let centred = f64::from(before[o]) - f64::from(mean[o]);
                shift.push((centred * scale + f64::from(beta[o])) as f32);
            }
            b = Some(shift);
        }
        let mut inputs = vec![self.input(id, 0)];
        inputs.push(self.constant(&format!("{name}.weight"), Array::f32(shape, w)));
        if let Some(b) = b {
            inputs.push(self.constant(&format!("{name}.bias"), Array::f32(vec![c_out], b)));
        }
        let attributes = vec![
            ints("kernel_shape", &[kernel; 2]),
            ints("strides", &[stride; 2]),
            ints("pads", &[padding; 4]),
            ints("dilations", &[1; 2]),
            int("group", groups as i64),
        ];
        Ok(self.node("Conv", &name, inputs, attributes))
    }

    fn batch_norm(&mut self, id: LayerId, eps: f32) -> Result<String, ExportError> {
        let name = self.graph.layer(id).name.clone();
        let mut inputs = vec![self.input(id, 0)];
        for suffix in ["weight", "bias", "running_mean", "running_var"] {
            let values = self.values_of(&format!("{name}.{suffix}"))?;
            let array = Array::f32(vec![values.len()], values);
            inputs.push(self.constant(&format!("{name}.{suffix}"), array));
        }
        let attributes = vec![Attribute {
            name: Some("epsilon".into()),
            f: Some(eps),
            r#type: Some(Attribute::FLOAT),
            ..Attribute::default()
        }];
        Ok(self.node("BatchNormalization", &name, inputs, attributes))
    }

    fn add(&mut self, id: LayerId) -> Result<String, ExportError> {
        let name = self.graph.layer(id).name.clone();
        let (branch, mut shortcut) = (self.input(id, 0), self.input(id, 1));
        let missing = self.shape(id, 0).c - self.shape(id, 1).c;
        if missing > 0 {
            let before = missing / 2;
            let pads = [0, before, 0, 0, 0, missing - before, 0, 0].map(|n| n as i64);
            let pads = Array::new(vec![8], Data::I64(pads.to_vec())).expect("eight numbers");
            let pads = self.constant(&format!("{name}.pads"), pads);
            shortcut = self.node("Pad", &format!("{name}.pad"), vec![shortcut, pads], vec![]);
        }
        Ok(self.node("Add", &name, vec![branch, shortcut], vec![]))
    }

    /// The weight's rows read channels first, as ONNX flattens them.
    fn linear(&mut self, id: LayerId) -> Result<String, ExportError> {
        let name = self.graph.layer(id).name.clone();
        let mut x = self.input(id, 0);
        let shape = self.shape(id, 0);
        let flat = self.comes_flat(self.graph.layer(id).inputs[0]);
        if !flat {
            let axis = vec![int("axis", 1)];
            x = self.node("Flatten", &format!("{name}.flatten"), vec![x], axis);
        }
        let w = self.values_of(&format!("{name}.weight"))?;
        let b = self.values_of(&format!("{name}.bias"))?;
        let w = Array::f32(vec![b.len(), shape.len()], w);
        let b = Array::f32(vec![b.len()], b);
        let inputs = vec![
            x,
            self.constant(&format!("{name}.weight"), w),
            self.constant(&format!("{name}.bias"), b),
        ];
        Ok(self.node("Gemm", &name, inputs, vec![int("transB", 1)]))
    }

    /// Whether a layer's output has two axes already: behind a linear layer.
    fn comes_flat(&self, id: LayerId) -> bool {
        let mut path = self.graph.path_to(id);
        let first = path.find(|id| self.graph.layer(*id).op != Op::Relu);
        first.is_some_and(|id| matches!(self.graph.layer(id).op, Op::Linear { .. }))
    }

    /// Name of a layer's input.
    fn input(&self, id: LayerId, number: usize) -> String {
        self.values[self.graph.layer(id).inputs[number].0].clone()
    }

    fn shape(&self, id: LayerId, number: usize) -> Shape {
        self.shapes[self.graph.layer(id).inputs[number].0]
    }

    /// A parameter's numbers.
    fn values_of(&self, name: &str) -> Result<Vec<f32>, ExportError> {
        let values = self.model.tensors.get(name).and_then(Array::to_f32);
        let values = values.ok_or_else(|| self.model.lacks(name))?;
        Ok(values.into_owned())
    }

    /// Appends an array and returns its name.
    fn constant(&mut self, name: &str, array: Array) -> String {
        self.out.initializer.push(onnx::tensor(name, &array));
        name.into()
    }

    /// Appends a node and returns the name of its output, which is its own.
    fn node(
        &mut self,
        op_type: &str,
        name: &str,
        input: Vec<String>,
        attribute: Vec<Attribute>,
    ) -> String {
        self.out.node.push(Node {
            input,
            output: vec![name.into()],
            name: Some(name.into()),
            op_type: Some(op_type.into()),
            attribute,
            domain: None,
        });
        name.into()
    }
}

fn int(name: &str, value: i64) -> Attribute {
    Attribute {
        name: Some(name.into()),
        i: Some(value),
        r#type: Some(Attribute::INT),
        ..Attribute::default()
    }
}

fn ints(name: &str, values: &[usize]) -> Attribute {
    Attribute {
        name: Some(name.into()),
        ints: values.iter().map(|&value| value as i64).collect(),
        r#type: Some(Attribute::INTS),
        ..Attribute::default()
    }
}
