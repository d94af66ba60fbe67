//! The page's files, inside the binary.
//!
//! Before: a browser. After: `page/app.js` asks [`super::api`] every two seconds. No file names
//! another server.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::api::ApiError;

/// One file of the page.
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

const INDEX: Asset = Asset {
    name: "index.html",
    kind: "text/html; charset=utf-8",
    text: include_str!("page/index.html"),
};

const ASSETS: [Asset; 9] = [
    Asset {
        name: "page.css",
        kind: "text/css; charset=utf-8",
        text: include_str!("page/page.css"),
    },
    Asset { name: "icon.svg", kind: "image/svg+xml", text: include_str!("page/icon.svg") },
    Asset { name: "app.js", kind: JAVASCRIPT, text: include_str!("page/app.js") },
    Asset { name: "dom.js", kind: JAVASCRIPT, text: include_str!("page/dom.js") },
    Asset { name: "format.js", kind: JAVASCRIPT, text: include_str!("page/format.js") },
    Asset { name: "heatmap.js", kind: JAVASCRIPT, text: include_str!("page/heatmap.js") },
    Asset { name: "histogram.js", kind: JAVASCRIPT, text: include_str!("page/histogram.js") },
    Asset { name: "performance.js", kind: JAVASCRIPT, text: include_str!("page/performance.js") },
    Asset { name: "tables.js", kind: JAVASCRIPT, text: include_str!("page/tables.js") },
];

/// Answers `/`.
pub(super) fn index() -> Response {
    answer(&INDEX)
}

/// Answers `/page/{file}`.
pub(super) fn asset(name: &str) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => answer(asset),
        None => ApiError::no_such_route().into_response(),
    }
}

/// The files change with the binary and are small: a browser asks again rather than mix two
/// versions.
fn answer(asset: &Asset) -> Response {
    ([(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, "no-cache")], asset.text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 70_000;

    #[test]
    fn the_page_is_small() {
        let bytes: usize = ASSETS.iter().chain([&INDEX]).map(|asset| asset.text.len()).sum();
        assert!(bytes < BYTES_MAX, "the page has {bytes} bytes, more than {BYTES_MAX}");
    }

    #[test]
    fn the_page_names_no_other_server() {
        for asset in ASSETS.iter().chain([&INDEX]) {
            for text in asset.text.split("://").skip(1) {
                assert!(text.starts_with("www.w3.org/2000/svg"), "an address in {}", asset.name);
            }
        }
    }

    #[test]
    fn text_is_never_set_as_markup() {
        for asset in &ASSETS {
            for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!asset.text.contains(way), "{way} in {}", asset.name);
            }
        }
    }
}
