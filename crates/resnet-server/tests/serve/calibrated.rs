//! Answers of a model that knows how far it can be trusted.

use std::path::Path;
use std::sync::Arc;

use resnet::data::Memory;
use resnet::engine::exec;
use resnet::measure::predict::Ask;
use resnet::study::calibrate::{How, Pictures, calibrate};
use resnet::{Precision, Predictor};
use serde_json::{Value, json};

use crate::support::{CLASSES, Folder, NAME, Request, Running, SHAPE, decoded, model, picture};

/// Pictures and labels; every seventh is of another class than the model says.
fn noise(predictor: &Predictor, count: usize) -> Arc<Memory> {
    let files = (0..count).map(|i| decoded(&picture(8, 8, i as u8)));
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for (i, image) in files.enumerate() {
        let class = predictor.image(&image, 1).unwrap()[0].class;
        labels.push(((class + usize::from(i % 7 == 0)) % CLASSES.len()) as u32);
        pixels.extend(image.pixels);
    }
    let classes = (0..CLASSES.len()).map(|i| i.to_string()).collect();
    Arc::new(Memory::new("noise", SHAPE, pixels, labels, classes).unwrap())
}

fn calibrated(path: &Path) {
    let mut model = model(1);
    model.classes = (0..CLASSES.len()).map(|i| i.to_string()).collect();
    let predictor = model.clone().predictor().unwrap();
    let held_out = noise(&predictor, 60);
    let pictures = Pictures { train: Some(held_out.clone()), held_out, other: None };
    let how = How { wanted: 0.5, data: "noise".into(), precision: Precision::F32 };
    let device = exec::cpu(1).unwrap();
    let found = calibrate(&model, &pictures, &how, device.as_ref(), &mut |_, _| {}).unwrap();
    model.confidence = Some(found.confidence);
    model.save(path).unwrap();
}

#[test]
fn answers_say_how_far_they_can_be_trusted() {
    let folder = Folder::new();
    let path = folder.path("small.safetensors");
    calibrated(&path);
    let mut server = Running::of(folder, vec![(NAME, path)], 1, |_| {});
    server.load().unwrap();
    let predictor = server.predictor();
    let known = predictor.confidence().unwrap();
    let listed = server.get("/classify").good()["models"][0].clone();
    assert_eq!(listed["likeness"], true);
    assert_eq!(
        listed["calibrated"],
        json!({
            "temperature": known.temperature,
            "threshold": known.threshold,
            "precision": known.precision,
        })
    );
    let white = [b"P6 8 8 255\n", &[255u8; 192][..]].concat();
    let mut verdicts = Vec::new();
    for file in [picture(8, 8, 3), picture(20, 9, 4), white] {
        let answer = server.ask(&Request::post("/classify", file.clone())).good();
        let one = &answer["pictures"][0];
        let ask = Ask { embedding: true, ..Ask::default() };
        let expected = predictor.answer(&decoded(&file), ask).unwrap();
        let verdict = predictor.verdict(&expected);
        assert_eq!(one["sure"], json!(verdict.sure), "{answer}");
        assert_eq!(one["unlike"], json!(verdict.unlike), "{answer}");
        assert_eq!(one["likeness"].as_f64().map(|x| x as f32), verdict.likeness, "{answer}");
        // It was computed for that, and not asked for.
        assert_eq!(one.get("embedding"), None);
        let best = predictor.guesses(&expected.logits, 1)[0].probability;
        assert_eq!(one["top"][0]["probability"].as_f64().unwrap() as f32, best, "{answer}");
        verdicts.push(verdict);
    }
    assert!(verdicts.iter().all(|verdict| verdict.sure.is_some() && verdict.likeness.is_some()));
    assert_eq!(verdicts[2].unlike, Some(true), "{verdicts:?}");
    let name = format!("resnet_ood_score_count{{model=\"{NAME}\"}}");
    assert_eq!(server.metric(&name), Some(3.0));
}

#[test]
fn answers_of_others_do_not() {
    let server = Running::new(|_| {});
    let listed = server.get("/classify").good()["models"][0].clone();
    assert_eq!((&listed["likeness"], &listed["calibrated"]), (&json!(false), &Value::Null));
    let answer = server.ask(&Request::post("/classify", picture(8, 8, 3))).good();
    for key in ["sure", "unlike", "likeness"] {
        assert_eq!(answer["pictures"][0][key], Value::Null, "{answer}");
    }
}
