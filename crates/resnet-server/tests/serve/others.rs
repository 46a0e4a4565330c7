//! The older protocol of KServe, and TorchServe's paths.

use serde_json::{Value, json};

use crate::support::form::{base64, form};
use crate::support::{CLASSES, NAME, Request, Running, decoded, picture};

/// The names of an object's members in the order in which they stand.
fn members(text: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(text).unwrap();
    let mut names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
    names.sort_by_key(|name| text.find(&format!("{}:", Value::from(name.as_str()))).unwrap());
    names
}

#[test]
fn instances_become_predictions() {
    let server = Running::new(|_| {});
    let predictor = server.predictor();
    let files = [picture(9, 8, 1), picture(8, 9, 2)];
    let body = json!({ "instances": [
        { "b64": base64(&files[0]) },
        { "image_bytes": { "b64": base64(&files[1]) } },
    ] });
    for (verb, key) in [("predict", "predictions"), ("explain", "explanations")] {
        let target = format!("/v1/models/{NAME}:{verb}");
        let answer = server.ask(&Request::json(target, &body)).good();
        let answered = answer[key].as_array().unwrap();
        assert_eq!(answered.len(), 2, "{answer}");
        for (file, one) in files.iter().zip(answered) {
            let best = &predictor.image(&decoded(file), 1).unwrap()[0];
            assert_eq!(one["top"].as_array().unwrap().len(), CLASSES.len());
            assert_eq!(one["top"][0]["class"], best.class);
            assert_eq!(one["top"][0]["label"], best.label);
            assert_eq!(one["top"][0]["probability"].as_f64().unwrap() as f32, best.probability);
            assert_eq!(one["cam"]["class"].as_u64(), {
                (verb == "explain").then_some(best.class as u64)
            });
        }
    }
    let target = format!("/v1/models/{NAME}:predict");
    let bad = json!({ "instances": [{ "b64": base64(&files[0]) }, { "b64": "YWJj" }] });
    assert!(server.ask(&Request::json(&target, &bad)).refused(415).contains("instance 1"));
    let none = json!({ "instances": [] });
    server.ask(&Request::json(&target, &none)).refused(400);
    server.ask(&Request::json("/v1/models/none:predict", &body)).refused(404);
    server.ask(&Request::json("/v1/models/small:train", &body)).refused(405);
    assert_eq!(server.get("/v1/models").good(), json!({ "models": [NAME] }));
    assert_eq!(server.get("/v1/models/small").good(), json!({ "name": NAME, "ready": true }));
    server.get("/v1/models/none").refused(404);
}

#[test]
fn predictions_are_labels_most_likely_first() {
    let server = Running::new(|_| {});
    let predictor = server.predictor();
    let file = picture(9, 8, 3);
    let guesses = predictor.image(&decoded(&file), CLASSES.len()).unwrap();
    // `curl -T` puts, and sends no type.
    let mut put = Request::post("/predictions/small", file.clone());
    put.method = "PUT".into();
    let requests = [
        put,
        Request::post("/predictions/small", file.clone()),
        Request::post("/predictions/small/1", file.clone()),
        form("/predictions/small", &[("kitten.ppm", &file)]),
    ];
    for request in requests {
        let response = server.ask(&request);
        let answer = response.good();
        let names = members(&response.text());
        assert_eq!(names.len(), CLASSES.len(), "{answer}");
        for (name, guess) in names.iter().zip(&guesses) {
            assert_eq!(answer[name].as_f64().unwrap() as f32, guess.probability, "{answer}");
            // Of two classes of one name neither is lost.
            assert!(*name == guess.label || *name == format!("twin ({})", guess.class), "{name}");
        }
    }
    let two = form("/predictions/small", &[("a", &file), ("b", &picture(8, 8, 0))]);
    assert_eq!(server.ask(&two).good().as_array().unwrap().len(), 2);
    server.ask(&Request::post("/predictions/small", "no picture")).refused(415);
    server.ask(&Request::post("/predictions/none", file)).refused(404);
    assert_eq!(server.get("/ping").good(), json!({ "status": "Healthy" }));
}
