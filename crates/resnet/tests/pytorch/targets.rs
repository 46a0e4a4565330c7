//! What a loss is taken against, and what steps of training do one after another, against PyTorch
//! in f64: mixed, weighed and smoothed labels, a thaw, a sum of gradients, averaged weights.

use std::collections::BTreeMap;

use resnet::engine::exec::{self, Rates, Session, Target};
use resnet::engine::graph::{Graph, Shape};
use resnet::engine::plan::{Frozen, Optimizer, Options, ParamSlots, Plan};
use resnet::engine::step::{Rule, SlotId};
use resnet::model;
use resnet::net::Arch;
use serde::Deserialize;

use crate::fixture::{self, Digests, assert_close};
use crate::support::{feed, one_hot};
use crate::{TOLERANCE, compare_all, hashed, hashed_batch, mean_loss, read_logits, state, widen};

/// Relative, of how far something moved: a difference of numbers that are near each other in f32.
const MOVED_TOLERANCE: f64 = 1e-3;

#[derive(Deserialize)]
struct Targets {
    arch: String,
    salt: u32,
    side: usize,
    classes: usize,
    cases: Vec<Pass>,
    thaw: Thaw,
    accumulation: Accumulation,
    averages: Vec<Average>,
}

#[derive(Deserialize)]
struct Pass {
    name: String,
    batch: usize,
    label_smoothing: f32,
    class_weights: Option<Vec<f32>>,
    part: Option<f32>,
    loss: f64,
    losses: Vec<f64>,
    image_weights: Vec<f64>,
    logits: Vec<Vec<f64>>,
    dlogits: Vec<Vec<f64>>,
    gradients: Digests,
}

#[derive(Clone, Copy, Deserialize)]
struct Sgd {
    lr: f32,
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
}

#[derive(Deserialize)]
struct Thaw {
    sgd: Sgd,
    batch: usize,
    frozen_steps: usize,
    losses: Vec<f64>,
    frozen: Snapshot,
    end: Snapshot,
    thawed_head: Digests,
    thawed_head_without_momentum: Digests,
}

#[derive(Deserialize)]
struct Snapshot {
    moved: Digests,
    momentum: Digests,
    buffers: Digests,
}

#[derive(Deserialize)]
struct Accumulation {
    sgd: Sgd,
    batch: usize,
    losses: Vec<f64>,
    gradients: Digests,
    moved: Digests,
    buffers: Digests,
}

#[derive(Deserialize)]
struct Average {
    decay: f64,
    sgd: Sgd,
    batch: usize,
    losses: Vec<f64>,
    moved: Digests,
    buffers: Digests,
}

impl Sgd {
    fn optimizer(&self) -> Optimizer {
        let rule = Rule::Sgd { momentum: self.momentum, nesterov: self.nesterov };
        Optimizer { rule, weight_decay: self.weight_decay, ..Optimizer::default() }
    }

    fn rates(&self) -> Rates {
        Rates { lr: self.lr, scale: 1.0, average: 0.0 }
    }
}

/// The network of the file.
struct Net {
    fixture: Targets,
    prefix: String,
    graph: Graph,
}

impl Net {
    fn load() -> Net {
        let fixture: Targets = fixture::load("targets");
        let prefix = format!("{}/{}/", fixture.arch, fixture.salt);
        let input = Shape::new(3, fixture.side, fixture.side);
        let graph = Arch::parse(&fixture.arch).unwrap().graph(input, fixture.classes).unwrap();
        Net { fixture, prefix, graph }
    }

    /// A parameter or running statistic as it starts.
    fn start(&self, p: &ParamSlots) -> Vec<f32> {
        hashed::parameter(&self.prefix, &p.name, &p.param.dims)
    }

    fn session(&self, options: Options) -> Session {
        let plan = Plan::build(&self.graph, options).unwrap();
        let mut session = Session::new(exec::cpu(2).unwrap().as_ref(), plan).unwrap();
        for p in session.plan().clone().params.iter() {
            model::write(&mut session, &p.param, p.value, &self.start(p)).unwrap();
        }
        model::begin_averages(&mut session).unwrap();
        session
    }

    fn batch(&self, batch: usize, n: usize) -> (Vec<f32>, Vec<u32>) {
        hashed_batch(&self.prefix, batch, n, self.fixture.side, self.fixture.classes)
    }

    /// Loss and gradients of a batch.
    fn pass(&self, session: &mut Session, batch: usize, n: usize) -> f64 {
        let (x, labels) = self.batch(batch, n);
        feed(session, &x, &labels);
        session.forward().unwrap();
        session.backward().unwrap();
        mean_loss(session)
    }

    /// How far what trains is from its start, by the slots that `of` names.
    fn moved(
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

    fn check(&self, what: &str, session: &Session, want: &Snapshot) {
        let momentum = tensors(session, |p| Some(p.training.as_ref()?.state[0]));
        compare_all(&format!("{what} momentum"), momentum, &want.momentum, TOLERANCE);
        let moved = self.moved(session, |p| Some(p.value));
        compare_all(&format!("{what} moved"), moved, &want.moved, MOVED_TOLERANCE);
        compare_all(&format!("{what} state"), state(session), &want.buffers, TOLERANCE);
    }
}

/// What some slots hold, by the names of their parameters.
fn tensors(session: &Session, of: fn(&ParamSlots) -> Option<SlotId>) -> BTreeMap<String, Vec<f64>> {
    let read = |p: &ParamSlots| {
        Some((p.name.clone(), widen(&model::read(session, &p.param, of(p)?).unwrap())))
    };
    session.plan().params.iter().filter_map(read).collect()
}

fn gradients(session: &Session) -> BTreeMap<String, Vec<f64>> {
    tensors(session, |p| Some(p.training.as_ref()?.grad))
}

#[test]
fn losses_of_mixed_weighed_and_smoothed_labels() {
    let net = Net::load();
    for want in &net.fixture.cases {
        let (what, n, classes) = (&want.name, want.batch, net.fixture.classes);
        let mut session = net.session(Options::train(n, want.label_smoothing));
        let (images, labels) = net.batch(0, n);
        let own = want.part.unwrap_or(1.0);
        let size = images.len() / n;
        let partner = |at: usize| (n - 1 - at / size) * size + at % size;
        let mixed = (0..images.len()).map(|i| own * images[i] + (1.0 - own) * images[partner(i)]);
        let x: Vec<f32> = match want.part {
            Some(_) => mixed.collect(),
            None => images.clone(),
        };
        let of_label = |label: u32| match &want.class_weights {
            Some(weights) => weights[label as usize],
            None => 1.0,
        };
        let one_hot = one_hot(&labels, classes);
        let (mut target, mut weight) = (Vec::new(), Vec::new());
        for i in 0..n {
            let j = n - 1 - i;
            let (u, v) = (own * of_label(labels[i]), (1.0 - own) * of_label(labels[j]));
            let rows = (0..classes).map(|k| (one_hot[i * classes + k], one_hot[j * classes + k]));
            target.extend(rows.map(|(a, b)| (u * a + v * b) / (u + v)));
            weight.push(u + v);
        }
        assert_close(&format!("{what} weights"), &widen(&weight), &want.image_weights, 1e-6);

        let total = weight.iter().sum();
        session.feed(&x, Target { target: &target, weight: &weight, total }).unwrap();
        session.forward().unwrap();
        let plan = session.plan().clone();
        let get = |slot| widen(&session.get(slot).unwrap());
        assert_close(
            &format!("{what} logits"),
            &read_logits(&session),
            &want.logits.concat(),
            TOLERANCE,
        );
        let losses: Vec<f64> =
            want.losses.iter().zip(&want.image_weights).map(|(l, u)| l * u).collect();
        let found = get(plan.loss.unwrap().losses);
        assert_close(&format!("{what} losses"), &found, &losses, TOLERANCE);
        let loss = session.sum_of_losses().unwrap() / f64::from(total);
        assert_close(&format!("{what} loss"), &[loss], &[want.loss], TOLERANCE);
        let dlogits = get(plan.gradients.last().unwrap().unwrap());
        assert_close(&format!("{what} dlogits"), &dlogits, &want.dlogits.concat(), TOLERANCE);
        session.backward().unwrap();
        compare_all(&format!("{what} gradient"), gradients(&session), &want.gradients, TOLERANCE);
    }
}

/// The head alone, then everything: the head goes on with its momentum, the rest begins with none.
#[test]
fn a_thaw() {
    let net = Net::load();
    let want = &net.fixture.thaw;
    let all = Options { optimizer: want.sgd.optimizer(), ..Options::train(want.batch, 0.0) };
    let head = Frozen { layers: net.graph.head().0, norm: false };
    let mut session = net.session(Options { frozen: head, ..all });
    let mut losses = Vec::new();
    for step in 0..want.losses.len() {
        if step == want.frozen_steps {
            net.check("frozen", &session, &want.frozen);
            let mut thawed = net.session(all);
            model::copy(&session, &mut thawed, false).unwrap();
            for (old, new) in session.plan().params.iter().zip(&thawed.plan().clone().params) {
                if let (Some(old), Some(new)) = (&old.training, &new.training) {
                    thawed.write(new.state[0], &session.get(old.state[0]).unwrap()).unwrap();
                }
            }
            session = thawed;
        }
        losses.push(net.pass(&mut session, step, want.batch));
        session.update(want.sgd.rates()).unwrap();
        if step == want.frozen_steps {
            let mut moved = net.moved(&session, |p| Some(p.value));
            moved.retain(|name, _| name.starts_with("fc."));
            compare_all("thawed head moved", moved, &want.thawed_head, MOVED_TOLERANCE);
        }
    }
    assert_close("thaw losses", &losses, &want.losses, TOLERANCE);
    net.check("end", &session, &want.end);
}

/// A step along the gradient of two batches, whose norms take each batch for itself.
#[test]
fn a_sum_of_gradients() {
    let net = Net::load();
    let want = &net.fixture.accumulation;
    let (n, batches) = (want.batch, want.losses.len());
    let options =
        Options { optimizer: want.sgd.optimizer(), accumulate: true, ..Options::train(n, 0.0) };
    let mut session = net.session(options);
    let weight = vec![1.0; n];
    let mut losses = Vec::new();
    for batch in 0..batches {
        let (x, labels) = net.batch(batch, n);
        let target = one_hot(&labels, net.fixture.classes);
        let total = (n * batches) as f32;
        session.feed(&x, Target { target: &target, weight: &weight, total }).unwrap();
        session.forward().unwrap();
        session.backward().unwrap();
        session.accumulate().unwrap();
        losses.push(mean_loss(&session));
    }
    assert_close("losses", &losses, &want.losses, TOLERANCE);
    let sums = tensors(&session, |p| p.training.as_ref()?.sum);
    compare_all("sum of gradients", sums, &want.gradients, TOLERANCE);
    session.update(want.sgd.rates()).unwrap();
    let moved = net.moved(&session, |p| Some(p.value));
    compare_all("moved along a sum", moved, &want.moved, MOVED_TOLERANCE);
    compare_all("state after two batches", state(&session), &want.buffers, TOLERANCE);
}

#[test]
fn averages_of_weights_and_statistics() {
    let net = Net::load();
    for want in &net.fixture.averages {
        let what = format!("average with {}", want.decay);
        let options = Options {
            optimizer: want.sgd.optimizer(),
            average: true,
            ..Options::train(want.batch, 0.0)
        };
        let mut session = net.session(options);
        let mut losses = Vec::new();
        for step in 0..want.losses.len() {
            losses.push(net.pass(&mut session, step, want.batch));
            let t = (step + 1) as f64;
            let average = (1.0 - want.decay.min((1.0 + t) / (10.0 + t))) as f32;
            session.update(Rates { average, ..want.sgd.rates() }).unwrap();
        }
        assert_close(&format!("{what} losses"), &losses, &want.losses, TOLERANCE);
        let moved = net.moved(&session, |p| p.average);
        compare_all(&format!("{what} moved"), moved, &want.moved, MOVED_TOLERANCE);
        let averages = tensors(&session, |p| match p.param.role.is_trained() {
            true => None,
            false => p.average,
        });
        compare_all(&format!("{what} state"), averages, &want.buffers, TOLERANCE);
    }
}

/// The tolerance tells a head that kept its momentum at the thaw from one that did not: from the
/// sums under hashed signs.
#[test]
fn momentum_lost_at_the_thaw_would_be_seen() {
    let thaw = Net::load().fixture.thaw;
    for (name, kept) in &thaw.thawed_head {
        let lost = &thaw.thawed_head_without_momentum[name];
        let squares = lost[1..5].iter().zip(&kept[1..5]).map(|(a, b)| (a - b) * (a - b));
        let apart = squares.sum::<f64>().sqrt() / 2.0 / kept[0];
        assert!(apart > 10.0 * MOVED_TOLERANCE, "{name}: {apart}");
    }
}
