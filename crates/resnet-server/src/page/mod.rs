//! The pages: files that are part of the binary, and need nothing from elsewhere.

use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName};

use crate::http::Reply;

/// A file of a page.
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The page that classifies.
const CLASSIFY: &[Asset] = &[
    Asset { name: "index.html", kind: HTML, text: include_str!("classify/index.html") },
    Asset { name: "classify.css", kind: CSS, text: include_str!("classify/classify.css") },
    Asset { name: "classify.js", kind: JS, text: include_str!("classify/classify.js") },
];

/// What the server answers, as OpenAPI 3.1 says it.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// Nothing comes from elsewhere, and nothing that is shown can run.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; \
    style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// A file of the page that classifies.
pub(crate) fn classify(name: &str) -> Option<Reply> {
    find(CLASSIFY, name)
}

fn find(assets: &[Asset], name: &str) -> Option<Reply> {
    let asset = assets.iter().find(|asset| asset.name == name)?;
    let reply = Reply::bytes(asset.kind, asset.text)
        .with(CONTENT_SECURITY_POLICY, POLICY)
        .with(HeaderName::from_static("x-content-type-options"), "nosniff")
        .with(HeaderName::from_static("referrer-policy"), "no-referrer")
        .with(CACHE_CONTROL, "no-cache");
    Some(reply)
}
