//! The player page that every edge serves at `/weir/player/`: files that are part of the program.
//!
//! Invariant: nothing is read from the disk and nothing of a request shapes the answer but its path. The page asks no
//! other server than those the viewer's stream is on.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS},
};
use weir_relay::http::{Body, Response};

/// Where the page is.
pub(super) const PLAYER: &str = "/weir/player";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! file {
    ($name:literal, $kind:expr) => {
        ($name, $kind, include_bytes!(concat!("../../../player-demo/dist/", $name)))
    };
}

/// Name, type and bytes of every file of the page, the page itself first.
const FILES: [(&str, &str, &[u8]); 6] = [
    file!("index.html", HTML),
    file!("style.css", CSS),
    file!("app.js", SCRIPT),
    file!("vendor.js", SCRIPT),
    file!("icon.svg", "image/svg+xml"),
    file!("licenses.txt", "text/plain; charset=utf-8"),
];

/// The file of this name; the empty name is the page. For GET, or for HEAD with its length alone.
pub fn player_file(name: &str, is_head: bool) -> Option<Response> {
    let name = if name.is_empty() { FILES[0].0 } else { name };
    let (_, kind, bytes) = FILES.into_iter().find(|(known, _, _)| *known == name)?;
    let fixed = |response: Response, field: HeaderName, value| response.with(field, HeaderValue::from_static(value));
    let mut response = fixed(Response::new(StatusCode::OK), CONTENT_TYPE, kind);
    // Another version of the program answers at the same address.
    response = fixed(response, CACHE_CONTROL, "no-cache");
    response = fixed(response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    Some(if is_head {
        response.with(CONTENT_LENGTH, bytes.len().into())
    } else {
        response.body(Body::full(Bytes::from_static(bytes)))
    })
}

/// Answers a path that begins with [`PLAYER`]; nothing if it is not the page's.
pub(super) fn page(path: &str, query: Option<&str>, is_head: bool) -> Option<Response> {
    let rest = path.strip_prefix(PLAYER)?;
    if rest.is_empty() {
        // The page names its files relative to itself.
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        let to = HeaderValue::from_str(&format!("{PLAYER}/{query}")).ok()?;
        return Some(Response::new(StatusCode::PERMANENT_REDIRECT).with(LOCATION, to));
    }
    player_file(rest.strip_prefix('/')?, is_head)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_names_is_embedded() {
        let html = std::str::from_utf8(FILES[0].2).unwrap();
        let named: Vec<&str> = ["src=\"", "href=\""]
            .iter()
            .flat_map(|attribute| html.split(attribute).skip(1))
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert!(named.len() >= 4, "{named:?}");
        for name in named {
            let name = name.strip_prefix("./").unwrap_or(name);
            assert_eq!(player_file(name, false).unwrap().status, StatusCode::OK, "{name}");
        }
        let script = std::str::from_utf8(FILES[2].2).unwrap();
        assert!(script.contains("./vendor.js"), "the script's one import");
    }

    #[test]
    fn files_have_their_types_and_nothing_else_is_there() {
        let index = page("/weir/player/", Some("src=/film/master.m3u8"), false).unwrap();
        assert_eq!(index.headers[CONTENT_TYPE], HTML);
        assert_eq!(index.body.length(), Some(FILES[0].2.len() as u64));
        let head = page("/weir/player/app.js", None, true).unwrap();
        assert_eq!(head.headers[CONTENT_TYPE], SCRIPT);
        assert_eq!(head.body.length(), Some(0));
        assert_eq!(head.headers[CONTENT_LENGTH], FILES[2].2.len().to_string());
        let bare = page("/weir/player", Some("src=/a%20b"), false).unwrap();
        assert_eq!(bare.headers[LOCATION], "/weir/player/?src=/a%20b");
        for path in ["/weir/player/nothing", "/weir/player/..%2fapp.js", "/weir/players", "/weir/player//app.js"] {
            assert!(page(path, None, false).is_none(), "{path}");
        }
    }
}
