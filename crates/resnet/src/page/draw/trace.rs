//! Finds what is drawn in a graph: the path from image to logits, and the shortcuts beside it.
//!
//! The path follows every layer's first input back from the logits. An [`Op::Add`] on it ends a
//! block: its second input, followed back to the path, is the shortcut, and the layer where it
//! meets the path is the fork.

use std::fmt::Write;
use std::ops::Range;

use super::{DrawError, Network};
use crate::page::charts::format;
use resnet_engine::graph::{Layer, LayerId, Op, Shape, Window};
use resnet_engine::op;

/// What a row of a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    /// A convolution or fully connected layer.
    Weights,
    Pool,
}

/// A layer that is drawn on the path.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) kind: Kind,
    pub(super) op: Op,
    pub(super) input: Shape,
    pub(super) output: Shape,
    pub(super) params: u64,
    pub(super) macs: u64,
}

impl Row {
    /// Height and width of its output.
    pub(super) fn map(&self) -> (usize, usize) {
        (self.output.h, self.output.w)
    }
}

/// An addition, and how the map it adds gets there.
#[derive(Debug)]
pub(super) struct Shortcut {
    /// The rows it leads around.
    pub(super) rows: Range<usize>,
    /// What happens on the way; empty for the identity.
    pub(super) label: String,
    /// The convolutions on the way, in words; empty if it has no parameters.
    pub(super) convs: Vec<String>,
}

/// A network as it is drawn.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) name: String,
    pub(super) depth: usize,
    /// In order; the first is the image.
    pub(super) rows: Vec<Row>,
    /// In order; none overlaps another.
    pub(super) shortcuts: Vec<Shortcut>,
    pub(super) params: u64,
    pub(super) macs: u64,
    /// Whether there is a batch norm.
    pub(super) norms: bool,
    /// Whether the addition is handed on without ReLU (He et al. 2016).
    pub(super) pre_activation: bool,
}

pub(super) fn trace(network: &Network) -> Result<Trace, DrawError> {
    let graph = &network.graph;
    let shapes = op::shapes(graph)
        .map_err(|source| DrawError::Shape { network: network.name.clone(), source })?;
    let form = |layer: &Layer, reason| DrawError::Form {
        network: network.name.clone(),
        layer: layer.name.clone(),
        reason,
    };
    let input = |layer: &Layer| layer.inputs.first().map(|id| shapes[id.0]);
    let cost = |id: LayerId| {
        let layer = graph.layer(id);
        let x = input(layer).unwrap_or(graph.input);
        (trained(&layer.op, x), op::macs(&layer.op, x, shapes[id.0]))
    };

    let mut path = vec![graph.output()];
    while let Some(&before) = path.last().and_then(|id| graph.layer(*id).inputs.first()) {
        path.push(before);
    }
    path.reverse();
    let mut place = vec![None; graph.layers.len()];
    for (i, id) in path.iter().enumerate() {
        place[id.0] = Some(i);
    }
    let mut drawn = path.len();

    let mut rows = Vec::new();
    let mut rows_before = Vec::with_capacity(path.len()); // at each place of the path
    let mut shortcuts: Vec<Shortcut> = Vec::new();
    let mut pre_activation = false;
    for (end, &id) in path.iter().enumerate() {
        rows_before.push(rows.len());
        let layer = graph.layer(id);
        if let Some(kind) = kind(&layer.op) {
            let (params, macs) = cost(id);
            rows.push(Row {
                name: layer.name.clone(),
                label: label(&layer.op, graph.input),
                kind,
                op: layer.op,
                input: input(layer).unwrap_or(graph.input),
                output: shapes[id.0],
                params,
                macs,
            });
        }
        let (Op::Add, [_, kept]) = (layer.op, &layer.inputs[..]) else {
            continue;
        };
        let mut way = Vec::new();
        let mut at = *kept;
        let fork = loop {
            if let Some(fork) = place[at.0] {
                break fork;
            }
            let on_way = graph.layer(at);
            let (Some(&before), false) = (on_way.inputs.first(), on_way.op == Op::Add) else {
                return Err(form(
                    on_way,
                    "is an addition on a shortcut; only the path itself may have any",
                ));
            };
            way.push(at);
            at = before;
        };
        way.reverse();
        drawn += way.len();
        let around = rows_before.get(fork + 1).copied().unwrap_or(rows.len())..rows.len();
        if around.is_empty() {
            return Err(form(layer, "adds a shortcut that leads around no convolution"));
        }
        if shortcuts.last().is_some_and(|last| around.start < last.rows.end) {
            return Err(form(layer, "adds a shortcut that leads around another shortcut's end"));
        }
        let next = path.get(end + 1).map(|id| graph.layer(*id).op);
        pre_activation |=
            matches!(next, Some(Op::BatchNorm { .. })) || graph.layer(path[fork]).op == Op::Add;
        let mut parts: Vec<String> =
            way.iter().filter_map(|id| on_shortcut(&graph.layer(*id).op)).collect();
        if shapes[kept.0].c < shapes[id.0].c {
            parts.push("zeros".into());
        }
        let convs = way.iter().filter(|id| kind_of_weights(&graph.layer(**id).op));
        shortcuts.push(Shortcut {
            rows: around,
            label: parts.join(", "),
            convs: convs
                .map(|id| {
                    let (params, macs) = cost(*id);
                    let layer = graph.layer(*id);
                    in_words(
                        &layer.name,
                        &label(&layer.op, graph.input),
                        shapes[id.0],
                        params,
                        macs,
                    )
                })
                .collect(),
        });
    }
    if drawn < graph.layers.len() {
        let on_shortcuts = reachable(network);
        if let Some(layer) = (0..graph.layers.len()).find(|i| !on_shortcuts[*i]) {
            return Err(form(&graph.layers[layer], "does not lead to the logits"));
        }
    }
    let all = (0..graph.layers.len()).map(|i| cost(LayerId(i)));
    let (params, macs) = all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    Ok(Trace {
        name: network.name.clone(),
        depth: network.depth,
        rows,
        shortcuts,
        params,
        macs,
        norms: graph.layers.iter().any(|layer| matches!(layer.op, Op::BatchNorm { .. })),
        pre_activation,
    })
}

/// For each layer, whether the logits depend on it.
fn reachable(network: &Network) -> Vec<bool> {
    let layers = &network.graph.layers;
    let mut needed = vec![false; layers.len()];
    if let Some(last) = needed.last_mut() {
        *last = true;
    }
    for (i, layer) in layers.iter().enumerate().rev() {
        if needed[i] {
            layer.inputs.iter().for_each(|id| needed[id.0] = true);
        }
    }
    needed
}

/// A layer in words.
pub(super) fn in_words(name: &str, label: &str, output: Shape, params: u64, macs: u64) -> String {
    let mut words = format!("{name}: {label}, output {output}");
    if macs > 0 {
        let _ = write!(
            words,
            ", {} parameters, {} MACs",
            format::thousands(params),
            format::thousands(macs)
        );
    }
    words
}

/// Parameters of a layer that are trained.
pub(super) fn trained(op: &Op, x: Shape) -> u64 {
    let trained = op::params(op, x).into_iter().filter(|p| p.role.is_trained());
    trained.map(|p| p.len() as u64).sum()
}

fn kind(op: &Op) -> Option<Kind> {
    match op {
        Op::Input => Some(Kind::Image),
        Op::Conv2d { .. } | Op::Linear { .. } => Some(Kind::Weights),
        Op::MaxPool2d { .. } | Op::AvgPool2d(_) => Some(Kind::Pool),
        Op::BatchNorm { .. } | Op::Relu | Op::Add => None,
    }
}

fn kind_of_weights(op: &Op) -> bool {
    kind(op) == Some(Kind::Weights)
}

/// The words in a box, as in the paper: `3x3 conv, 64, /2`.
pub(super) fn label(op: &Op, image: Shape) -> String {
    let step = |stride: usize| {
        if stride > 1 { format!(", /{stride}") } else { String::new() }
    };
    match *op {
        Op::Input => format!("image, {image}"),
        Op::Conv2d { c_out, kernel, stride, groups, .. } => {
            let groups = if groups > 1 { format!(", C={groups}") } else { String::new() };
            format!("{kernel}x{kernel} conv, {c_out}{groups}{}", step(stride))
        }
        Op::Linear { out } => format!("fc, {out}"),
        Op::MaxPool2d { kernel, stride, .. } => {
            format!("{kernel}x{kernel} max pool{}", step(stride))
        }
        Op::AvgPool2d(Window::Global) => "average pool".into(),
        Op::AvgPool2d(Window::Square { kernel, stride }) => {
            format!("{kernel}x{kernel} average pool{}", step(stride))
        }
        Op::BatchNorm { .. } => "batch norm".into(),
        Op::Relu => "ReLU".into(),
        Op::Add => "add".into(),
    }
}

/// The words beside a shortcut's arc; its channels are those of the block.
fn on_shortcut(op: &Op) -> Option<String> {
    let (window, stride) = match *op {
        Op::Conv2d { kernel, stride, .. } => (format!("{kernel}x{kernel}"), stride),
        Op::Linear { .. } => ("fc".into(), 1),
        Op::MaxPool2d { kernel, stride, .. } => (format!("max {kernel}x{kernel}"), stride),
        Op::AvgPool2d(Window::Global) => ("mean".into(), 1),
        Op::AvgPool2d(Window::Square { kernel: 1, stride }) => (String::new(), stride),
        Op::AvgPool2d(Window::Square { kernel, stride }) => {
            (format!("mean {kernel}x{kernel}"), stride)
        }
        Op::Input | Op::BatchNorm { .. } | Op::Relu | Op::Add => return None,
    };
    Some(match (window.is_empty(), stride) {
        (_, 1) => window,
        (true, _) => format!("/{stride}"),
        (false, _) => format!("{window}, /{stride}"),
    })
}
