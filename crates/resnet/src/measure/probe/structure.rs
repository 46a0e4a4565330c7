//! Where in a plan the quantities lie: found from the graph alone, so every network of the
//! catalogue can be probed.

use std::collections::HashSet;

use super::{BlockMeasure, LayerMeasure};
use resnet_engine::exec::{ExecError, Reduce, Session};
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
                dw: slots.training.as_ref().expect("a probe's plan trains").grad,
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
    pub(super) fn measure(&self, session: &Session) -> Result<LayerMeasure, ExecError> {
        let n = session.plan().slots[self.response.0].len as f64;
        let mean = session.reduce(self.response, Reduce::Sum)? / n;
        let square = session.reduce(self.response, Reduce::Squares)? / n;
        let dead = |(slot, channels)| -> Result<f64, ExecError> {
            Ok(session.reduce(slot, Reduce::Dead { channels })? / channels as f64)
        };
        Ok(LayerMeasure {
            name: self.name.clone(),
            main: self.main,
            conv: self.conv,
            gradient_norm: session.norm(self.dw)?,
            activation_gradient_norm: match self.dresponse {
                Some(slot) => session.norm(slot)?,
                None => 0.0,
            },
            weight_norm: session.norm(self.w)?,
            update_ratio: None,
            response_std: (square - mean * mean).max(0.0).sqrt(),
            dead: self.relu.map(dead).transpose()?,
        })
    }
}

impl BlockSlots {
    /// Runs the step that joins the terms, and measures them.
    pub(super) fn measure(&self, session: &mut Session) -> Result<BlockMeasure, ExecError> {
        let join = self.join..self.join + 1;
        let shortcut = session.get(self.dx)?;
        let shortcut_norm = session.norm(self.dx)?;
        session.write(self.dx, &vec![0.0; shortcut.len()])?;
        session.run(join.clone())?;
        let branch = session.get(self.dx)?;
        let branch_norm = session.norm(self.dx)?;
        session.write(self.dx, &shortcut)?;
        session.run(join)?;
        let total = session.get(self.dx)?;
        let (mut along, mut square, mut residue) = (0.0, 0.0, 0.0);
        for ((&t, &s), &b) in total.iter().zip(&shortcut).zip(&branch) {
            let [t, s, b] = [t, s, b].map(f64::from);
            along += s * t;
            square += t * t;
            residue += (t - s - b) * (t - s - b);
        }
        // A gradient of zero has no parts.
        let of_total = |x: f64| if square == 0.0 { f64::NAN } else { x };
        Ok(BlockMeasure {
            name: self.name.clone(),
            gradient_norm: square.sqrt(),
            shortcut_norm,
            branch_norm,
            shortcut_share: of_total(along / square),
            residue: of_total((residue / square).sqrt()),
        })
    }
}
