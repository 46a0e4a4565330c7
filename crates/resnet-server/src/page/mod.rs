//! The pages: files that are part of the binary, and need nothing from elsewhere.

pub(crate) mod board;

use std::sync::LazyLock;

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName};
use resnet::page::charts::palette;

use crate::http::Reply;

/// A file of a page.
struct Asset {
    path: &'static str,
    kind: &'static str,
    text: fn() -> &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The colours of reports, in both themes, and those of heat maps, which every page has.
const PALETTE: Asset = Asset { path: "/page/palette.css", kind: CSS, text: || &COLOURS };
static COLOURS: LazyLock<String> =
    LazyLock::new(|| palette::variables() + &palette::heat_variables());

/// Files of a folder beside this one, under `/page`.
macro_rules! assets {
    ($folder:literal: $($name:literal $kind:ident),* $(,)?) => {
        &[
            PALETTE,
            Asset {
                path: "/",
                kind: HTML,
                text: || include_str!(concat!($folder, "/index.html")),
            },
            $(Asset {
                path: concat!("/page/", $name),
                kind: $kind,
                text: || include_str!(concat!($folder, "/", $name)),
            }),*
        ]
    };
}

/// The page that classifies.
const CLASSIFY: &[Asset] = assets!("classify":
    "classify.css" CSS,
    "table.css" CSS,
    "answer.js" JS,
    "api.js" JS,
    "card.js" JS,
    "classify.js" JS,
    "commands.js" JS,
    "csv.js" JS,
    "dom.js" JS,
    "format.js" JS,
    "heat.js" JS,
    "panel.js" JS,
    "picture.js" JS,
    "queue.js" JS,
    "snippets.js" JS,
    "sources.js" JS,
    "stage.js" JS,
    "table.js" JS,
    "token.js" JS,
    "verdict.js" JS,
);

/// What the server answers, as OpenAPI 3.1 says it.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// Nothing comes from elsewhere, and nothing that is shown can run.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; \
    style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// The file of the page that classifies at a path.
pub(crate) fn classify(path: &str) -> Option<Reply> {
    find(CLASSIFY, path, POLICY)
}

/// The file at a path, which may do what a policy says.
fn find(assets: &[Asset], path: &str, policy: &str) -> Option<Reply> {
    let asset = assets.iter().find(|asset| asset.path == path)?;
    let reply = Reply::bytes(asset.kind, Bytes::from_static((asset.text)().as_bytes()))
        .with(CONTENT_SECURITY_POLICY, policy)
        .with(HeaderName::from_static("x-content-type-options"), "nosniff")
        .with(HeaderName::from_static("referrer-policy"), "no-referrer")
        // Another version of the program has other files.
        .with(CACHE_CONTROL, "no-cache");
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module that imports a file which is not served would leave the page without it.
    #[test]
    fn pages_name_only_files_that_are_there() {
        for asset in CLASSIFY {
            let text = (asset.text)();
            let quoted = text.split(['"', '\'']);
            let files = quoted.filter(|text| text.ends_with(".js") || text.ends_with(".css"));
            for file in files {
                let name = file.trim_start_matches("./").trim_start_matches("page/");
                let path = format!("/page/{name}");
                assert!(classify(&path).is_some(), "{} names {file}", asset.path);
            }
            assert!(!text.contains("http://") || text.contains("www.w3.org/"));
        }
    }
}
