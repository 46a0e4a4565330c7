//! Steps of LARS against the paper's equations in f64. The rates that `large_batch.json` holds are
//! compared in the library, beside the recipes.

use resnet::engine::exec::Rates;
use resnet::engine::plan::{Optimizer, Options};
use resnet::engine::step::Rule;
use serde::Deserialize;

use crate::TOLERANCE;
use crate::fixture::{self, Digests, assert_close, compare_all};
use crate::net::{MOVED_TOLERANCE, Net, tensors};

#[derive(Deserialize)]
struct LargeBatch {
    arch: String,
    salt: u32,
    side: usize,
    classes: usize,
    lars: Lars,
}

#[derive(Deserialize)]
struct Lars {
    momentum: f32,
    trust: f32,
    weight_decay: f32,
    batch: usize,
    lrs: Vec<f32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    nesterov: bool,
    decay_norm_bias: bool,
    batches: usize,
    losses: Vec<f64>,
    moved: Digests,
    momentum: Digests,
}

#[test]
fn steps_of_lars() {
    let fixture: LargeBatch = fixture::load("large_batch");
    let net = Net::new(&fixture.arch, fixture.salt, fixture.side, fixture.classes);
    let Lars { momentum, trust, weight_decay, batch, lrs, cases } = fixture.lars;
    assert_eq!(cases.len(), 3);
    for want in cases {
        let optimizer = Optimizer {
            rule: Rule::Lars { momentum, nesterov: want.nesterov, trust },
            weight_decay,
            decay_norm_bias: want.decay_norm_bias,
            ..Optimizer::default()
        };
        let accumulate = want.batches > 1;
        let options = Options { optimizer, accumulate, ..Options::train(batch, 0.0) };
        let mut session = net.session(options);
        let mut losses = Vec::new();
        for (step, &lr) in lrs.iter().enumerate() {
            for at in 0..want.batches {
                losses.push(net.pass(&mut session, step * want.batches + at, batch));
                session.accumulate().unwrap();
            }
            let scale = 1.0 / want.batches as f32;
            session.update(Rates { lr, scale, average: 0.0 }).unwrap();
        }
        let what = &want.name;
        assert_close(&format!("{what} losses"), &losses, &want.losses, TOLERANCE);
        let moved = net.moved(&session, |p| Some(p.value));
        compare_all(&format!("{what} moved"), moved, &want.moved, MOVED_TOLERANCE);
        let momentum = tensors(&session, |p| Some(p.training.as_ref()?.state[0]));
        compare_all(&format!("{what} momentum"), momentum, &want.momentum, TOLERANCE);
    }
}
