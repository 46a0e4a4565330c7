//! Everything above the engine on the second device.

use std::ops::ControlFlow;

use resnet::Trainer;
use resnet::data::{Dataset, Image, Memory};
use resnet::measure::evaluate::evaluate_model;
use resnet::measure::predict::{Ask, How, Look, Predictor};
use resnet::measure::probe::Probe;
use resnet::model::export;

use super::*;

/// Pictures of two kinds: bright above, or bright below.
fn pictures(count: usize) -> Memory {
    let shape = Shape::new(1, 8, 8);
    let pixel = |p: usize| {
        let (picture, y) = (p / 64, p / 8 % 8);
        let bright = (y < 4) == (picture % 2 == 0);
        (if bright { 150 } else { 20 }) + (p * 37 % 80) as u8
    };
    let labels: Vec<u32> = (0..count as u32).map(|i| i % 2).collect();
    let classes = vec!["above".to_string(), "below".to_string()];
    Memory::new("halves", shape, (0..count * 64).map(pixel).collect(), labels, classes).unwrap()
}

/// Three steps on a device, of two batches each, the averages kept.
fn trained(device: Arc<dyn Device>) -> resnet::Trained {
    let trainer = Trainer::new("resnet8").set("steps", 3).set("batch", 4).set("accumulate", 2);
    let trainer = trainer.set("ema", 0.5).set("precision", "f32").set("monitor_every", "1it");
    trainer.data(pictures(32)).evaluate_on(pictures(6)).device(device).run().unwrap()
}

#[test]
fn training_comes_to_the_same_weights() {
    same_weights(&trained(cpu()), &trained(reference()));
    if let Some(gpu) = gpu::gpu() {
        same_weights(&trained(gpu), &trained(cpu()));
    }
}

fn same_weights(found: &resnet::Trained, expected: &resnet::Trained) {
    assert_eq!(found.ended.steps, 3);
    for (name, array) in &expected.model.tensors.entries {
        let (found, expected) =
            (found.model.tensors.get(name).unwrap().as_f32(), array.as_f32().unwrap());
        let off = distance(found.unwrap(), expected);
        assert!(off < 1e-3 || length(expected) == 0.0, "{name}: {off:e}");
    }
    let [a, b] = [found, expected].map(|trained| trained.evaluation.as_ref().unwrap());
    assert!((a.value("loss") - b.value("loss")).abs() < 1e-3 * b.value("loss"));
}

#[test]
fn models_answer_alike() {
    answer_alike([cpu(), reference()]);
    if let Some(gpu) = gpu::gpu() {
        answer_alike([gpu, cpu()]);
    }
}

fn answer_alike(devices: [Arc<dyn Device>; 2]) {
    let model = trained(cpu()).model;
    let data: Arc<dyn Dataset> = Arc::new(pictures(10));
    let losses = devices.each_ref().map(|device| {
        let mut model = model.clone();
        let on = &mut |_| {};
        evaluate_model(&mut model, data.clone(), device.as_ref(), on).unwrap().value("loss")
    });
    assert!((losses[0] - losses[1]).abs() < 1e-5 * losses[1], "{losses:?}");

    let mut image = Image::default();
    data.read(3, &mut image).unwrap();
    let how = How { explain: true, ..How::default() };
    let answers = devices.each_ref().map(|device| {
        let predictor = Predictor::new(model.clone(), how, device.as_ref()).unwrap();
        let ask = Ask { cam: Some(Look::Class(1)), embedding: true, ..Ask::default() };
        let answer = predictor.answer(&image, ask).unwrap();
        let guesses = predictor.guesses(&answer.logits, 2);
        let each = |i: usize| predictor.image(&image, 1).map(|guesses| (i, guesses));
        let mut told = Vec::new();
        predictor.each(5, each, |i, guess| {
            told.push((i, guess.unwrap().0));
            ControlFlow::Continue(())
        });
        assert_eq!(told, [0, 1, 2, 3, 4].map(|i| (i, i)));
        (answer.logits, guesses[0].class, answer.cam.unwrap().alpha, answer.embedding.unwrap())
    });
    assert!(distance(&answers[0].0, &answers[1].0) < 1e-5);
    assert_eq!(answers[0].1, answers[1].1);
    assert!(distance(&answers[0].2, &answers[1].2) < 1e-4);
    assert!(distance(&answers[0].3, &answers[1].3) < 1e-5);

    let graph = model.graph().unwrap();
    let x: Vec<f32> = (0..4 * 64).map(|i| (i * 7 % 13) as f32 / 6.0 - 1.0).collect();
    let norms = devices.each_ref().map(|device| {
        let mut probe = Probe::new(&graph, 4, device.as_ref()).unwrap();
        model.apply(probe.session()).unwrap();
        let found = probe.measure(&x, &[0, 1, 1, 0]).unwrap();
        let layers = found.layers.iter();
        layers.flat_map(|l| [l.gradient_norm as f32, l.response_std as f32]).collect::<Vec<_>>()
    });
    assert!(distance(&norms[0], &norms[1]) < 1e-4, "{norms:?}");

    let path = std::env::temp_dir().join(format!(
        "devices-{}-{}.onnx",
        devices[0].name(),
        std::process::id()
    ));
    let format = export::format("onnx").unwrap();
    let options = export::Options::default();
    export::export(&model, format, &options, &path).unwrap();
    for device in &devices {
        export::verify(&model, &path, format, &options, &data, device.as_ref()).unwrap();
    }
    std::fs::remove_file(path).unwrap();
}
