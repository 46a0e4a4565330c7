//! What `/openapi.json` says is what the server does, and all of it.

use std::collections::BTreeSet;

use resnet_server::Tokens;
use serde_json::{Map, Value, json};

use crate::support::form::{base64, form};
use crate::support::{NAME, Request, Running, picture};

const TOKEN: &str = "0123456789abcdef";
/// Where paths are taken apart.
const ROUTES: &str = include_str!("../../src/serve/routes.rs");

fn server() -> Running {
    let tokens = Tokens::parse(TOKEN).unwrap();
    Running::new(|options| (options.admin, options.tokens) = (true, Some(tokens)))
}

fn ask(server: &Running, request: Request) -> crate::support::Response {
    server.ask(&request.with("x-api-key", TOKEN))
}

fn description(server: &Running) -> Value {
    ask(server, Request::get("/openapi.json")).good()
}

/// What a reference stands for.
fn resolved<'a>(all: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(place) => resolved(all, all.pointer(place.strip_prefix('#').unwrap()).unwrap()),
        None => value,
    }
}

/// Methods that a path is described for.
fn methods(item: &Value) -> Vec<&str> {
    let keys = item.as_object().unwrap().keys().map(String::as_str);
    keys.filter(|key| ["get", "post", "put", "delete", "patch"].contains(key)).collect()
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a type `{other}`"),
    }
}

/// Why a value is not what a schema describes, of the words that the description uses. Members that
/// are not described are a fault here.
fn misfit(all: &Value, schema: &Value, value: &Value) -> Option<String> {
    let schema = resolved(all, schema);
    let problem = |text: &str| Some(format!("{text}: {value} is not {schema}"));
    match &schema["type"] {
        Value::String(kind) if !is_of(kind, value) => return problem("type"),
        Value::Array(kinds) if !kinds.iter().any(|kind| is_of(kind.as_str().unwrap(), value)) => {
            return problem("types");
        }
        _ => {}
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return problem("const");
    }
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        return problem("enum");
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().filter(|choice| misfit(all, choice, value).is_none()).count();
        return if fits == 1 { None } else { problem("oneOf") };
    }
    if let Some(elements) = value.as_array() {
        let short = schema["minItems"].as_u64().is_some_and(|n| (elements.len() as u64) < n);
        let long = schema["maxItems"].as_u64().is_some_and(|n| elements.len() as u64 > n);
        if short || long {
            return problem("items");
        }
        return elements.iter().find_map(|element| misfit(all, &schema["items"], element));
    }
    let members = value.as_object()?;
    let none = Map::new();
    let known = schema["properties"].as_object().unwrap_or(&none);
    let mut required = schema["required"].as_array().into_iter().flatten();
    if required.any(|name| !members.contains_key(name.as_str().unwrap())) {
        return problem("required");
    }
    members.iter().find_map(|(name, member)| {
        match (known.get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => misfit(all, schema, member),
            (None, Value::Bool(true)) => None,
            (None, more @ Value::Object(_)) => misfit(all, more, member),
            (None, _) => problem(&format!("`{name}` is not described")),
        }
    })
}

/// A good request for an operation.
fn request(all: &Value, path: &str, method: &str, operation: &Value) -> Request {
    let target = path.replace("{model}", NAME).replace("{version}", "1");
    let mut request = Request::new(&method.to_uppercase(), target.replace("{file}", "classify.js"));
    let encoded = base64(&picture(8, 8, 1));
    let place = operation["requestBody"]["$ref"].as_str().unwrap_or_default();
    let body = match place.rsplit('/').next().unwrap() {
        "Pictures" => picture(8, 8, 1),
        "Instances" => json!({ "instances": [{ "b64": encoded }] }).to_string().into_bytes(),
        "Inference" => {
            let image =
                json!({ "name": "image", "shape": [1], "datatype": "BYTES", "data": [encoded] });
            let body = json!({ "inputs": [image], "id": "7" });
            let schema = json!({ "$ref": "#/components/schemas/InferenceRequest" });
            assert_eq!(misfit(all, &schema, &body), None);
            body.to_string().into_bytes()
        }
        _ => Vec::new(),
    };
    request.set_body(body);
    request
}

#[test]
fn every_operation_is_answered_as_it_is_described() {
    let server = server();
    let all = description(&server);
    // Paths are sorted, so the model is unloaded last.
    let (mut answered, mut checked) = (0, 0);
    for (path, item) in all["paths"].as_object().unwrap() {
        for method in methods(item) {
            let operation = &item[method];
            let response = ask(&server, request(&all, path, method, operation));
            assert_eq!(response.status, 200, "{method} {path}: {}", response.text());
            let kind = response.header("content-type").unwrap().split(';').next().unwrap();
            let described = resolved(&all, &operation["responses"]["200"]);
            let content = &described["content"];
            assert!(content.get(kind).is_some(), "{method} {path} answers {kind}");
            if kind == "application/json" {
                let misfit = misfit(&all, &content[kind]["schema"], &response.value());
                assert_eq!(misfit, None, "{method} {path}");
                checked += 1;
            }
            answered += 1;
        }
    }
    assert!(answered > 30 && checked > 28, "{answered} {checked}");
}

#[test]
fn other_methods_are_refused_by_the_names_of_those_described() {
    let server = server();
    let all = description(&server);
    for (path, item) in all["paths"].as_object().unwrap() {
        let refused = ask(&server, request(&all, path, "delete", &Value::Null));
        refused.refused(405);
        let mut described: BTreeSet<String> =
            methods(item).iter().map(|method| method.to_uppercase()).collect();
        if described.contains("GET") {
            described.insert("HEAD".into());
        }
        let allowed = refused.header("allow").unwrap().split(", ");
        // One route has several paths here that differ by what follows a colon.
        let allowed: BTreeSet<String> = allowed.map(String::from).collect();
        assert_eq!(allowed, described, "{path}");
    }
}

#[test]
fn what_queries_add_is_described_and_so_are_errors() {
    let server = server();
    let all = description(&server);
    let of = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let query = "/classify?top=2&cam=1&embedding=1&logits=1";
    let many = form(query, &[("a", &picture(8, 8, 1)), ("b", b"no picture")]);
    assert_eq!(misfit(&all, &of("Classified"), &ask(&server, many).good()), None);
    for target in ["/nothing", "/v2/models/none", "/classify/none"] {
        let refused = ask(&server, Request::get(target));
        assert_eq!(misfit(&all, &of("Error"), &refused.value()), None, "{target}");
    }
    // Statuses with which a request may be refused are named.
    let told = all["components"]["responses"]["Refused"]["description"].as_str().unwrap();
    let refusals = include_str!("../../src/http/refusal.rs");
    let statuses = refusals.lines().filter_map(|line| line.trim().strip_prefix("/// "));
    let statuses = statuses.filter_map(|line| line.get(..3)?.parse::<u16>().ok());
    // A conflict is what a board refuses.
    let statuses: BTreeSet<u16> = statuses.filter(|status| *status != 409).collect();
    assert!(statuses.len() > 10, "{statuses:?}");
    for status in statuses {
        assert!(told.contains(&status.to_string()), "{status}");
    }
}

/// The parts of a pattern such as `["v2", "models", name, rest @ ..]`; none for another line.
fn pattern(line: &str) -> Option<Vec<&str>> {
    let inside = line.trim().strip_prefix('[')?;
    let (inside, after) = inside.split_once(']')?;
    let after = after.trim_start();
    if !(after.starts_with("=>") || after.starts_with("if ")) {
        return None;
    }
    Some(inside.split(", ").filter(|part| !part.is_empty()).collect())
}

/// Every path that the server's patterns match, with `{}` for what is free.
fn routes() -> BTreeSet<String> {
    let (of_server, of_model) = ROUTES.split_once("async fn v2(").unwrap();
    let rests: Vec<_> = of_model.lines().filter_map(pattern).collect();
    assert!(rests.len() > 4, "{rests:?}");
    let mut paths = BTreeSet::new();
    for parts in of_server.lines().filter_map(pattern) {
        let mut ends = vec![String::new()];
        for part in parts {
            let add = |more: &str| ends.iter().map(|path| format!("{path}/{more}")).collect();
            ends = match (part.strip_prefix('"'), part) {
                (Some(text), _) => add(text.strip_suffix('"').unwrap()),
                (_, "rest @ ..") => {
                    let rests = rests.iter().flat_map(|rest| {
                        let rest: String = rest
                            .iter()
                            .map(|part| format!("/{}", part.trim_matches('"')))
                            .collect();
                        ends.iter().map(move |path| path.clone() + &rest)
                    });
                    rests.collect()
                }
                (_, "version @ ..") => [ends.clone(), add("{}")].concat(),
                (_, "named @ ..") => {
                    let one: Vec<String> = add("{}");
                    let two = one.iter().map(|path| format!("{path}/{{}}")).collect();
                    [ends.clone(), one, two].concat()
                }
                (_, verbs) if verbs.contains('|') => {
                    let words = verbs.split('"').skip(1).step_by(2);
                    words.flat_map(add_each(&ends)).collect()
                }
                _ => add("{}"),
            };
        }
        paths.extend(ends);
    }
    paths
}

fn add_each(ends: &[String]) -> impl Fn(&str) -> Vec<String> {
    move |word| ends.iter().map(|path| format!("{path}/{word}")).collect()
}

#[test]
fn every_route_is_described() {
    let all = description(&server());
    let free = |path: &String| {
        let parts = path.split('/').skip(1);
        let parts = parts.map(|part| if part.starts_with('{') { "{}" } else { part });
        parts.fold(String::new(), |path, part| path + "/" + part)
    };
    let described: BTreeSet<String> = all["paths"].as_object().unwrap().keys().map(free).collect();
    let routes = routes();
    assert!(routes.contains("/v2/models/{}/versions/{}/infer"), "{routes:?}");
    assert_eq!(described, routes);
    // What tells the verbs of v1 apart stands within a part of a path.
    for verb in ["predict", "explain"] {
        assert!(ROUTES.contains(&format!("\"{verb}\"")));
        assert!(all["paths"].get(format!("/v1/models/{{model}}:{verb}")).is_some());
    }
}
