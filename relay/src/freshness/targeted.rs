//! `CDN-Cache-Control` (RFC 9213): a structured dictionary for shared caches in front of an origin. A field that is
//! empty, no dictionary, or gives a known directive a value of the wrong type is ignored as a whole, as section 2.1
//! asks, and `Cache-Control` counts.

use super::directives::{Directives, MAX_SECONDS};
use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

pub(super) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

const KNOWN: [&str; 12] = [
    "no-store",
    "no-cache",
    "private",
    "public",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "immutable",
    "max-age",
    "s-maxage",
    "stale-while-revalidate",
    "stale-if-error",
];

/// What the targeted field says; `None` when it is not there or not valid.
pub(super) fn of(headers: &HeaderMap) -> Option<Directives> {
    let lines: Vec<&str> =
        headers.get_all(CDN_CACHE_CONTROL).iter().map(|line| line.to_str().ok()).collect::<Option<_>>()?;
    let members: Dictionary = Parser::new(&lines.join(", ")).parse().ok()?;
    if members.is_empty() {
        return None;
    }
    let mut found = Directives { targeted: true, ..Directives::default() };
    for (name, entry) in &members {
        let ListEntry::Item(item) = entry else {
            // An inner list is nothing that any directive takes.
            if KNOWN.contains(&name.as_str()) {
                return None;
            }
            continue;
        };
        take(&mut found, name.as_str(), &item.bare_item)?;
    }
    Some(found)
}

/// Notes one directive; `None` when its value has the wrong type.
fn take(found: &mut Directives, name: &str, value: &BareItem) -> Option<()> {
    let flag = || value.as_boolean();
    // A negative lifetime is over before it begins.
    let seconds = || value.as_integer().map(|seconds| u64::try_from(seconds).unwrap_or(0).min(MAX_SECONDS));
    match name {
        "no-store" => found.no_store = flag()?,
        "no-cache" => found.no_cache = flag()?,
        "private" => found.private = flag()?,
        "public" => found.public = flag()?,
        "must-revalidate" => found.must_revalidate = flag()?,
        "proxy-revalidate" => found.proxy_revalidate = flag()?,
        "must-understand" => found.must_understand = flag()?,
        "immutable" => found.immutable = flag()?,
        "max-age" => found.max_age = Some(seconds()?),
        "s-maxage" => found.s_maxage = Some(seconds()?),
        "stale-while-revalidate" => found.stale_while_revalidate = Some(seconds()?),
        "stale-if-error" => found.stale_if_error = Some(seconds()?),
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<Directives> {
        of(&HeaderMap::from_iter([(CDN_CACHE_CONTROL, HeaderValue::from_str(text).ok()?)]))
    }

    #[test]
    fn a_dictionary_is_read() {
        let found =
            read("max-age=600;x=1, must-revalidate, later=(1 2), stale-if-error=99999999999").unwrap_or_default();
        assert_eq!((found.max_age, found.must_revalidate, found.targeted), (Some(600), true, true));
        assert_eq!(found.stale_if_error, Some(MAX_SECONDS));
        assert_eq!(read("max-age=-1").and_then(|found| found.max_age), Some(0));
        assert_eq!(read("no-store=?0, foo").map(|found| found.no_store), Some(false));
    }

    #[test]
    fn what_is_no_dictionary_or_mistyped_is_ignored() {
        for text in [
            "",
            "max-age=10000, &&&&&",
            "max-age=\"10000\"",
            "max-age",
            "max-age=1.5",
            "MAX-AGE=1",
            "private=1",
            "private=(a)",
            "max-age =1",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_decided(text in "[ -~]{0,80}") {
            let _ = read(&text);
        }
    }
}
