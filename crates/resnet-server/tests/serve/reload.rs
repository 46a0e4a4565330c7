//! Models that come, are replaced, and go, while the server answers.

use std::fs;

use resnet::Guess;
use resnet_server::Tokens;
use serde_json::{Value, json};

use crate::support::{
    Client, Folder, NAME, Request, Response, Running, decoded, guesses, model, picture, predictor,
    until,
};

const TOKEN: &str = "0123456789abcdef";

/// What the model of a seed says of the picture that is asked about.
fn says(seed: u64) -> Vec<Guess> {
    let folder = Folder::new();
    let predictor = predictor(&folder.model("a.safetensors", seed));
    predictor.image(&decoded(&picture(9, 8, 1)), 4).unwrap()
}

fn ask(server: &Running, target: &str) -> Response {
    server.ask(&Request::post(target, picture(9, 8, 1)))
}

fn said(server: &Running, target: &str) -> Vec<Guess> {
    guesses(&ask(server, target).good()["pictures"][0]["top"])
}

/// What the index says of each version: version, state and reason.
fn index(server: &Running) -> Vec<[String; 3]> {
    let response = server.ask(&Request::post("/v2/repository/index", ""));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |row: &Value| ["version", "state", "reason"].map(|key| text(&row[key]));
    response.good().as_array().unwrap().iter().map(row).collect()
}

fn reloads(server: &Running, result: &str) -> f64 {
    server.metric(&format!("resnet_reload_total{{result=\"{result}\"}}")).unwrap()
}

#[test]
fn a_file_is_replaced_when_that_is_asked_for() {
    let server = Running::new(|_| {});
    assert_eq!(said(&server, "/classify"), says(1));
    server.folder.model("small.safetensors", 2);
    assert_eq!(said(&server, "/classify"), says(1));
    server.reload();
    server.log.wait_for("loaded small version 1");
    assert_eq!(said(&server, "/classify"), says(2));
    assert_eq!([reloads(&server, "ok"), reloads(&server, "failed")], [1.0, 0.0]);
    // What was counted before is kept.
    let stats = server.get("/v2/models/small/stats").good();
    assert_eq!(stats["model_stats"][0]["inference_count"], 3);
}

#[test]
fn a_file_is_replaced_when_it_changes() {
    let server = Running::new(|options| options.watch = true);
    assert_eq!(said(&server, "/classify"), says(1));
    server.folder.model("small.safetensors", 2);
    server.log.wait_for("loaded small version 1");
    assert_eq!(said(&server, "/classify"), says(2));
}

#[test]
fn a_file_that_changes_while_it_is_loaded_is_seen() {
    let mut server = Running::unloaded(|options| options.watch = true);
    server.gate.close();
    load_and_replace(&mut server);
    assert_eq!(said(&server, "/classify"), says(1));
    server.log.wait_for("loaded small version 1");
    assert_eq!(said(&server, "/classify"), says(2));
}

/// Loads the model, and replaces its file once that has been read.
fn load_and_replace(server: &mut Running) {
    let (gate, path) = (server.gate.clone(), server.folder.path("small.safetensors"));
    let replacing = std::thread::spawn(move || {
        // It is warming up.
        gate.wait_for(1);
        let new = path.with_extension("new");
        model(2).save(&new).unwrap();
        fs::rename(&new, &path).unwrap();
        gate.open();
    });
    server.load().unwrap();
    replacing.join().unwrap();
}

#[test]
fn a_file_that_cannot_be_read_leaves_the_old_model() {
    let server = Running::new(|_| {});
    let good = fs::read(server.folder.path("small.safetensors")).unwrap();
    let cut = &good[..good.len() / 2];
    for (turn, bytes) in [cut, b"no model"].into_iter().enumerate() {
        server.folder.write("small.safetensors", bytes);
        server.reload();
        until("an attempt", || reloads(&server, "failed") == (turn + 1) as f64);
        server.log.wait_for("the old one stays: small version 1: ");
        let [[version, state, reason]] = &index(&server)[..] else { panic!() };
        assert_eq!((version.as_str(), state.as_str()), ("1", "READY"));
        assert!(reason.contains("small.safetensors"), "{reason}");
        assert_eq!(said(&server, "/classify"), says(1));
        server.get("/v2/health/ready").good();
    }
    fs::remove_file(server.folder.path("small.safetensors")).unwrap();
    server.reload();
    until("an attempt", || reloads(&server, "failed") == 3.0);
    assert!(index(&server)[0][2].contains("cannot be read"), "{:?}", index(&server));
    assert_eq!(said(&server, "/classify"), says(1));
    // Once it is whole, nothing is left of that.
    server.folder.model("small.safetensors", 3);
    server.reload();
    until("success", || reloads(&server, "ok") == 1.0);
    assert_eq!(index(&server), [["1", "READY", ""].map(String::from)]);
    assert_eq!(said(&server, "/classify"), says(3));
}

#[test]
fn a_folder_of_versions() {
    let folder = Folder::new();
    folder.model("models/1/model.safetensors", 1);
    folder.model("models/10/any-name.safetensors", 2);
    folder.write("models/readme/model.safetensors", b"not a version");
    folder.write("models/0/model.safetensors", b"nor this");
    folder.write("models/3/notes.txt", b"nor this");
    let path = folder.path("models");
    let mut server = Running::of(folder, vec![(NAME, path)], 1, |_| {});
    server.load().unwrap();
    // The newest by number answers where none is named.
    assert_eq!(said(&server, "/classify"), says(2));
    assert_eq!(said(&server, "/classify/small"), says(2));
    assert_eq!(said(&server, "/classify/small/1"), says(1));
    assert_eq!(said(&server, "/classify/small/10"), says(2));
    assert_eq!(ask(&server, "/classify/small").good()["version"], "10");
    assert!(ask(&server, "/classify/small/3").refused(404).contains("it has 1, 10"));
    for wrong in ["x", "0", "-1", "1.0", "99999999999999999999"] {
        ask(&server, &format!("/classify/small/{wrong}")).refused(404);
    }
    ask(&server, "/predictions/small/1").good();
    assert_eq!(server.get("/v2/models/small").good()["versions"], json!(["1", "10"]));
    assert_eq!(server.get("/v2/models/small/versions/1").good()["versions"], json!(["1"]));

    server.folder.model("models/11/model.safetensors", 3);
    server.folder.write("models/12/model.safetensors", b"broken");
    server.reload();
    server.log.wait_for("cannot be loaded");
    assert_eq!(said(&server, "/classify"), says(3));
    let broken = index(&server).pop().unwrap();
    assert_eq!([&broken[0], &broken[1]], ["12", "UNAVAILABLE"]);
    ask(&server, "/classify/small/12").refused(503);
    server.get("/v2/models/small/versions/12/ready").refused(503);
    server.get("/v2/health/ready").good();

    // Versions whose folders are gone go.
    for version in [1, 11, 12] {
        fs::remove_dir_all(server.folder.path(&format!("models/{version}"))).unwrap();
    }
    server.reload();
    until("one version", || index(&server).len() == 1);
    assert_eq!(said(&server, "/classify"), says(2));
    ask(&server, "/classify/small/1").refused(404);
    // But not the last of all.
    fs::remove_dir_all(server.folder.path("models/10")).unwrap();
    server.reload();
    until("an attempt", || reloads(&server, "failed") == 2.0);
    assert_eq!(said(&server, "/classify"), says(2));
}

#[test]
fn versions_appear_and_go_while_they_are_watched() {
    let folder = Folder::new();
    folder.model("models/1/model.safetensors", 1);
    let path = folder.path("models");
    let mut server = Running::of(folder, vec![(NAME, path)], 1, |options| options.watch = true);
    server.load().unwrap();
    assert_eq!(said(&server, "/classify"), says(1));
    server.folder.model("models/2/model.safetensors", 2);
    server.log.wait_for("loaded small version 2");
    assert_eq!(said(&server, "/classify"), says(2));
    fs::remove_dir_all(server.folder.path("models/2")).unwrap();
    until("the version to go", || index(&server).len() == 1);
    assert_eq!(said(&server, "/classify"), says(1));
    // What has not changed is not loaded again.
    let loaded = |line: &&String| line.contains("loaded small version 1");
    assert_eq!(server.log.all().iter().filter(loaded).count(), 0);
}

#[test]
fn models_are_loaded_and_unloaded_by_who_may() {
    let tokens = Tokens::parse(TOKEN).unwrap();
    let folder = Folder::new();
    let models = ["a", "b"].map(|name| (name, folder.model(&format!("{name}.safetensors"), 1)));
    let mut server = Running::of(folder, models.to_vec(), 1, |options| {
        (options.admin, options.tokens) = (true, Some(tokens));
    });
    server.load().unwrap();
    let mut client = server.connect();
    let post = |client: &mut Client, target: &str, body: &str| {
        let request = Request::post(target, body).with("authorization", format!("Bearer {TOKEN}"));
        client.ask(&request)
    };
    server.ask(&Request::post("/v2/repository/models/a/unload", "")).refused(401);
    let unload = r#"{"parameters":{"unload_dependents":false}}"#;
    post(&mut client, "/v2/repository/models/a/unload", unload).good();
    assert!(post(&mut client, "/classify/a", "x").refused(503).contains("unloaded"));
    post(&mut client, "/classify/b", "x").refused(415);
    // It was wanted, so the server is still ready.
    server.get("/v2/health/ready").good();
    let ready = r#"{"ready":true}"#;
    let listed = post(&mut client, "/v2/repository/index", ready).good();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let listed = post(&mut client, "/v2/repository/index", "{}").good();
    assert_eq!(listed[0]["state"], "UNAVAILABLE", "{listed}");
    // What was taken out stays so when all are loaded again.
    server.reload();
    server.log.wait_for("loaded b version 1");
    post(&mut client, "/classify/a", "x").refused(503);
    server.folder.model("a.safetensors", 2);
    post(&mut client, "/v2/repository/models/a/load", "").good();
    let request = Request::post("/classify/a", picture(9, 8, 1)).with("x-api-key", TOKEN);
    assert_eq!(guesses(&client.ask(&request).good()["pictures"][0]["top"]), says(2));

    server.folder.write("a.safetensors", b"broken");
    let refused = post(&mut client, "/v2/repository/models/a/load", "{}").refused(400);
    assert!(refused.contains("a.safetensors"), "{refused}");
    assert_eq!(guesses(&client.ask(&request).good()["pictures"][0]["top"]), says(2));
    post(&mut client, "/v2/repository/models/none/load", "").refused(404);
    post(&mut client, "/v2/repository/models/none/unload", "").refused(404);
    for other in [r#"{"parameters":{"config":"{}"}}"#, r#"{"parameters":{"file:1/x":"YQ=="}}"#] {
        post(&mut client, "/v2/repository/models/a/load", other).refused(400);
    }
}

#[test]
fn nobody_changes_models_where_that_was_not_asked_for() {
    let tokens = Tokens::parse(TOKEN).unwrap();
    let server = Running::new(|options| options.tokens = Some(tokens));
    for verb in ["load", "unload"] {
        let target = format!("/v2/repository/models/small/{verb}");
        server.ask(&Request::post(target, "{}").with("x-api-key", TOKEN)).refused(403);
    }
}
