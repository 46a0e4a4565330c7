use std::sync::Arc;

use super::*;
use crate::base::rng::Rng;
use crate::data::Image;
use crate::data::{Normalize, Preprocess};
use crate::measure::predict::{Ask, How, Look, Predictor};
use crate::model::{self, Model};
use crate::net::Arch;
use resnet_engine::exec::{self, Session};
use resnet_engine::graph::Shape;
use resnet_engine::plan::{Options, Plan};
use resnet_engine::step::{Precision, SlotId};

const EXPLAIN: How = How { precision: Precision::F32, explain: true };
const NETWORKS: [&str; 5] =
    ["resnet20", "preresnet20", "resnet18:stem=cifar", "resnext50_32x4d:stem=cifar", "classic"];

fn model(arch: &str, side: usize) -> Model {
    let arch = Arch::parse(arch).unwrap();
    let shape = Shape::new(3, side, side);
    let graph = arch.graph(shape, 4).unwrap();
    let plan = Plan::build(&graph, Options::infer(1)).unwrap();
    let mut session = Session::new(exec::cpu(2).unwrap().as_ref(), plan).unwrap();
    model::initialise(&mut session, &graph, 5).unwrap();
    let normalize = Normalize::Channel { mean: vec![0.5; 3], std: vec![0.25; 3] };
    let preprocess = Preprocess { shape, resize: None, normalize };
    let classes = (0..4).map(|i| format!("class {i}")).collect();
    Model::of(&session, arch, classes, preprocess).unwrap()
}

fn picture(width: usize, height: usize) -> Image {
    let mut rng = Rng::new(3, &[]);
    let pixels = (0..width * height * 3).map(|_| rng.below(256) as u8).collect();
    Image { width, height, channels: 3, pixels }
}

/// The logit changes with the layer's maps, moved as a whole one by one, as alpha says.
#[test]
fn alpha_agrees_with_differences() {
    for arch in NETWORKS {
        let side = 32;
        let model = model(arch, side);
        let device = exec::cpu(2).unwrap();
        let predictor = Predictor::new(model.clone(), EXPLAIN, device.as_ref()).unwrap();
        let ask = |cam| Ask { cam, embedding: true, ..Ask::default() };
        let plain = Predictor::new(model, Precision::F32, device.as_ref()).unwrap();
        let plain = plain.answer(&picture(40, side), ask(None)).unwrap();
        let explained = predictor.answer(&picture(40, side), ask(Some(Look::Class(2)))).unwrap();
        let cam = explained.cam.unwrap();
        assert_eq!(explained.logits, plain.logits, "{arch}: explaining changes the answer");
        assert_eq!(explained.embedding, plain.embedding, "{arch}");
        assert_eq!(cam.class, 2);
        let shape = predictor.shapes[predictor.layer().unwrap().0];
        assert!(shape.h * shape.w > 1, "{arch}");
        let (plan, slot, start) = maps(&predictor);
        let after = plan.steps.iter().position(|step| step.writes.contains(&slot)).unwrap() + 1;
        let logit = |channel: usize, h: f32| {
            let mut moved = start.clone();
            moved.iter_mut().skip(channel).step_by(shape.c).for_each(|x| *x += h);
            let logits = predictor.workers.with(false, |worker| {
                let session = &mut worker.session;
                session.write(slot, &moved)?;
                session.run(after..plan.forward.end)?;
                session.get(plan.logits)
            });
            f64::from(logits.unwrap()[2])
        };
        let most = cam.alpha.iter().fold(0f32, |most, a| most.max(a.abs()));
        assert!(most > 0.0, "{arch}");
        for channel in (0..shape.c).step_by(shape.c.div_ceil(16)) {
            let alpha = f64::from(cam.alpha[channel]) * (shape.h * shape.w) as f64;
            let off = [0.1f32, 0.03, 0.01].map(|h| {
                let slope = (logit(channel, h) - logit(channel, -h)) / f64::from(2.0 * h);
                (slope - alpha).abs() / (f64::from(most) * (shape.h * shape.w) as f64)
            });
            let best = off.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(best < 1e-2, "{arch}, map {channel}: off by {off:?} of {alpha}");
        }
        // The map itself, by the formula.
        for (place, value) in start.chunks_exact(shape.c).zip(&cam.values) {
            let sum: f32 = place.iter().zip(&cam.alpha).map(|(x, a)| x * a).sum();
            assert!((sum.max(0.0) - value).abs() <= 1e-3 * most * shape.c as f32, "{arch}");
        }
    }
}

/// The maps of the layer that is looked at, for the picture that was explained last.
fn maps(predictor: &Predictor) -> (Arc<Plan>, SlotId, Vec<f32>) {
    let maps = predictor.workers.with(false, |worker| {
        let plan = worker.session.plan().clone();
        let slot = plan.outputs[predictor.layer().unwrap().0].unwrap();
        Ok((plan, slot, worker.session.get(slot)?))
    });
    maps.unwrap()
}

#[test]
fn the_most_likely_class_is_explained_where_none_is_named() {
    let device = exec::cpu(1).unwrap();
    let predictor = Predictor::new(model("resnet20", 32), EXPLAIN, device.as_ref()).unwrap();
    let look = |look| {
        let ask = Ask { cam: Some(look), ..Ask::default() };
        predictor.answer(&picture(40, 32), ask).unwrap()
    };
    let answer = look(Look::Likeliest);
    let guess = predictor.guesses(&answer.logits, 1).remove(0);
    assert_eq!(answer.cam.as_ref().unwrap().class, guess.class);
    assert_eq!(answer, look(Look::Class(guess.class)));
}

#[test]
fn places_between_cells_are_between_their_values() {
    let cam = Cam { class: 0, height: 1, width: 2, alpha: vec![], values: vec![0.0, 1.0] };
    assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(|u| cam.at(0.3, u)), [0.0, 0.0, 0.5, 1.0, 1.0]);
}
