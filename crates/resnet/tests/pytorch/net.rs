//! The small network of `targets.json` and `large_batch.json`.

use std::collections::BTreeMap;

use resnet::engine::exec::{self, Rates, Session};
use resnet::engine::graph::{Graph, Shape};
use resnet::engine::plan::{Optimizer, Options, ParamSlots, Plan};
use resnet::engine::step::{Rule, SlotId};
use resnet::model;
use resnet::net::Arch;
use serde::Deserialize;

use crate::support::feed;
use crate::{hashed, mean_loss, widen};

/// Relative, of how far something moved: a difference of numbers that are near each other in f32.
pub(crate) const MOVED_TOLERANCE: f64 = 1e-3;

#[derive(Clone, Copy, Deserialize)]
pub(crate) struct Sgd {
    lr: f32,
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
}

impl Sgd {
    pub(crate) fn optimizer(&self) -> Optimizer {
        let rule = Rule::Sgd { momentum: self.momentum, nesterov: self.nesterov };
        Optimizer { rule, weight_decay: self.weight_decay, ..Optimizer::default() }
    }

    pub(crate) fn rates(&self) -> Rates {
        Rates { lr: self.lr, scale: 1.0, average: 0.0 }
    }
}

/// A network with hashed weights and running statistics, and its hashed batches.
pub(crate) struct Net {
    prefix: String,
    side: usize,
    classes: usize,
    pub(crate) graph: Graph,
}

impl Net {
    pub(crate) fn new(arch: &str, salt: u32, side: usize, classes: usize) -> Net {
        let prefix = format!("{arch}/{salt}/");
        let graph = Arch::parse(arch).unwrap().graph(Shape::new(3, side, side), classes).unwrap();
        Net { prefix, side, classes, graph }
    }

    /// A parameter or running statistic as it starts.
    fn start(&self, p: &ParamSlots) -> Vec<f32> {
        hashed::parameter(&self.prefix, &p.name, &p.param.dims)
    }

    pub(crate) fn session(&self, options: Options) -> Session {
        let plan = Plan::build(&self.graph, options).unwrap();
        let mut session = Session::new(exec::cpu(2).unwrap().as_ref(), plan).unwrap();
        for p in session.plan().clone().params.iter() {
            model::write(&mut session, &p.param, p.value, &self.start(p)).unwrap();
        }
        model::begin_averages(&mut session).unwrap();
        session
    }

    pub(crate) fn batch(&self, batch: usize, n: usize) -> (Vec<f32>, Vec<u32>) {
        hashed::batch(&self.prefix, batch, n, self.side, self.classes)
    }

    /// Loss and gradients of a batch.
    pub(crate) fn pass(&self, session: &mut Session, batch: usize, n: usize) -> f64 {
        let (x, labels) = self.batch(batch, n);
        feed(session, &x, &labels);
        session.forward().unwrap();
        session.backward().unwrap();
        mean_loss(session)
    }

    /// How far what trains is from its start, by the slots that `of` names.
    pub(crate) fn moved(
        &self,
        session: &Session,
        of: fn(&ParamSlots) -> Option<SlotId>,
    ) -> BTreeMap<String, Vec<f64>> {
        let trained = session.plan().params.iter().filter(|p| p.training.is_some());
        let moved = |p: &ParamSlots| {
            let now = model::read(session, &p.param, of(p)?).unwrap();
            let moved = now.iter().zip(self.start(p)).map(|(w, start)| f64::from(w - start));
            Some((p.name.clone(), moved.collect()))
        };
        trained.filter_map(moved).collect()
    }
}

/// What some slots hold, by the names of their parameters.
pub(crate) fn tensors(
    session: &Session,
    of: fn(&ParamSlots) -> Option<SlotId>,
) -> BTreeMap<String, Vec<f64>> {
    let read = |p: &ParamSlots| {
        Some((p.name.clone(), widen(&model::read(session, &p.param, of(p)?).unwrap())))
    };
    session.plan().params.iter().filter_map(read).collect()
}

pub(crate) fn gradients(session: &Session) -> BTreeMap<String, Vec<f64>> {
    tensors(session, |p| Some(p.training.as_ref()?.grad))
}
