//! Where in a plan the quantities lie: found from the graph alone, so every network of the
//! catalogue can be probed.

use std::collections::HashSet;

use super::{BlockMeasure, LayerMeasure};
use resnet_engine::exec::{Backend, Cpu};
use resnet_engine::graph::{Graph, LayerId, Op};
use resnet_engine::plan::Plan;
use resnet_engine::step::SlotId;

/// What a probe looks at.
pub(super) struct Structure {
    pub(super) layers: Vec<LayerSlots>,
    pub(super) blocks: Vec<BlockSlots>,
}

/// A layer with weights.
pub(super) struct LayerSlots {
    name: String,
    main: bool,
    conv: bool,
    w: SlotId,
    dw: SlotId,
    response: SlotId,
    dresponse: Option<SlotId>,
    /// Output of the ReLU behind the response, and its channels.
    relu: Option<(SlotId, usize)>,
}

/// A residual block.
pub(super) struct BlockSlots {
    name: String,
    /// The gradient of the block's input.
    dx: SlotId,
    /// The step that adds the branch's term to the shortcut's.
    pub(super) join: usize,
}

impl Structure {
    pub(super) fn of(graph: &Graph, plan: &Plan) -> Structure {
        let main: HashSet<LayerId> = graph.path_to(graph.output()).collect();
        let weights = plan.params.iter().filter(|p| p.param.role.is_weight());
        let layers = weights.map(|slots| {
            let id = slots.layer;
            let reader = |of: LayerId, wanted: fn(&Op) -> bool| {
                let mut ids = (0..graph.layers.len()).map(LayerId);
                ids.find(|&r| graph.layer(r).inputs.contains(&of) && wanted(&graph.layer(r).op))
            };
            let response = reader(id, |op| matches!(op, Op::BatchNorm { .. })).unwrap_or(id);
            let sum = reader(response, |op| *op == Op::Add).filter(|_| main.contains(&id));
            let behind = sum.unwrap_or(response);
            let norm = reader(behind, |op| matches!(op, Op::BatchNorm { .. }));
            let relu = reader(behind, |op| *op == Op::Relu)
                .or_else(|| reader(norm?, |op| *op == Op::Relu));
            let channels = match graph.layer(id).op {
                Op::Conv2d { c_out, .. } => c_out,
                Op::Linear { out } => out,
                _ => 1,
            };
            LayerSlots {
                name: graph.layer(id).name.clone(),
                main: main.contains(&id),
                conv: matches!(graph.layer(id).op, Op::Conv2d { .. }),
                w: slots.value,
                dw: slots.training.expect("a probe's plan trains").grad,
                response: kept(plan, response),
                dresponse: plan.gradients[response.0],
                relu: relu.map(|relu| (kept(plan, relu), channels)),
            }
        });
        let layers = layers.collect();
        let blocks = graph.residual_blocks().into_iter().filter_map(|(fork, add)| {
            let dx = plan.gradients[fork.0]?;
            let mut writers =
                plan.backward.clone().filter(|&step| plan.steps[step].writes.contains(&dx));
            let (Some(_shortcut), Some(join), None) =
                (writers.next(), writers.next(), writers.next())
            else {
                return None;
            };
            let name = &graph.layer(add).name;
            Some(BlockSlots { name: name.strip_suffix(".add").unwrap_or(name).into(), dx, join })
        });
        let blocks = blocks.collect();
        Structure { layers, blocks }
    }
}

fn kept(plan: &Plan, layer: LayerId) -> SlotId {
    plan.outputs[layer.0].expect("an unfused plan keeps every output")
}

impl LayerSlots {
    pub(super) fn measure(&self, cpu: &Cpu) -> LayerMeasure {
        let norm = |slot| sums(cpu.view(slot)).1.sqrt();
        let response = cpu.view(self.response);
        let (sum, squares) = sums(response);
        let (n, mean) = (response.len() as f64, sum / response.len() as f64);
        LayerMeasure {
            name: self.name.clone(),
            main: self.main,
            conv: self.conv,
            gradient_norm: norm(self.dw),
            activation_gradient_norm: self.dresponse.map_or(0.0, norm),
            weight_norm: norm(self.w),
            update_ratio: None,
            response_std: (squares / n - mean * mean).max(0.0).sqrt(),
            dead: self.relu.map(|(slot, channels)| dead(cpu.view(slot), channels)),
        }
    }
}

impl BlockSlots {
    /// Runs the step that joins the terms, and measures them.
    pub(super) fn measure(&self, cpu: &mut Cpu) -> BlockMeasure {
        let shortcut = cpu.view(self.dx).to_vec();
        cpu.write(self.dx, &vec![0.0; shortcut.len()]);
        cpu.run(self.join..self.join + 1);
        let branch = cpu.view(self.dx).to_vec();
        cpu.write(self.dx, &shortcut);
        cpu.run(self.join..self.join + 1);
        let total = cpu.view(self.dx);
        let (mut along, mut square, mut residue) = (0.0, 0.0, 0.0);
        for ((&t, &s), &b) in total.iter().zip(&shortcut).zip(&branch) {
            let [t, s, b] = [t, s, b].map(f64::from);
            along += s * t;
            square += t * t;
            residue += (t - s - b) * (t - s - b);
        }
        // A gradient of zero has no parts.
        let of_total = |x: f64| if square == 0.0 { f64::NAN } else { x };
        BlockMeasure {
            name: self.name.clone(),
            gradient_norm: square.sqrt(),
            shortcut_norm: sums(&shortcut).1.sqrt(),
            branch_norm: sums(&branch).1.sqrt(),
            shortcut_share: of_total(along / square),
            residue: of_total((residue / square).sqrt()),
        }
    }
}

/// Sum and sum of squares, in a fixed order of eight lanes.
fn sums(x: &[f32]) -> (f64, f64) {
    const LANES: usize = 8;
    let (mut sum, mut squares) = ([0f64; LANES], [0f64; LANES]);
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut add = |lane: usize, v: f32| {
        let v = f64::from(v);
        sum[lane] += v;
        squares[lane] += v * v;
    };
    for chunk in chunks {
        (0..LANES).for_each(|lane| add(lane, chunk[lane]));
    }
    for (lane, &v) in rest.iter().enumerate() {
        add(lane, v);
    }
    (sum.iter().sum(), squares.iter().sum())
}

/// Fraction of channels (the last dimension of `y`) in which no number is positive.
fn dead(y: &[f32], channels: usize) -> f64 {
    let mut alive = vec![false; channels];
    for pixel in y.chunks_exact(channels) {
        for (alive, &v) in alive.iter_mut().zip(pixel) {
            *alive |= v > 0.0;
        }
    }
    alive.iter().filter(|&&alive| !alive).count() as f64 / channels as f64
}
