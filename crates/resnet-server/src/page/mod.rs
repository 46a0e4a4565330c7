//! The pages: files that are part of the binary, and need nothing from elsewhere.

pub(crate) mod board;

use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName};

use resnet::page::charts::palette;

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

/// Files of a folder beside this one.
macro_rules! assets {
    ($folder:literal: $($name:literal $kind:ident),* $(,)?) => {
        &[$(Asset {
            name: $name,
            kind: $kind,
            text: include_str!(concat!($folder, "/", $name)),
        }),*]
    };
}

/// The page that classifies.
const CLASSIFY: &[Asset] = assets!("classify":
    "index.html" HTML,
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

/// The colours of the project's reports, which every page has.
const PALETTE: &str = "palette.css";

/// A file of the page that classifies.
pub(crate) fn classify(name: &str) -> Option<Reply> {
    find(CLASSIFY, name)
}

fn find(assets: &[Asset], name: &str) -> Option<Reply> {
    let found = match name {
        PALETTE => Reply::bytes(CSS, palette::variables() + &palette::heat_variables()),
        _ => {
            let asset = assets.iter().find(|asset| asset.name == name)?;
            Reply::bytes(asset.kind, asset.text)
        }
    };
    let reply = found
        .with(CONTENT_SECURITY_POLICY, POLICY)
        .with(HeaderName::from_static("x-content-type-options"), "nosniff")
        .with(HeaderName::from_static("referrer-policy"), "no-referrer")
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
            let quoted = asset.text.split(['"', '\'']);
            let files = quoted.filter(|text| text.ends_with(".js") || text.ends_with(".css"));
            for file in files {
                let name = file.trim_start_matches("./").trim_start_matches("page/");
                assert!(find(CLASSIFY, name).is_some(), "{} names {file}", asset.name);
            }
            assert!(!asset.text.contains("http://") || asset.text.contains("www.w3.org/"));
        }
    }
}
