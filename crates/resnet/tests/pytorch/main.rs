//! Whole networks against PyTorch in f64: logits, every gradient, running statistics, ten steps of
//! SGD.

mod fixture;
mod hashed;
mod inspect;
mod large_batch;
mod net;
#[path = "../support/mod.rs"]
mod support;
mod targets;

use std::collections::BTreeMap;

use fixture::{Curve, Network, assert_close, compare_all};
use resnet::engine::exec::{self, Rates, Session};
use resnet::engine::graph::{Graph, Shape};
use resnet::engine::plan::{Optimizer, Options, ParamSlots, Plan};
use resnet::engine::step::Rule;
use resnet::model;
use resnet::net::Arch;

/// Relative, of logits, gradients and running statistics.
const TOLERANCE: f64 = 1e-4;
/// Relative, of the losses of ten steps.
const CURVE_TOLERANCE: f64 = 1e-3;
/// Relative, of how far each parameter moved in ten steps. A ReLU whose input crosses zero one step
/// earlier in f32 than in f64 changes a gradient by about a thousandth; a wrong optimiser is off by
/// a third or more.
const MOVED_TOLERANCE: f64 = 3e-2;

struct Case {
    fixture: Network,
    prefix: String,
    graph: Graph,
}

impl Case {
    fn load(name: &str) -> Case {
        let fixture: Network = fixture::load(name);
        let prefix = format!("{}/{}/", fixture.arch, fixture.salt);
        let arch = Arch::parse(&fixture.arch).unwrap();
        let input = Shape::new(3, fixture.side, fixture.side);
        let graph = arch.graph(input, fixture.classes).unwrap();
        Case { fixture, prefix, graph }
    }

    /// A session with the hashed weights.
    fn session(&self, options: Options) -> Session {
        let plan = Plan::build(&self.graph, options).unwrap();
        let mut session = Session::new(exec::cpu(2).unwrap().as_ref(), plan).unwrap();
        model::initialise(&mut session, &self.graph, 0).unwrap();
        for p in trained(&session) {
            let value = self.start(&p);
            model::write(&mut session, &p.param, p.value, &value).unwrap();
        }
        session
    }

    fn start(&self, p: &ParamSlots) -> Vec<f32> {
        hashed::parameter(&self.prefix, &p.name, &p.param.dims)
    }

    /// Images and labels.
    fn batch(&self, batch: usize) -> (Vec<f32>, Vec<u32>) {
        let Network { batch: n, side, classes, .. } = self.fixture;
        hashed::batch(&self.prefix, batch, n, side, classes)
    }

    /// Logits, loss, gradients, running statistics, and the logits that inference then gives.
    fn check_step(&self, fuse: bool) {
        let Network { arch, logits, eval_logits, gradients, buffers, loss, .. } = &self.fixture;
        let train = Options { fuse, ..Options::train(self.fixture.batch, 0.0) };
        let mut session = self.session(train);
        let (x, labels) = self.batch(0);
        support::feed(&mut session, &x, &labels);
        session.forward().unwrap();
        assert_close(
            &format!("{arch} logits"),
            &read_logits(&session),
            &logits.concat(),
            TOLERANCE,
        );
        assert_close(&format!("{arch} loss"), &[mean_loss(&session)], &[*loss], TOLERANCE);
        session.backward().unwrap();

        let grads = trained(&session).into_iter().map(|p| {
            let grad = model::read(&session, &p.param, p.training.unwrap().grad).unwrap();
            (p.name, widen(&grad))
        });
        compare_all(&format!("{arch} gradient"), grads.collect(), gradients, TOLERANCE);

        compare_all(&format!("{arch} state"), state(&session), buffers, TOLERANCE);

        let options = Options { fuse, ..Options::infer(self.fixture.batch) };
        let mut infer = self.session(options);
        model::copy(&session, &mut infer, false).unwrap();
        infer.write(infer.plan().input, &x).unwrap();
        infer.forward().unwrap();
        assert_close(
            &format!("{arch} eval logits"),
            &read_logits(&infer),
            &eval_logits.concat(),
            TOLERANCE,
        );
    }

    /// Ten steps over two batches in turn; after five the learning rate falls to a tenth, which
    /// tells PyTorch's momentum from one that carries the learning rate.
    fn check_curve(&self, name: &str, curve: &Curve) {
        let what = format!("{} {name}", self.fixture.arch);
        let optimizer = Optimizer {
            rule: Rule::Sgd { momentum: self.fixture.momentum as f32, nesterov: curve.nesterov },
            weight_decay: self.fixture.weight_decay as f32,
            decay_norm_bias: curve.decay_norm_bias,
            ..Optimizer::default()
        };
        let options = Options { optimizer, ..Options::train(self.fixture.batch, 0.0) };
        let mut session = self.session(options);
        let mut losses = Vec::new();
        for step in 0..curve.losses.len() {
            let drop = if step < curve.losses.len() / 2 { 1.0 } else { 0.1 };
            let lr = (self.fixture.lr * drop) as f32;
            let (x, labels) = self.batch(step % 2);
            support::feed(&mut session, &x, &labels);
            session.forward().unwrap();
            losses.push(mean_loss(&session));
            session.backward().unwrap();
            session.update(Rates { lr, scale: 1.0, average: 0.0 }).unwrap();
        }
        for (step, (got, want)) in losses.iter().zip(&curve.losses).enumerate() {
            let off = (got - want).abs() / want.abs();
            assert!(
                off <= CURVE_TOLERANCE,
                "{what}, step {step}: loss {got}, in PyTorch {want}, off by {off:.1e}"
            );
        }
        let moved = trained(&session).into_iter().map(|p| {
            let end = model::read(&session, &p.param, p.value).unwrap();
            let moved =
                end.iter().zip(self.start(&p)).map(|(&w, start)| f64::from(w) - f64::from(start));
            (p.name.clone(), moved.collect())
        });
        compare_all(&format!("{what} moved"), moved.collect(), &curve.moved, MOVED_TOLERANCE);
    }
}

fn trained(session: &Session) -> Vec<ParamSlots> {
    let params = session.plan().params.iter();
    params.filter(|p| p.param.role.is_trained()).cloned().collect()
}

/// Running statistics.
fn state(session: &Session) -> BTreeMap<String, Vec<f64>> {
    let state = session.plan().params.iter().filter(|p| !p.param.role.is_trained());
    let read = |p: &ParamSlots| model::read(session, &p.param, p.value).unwrap();
    state.map(|p| (p.name.clone(), widen(&read(p)))).collect()
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn read_logits(session: &Session) -> Vec<f64> {
    widen(&session.get(session.plan().logits).unwrap())
}

fn mean_loss(session: &Session) -> f64 {
    session.sum_of_losses().unwrap() / session.plan().options.batch as f64
}

/// One test a network: the file name in `tests/fixtures`.
macro_rules! networks {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let case = Case::load(stringify!($name));
            case.check_step(true);
            case.check_step(false);
            for (name, curve) in &case.fixture.curves {
                case.check_curve(name, curve);
            }
        }
    )*};
}

networks! {
    resnet20 resnet20_b plain20 preresnet20 preresnet20_b preresnet29
    resnet18 preresnet18 resnet50 resnet50_v1 resnext50_32x4d vgg16 vgg16_bn
}

#[derive(serde::Deserialize)]
struct Catalogue {
    networks: Vec<Counts>,
}

#[derive(serde::Deserialize)]
struct Counts {
    arch: String,
    side: usize,
    classes: usize,
    params: u64,
    macs: u64,
}

/// Parameters and multiply-adds of the catalogue, to the unit.
#[test]
fn counts() {
    let catalogue: Catalogue = fixture::load("catalogue");
    assert!(catalogue.networks.len() > 50);
    for row in catalogue.networks {
        let arch = Arch::parse(&row.arch).unwrap();
        let graph = arch.graph(Shape::new(3, row.side, row.side), row.classes).unwrap();
        let shapes = resnet::engine::op::shapes(&graph).unwrap();
        let params = resnet::engine::op::all_params(&graph, &shapes);
        let trained = params.iter().filter(|(_, _, p)| p.role.is_trained());
        let params: u64 = trained.map(|(_, _, p)| p.len() as u64).sum();
        let macs: u64 = graph
            .layers
            .iter()
            .enumerate()
            .skip(1)
            .map(|(i, layer)| {
                resnet::engine::op::macs(&layer.op, shapes[layer.inputs[0].0], shapes[i])
            })
            .sum();
        assert_eq!(
            (params, macs),
            (row.params, row.macs),
            "{}: parameters, multiply-adds",
            row.arch
        );
    }
}
