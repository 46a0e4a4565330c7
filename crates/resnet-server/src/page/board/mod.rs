//! The page of a board: files that are part of the program. Nothing in it comes from elsewhere, and
//! no script or style stands in the page itself, so a policy can forbid both.

use std::sync::LazyLock;

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use resnet::page::charts::palette;

use crate::http::Reply;

/// What the page may do: load its own scripts and styles, and ask its own server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' \
    blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
struct Asset {
    path: &'static str,
    kind: &'static str,
    text: fn() -> &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

const ASSETS: &[Asset] = &[
    Asset { path: "/", kind: HTML, text: || include_str!("board.html") },
    Asset { path: "/page/board.css", kind: CSS, text: || include_str!("board.css") },
    Asset { path: "/page/palette.css", kind: CSS, text: || &PALETTE },
    Asset { path: "/page/board.js", kind: JS, text: || include_str!("board.js") },
];

/// The colours of reports, in both themes.
static PALETTE: LazyLock<String> = LazyLock::new(palette::variables);

/// The file at a path, if it is one of the page's.
pub(crate) fn asset(path: &str) -> Option<Reply> {
    let asset = ASSETS.iter().find(|asset| asset.path == path)?;
    let reply = Reply::bytes(asset.kind, Bytes::from_static((asset.text)().as_bytes()));
    // Another version of the program has other files.
    let reply = reply.with(CACHE_CONTROL, "no-cache");
    Some(reply.with(CONTENT_SECURITY_POLICY, POLICY))
}
