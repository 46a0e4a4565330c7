//! One block in detail: figures 2 and 5 of He et al. 2015, for any block of any network, with the
//! shapes of its maps and, where asked, the two ways that the gradient takes.

mod paint;

use super::paint::FILE_TOP;
use super::{DrawError, Network};
use crate::base::suggest;
use crate::net::block_of;
use crate::page::charts::format;
use resnet_engine::graph::{Layer, LayerId, Op, Shape, Window};
use resnet_engine::op;

use paint::Painting;

/// A layer on one of the block's ways.
struct Piece {
    /// What it does, and where it has some, how many parameters.
    lines: Vec<String>,
    /// Whether it has weights that multiply.
    weights: bool,
    output: Shape,
}

/// A block as it is drawn. Without a shortcut everything is branch.
struct Block {
    title: String,
    input: Shape,
    /// Before branch and shortcut part.
    head: Vec<Piece>,
    branch: Vec<Piece>,
    shortcut: Option<Vec<Piece>>,
    /// Behind the addition.
    tail: Vec<Piece>,
    output: Shape,
}

/// One block of a network, such as `layer2.0`, as an SVG file of its own; with the gradient's ways
/// back, if asked.
///
/// # Errors
/// The network has no such block, or a layer cannot read its input.
pub fn draw(network: &Network, name: &str, gradient: bool) -> Result<String, DrawError> {
    Ok(Painting::new(&find(network, name)?, gradient, FILE_TOP).file())
}

/// The same as an `svg` element for a page, and its width in pixels.
///
/// # Errors
/// As [`draw`].
pub fn embed(
    network: &Network,
    name: &str,
    gradient: bool,
    id: &str,
) -> Result<(String, f64), DrawError> {
    let block = find(network, name)?;
    let painting = Painting::new(&block, gradient, 0.0);
    Ok((painting.element(id), painting.width()))
}

/// The names of a network's blocks, in order.
fn names(network: &Network) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for name in network.graph.layers.iter().filter_map(|layer| block_of(&layer.name)) {
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    names
}

fn find(network: &Network, name: &str) -> Result<Block, DrawError> {
    let graph = &network.graph;
    let shapes = op::shapes(graph)
        .map_err(|source| DrawError::Shape { network: network.name.clone(), source })?;
    let inside = |id: LayerId| block_of(&graph.layer(id).name) == Some(name);
    let Some(last) = (0..graph.layers.len()).map(LayerId).rfind(|id| inside(*id)) else {
        return Err(no_block(network, name));
    };
    let form = |layer: &Layer, reason| DrawError::Form {
        network: network.name.clone(),
        layer: layer.name.clone(),
        reason,
    };
    let piece = |id: &LayerId| {
        let layer = graph.layer(*id);
        let x = layer.inputs.first().map_or(graph.input, |input| shapes[input.0]);
        piece(&layer.op, x, shapes[id.0])
    };
    let mut path: Vec<LayerId> = graph.path_to(last).take_while(|id| inside(*id)).collect();
    path.reverse();
    let Some(&entry) = path.first().and_then(|first| graph.layer(*first).inputs.first()) else {
        return Err(no_block(network, name));
    };
    let mut block = Block {
        title: format!("{name} of {}", network.name),
        input: shapes[entry.0],
        head: Vec::new(),
        branch: path.iter().map(piece).collect(),
        shortcut: None,
        tail: Vec::new(),
        output: shapes[last.0],
    };
    let mut adds = (0..path.len()).filter(|&i| graph.layer(path[i]).op == Op::Add);
    let Some(add) = adds.next() else {
        return Ok(block);
    };
    let layer = graph.layer(path[add]);
    let [_, kept] = layer.inputs[..] else {
        return Err(form(layer, "adds one map only"));
    };
    if adds.next().is_some() {
        return Err(form(layer, "is one of several additions in one block"));
    }
    let forks = graph.residual_blocks();
    let fork = forks.iter().find(|(_, meet)| *meet == path[add]).map(|(fork, _)| *fork);
    let begins = match path[..add].iter().position(|id| Some(*id) == fork) {
        Some(at) => at + 1,
        None if fork == Some(entry) => 0,
        None => return Err(form(layer, "adds a map from outside its block")),
    };
    let way: Vec<LayerId> = graph.path_to(kept).take_while(|id| Some(*id) != fork).collect();
    let mut shortcut: Vec<Piece> = way.iter().rev().map(piece).collect();
    let (fewer, all) = (shapes[kept.0].c, shapes[path[add].0].c);
    if fewer < all {
        shortcut.push(Piece {
            lines: vec![format!("zeros for {} channels", format::thousands((all - fewer) as u64))],
            weights: false,
            output: shapes[path[add].0],
        });
    }
    block.head = path[..begins].iter().map(piece).collect();
    block.branch = path[begins..add].iter().map(piece).collect();
    block.shortcut = Some(shortcut);
    block.tail = path[add + 1..].iter().map(piece).collect();
    Ok(block)
}

fn no_block(network: &Network, name: &str) -> DrawError {
    const SHOWN: usize = 4;
    let names = names(network);
    let nearest = suggest::nearest(name, names.iter().copied());
    let mut known: Vec<&str> = nearest.into_iter().collect();
    known.extend(names.iter().filter(|other| Some(**other) != nearest).take(SHOWN));
    DrawError::NoBlock {
        network: network.name.clone(),
        block: name.to_owned(),
        known: match known.is_empty() {
            true => "it has no blocks".into(),
            false => format!("it has {} blocks, such as {}", names.len(), known.join(", ")),
        },
    }
}

fn piece(layer: &Op, x: Shape, output: Shape) -> Piece {
    let what = match *layer {
        Op::Conv2d { kernel, stride, groups, c_out, .. } => {
            let change = match x.c == c_out {
                true => format!("{c_out}"),
                false => format!("{} to {c_out}", x.c),
            };
            let groups = if groups > 1 { format!(", {groups} groups") } else { String::new() };
            let step = if stride > 1 { format!(", /{stride}") } else { String::new() };
            format!("{kernel}x{kernel} conv, {change}{groups}{step}")
        }
        Op::AvgPool2d(Window::Square { kernel: 1, stride }) => {
            format!("1 row and column in {stride}")
        }
        _ => super::trace::label(layer, x),
    };
    let weights = matches!(layer, Op::Conv2d { .. } | Op::Linear { .. });
    let mut lines = vec![what];
    if weights {
        lines.push(format!("{} weights", format::thousands(super::trace::trained(layer, x))));
    }
    Piece { lines, weights, output }
}
