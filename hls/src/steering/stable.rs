//! `STABLE-VARIANT-ID` and `STABLE-RENDITION-ID`: the origin's, or ones made of the URI, which every relay and every
//! reload makes alike.

use super::tags::get;
use crate::{
    line::{Kind, lines},
    uri::is_data,
};

/// A variant's or rendition's URI under its stable name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StableUri {
    /// The name.
    pub id: String,
    /// As written.
    pub uri: String,
    /// True for `EXT-X-MEDIA`.
    pub rendition: bool,
}

/// The stable name that a tag gives itself, or the one made of its URI.
pub(super) fn id_of(list: &str, attribute: &str, uri: &str) -> String {
    match get(list, attribute) {
        Some(given) if is_stable_id(given.value) => given.value.to_owned(),
        _ => made_of(uri),
    }
}

/// FNV-1a (64 bit) of the URI without its query, which may change from one request to the next.
fn made_of(uri: &str) -> String {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let hash = path
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("u{hash:016x}")
}

/// Section 4.4.6.2: `a-z A-Z 0-9 + / = . - _`.
fn is_stable_id(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'.' | b'-' | b'_'))
}

/// Every variant and every rendition with a URI of its own, in the order of the text, each name once. I-frame streams
/// have a variant's name only where the origin gives them one.
pub fn stable_uris(text: &[u8]) -> Vec<StableUri> {
    let mut out: Vec<StableUri> = Vec::new();
    let mut open = None;
    for line in lines(text) {
        match line.kind() {
            Kind::Tag { name: "EXT-X-STREAM-INF", value, .. } => open = Some(value),
            Kind::Uri(uri) => {
                if let Some(list) = open.take() {
                    add(&mut out, list, "STABLE-VARIANT-ID", uri, false);
                }
            }
            Kind::Tag { name: "EXT-X-MEDIA", value, .. } => {
                if let Some(uri) = get(value, "URI") {
                    add(&mut out, value, "STABLE-RENDITION-ID", uri.value, true);
                }
            }
            Kind::Tag { name: "EXT-X-I-FRAME-STREAM-INF", value, .. } => {
                if let Some(uri) = get(value, "URI") {
                    add(&mut out, value, "STABLE-VARIANT-ID", uri.value, false);
                }
            }
            _ => {}
        }
    }
    out
}

fn add(out: &mut Vec<StableUri>, list: &str, attribute: &str, uri: &str, rendition: bool) {
    let id = id_of(list, attribute, uri);
    if !uri.is_empty() && !is_data(uri) && !out.iter().any(|known| known.id == id && known.rendition == rendition) {
        out.push(StableUri { id, uri: uri.to_owned(), rendition });
    }
}
