//! Who may ask, from which pages, and by which name a request is known.

use resnet_server::Tokens;
use serde_json::json;

use crate::support::{Request, Response, Running, picture};

const TOKEN: &str = "0123456789abcdef";
const ORIGIN: &str = "https://pages.example";

fn closed() -> Running {
    let tokens = Tokens::parse(&format!("# ours\n{TOKEN}\nfedcba9876543210\n")).unwrap();
    Running::new(|options| options.tokens = Some(tokens))
}

fn classify() -> Request {
    Request::post("/classify", picture(8, 8, 1))
}

#[test]
fn without_a_token_there_is_the_page_and_health() {
    let server = closed();
    for target in ["/", "/page/classify.js", "/ping", "/v2/health/live", "/v2/health/ready"] {
        assert_eq!(server.get(target).status, 200, "{target}");
    }
    let page = server.ask(&Request::get("/").with("accept", "text/html,*/*"));
    assert!(page.text().contains("<html"));
    let others = ["/metrics", "/openapi.json", "/classify", "/v2", "/v2/models/small", "/nothing"];
    for target in others {
        let refused = server.get(target);
        refused.refused(401);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"), "{target}");
    }
    // The body of who may not ask is not wanted.
    let announced = classify().with("expect", "100-continue");
    let mut client = server.connect();
    client.send_raw(&announced.head());
    client.receive().unwrap().refused(401);
}

#[test]
fn tokens_come_in_two_headers() {
    let server = closed();
    let good = [
        ("authorization", format!("Bearer {TOKEN}")),
        ("authorization", "bearer fedcba9876543210".into()),
        ("x-api-key", TOKEN.into()),
    ];
    for (name, value) in good {
        server.ask(&classify().with(name, value)).good();
    }
    let wrong = [
        ("authorization", TOKEN.to_owned()),
        ("authorization", format!("Basic {TOKEN}")),
        ("authorization", format!("Bearer {TOKEN}0")),
        ("authorization", "Bearer ".into()),
        ("x-api-key", TOKEN[1..].into()),
        ("cookie", TOKEN.into()),
    ];
    for (name, value) in wrong {
        server.ask(&classify().with(name, value)).refused(401);
    }
}

fn from(origin: &str, request: Request) -> Request {
    request.with("origin", origin)
}

fn allowed(response: &Response) -> Option<&str> {
    response.header("access-control-allow-origin")
}

#[test]
fn pages_of_named_origins_may_ask() {
    let tokens = Tokens::parse(TOKEN).unwrap();
    let server = Running::new(|options| {
        (options.origins, options.tokens) = (vec![ORIGIN.into(), "null".into()], Some(tokens));
    });
    let preflight = Request::new("OPTIONS", "/v2/models/small/infer")
        .with("access-control-request-method", "POST")
        .with("access-control-request-headers", "authorization");
    // A browser sends no token with it.
    let response = server.ask(&from(ORIGIN, preflight.clone()));
    assert_eq!((response.status, allowed(&response)), (204, Some(ORIGIN)));
    let methods = response.header("access-control-allow-methods").unwrap();
    let headers = response.header("access-control-allow-headers").unwrap();
    for method in ["GET", "POST", "PUT"] {
        assert!(methods.contains(method), "{methods}");
    }
    for name in ["authorization", "content-type", "x-api-key", "inference-header-content-length"] {
        assert!(headers.contains(name), "{headers}");
    }
    let good = from(ORIGIN, classify().with("x-api-key", TOKEN));
    for (request, status) in [(good, 200), (from(ORIGIN, classify()), 401)] {
        let response = server.ask(&request);
        assert_eq!((response.status, allowed(&response)), (status, Some(ORIGIN)));
        assert_eq!(response.header("vary"), Some("origin"));
        let exposed = response.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("server-timing") && exposed.contains("retry-after"));
    }
    for origin in ["https://other.example", "https://pages.example.evil", "HTTPS://pages.example"] {
        for request in [preflight.clone(), classify().with("x-api-key", TOKEN)] {
            assert_eq!(allowed(&server.ask(&from(origin, request))), None, "{origin}");
        }
    }
    // A request for the options of a route, by no page.
    server.ask(&preflight.with("x-api-key", TOKEN)).refused(405);
}

#[test]
fn pages_of_all_origins_or_of_none_may_ask() {
    let server = Running::new(|options| options.origins = vec!["*".into()]);
    let response = server.ask(&from("https://any.example", classify()));
    assert_eq!((response.status, allowed(&response)), (200, Some("*")));
    let server = Running::new(|_| {});
    let response = server.ask(&from("https://any.example", classify()));
    assert_eq!((response.status, allowed(&response)), (200, None));
}

#[test]
fn requests_have_names_and_traces() {
    let server = Running::new(|_| {});
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (request, status) in [(classify(), 200), (Request::get("/nothing"), 404)] {
        let response = server.ask(&request.with("x-request-id", "a-1").with("traceparent", trace));
        assert_eq!(response.status, status);
        assert_eq!(response.header("x-request-id"), Some("a-1"));
        assert_eq!(response.header("traceparent"), Some(trace));
    }
    // One that names nothing, or would not fit a line, is replaced.
    let long = "x".repeat(129);
    let mut given = Vec::new();
    for id in ["", "a b", "\u{e4}", &long] {
        let response = server.ask(&classify().with("x-request-id", id));
        given.push(response.header("x-request-id").unwrap().to_owned());
    }
    given.push(server.get("/v2").header("x-request-id").unwrap().to_owned());
    assert!(given.iter().all(|id| id.len() == 16), "{given:?}");
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 5, "two requests have one name");
    assert_eq!(server.get("/v2").header("traceparent"), None);
}

#[test]
fn the_page_can_be_left_out() {
    let server = Running::new(|options| options.page = false);
    let html = Request::get("/").with("accept", "text/html");
    assert_eq!(server.ask(&html).good(), json!({ "status": "alive" }));
    server.get("/page/classify.js").refused(404);
    let server = Running::new(|_| {});
    assert_eq!(server.get("/").good(), json!({ "status": "alive" }));
    let page = server.ask(&html);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'self'"));
    server.get("/page/none.js").refused(404);
    server.get("/page/..%2findex.html").refused(404);
}
