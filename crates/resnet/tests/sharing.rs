//! Sessions on the same weights: they answer as one of their own would, nobody changes what others
//! see, and one thread gives the bits of all.

mod support;

use std::sync::Arc;

use resnet::base::rng::Rng;
use resnet::engine::exec::{self, Device, ExecError, Rates, Session};
use resnet::engine::graph::{Graph, LayerId, Shape};
use resnet::engine::plan::{Frozen, Mode, Options, Plan};
use resnet::engine::step::Precision;
use resnet::model;
use resnet::net::Arch;

/// Networks that between them use every operation of inference.
const NETWORKS: &[&str] = &[
    "classic",
    "resnet20",
    "resnet20:shortcut=B",
    "resnet20:norm=none",
    "preresnet20",
    "resnet18:stem=cifar",
    "resnext50_32x4d:stem=cifar",
];
const SHAPE: Shape = Shape::new(3, 16, 16);
const CLASSES: usize = 5;
const BATCH: usize = 6;
const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];
const RATES: Rates = Rates { lr: 0.001, scale: 1.0, average: 0.0 };

fn graph(arch: &str) -> Graph {
    Arch::parse(arch).unwrap().graph(SHAPE, CLASSES).unwrap()
}

fn device() -> Arc<dyn Device> {
    exec::cpu(2).unwrap()
}

fn plan(graph: &Graph, options: Options) -> Arc<Plan> {
    Arc::new(Plan::build(graph, options).unwrap())
}

fn session(graph: &Graph, options: Options) -> Session {
    let mut session = Session::new(device().as_ref(), plan(graph, options)).unwrap();
    model::initialise(&mut session, graph, 3).unwrap();
    session
}

/// Of a session whose weights cannot be read back.
fn to_run(graph: &Graph, options: Options) -> Session {
    let mut session = Session::to_run(device().as_ref(), plan(graph, options)).unwrap();
    model::initialise(&mut session, graph, 3).unwrap();
    session
}

fn images(count: usize) -> Vec<f32> {
    let mut rng = Rng::new(5, &[]);
    (0..count * SHAPE.len()).map(|_| rng.normal() as f32).collect()
}

/// Logits of as many images as `images` are, batch by batch.
fn infer(session: &mut Session, images: &[f32]) -> Vec<f32> {
    let mut logits = vec![0.0; session.plan().options.batch * CLASSES];
    let batches = images.chunks_exact(session.plan().options.batch * SHAPE.len());
    let mut all = Vec::new();
    for x in batches {
        session.infer(x, &mut logits).unwrap();
        assert!(logits.iter().all(|z| z.is_finite()), "{logits:?}");
        all.extend_from_slice(&logits);
    }
    all
}

/// One step of training.
fn step(session: &mut Session) -> Result<(), ExecError> {
    let batch = session.plan().options.batch;
    let labels: Vec<u32> = (0..batch).map(|i| (i % CLASSES) as u32).collect();
    support::feed(session, &images(batch), &labels);
    session.forward()?;
    session.backward()?;
    session.update(RATES)
}

/// Writes the weights of another seed.
fn rewrite(session: &mut Session, graph: &Graph, seed: u64) -> Result<(), ExecError> {
    model::initialise(session, graph, seed)
}

#[test]
fn a_fork_gives_the_bits_of_a_session_of_its_own() {
    for (arch, precision) in NETWORKS.iter().flat_map(|arch| PRECISIONS.map(|p| (arch, p))) {
        let graph = graph(arch);
        let of_batch = |batch| Options { precision, ..Options::infer(batch) };
        let x = images(BATCH);
        let mut parent = session(&graph, of_batch(BATCH));
        let expected = infer(&mut parent, &x);
        for batch in [1, 2, 3, BATCH] {
            let own = infer(&mut session(&graph, of_batch(batch)), &x);
            let mut fork = parent.fork(Some(plan(&graph, of_batch(batch)))).unwrap();
            assert_eq!(infer(&mut fork, &x), own, "{arch}, {precision}, batch {batch}");
            // A fork is as good a parent.
            let mut second = fork.fork(None).unwrap();
            drop(fork);
            assert_eq!(infer(&mut second, &x), own, "{arch}, {precision}, batch {batch}");
        }
        assert_eq!(infer(&mut parent, &x), expected, "{arch}, {precision}");

        let mut packed = to_run(&graph, of_batch(BATCH));
        let mut fork = packed.fork(None).unwrap();
        assert_eq!(infer(&mut fork, &x), expected, "{arch}, {precision}");
        // Other batches may take other kernels, whose layouts are not there.
        match packed.fork(Some(plan(&graph, of_batch(1)))) {
            Ok(mut fork) => {
                let own = infer(&mut session(&graph, of_batch(1)), &x);
                assert_eq!(infer(&mut fork, &x), own, "{arch}, {precision}");
            }
            Err(error) => assert_eq!(error, ExecError::OtherWeights, "{arch}, {precision}"),
        }
    }
}

#[test]
fn shared_weights_do_not_change() {
    let graph = graph("resnet20");
    let x = images(BATCH);
    for make in [session, to_run] {
        let mut parent = make(&graph, Options::infer(BATCH));
        let before = infer(&mut parent, &x);
        let mut fork = parent.fork(None).unwrap();
        assert_eq!(rewrite(&mut parent, &graph, 4), Err(ExecError::Shared));
        assert_eq!(rewrite(&mut fork, &graph, 4), Err(ExecError::Shared));
        assert_eq!(infer(&mut parent, &x), before);
        assert_eq!(infer(&mut fork, &x), before);
        drop(fork);
        rewrite(&mut parent, &graph, 4).unwrap();
        let after = infer(&mut parent, &x);
        let mut other = session(&graph, Options::infer(BATCH));
        rewrite(&mut other, &graph, 4).unwrap();
        assert_eq!(after, infer(&mut other, &x));
        assert_ne!(after, before);
        assert_eq!(infer(&mut parent.fork(None).unwrap(), &x), after);
    }
}

#[test]
fn a_session_trains_while_nobody_shares_its_weights() {
    let graph = graph("resnet20");
    let mut session = session(&graph, Options::train(BATCH, 0.0));
    step(&mut session).unwrap();
    let fork = session.fork(Some(plan(&graph, Options::infer(1)))).unwrap();
    // Running statistics are weights as well.
    assert_eq!(session.forward(), Err(ExecError::Shared));
    assert_eq!(session.update(RATES), Err(ExecError::Shared));
    drop(fork);
    step(&mut session).unwrap();
}

#[test]
fn forks_see_what_was_trained_since_the_last_one() {
    for (arch, precision) in NETWORKS.iter().flat_map(|arch| PRECISIONS.map(|p| (arch, p))) {
        let graph = graph(arch);
        let x = images(BATCH);
        let train = Options { precision, ..Options::train(BATCH, 0.0) };
        let infers =
            [1, BATCH].map(|batch| plan(&graph, Options { precision, ..Options::infer(batch) }));
        let mut trained = session(&graph, train);
        for _ in 0..3 {
            for plan in &infers {
                let mut own = Session::new(device().as_ref(), plan.clone()).unwrap();
                model::copy(&trained, &mut own, false).unwrap();
                let mut fork = trained.fork(Some(plan.clone())).unwrap();
                assert_eq!(infer(&mut fork, &x), infer(&mut own, &x), "{arch}, {precision}");
            }
            step(&mut trained).unwrap();
        }
    }
}

/// A fork that outlives its parent may change the weights, also those that were laid out for it
/// alone.
#[test]
fn a_fork_that_is_left_alone_takes_new_weights() {
    for arch in NETWORKS {
        let graph = graph(arch);
        let x = images(BATCH);
        let (one, many) = (plan(&graph, Options::infer(1)), plan(&graph, Options::infer(BATCH)));
        for parent in [Options::train(2, 0.0), Options::infer(BATCH)] {
            let mut fork = session(&graph, parent).fork(Some(one.clone())).unwrap();
            for seed in [4, 5] {
                rewrite(&mut fork, &graph, seed).unwrap();
                let mut other = session(&graph, Options::infer(1));
                rewrite(&mut other, &graph, seed).unwrap();
                let expected = infer(&mut other, &x);
                assert_eq!(infer(&mut fork, &x), expected, "{arch}, seed {seed}");
                assert_eq!(infer(&mut fork.fork(None).unwrap(), &x), expected, "{arch}");
                let mut other = session(&graph, Options::infer(BATCH));
                rewrite(&mut other, &graph, seed).unwrap();
                let mut back = fork.fork(Some(many.clone())).unwrap();
                assert_eq!(infer(&mut back, &x), infer(&mut other, &x), "{arch}");
            }
        }
    }
}

#[test]
fn a_plan_of_other_weights_is_refused() {
    let graph = graph("resnet20");
    let refused = |session: &mut Session, other: Arc<Plan>| {
        assert_eq!(session.fork(Some(other)).err(), Some(ExecError::OtherWeights));
    };
    let mut kept = session(&graph, Options::infer(2));
    for other in ["resnet20:shortcut=B", "resnet32", "preresnet20", "plain20:norm=none"] {
        refused(&mut kept, plan(&self::graph(other), Options::infer(2)));
    }
    // What is frozen lies elsewhere.
    let frozen = Frozen { layers: graph.head().0, norm: false };
    refused(&mut kept, plan(&graph, Options { frozen, ..Options::train(2, 0.0) }));
    // The same layers for other images have the same weights.
    let larger = Arch::parse("resnet20").unwrap().graph(Shape::new(3, 24, 24), CLASSES).unwrap();
    kept.fork(Some(plan(&larger, Options::infer(2)))).unwrap();
    // After all that, nobody else has them.
    rewrite(&mut kept, &graph, 4).unwrap();
}

/// Going back needs weights as they are, which a session that only runs has not.
#[test]
fn explaining_needs_weights_that_are_kept() {
    let graph = graph("resnet20");
    let shapes = resnet::engine::op::shapes(&graph).unwrap();
    let mut path = graph.path_to(graph.output());
    let is_map = |id: &LayerId| shapes[id.0].h > 1;
    let layer = path.find(is_map).unwrap();
    // Two layers further back, so that convolutions are gone through.
    let layer = path.filter(is_map).nth(6).unwrap_or(layer);
    let options = Options { mode: Mode::Explain { layer }, ..Options::infer(1) };
    let explain = plan(&graph, options);
    assert!(
        explain
            .backward
            .clone()
            .any(|step| { Plan::kind_name(&explain.steps[step].kind) == "conv dx" })
    );
    let gradient = |session: &mut Session| {
        session.infer(&images(1), &mut [0.0; CLASSES]).unwrap();
        let plan = session.plan().clone();
        let one = [0.0, 1.0, 0.0, 0.0, 0.0];
        session.write(plan.gradients.last().unwrap().unwrap(), &one).unwrap();
        session.backward().unwrap();
        session.get(plan.gradients[layer.0].unwrap()).unwrap()
    };
    let expected = gradient(&mut session(&graph, options));
    assert!(expected.iter().any(|g| *g != 0.0));
    let mut kept = session(&graph, Options::infer(BATCH));
    assert_eq!(gradient(&mut kept.fork(Some(explain.clone())).unwrap()), expected);

    let mut packed = to_run(&graph, Options::infer(BATCH));
    assert_eq!(packed.fork(Some(explain)).err(), Some(ExecError::OtherWeights));
    rewrite(&mut packed, &graph, 4).unwrap();
}

/// All that two steps of training leave.
fn trained(arch: &str, precision: Precision, gang: &[bool]) -> Vec<u32> {
    let graph = graph(arch);
    let options =
        Options { precision, average: true, accumulate: true, ..Options::train(BATCH, 0.1) };
    let mut session = session(&graph, options);
    let labels: Vec<u32> = (0..BATCH).map(|i| (i % CLASSES) as u32).collect();
    for &all in gang {
        session.set_gang(all);
        support::feed(&mut session, &images(BATCH), &labels);
        session.forward().unwrap();
        session.backward().unwrap();
        session.accumulate().unwrap();
        session.update(Rates { average: 0.25, ..RATES }).unwrap();
    }
    let plan = session.plan().clone();
    let of_param = |p: &resnet::engine::plan::ParamSlots| {
        let training = p.training.iter().flat_map(|t| [t.grad].into_iter().chain(t.state.clone()));
        training.chain([p.value]).chain(p.average).collect::<Vec<_>>()
    };
    let slots = plan.params.iter().flat_map(of_param).chain([plan.logits]);
    slots.flat_map(|slot| session.get(slot).unwrap()).map(f32::to_bits).collect()
}

#[test]
fn one_thread_gives_the_bits_of_all() {
    for (arch, precision) in NETWORKS.iter().flat_map(|arch| PRECISIONS.map(|p| (arch, p))) {
        let all = trained(arch, precision, &[true, true]);
        for gang in [[false, false], [false, true], [true, false]] {
            assert!(trained(arch, precision, &gang) == all, "{arch}, {precision}: {gang:?}");
        }
        let graph = graph(arch);
        let options = Options { precision, ..Options::infer(BATCH) };
        for make in [session, to_run] {
            let mut session = make(&graph, options);
            let all = infer(&mut session, &images(BATCH));
            session.set_gang(false);
            assert_eq!(infer(&mut session, &images(BATCH)), all, "{arch}, {precision}");
            let mut fork = session.fork(None).unwrap();
            fork.set_gang(false);
            assert_eq!(infer(&mut fork, &images(BATCH)), all, "{arch}, {precision}");
            session.set_gang(true);
            assert_eq!(infer(&mut session, &images(BATCH)), all, "{arch}, {precision}");
        }
    }
}

#[test]
fn forks_run_beside_each_other() {
    let graph = graph("resnet20");
    let x = images(4 * BATCH);
    let mut parent = to_run(&graph, Options::infer(BATCH));
    let expected = infer(&mut parent, &x);
    for gang in [[false; 4], [true; 4], [true, false, true, false]] {
        let forks = gang.map(|all| {
            let mut fork = parent.fork(None).unwrap();
            fork.set_gang(all);
            fork
        });
        let found = std::thread::scope(|scope| {
            let run = |mut fork: Session| {
                let x = &x;
                scope.spawn(move || (0..4).map(|_| infer(&mut fork, x)).collect::<Vec<_>>())
            };
            forks.map(run).map(|thread| thread.join().unwrap())
        });
        for logits in found.iter().flatten() {
            assert!(*logits == expected, "{gang:?}");
        }
    }
}
