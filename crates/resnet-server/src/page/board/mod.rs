//! The page of a board: files that are part of the program. Nothing in it comes from elsewhere, and
//! no script or style stands in the page itself, so a policy can forbid both.

use super::{Asset, CSS, HTML, JS, PALETTE, find};
use crate::http::Reply;

/// What the page may do: load its own scripts and styles, and ask its own server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' \
    blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SVG: &str = "image/svg+xml";

/// A module of the page.
macro_rules! module {
    ($name:literal) => {
        Asset { path: concat!("/page/board/", $name), kind: JS, text: || include_str!($name) }
    };
}

const ASSETS: &[Asset] = &[
    Asset { path: "/", kind: HTML, text: || include_str!("board.html") },
    Asset { path: "/page/board.css", kind: CSS, text: || include_str!("board.css") },
    PALETTE,
    Asset { path: "/page/board.svg", kind: SVG, text: || include_str!("board.svg") },
    Asset { path: "/page/board.js", kind: JS, text: || include_str!("board.js") },
    module!("api.js"),
    module!("chart.js"),
    module!("curves.js"),
    module!("depth.js"),
    module!("dom.js"),
    module!("format.js"),
    module!("paint.js"),
    module!("predictions.js"),
    module!("runs.js"),
    module!("scale.js"),
    module!("store.js"),
    module!("table.js"),
];

/// The file at a path, if it is one of the page's.
pub(crate) fn asset(path: &str) -> Option<Reply> {
    find(ASSETS, path, POLICY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_another_asks_for_is_there() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page/board");
        let files = std::fs::read_dir(folder).unwrap().count();
        // One is this, and the colours are made.
        assert_eq!(ASSETS.len(), files - 1 + 1, "a file is not sent");
        for asset in ASSETS {
            let text = (asset.text)();
            let wanted = text.split(" from \"").skip(1).filter_map(|rest| rest.split('"').next());
            for name in wanted.filter(|name| name.starts_with('.')) {
                let path = match name.strip_prefix("./board/") {
                    Some(module) => format!("/page/board/{module}"),
                    None => format!("/page/board/{}", name.trim_start_matches("./")),
                };
                assert!(
                    ASSETS.iter().any(|other| other.path == path),
                    "{} in {}",
                    path,
                    asset.path
                );
            }
            for attribute in ["src=\"", "href=\""] {
                for rest in text.split(attribute).skip(1).filter(|_| asset.kind == HTML) {
                    let path = rest.split('"').next().unwrap();
                    assert!(super::asset(path).is_some(), "{path} in {}", asset.path);
                }
            }
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_is_written_into_the_page() {
        for asset in ASSETS {
            let text = (asset.text)();
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            for wrong in ["http:", "https:", "innerHTML", "eval(", "@import", "localStorage"] {
                assert!(!elsewhere.contains(wrong), "{wrong} in {}", asset.path);
            }
            if asset.kind == HTML {
                for wrong in [" style=", "<style", " on", "<script>"] {
                    assert!(!text.contains(wrong), "{wrong} in {}", asset.path);
                }
            }
        }
    }
}
