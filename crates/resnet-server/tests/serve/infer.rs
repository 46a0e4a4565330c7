//! The Open Inference Protocol over HTTP.

use resnet::measure::predict::{Answer, Ask, Look};
use resnet::{Predictor, Shape};
use serde_json::{Value, json};

use crate::support::form::base64;
use crate::support::tensor::{JSON_LENGTH, Output, binary, elements, outputs};
use crate::support::{CLASSES, NAME, Request, Running, SHAPE, decoded, picture};

const INFER: &str = "/v2/models/small/infer";

fn answer(predictor: &Predictor, file: &[u8]) -> Answer {
    let ask = Ask { embedding: true, cam: Some(Look::Likeliest), ..Ask::default() };
    predictor.answer(&decoded(file), ask).unwrap()
}

/// Checks outputs against what the predictor says of the pictures.
fn check(found: &[Output], predictor: &Predictor, files: &[Vec<u8>]) {
    let answers: Vec<Answer> = files.iter().map(|file| answer(predictor, file)).collect();
    let best = |answer: &Answer| predictor.guesses(&answer.logits, 1)[0].label.clone();
    for output in found {
        let rows = |row: &dyn Fn(&Answer) -> Vec<f32>| {
            let expected: Vec<Vec<f32>> = answers.iter().map(row).collect();
            assert_eq!(output.shape(), [files.len(), expected[0].len()], "{}", output.about);
            assert_eq!(output.floats(), expected.concat(), "{}", output.name());
        };
        match output.name() {
            "probabilities" => rows(&|answer| predictor.probabilities(&answer.logits)),
            "logits" => rows(&|answer| answer.logits.clone()),
            "embedding" => rows(&|answer| answer.embedding.clone().unwrap()),
            "labels" => {
                assert_eq!(output.shape(), [files.len()]);
                assert_eq!(output.texts(), answers.iter().map(best).collect::<Vec<_>>());
            }
            other => panic!("an output `{other}`"),
        }
    }
}

fn names(found: &[Output]) -> Vec<&str> {
    found.iter().map(Output::name).collect()
}

#[test]
fn pictures_as_base64_in_json() {
    let server = Running::new(|_| {});
    let files: Vec<Vec<u8>> = (0..3).map(|i| picture(9, 11, i)).collect();
    let data: Vec<String> = files.iter().map(|file| base64(file)).collect();
    let nested: Vec<[&String; 1]> = data.iter().map(|text| [text]).collect();
    for (shape, data) in [(json!([3]), json!(data)), (json!([3, 1]), json!(nested))] {
        let image = json!({ "name": "image", "shape": shape, "datatype": "BYTES", "data": data });
        // What KServe's client puts beside what the protocol knows.
        let body = json!({
            "id": "7", "model_name": NAME, "inputs": [image], "parameters": { "x": 1 },
        });
        let (answer, found) = outputs(&server.ask(&Request::json(INFER, &body)));
        assert_eq!([&answer["model_name"], &answer["model_version"]], [NAME, "1"]);
        assert_eq!(answer["id"], "7");
        assert_eq!(names(&found), ["probabilities", "logits", "labels"]);
        check(&found, &server.predictor(), &files);
    }
}

#[test]
fn pictures_and_outputs_as_bytes_behind_the_json() {
    let server = Running::new(|_| {});
    let files: Vec<Vec<u8>> = (0..2).map(|i| picture(9, 11, i)).collect();
    let parts: Vec<&[u8]> = files.iter().map(|file| &file[..]).collect();
    let image = json!({ "name": "image", "shape": [2], "datatype": "BYTES" });
    let inputs = [(image, elements(&parts))];
    let all = json!({ "parameters": { "binary_data_output": true, "priority": 1 } });
    let (answer, found) = outputs(&server.ask(&binary(INFER, &inputs, &all)));
    assert_eq!(answer.get("id"), None);
    assert!(found.iter().all(|output| output.about["data"].is_null()));
    check(&found, &server.predictor(), &files);

    let mixed = json!({ "outputs": [
        { "name": "labels", "parameters": { "binary_data": true } },
        { "name": "embedding", "parameters": { "binary_data": false } },
        { "name": "logits", "parameters": { "binary_data": true } },
    ] });
    let (_, found) = outputs(&server.ask(&binary(INFER, &inputs, &mixed)));
    assert_eq!(names(&found), ["labels", "embedding", "logits"]);
    let in_json = found.iter().map(|output| output.about["data"].is_array());
    assert_eq!(in_json.collect::<Vec<_>>(), [false, true, false]);
    check(&found, &server.predictor(), &files);
}

#[test]
fn a_length_of_zero_says_that_the_body_is_the_picture() {
    let server = Running::new(|_| {});
    let file = picture(9, 11, 3);
    for kind in [None, Some("application/octet-stream")] {
        let request = Request::post(INFER, file.clone()).with(JSON_LENGTH, "0");
        let request = kind.into_iter().fold(request, |all, kind| all.with("content-type", kind));
        let (_, found) = outputs(&server.ask(&request));
        assert_eq!(names(&found), ["probabilities", "logits", "labels"]);
        check(&found, &server.predictor(), std::slice::from_ref(&file));
    }
}

#[test]
fn pixels_and_inputs_are_what_files_become() {
    let server = Running::new(|_| {});
    let file = picture(9, 11, 4);
    let pixels = decoded(&file).pixels;
    let input = json!({ "name": "pixels", "shape": [1, 11, 9, 3], "datatype": "UINT8" });
    let more = json!({ "outputs": [{ "name": "embedding" }, { "name": "logits" }] });
    let (_, found) = outputs(&server.ask(&binary(INFER, &[(input, pixels.clone())], &more)));
    check(&found, &server.predictor(), std::slice::from_ref(&file));
    let rows: Vec<Vec<&[u8]>> = pixels.chunks(9 * 3).map(|row| row.chunks(3).collect()).collect();
    let input = json!({
        "name": "pixels", "shape": [1, 11, 9, 3], "datatype": "UINT8", "data": [rows],
    });
    let (_, found) = outputs(&server.ask(&Request::json(INFER, &json!({ "inputs": [input] }))));
    check(&found, &server.predictor(), &[file]);

    // A grey picture is one of equal colours.
    let grey: Vec<u8> = (0..64).map(|i| i * 3).collect();
    let ask = |c: usize, pixels: Vec<u8>| {
        let input = json!({ "name": "pixels", "shape": [1, 8, 8, c], "datatype": "UINT8" });
        let (_, found) = outputs(&server.ask(&binary(INFER, &[(input, pixels)], &json!({}))));
        found[1].floats()
    };
    assert_eq!(ask(1, grey.clone()), ask(3, grey.iter().flat_map(|v| [*v; 3]).collect()));

    // Channels before rows, in numbers that are ready for the network.
    let Shape { c, h, w } = SHAPE;
    let numbers: Vec<f32> = (0..2 * c * h * w).map(|i| (i % 13) as f32 / 4.0 - 1.5).collect();
    let shape = json!([2, c, h, w]);
    let input = json!({ "name": "input", "shape": shape, "datatype": "FP32", "data": numbers });
    let (_, found) = outputs(&server.ask(&Request::json(INFER, &json!({ "inputs": [input] }))));
    let predictor = server.predictor();
    let logits = |planes: &[f32]| {
        let at = |i: usize| planes[i % c * h * w + i / c];
        let rows: Vec<f32> = (0..c * h * w).map(at).collect();
        predictor.answer_to_input(&rows, Ask::default()).unwrap().logits
    };
    let expected: Vec<f32> = numbers.chunks(c * h * w).flat_map(logits).collect();
    assert_eq!(found[1].floats(), expected);
}

#[test]
fn classification_tells_values_indices_and_labels() {
    let server = Running::new(|_| {});
    let file = picture(9, 11, 5);
    let predictor = server.predictor();
    let guesses = predictor.guesses(&answer(&predictor, &file).logits, CLASSES.len());
    let image = json!({ "name": "image", "shape": [1], "datatype": "BYTES" });
    let inputs = [(image, elements(&[&file]))];
    for (asked, told, behind) in [(2, 2, true), (1000, CLASSES.len(), false)] {
        let parameters = json!({ "classification": asked, "binary_data": behind });
        let more = json!({ "outputs": [{ "name": "probabilities", "parameters": parameters }] });
        let (_, found) = outputs(&server.ask(&binary(INFER, &inputs, &more)));
        assert_eq!(found[0].shape(), [1, told]);
        for (text, guess) in found[0].texts().iter().zip(&guesses) {
            let parts: Vec<&str> = text.splitn(3, ':').collect();
            assert_eq!(parts[0].parse::<f32>().unwrap(), guess.probability, "{text}");
            assert_eq!(parts[1].parse::<usize>().unwrap(), guess.class, "{text}");
            assert_eq!(parts[2], guess.label);
        }
    }
}

#[test]
fn explanations_have_maps() {
    let server = Running::new(|_| {});
    let files: Vec<Vec<u8>> = (0..2).map(|i| picture(12, 16, i)).collect();
    let predictor = server.predictor();
    let data: Vec<String> = files.iter().map(|file| base64(file)).collect();
    let image = json!({ "name": "image", "shape": [2], "datatype": "BYTES", "data": data });
    let request = Request::json("/v2/models/small/explain", &json!({ "inputs": [image] }));
    let (_, found) = outputs(&server.ask(&request));
    assert_eq!(names(&found), ["probabilities", "cam", "region", "class"]);
    check(&found[..1], &predictor, &files);
    let cams: Vec<_> = files.iter().map(|file| answer(&predictor, file).cam.unwrap()).collect();
    assert_eq!(found[1].shape(), [2, cams[0].height, cams[0].width]);
    let values: Vec<f32> = cams.iter().flat_map(|cam| cam.values.clone()).collect();
    assert_eq!(found[1].floats(), values);
    assert_eq!(found[2].shape(), [2, 4]);
    let [top, left, height, width] = predictor.seen(&decoded(&files[1])).map(|x| x as f32);
    assert_eq!(found[2].floats()[4..], [left, top, width, height]);
    let classes: Vec<usize> = cams.iter().map(|cam| cam.class).collect();
    assert_eq!(found[3].about["data"], json!(classes));
    assert_eq!(found[3].about["datatype"], "INT64");
}

#[test]
fn metadata_say_what_is_taken_and_answered() {
    let server = Running::new(|_| {});
    for target in ["/v2/models/small", "/v2/models/small/versions/1"] {
        let metadata = server.get(target).good();
        assert_eq!(metadata["name"], NAME);
        assert_eq!(metadata["versions"], json!(["1"]));
        let shapes = |list: &str| -> Vec<Value> {
            let rows = metadata[list].as_array().unwrap().iter();
            rows.map(|row| json!([row["name"], row["datatype"], row["shape"]])).collect()
        };
        let expected = [
            json!(["image", "BYTES", [-1, 1]]),
            json!(["pixels", "UINT8", [-1, -1, -1, -1]]),
            json!(["input", "FP32", [-1, 3, 8, 8]]),
        ];
        assert_eq!(shapes("inputs"), expected);
        let expected = [
            json!(["probabilities", "FP32", [-1, 4]]),
            json!(["logits", "FP32", [-1, 4]]),
            json!(["labels", "BYTES", [-1]]),
            json!(["embedding", "FP32", [-1, 64]]),
        ];
        assert_eq!(shapes("outputs"), expected);
    }
    let config = server.get("/v2/models/small/config").good();
    assert_eq!(config["input"][2]["data_type"], "TYPE_FP32");
    assert_eq!(config["output"][0]["dims"], json!([4]));
    assert_eq!(config["max_batch_size"], server.get("/classify").good()["limits"]["pictures"]);
    let about = server.get("/v2").good();
    assert_eq!(about["name"], "resnet");
    assert!(about["extensions"].as_array().unwrap().contains(&json!("binary_tensor_data")));
    assert_eq!(server.get("/v2/models").good(), json!({ "models": [NAME] }));
}

#[test]
fn statistics_count_what_was_answered() {
    let server = Running::new(|_| {});
    let stats = |target: &str| server.get(target).good()["model_stats"].clone();
    let before = stats("/v2/models/stats");
    assert_eq!((&before[0]["name"], &before[0]["version"]), (&json!(NAME), &json!("1")));
    assert_eq!([&before[0]["inference_count"], &before[0]["last_inference"]], [0, 0]);
    for _ in 0..2 {
        server.ask(&Request::post("/classify", picture(8, 8, 0))).good();
    }
    server.ask(&Request::post("/classify", "no picture")).refused(415);
    for target in
        ["/v2/models/stats", "/v2/models/small/stats", "/v2/models/small/versions/1/stats"]
    {
        let after = &stats(target)[0];
        assert_eq!(after["inference_count"], 2, "{after}");
        assert_eq!(after["inference_stats"]["success"]["count"], 2);
        assert_eq!(after["inference_stats"]["fail"]["count"], 1);
        assert!(after["inference_stats"]["compute_infer"]["ns"].as_u64().unwrap() > 0);
        assert!(after["last_inference"].as_u64().unwrap() > 0);
    }
}

#[test]
fn requests_without_sense_are_refused() {
    let server = Running::new(|_| {});
    let image = |more: Value| {
        let mut image = json!({ "name": "image", "shape": [1], "datatype": "BYTES", "data": [""] });
        more.as_object().unwrap().iter().for_each(|(key, value)| image[key] = value.clone());
        json!({ "inputs": [image] })
    };
    let one = base64(&picture(8, 8, 0));
    let with = |key: &str, value: Value| {
        let mut body = image(json!({ "data": [one] }));
        body[key] = value;
        body
    };
    let cases = [
        (json!({ "inputs": [] }), "inputs"),
        (image(json!({ "name": "picture" })), "picture"),
        (image(json!({ "shape": [2] })), "shape"),
        (image(json!({ "datatype": "FP16" })), "FP16"),
        (image(json!({ "data": ["?"] })), "base64"),
        (with("outputs", json!([{ "name": "none" }])), "none"),
        (with("outputs", json!([{ "name": "logits" }, { "name": "logits" }])), "twice"),
        (with("parameters", json!({ "timeout": "soon" })), "soon"),
        (with("id", json!(1)), "id"),
    ];
    for (body, word) in cases {
        let message = server.ask(&Request::json(INFER, &body)).refused(400);
        assert!(message.contains(word), "{body}: {message}");
    }
    // One picture that is damaged fails its request, by its number.
    let mut body = image(json!({ "shape": [2], "data": [one, base64(b"P6\n9 9\n255\n12")] }));
    let message = server.ask(&Request::json(INFER, &body)).refused(422);
    assert!(message.contains("picture 2"), "{message}");
    body["inputs"][0]["data"][1] = base64(b"no picture").into();
    server.ask(&Request::json(INFER, &body)).refused(415);
    assert_eq!(server.get("/v2/models/none/config").refused(404), {
        "there is no model `none`; there is small"
    });
    assert!(server.get("/v2/models/small/versions/2").refused(404).contains("version `2`"));
}
