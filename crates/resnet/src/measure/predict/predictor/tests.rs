use std::sync::{Condvar, Mutex};

use super::*;
use crate::data::{Normalize, Preprocess};
use crate::model;
use crate::net::Arch;

const SHAPE: Shape = Shape::new(1, 8, 8);

fn predictor(threads: usize) -> Predictor {
    Predictor::new(model(), Precision::F32, exec::cpu(threads).unwrap().as_ref()).unwrap()
}

fn model() -> Model {
    let device = exec::cpu(1).unwrap();
    let arch = Arch::parse("resnet8").unwrap();
    let graph = arch.graph(SHAPE, 3).unwrap();
    let plan = Plan::build(&graph, Options::infer(1)).unwrap();
    let mut session = Session::new(device.as_ref(), plan).unwrap();
    model::initialise(&mut session, &graph, 5).unwrap();
    let normalize = Normalize::Channel { mean: vec![0.5], std: vec![0.25] };
    let preprocess = Preprocess { shape: SHAPE, resize: None, normalize };
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    Model::of(&session, arch, classes, preprocess).unwrap()
}

#[test]
fn each_ends_when_nobody_wants_more() {
    for threads in [1, 4] {
        let predictor = predictor(threads);
        let (done, seen) = (AtomicUsize::new(0), (Mutex::new(false), Condvar::new()));
        let work = |i: usize| {
            done.fetch_add(1, Ordering::Relaxed);
            if i > 0 {
                let seen = seen.1.wait_while(seen.0.lock().unwrap(), |seen| !*seen);
                drop(seen.unwrap());
            }
            i
        };
        let mut told = Vec::new();
        predictor.each(1000, work, |i, result| {
            told.push((i, result));
            *seen.0.lock().unwrap() = true;
            seen.1.notify_all();
            ControlFlow::Break(())
        });
        assert_eq!(told, [(0, 0)]);
        // Each thread has one under way, as many wait to be told, and each may begin another.
        let done = done.into_inner();
        let most = if threads == 1 { 1 } else { 1 + 3 * threads };
        assert!(done <= most, "{done} of 1000 with {threads} threads");
    }
}

#[test]
fn each_tells_all_in_order() {
    let (predictor, image) = (predictor(3), Image::grey(8, 8, vec![90; 64]));
    let expected = predictor.image(&image, 1).unwrap();
    let mut told = Vec::new();
    let work = |_| predictor.image(&image, 1).unwrap();
    predictor.each(20, work, |i, guesses| {
        assert_eq!(guesses, expected);
        told.push(i);
        ControlFlow::Continue(())
    });
    assert_eq!(told, (0..20).collect::<Vec<_>>());
}

/// logits = w e + b, in whatever the maps are stored.
#[test]
fn the_head_makes_the_logits_of_the_embedding() {
    let (model, image) = (model(), Image::grey(8, 8, (0..64).map(|i| i * 3).collect()));
    let values = |name: &str| model.tensors.get(name).unwrap().to_f32().unwrap().into_owned();
    let (w, b) = (values("fc.weight"), values("fc.bias"));
    for precision in [Precision::F32, Precision::Bf16] {
        let device = exec::cpu(1).unwrap();
        let predictor = Predictor::new(model.clone(), precision, device.as_ref()).unwrap();
        let ask = Ask { embedding: true, ..Ask::default() };
        let answer = predictor.answer(&image, ask).unwrap();
        let x = answer.embedding.unwrap();
        assert_eq!((x.len(), w.len()), (64, 3 * 64));
        for (class, logit) in answer.logits.iter().enumerate() {
            let row = &w[class * x.len()..(class + 1) * x.len()];
            let sum: f32 = row.iter().zip(&x).map(|(w, x)| w * x).sum();
            assert!((sum + b[class] - logit).abs() < 1e-4, "{precision}: {sum} {logit}");
        }
    }
}
