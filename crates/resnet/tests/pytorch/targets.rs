//! What a loss is taken against, and what steps of training do one after another, against PyTorch
//! in f64: mixed, weighed and smoothed labels, a thaw, a sum of gradients, averaged weights.

use resnet::engine::exec::{Rates, Session, Target};
use resnet::engine::plan::{Frozen, Options};
use resnet::model;
use serde::Deserialize;

use crate::fixture::{self, Digests, assert_close, compare_all};
use crate::net::{MOVED_TOLERANCE, Net, Sgd, gradients, tensors};
use crate::support::one_hot;
use crate::{TOLERANCE, mean_loss, read_logits, state, widen};

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

/// The file, and its network.
fn load() -> (Targets, Net) {
    let fixture: Targets = fixture::load("targets");
    let net = Net::new(&fixture.arch, fixture.salt, fixture.side, fixture.classes);
    (fixture, net)
}

fn check(net: &Net, what: &str, session: &Session, want: &Snapshot) {
    let momentum = tensors(session, |p| Some(p.training.as_ref()?.state[0]));
    compare_all(&format!("{what} momentum"), momentum, &want.momentum, TOLERANCE);
    let moved = net.moved(session, |p| Some(p.value));
    compare_all(&format!("{what} moved"), moved, &want.moved, MOVED_TOLERANCE);
    compare_all(&format!("{what} state"), state(session), &want.buffers, TOLERANCE);
}

#[test]
fn losses_of_mixed_weighed_and_smoothed_labels() {
    let (fixture, net) = load();
    for want in &fixture.cases {
        let (what, n, classes) = (&want.name, want.batch, fixture.classes);
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
    let (fixture, net) = load();
    let want = &fixture.thaw;
    let all = Options { optimizer: want.sgd.optimizer(), ..Options::train(want.batch, 0.0) };
    let head = Frozen { layers: net.graph.head().0, norm: false };
    let mut session = net.session(Options { frozen: head, ..all });
    let mut losses = Vec::new();
    for step in 0..want.losses.len() {
        if step == want.frozen_steps {
            check(&net, "frozen", &session, &want.frozen);
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
    check(&net, "end", &session, &want.end);
}

/// A step along the gradient of two batches, whose norms take each batch for itself.
#[test]
fn a_sum_of_gradients() {
    let (fixture, net) = load();
    let want = &fixture.accumulation;
    let (n, batches) = (want.batch, want.losses.len());
    let options =
        Options { optimizer: want.sgd.optimizer(), accumulate: true, ..Options::train(n, 0.0) };
    let mut session = net.session(options);
    let weight = vec![1.0; n];
    let mut losses = Vec::new();
    for batch in 0..batches {
        let (x, labels) = net.batch(batch, n);
        let target = one_hot(&labels, fixture.classes);
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
    let (fixture, net) = load();
    for want in &fixture.averages {
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
    let thaw = load().0.thaw;
    for (name, kept) in &thaw.thawed_head {
        let lost = &thaw.thawed_head_without_momentum[name];
        let squares = lost[1..5].iter().zip(&kept[1..5]).map(|(a, b)| (a - b) * (a - b));
        let apart = squares.sum::<f64>().sqrt() / 2.0 / kept[0];
        assert!(apart > 10.0 * MOVED_TOLERANCE, "{name}: {apart}");
    }
}
