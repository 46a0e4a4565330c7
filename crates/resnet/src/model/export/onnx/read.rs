//! From ONNX back to our graph: the operations that [`write`](super::from_model) writes, as they or
//! other programs write them.

use std::collections::{BTreeMap, HashMap, HashSet};

use resnet_formats::onnx::proto::{
    Graph as GraphProto, Model as ModelProto, Node, Tensor, ValueInfo, kind,
};
use resnet_formats::{Array, Data, Tensors, onnx};

use super::attributes::{find, integer, list, plausible, window};
use super::names::READ;
use super::picture::Picture;
use crate::data::Normalize;
use resnet_engine::graph::{Graph, LayerId, Op, Shape, Window};
use resnet_engine::op;

/// What an ONNX file computes.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its layers.
    pub graph: Graph,
    /// Their parameters, by our names.
    pub tensors: Tensors,
    /// How it normalises, if it reads bytes.
    pub normalize: Option<Normalize>,
    /// Texts that travel with it.
    pub metadata: BTreeMap<String, String>,
}

/// Why a node is not ours: its name, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The node, input or output.
    pub node: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Bytes of parameters that may be kept beyond one use of each array.
const SHARED: usize = 64 << 20;

/// A value on its way through the graph.
#[derive(Clone, Debug)]
enum Value {
    /// Bytes in some number type and layout, on their way to the network's input.
    Picture,
    /// A layer's output.
    Layer(LayerId),
    /// The same with zero channels around it, for an addition: how many before and after.
    Padded(LayerId, [i64; 2]),
    /// The same without its axes of height and width.
    Flat(LayerId),
}

type Result<T> = std::result::Result<T, Refusal>;

/// Reads a file's graph.
///
/// # Errors
/// The first node that is none of the operations we have, with the reason.
pub fn network(model: &ModelProto) -> Result<Network> {
    let empty = GraphProto::default();
    let proto = model.graph.as_ref().unwrap_or(&empty);
    let refuse = |node: &str, problem: String| Refusal { node: node.into(), problem };
    let ours = |domain: &Option<String>| matches!(domain.as_deref(), None | Some("" | "ai.onnx"));
    let opset = model.opset_import.iter().find(|set| ours(&set.domain));
    let version = opset.and_then(|set| set.version).unwrap_or(0);
    if !READ.contains(&version) {
        let problem = format!(
            "its operations are of version {version}, read are {} to {}",
            READ.start(),
            READ.end()
        );
        return Err(refuse("the model", problem));
    }
    let constants: HashMap<&str, &Tensor> = proto
        .initializer
        .iter()
        .map(|tensor| (tensor.name.as_deref().unwrap_or_default(), tensor))
        .collect();
    let mut inputs = proto.input.iter().filter(|input| {
        let name = input.name.as_deref().unwrap_or_default();
        !constants.contains_key(name)
    });
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err(refuse("the model", "it must have one input, the images".into()));
    };
    let [output] = proto.output.as_slice() else {
        return Err(refuse("the model", "it must have one output, the logits".into()));
    };
    let (shape, bytes) = images(input)?;
    let mut reader = Reader {
        constants,
        values: HashMap::new(),
        graph: Graph::new(shape),
        tensors: Tensors::default(),
        names: HashSet::new(),
        picture: Picture::default(),
        normalize: None,
        padded: Vec::new(),
        left: SHARED,
    };
    for tensor in &proto.initializer {
        reader.left = reader.left.saturating_add(size(tensor));
    }
    let first = match bytes {
        true => Value::Picture,
        false => Value::Layer(LayerId(0)),
    };
    reader.values.insert(input.name.clone().unwrap_or_default(), first);
    for node in &proto.node {
        let name =
            node.name.clone().unwrap_or_else(|| node.output.first().cloned().unwrap_or_default());
        if !ours(&node.domain) {
            return Err(refuse(&name, "it is of another domain than ONNX's own".into()));
        }
        reader.node(node, &name).map_err(|problem| refuse(&name, problem))?;
    }
    let name = output.name.as_deref().unwrap_or_default();
    match reader.values.get(name) {
        Some(Value::Layer(id) | Value::Flat(id)) if *id == reader.graph.output() => {}
        _ => {
            return Err(refuse(name, "the output must be that of the last node".into()));
        }
    }
    let shapes = op::shapes(&reader.graph).map_err(|e| refuse(&e.layer, e.reason))?;
    for &(add, [before, after]) in &reader.padded {
        let layer = reader.graph.layer(add);
        let missing = shapes[layer.inputs[0].0].c - shapes[layer.inputs[1].0].c;
        let half = missing / 2;
        if [before, after] != [half as i64, (missing - half) as i64] {
            let problem = format!(
                "{missing} channels are missing, and must be zero in equal numbers before and after; found {before} and {after}"
            );
            return Err(refuse(&layer.name, problem));
        }
    }
    let properties = model.metadata_props.iter();
    Ok(Network {
        graph: reader.graph,
        tensors: reader.tensors,
        normalize: reader.normalize,
        metadata: properties
            .filter_map(|property| Some((property.key.clone()?, property.value.clone()?)))
            .collect(),
    })
}

/// Shape of the images, and whether they are bytes `[n, h, w, c]` instead of floats `[n, c, h, w]`.
fn images(input: &ValueInfo) -> Result<(Shape, bool)> {
    let refuse = |problem: &str| Refusal {
        node: input.name.clone().unwrap_or_default(),
        problem: problem.into(),
    };
    let array = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let array = array.ok_or_else(|| refuse("it must be an array"))?;
    let dims = array.shape.as_ref().map(|shape| shape.dim.as_slice()).unwrap_or_default();
    let axis = |i: usize| {
        let length = dims.get(i)?.dim_value?;
        usize::try_from(length).ok().filter(|length| (1..=65_535).contains(length))
    };
    let (4, Some(a), Some(b), Some(c)) = (dims.len(), axis(1), axis(2), axis(3)) else {
        return Err(refuse("it must have four axes, all but the first of known length"));
    };
    match array.elem_type {
        Some(kind::FLOAT) => Ok((Shape::new(a, b, c), false)),
        Some(kind::UINT8) => Ok((Shape::new(c, a, b), true)),
        _ => Err(refuse("it must hold 32-bit floats or bytes")),
    }
}

struct Reader<'a> {
    constants: HashMap<&'a str, &'a Tensor>,
    values: HashMap<String, Value>,
    graph: Graph,
    tensors: Tensors,
    names: HashSet<String>,
    picture: Picture,
    normalize: Option<Normalize>,
    /// Additions whose second input was padded with zero channels before and after.
    padded: Vec<(LayerId, [i64; 2])>,
    /// Bytes that may still be kept.
    left: usize,
}

impl Reader<'_> {
    fn node(&mut self, node: &Node, name: &str) -> std::result::Result<(), String> {
        let kind = node.op_type.as_deref().unwrap_or_default();
        let [output] = node.output.as_slice() else {
            return Err("it must have one output".into());
        };
        let input = self.value(node, 0)?;
        let value = match (kind, input) {
            ("Cast" | "Transpose" | "Div" | "Sub", Value::Picture) => {
                // Each step has one reader, the next one.
                self.values.remove(node.input[0].as_str());
                self.picture(node, kind)?;
                Value::Picture
            }
            ("Conv", input) => self.conv(node, name, input)?,
            ("BatchNormalization", input) => {
                let x = self.layer(input)?;
                if integer(node, "training_mode", 0)? != 0 {
                    let problem = "it normalises by each batch's statistics (training_mode), \
                                   expected its own; export the model for inference";
                    return Err(problem.into());
                }
                let eps = find(node, "epsilon").and_then(|a| a.f).unwrap_or(1e-5);
                let op = Op::BatchNorm { eps, momentum: 0.1, zero_init: false };
                let name = self.push(name, op, x)?;
                for (number, suffix) in (1..).zip(["weight", "bias", "running_mean", "running_var"])
                {
                    self.keep(node, number, &format!("{name}.{suffix}"))?;
                }
                Value::Layer(self.graph.output())
            }
            ("Relu", Value::Flat(x)) => {
                self.push(name, Op::Relu, x)?;
                Value::Flat(self.graph.output())
            }
            ("Relu", input) => self.simple(name, Op::Relu, input)?,
            ("Add", input) => self.add(node, name, input)?,
            ("Pad", input) => {
                let x = self.layer(input)?;
                let mode = find(node, "mode").and_then(|a| a.s.as_deref());
                if mode.is_some_and(|mode| mode != b"constant") {
                    return Err("its mode must be constant: the pads are zeros".into());
                }
                if self.dims(node, 1)? != [8] || node.input.len() != 2 {
                    return Err("it must have eight pads, of zeros".into());
                }
                let pads = match self.constant(node, 1)?.into_data() {
                    Data::I64(pads) => pads,
                    _ => return Err("its pads must be integers".into()),
                };
                match pads.as_slice() {
                    &[0, before @ (0..), 0, 0, 0, after @ (0..), 0, 0] => {
                        Value::Padded(x, [before, after])
                    }
                    _ => return Err("only channels can be padded".into()),
                }
            }
            ("MaxPool", input) => {
                let [kernel, stride, padding] = window(node)?;
                let op = Op::MaxPool2d { kernel, stride, padding };
                self.simple(name, op, input)?
            }
            ("AveragePool", input) => {
                let [kernel, stride, padding] = window(node)?;
                if padding != 0 {
                    return Err("an average pool must have no padding".into());
                }
                self.simple(name, Op::AvgPool2d(Window::Square { kernel, stride }), input)?
            }
            ("GlobalAveragePool", input) => {
                self.simple(name, Op::AvgPool2d(Window::Global), input)?
            }
            ("Flatten", input) => {
                if integer(node, "axis", 1)? != 1 {
                    return Err("its axis must be 1".into());
                }
                Value::Flat(self.layer(input)?)
            }
            ("Gemm", Value::Flat(x)) => self.gemm(node, name, x)?,
            (other, _) => {
                return Err(format!("operation {other} is not one of ours in this place"));
            }
        };
        if self.values.insert(output.clone(), value).is_some() {
            return Err(format!("its output `{output}` is given twice"));
        }
        Ok(())
    }

    /// One more step from bytes to numbers.
    fn picture(&mut self, node: &Node, kind: &str) -> std::result::Result<(), String> {
        let shape = self.graph.input;
        let mut picture = std::mem::take(&mut self.picture);
        picture.step(node, kind, shape, || {
            let mut axes = self.dims(node, 1)?.iter();
            let count = axes.try_fold(1i64, |n, &axis| n.checked_mul(axis));
            if count.is_none_or(|n| n > shape.len() as i64) {
                return Err("its constant holds more than a picture".into());
            }
            let array = self.constant(node, 1)?;
            let values = array.as_f32().map(<[f32]>::to_vec);
            values.ok_or("its constant must hold floats".into())
        })?;
        self.picture = picture;
        Ok(())
    }

    /// The layer of a value; bytes that have become numbers are the network's input.
    fn layer(&mut self, value: Value) -> std::result::Result<LayerId, String> {
        match value {
            Value::Layer(id) => Ok(id),
            Value::Padded(..) => Err("padded channels can only be added".into()),
            Value::Flat(_) => Err("it reads a flat value".into()),
            Value::Picture if self.normalize.is_some() => Ok(LayerId(0)),
            Value::Picture => {
                let picture = std::mem::take(&mut self.picture);
                self.normalize = Some(picture.normalize(self.graph.input)?);
                Ok(LayerId(0))
            }
        }
    }

    fn simple(&mut self, name: &str, op: Op, input: Value) -> std::result::Result<Value, String> {
        let x = self.layer(input)?;
        self.push(name, op, x)?;
        Ok(Value::Layer(self.graph.output()))
    }

    fn conv(
        &mut self,
        node: &Node,
        name: &str,
        input: Value,
    ) -> std::result::Result<Value, String> {
        let x = self.layer(input)?;
        let &[c_out, _, rows, columns] = self.dims(node, 1)? else {
            return Err("its weight must have four axes".into());
        };
        let c_out = usize::try_from(c_out).map_err(|_| "its weight has a negative axis")?;
        let kernel = plausible("kernel", rows)?;
        if rows != columns || list(node, "dilations").iter().any(|&d| d != 1) {
            return Err("its kernel must be square and not dilated".into());
        }
        let given = find(node, "kernel_shape").map(|a| a.ints.as_slice());
        if given.is_some_and(|given| given != [rows; 2]) {
            return Err("its kernel_shape is not that of its weight".into());
        }
        let [_, stride, padding] = window(node)?;
        let bias = node.input.len() > 2;
        let op =
            Op::Conv2d { c_out, kernel, stride, padding, groups: integer(node, "group", 1)?, bias };
        let name = self.push(name, op, x)?;
        self.keep(node, 1, &format!("{name}.weight"))?;
        if bias {
            self.keep(node, 2, &format!("{name}.bias"))?;
        }
        Ok(Value::Layer(self.graph.output()))
    }

    fn add(&mut self, node: &Node, name: &str, input: Value) -> std::result::Result<Value, String> {
        let (branch, other) = match (input, self.value(node, 1)?) {
            // Addition commutes, and ours has the narrower one second.
            (padded @ Value::Padded(..), branch) => (branch, padded),
            pair => pair,
        };
        let branch = self.layer(branch)?;
        let (shortcut, pads) = match other {
            Value::Padded(id, pads) => (id, pads),
            other => (self.layer(other)?, [0, 0]),
        };
        self.named(name)?;
        let id = self.graph.push(name, Op::Add, &[branch, shortcut]);
        self.padded.push((id, pads));
        Ok(Value::Layer(self.graph.output()))
    }

    fn gemm(&mut self, node: &Node, name: &str, x: LayerId) -> std::result::Result<Value, String> {
        let one = |name| find(node, name).and_then(|a| a.f).is_none_or(|f| f == 1.0);
        if integer(node, "transA", 0)? != 0
            || integer(node, "transB", 0)? != 1
            || !one("alpha")
            || !one("beta")
        {
            return Err("it must be x times the transposed weight, plus the bias".into());
        }
        let &[out, _] = self.dims(node, 1)? else {
            return Err("its weight must have two axes".into());
        };
        let out = usize::try_from(out).map_err(|_| "its weight has a negative axis")?;
        let name = self.push(name, Op::Linear { out }, x)?;
        self.keep(node, 1, &format!("{name}.weight"))?;
        self.keep(node, 2, &format!("{name}.bias"))?;
        Ok(Value::Flat(self.graph.output()))
    }

    /// Appends a layer of a name that no other has.
    fn push(&mut self, name: &str, op: Op, x: LayerId) -> std::result::Result<String, String> {
        self.named(name)?;
        self.graph.push(name, op, &[x]);
        Ok(name.into())
    }

    fn named(&mut self, name: &str) -> std::result::Result<(), String> {
        match !name.is_empty() && self.names.insert(name.into()) {
            true => Ok(()),
            false => Err("its name is empty or another's".into()),
        }
    }

    /// A value that an earlier node gave.
    fn value(&self, node: &Node, number: usize) -> std::result::Result<Value, String> {
        let name = node.input.get(number).map(String::as_str).unwrap_or_default();
        let value = self.values.get(name).cloned();
        value.ok_or_else(|| format!("its input `{name}` is given by no node before it"))
    }

    /// The lengths of an array's axes, as the file has them.
    fn dims(&self, node: &Node, number: usize) -> std::result::Result<&[i64], String> {
        let name = node.input.get(number).map(String::as_str).unwrap_or_default();
        let tensor = self.constants.get(name);
        let tensor =
            tensor.ok_or_else(|| format!("its input `{name}` must be an array of the file"))?;
        Ok(&tensor.dims)
    }

    /// An array of the file.
    fn constant(&self, node: &Node, number: usize) -> std::result::Result<Array, String> {
        let name = node.input.get(number).map(String::as_str).unwrap_or_default();
        let tensor = self.constants.get(name);
        let tensor =
            tensor.ok_or_else(|| format!("its input `{name}` must be an array of the file"))?;
        onnx::array(tensor).map_err(|error| error.to_string())
    }

    /// Keeps an array as a parameter. Nodes may share one, but not so often that a small file
    /// becomes a large network.
    fn keep(&mut self, node: &Node, number: usize, name: &str) -> std::result::Result<(), String> {
        let input = node.input.get(number).map(String::as_str);
        let tensor = self.constants.get(input.unwrap_or_default());
        let bytes = tensor.map_or(0, |tensor| size(tensor));
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or("its arrays are shared too often")?;
        let floats = [kind::FLOAT, kind::FLOAT16, kind::BFLOAT16, kind::DOUBLE];
        if tensor.is_some_and(|t| !floats.contains(&t.data_type.unwrap_or(0))) {
            return Err("its weights must be floats".into());
        }
        let array = self.constant(node, number)?;
        self.tensors.insert(name, array);
        Ok(())
    }
}

/// Bytes of an array's numbers.
fn size(tensor: &Tensor) -> usize {
    let raw = tensor.raw_data.as_ref().map_or(0, |raw| raw.len());
    raw + 4 * tensor.float_data.len() + 8 * tensor.int64_data.len()
}
