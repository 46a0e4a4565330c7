//! Pictures in, labels out: the server's own route.

use resnet::measure::predict::{Ask, Look};
use resnet::{Guess, Predictor};
use serde_json::{Value, json};

use crate::support::form::{base64, form};
use crate::support::{CLASSES, Client, Folder, NAME, Request, Running, decoded, guesses, picture};

fn floats(values: &Value) -> Vec<f32> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

/// What a predictor says of a picture file.
fn said(predictor: &Predictor, file: &[u8], top: usize) -> Vec<Guess> {
    predictor.image(&decoded(file), top).unwrap()
}

#[test]
fn a_raw_picture_is_answered_as_the_predictor_answers() {
    let server = Running::new(|_| {});
    let (predictor, file) = (server.predictor(), picture(20, 12, 1));
    // `curl --data-binary` says of any file that it is a form.
    let kinds = ["", "image/x-portable-pixmap", "application/octet-stream"];
    for kind in kinds.into_iter().chain(["application/x-www-form-urlencoded"]) {
        let mut request = Request::post("/classify", file.clone());
        if !kind.is_empty() {
            request = request.with("content-type", kind);
        }
        let response = server.ask(&request);
        let answer = response.good();
        assert_eq!([&answer["model"], &answer["version"]], [NAME, "1"], "{kind}");
        let [one] = &answer["pictures"].as_array().unwrap()[..] else { panic!("{answer}") };
        assert_eq!(guesses(&one["top"]), said(&predictor, &file, CLASSES.len()), "{kind}");
        assert_eq!(one["name"], Value::Null);
        assert_eq!([&one["width"], &one["height"]], [20, 12]);
        for absent in ["cam", "embedding", "logits", "error"] {
            assert_eq!(one.get(absent), None, "{answer}");
        }
        for stage in ["queue", "decode", "compute"] {
            assert!(one["ms"][stage].as_f64().unwrap() >= 0.0, "{answer}");
            let timing = response.header("server-timing").unwrap();
            assert!(timing.contains(&format!("{stage};dur=")), "{timing}");
        }
        let least = one["ms"]["compute"].as_f64().unwrap();
        assert!(answer["ms"]["total"].as_f64().unwrap() >= least, "{answer}");
    }
}

#[test]
fn what_a_query_asks_for_is_told() {
    let server = Running::new(|_| {});
    let (predictor, file) = (server.predictor(), picture(20, 12, 2));
    let image = decoded(&file);
    let ask = |query: &str| {
        let answer = server.ask(&Request::post(format!("/classify?{query}"), file.clone())).good();
        answer["pictures"][0].clone()
    };
    assert_eq!(guesses(&ask("top=2")["top"]), said(&predictor, &file, 2));
    assert_eq!(guesses(&ask("top=1000")["top"]), said(&predictor, &file, CLASSES.len()));

    let look = |look| Ask { embedding: true, cam: Some(look), ..Ask::default() };
    let expected = predictor.answer(&image, look(Look::Likeliest)).unwrap();
    let one = ask("cam=1&embedding=1&logits=1");
    assert_eq!(floats(&one["logits"]), expected.logits);
    assert_eq!(floats(&one["embedding"]), expected.embedding.unwrap());
    let cam = expected.cam.unwrap();
    assert_eq!(one["cam"]["class"], cam.class);
    assert_eq!([&one["cam"]["height"], &one["cam"]["width"]], [cam.height, cam.width]);
    assert_eq!(floats(&one["cam"]["values"]), cam.values);
    // Left, top, width, height of what the network saw: the middle, 8 tenths of the shorter side.
    let region: Vec<f64> = serde_json::from_value(one["cam"]["region"].clone()).unwrap();
    let [top, left, height, width] = predictor.seen(&image);
    assert_eq!(region, [left, top, width, height]);
    assert!((height - 9.6).abs() < 1e-6 && (top - 1.2).abs() < 1e-6, "{region:?}");

    // A class asks for its map.
    let of_class = predictor.answer(&image, look(Look::Class(3))).unwrap().cam.unwrap();
    let one = ask("class=3");
    assert_eq!(one["cam"]["class"], 3);
    assert_eq!(floats(&one["cam"]["values"]), of_class.values);
    assert_eq!(ask("cam=0").get("cam"), None);
}

#[test]
fn many_pictures_are_answered_in_their_order_and_a_bad_one_for_itself() {
    let server = Running::new(|_| {});
    let predictor = server.predictor();
    let files: Vec<Vec<u8>> = (0..9).map(|i| picture(8 + i, 9, i as u8)).collect();
    let names: Vec<String> = (0..9).map(|i| format!("{i}.ppm")).collect();
    let mut parts: Vec<(&str, &[u8])> =
        names.iter().zip(&files).map(|(name, file)| (name.as_str(), &file[..])).collect();
    parts.insert(4, ("cut.ppm", &files[0][..40]));
    parts.insert(5, ("text.txt", b"no picture at all"));
    let pictures: Vec<Value> =
        parts.iter().map(|(name, file)| json!({ "name": name, "b64": base64(file) })).collect();
    let requests = [
        form("/classify?top=3", &parts),
        Request::json("/classify/small?top=3", &json!({ "pictures": pictures })),
    ];
    for request in requests {
        let answer = server.ask(&request).good();
        let answered = answer["pictures"].as_array().unwrap();
        assert_eq!(answered.len(), parts.len());
        for ((name, file), one) in parts.iter().zip(answered) {
            assert_eq!(one["name"], *name);
            match *name {
                "cut.ppm" | "text.txt" => {
                    let message = one["error"].as_str().unwrap();
                    assert!(message.contains(name), "{message}");
                    assert_eq!(one.get("top"), None);
                }
                _ => assert_eq!(guesses(&one["top"]), said(&predictor, file, 3), "{name}"),
            }
        }
    }
    // They are counted one by one.
    let labels = format!("{{model=\"{NAME}\",version=\"1\"}}");
    let count = server.metric(&format!("nv_inference_request_success{labels}"));
    assert_eq!(count, Some(2.0 * files.len() as f64));
    for reason in ["damaged", "format"] {
        let labels = format!("{{model=\"{NAME}\",version=\"1\",reason=\"{reason}\"}}");
        let count = server.metric(&format!("nv_inference_request_failure{labels}"));
        assert_eq!(count, Some(2.0), "{reason}");
    }
}

#[test]
fn as_many_pictures_as_a_request_may_hold() {
    let server = Running::new(|_| {});
    let file = picture(8, 8, 1);
    let good = json!({ "b64": base64(&file) });
    let bad = json!({ "b64": base64(b"no picture") });
    let limits = server.get("/classify").good()["limits"].clone();
    let most = limits["pictures"].as_u64().unwrap() as usize;
    let is_good = |i: usize| i % 100 == 3;
    let ask = |n: usize| {
        let pictures = (0..n).map(|i| if is_good(i) { good.clone() } else { bad.clone() });
        let pictures: Vec<Value> = pictures.collect();
        server.ask(&Request::json("/classify?top=1", &json!({ "pictures": pictures })))
    };
    let answer = ask(most).good();
    let answered = answer["pictures"].as_array().unwrap();
    let expected = said(&server.predictor(), &file, 1);
    assert_eq!(answered.len(), most);
    for (i, one) in answered.iter().enumerate() {
        assert_eq!(one.get("error").is_none(), is_good(i), "{one}");
        if is_good(i) {
            assert_eq!(guesses(&one["top"]), expected, "picture {i}");
        }
    }
    assert!(ask(most + 1).refused(400).contains(&most.to_string()));
}

#[test]
fn several_threads_answer_as_one() {
    let folder = Folder::new();
    let path = folder.model("small.safetensors", 1);
    let mut server = Running::of(folder, vec![(NAME, path)], 3, |_| {});
    server.load().unwrap();
    let (predictor, address) = (server.predictor(), server.address);
    std::thread::scope(|scope| {
        for client in 0..6u8 {
            let files: Vec<Vec<u8>> = (0..5).map(|i| picture(10, 8, client * 5 + i)).collect();
            let predictor = &predictor;
            scope.spawn(move || {
                let mut connection = Client::connect(address);
                for file in files {
                    let answer = connection.ask(&Request::post("/classify", file.clone())).good();
                    let expected = said(predictor, &file, CLASSES.len());
                    assert_eq!(guesses(&answer["pictures"][0]["top"]), expected);
                }
            });
        }
    });
}

#[test]
fn queries_without_sense_are_refused() {
    let server = Running::new(|_| {});
    let file = picture(8, 8, 0);
    let cases = [
        ("topp=3", "topp"),
        ("top=0", "top"),
        ("top=x", "top"),
        ("top=-1", "top"),
        ("class=4", "class"),
        ("cam=perhaps", "cam"),
        ("logits=2", "logits"),
    ];
    for (query, word) in cases {
        let response = server.ask(&Request::post(format!("/classify?{query}"), file.clone()));
        assert!(response.refused(400).contains(word), "{query}");
    }
    assert!(server.ask(&Request::post("/classify", "")).refused(400).contains("empty"));
    let none = json!({ "pictures": [] });
    assert!(server.ask(&Request::json("/classify", &none)).refused(400).contains("no picture"));
    let wrong = json!({ "pictures": [{ "name": "mine", "b64": "???" }] });
    assert!(server.ask(&Request::json("/classify", &wrong)).refused(400).contains("mine"));
}
