//! `Cache-Control` of a live playlist under its two kinds of URL. One with `_HLS_msn` answers the same for a long time;
//! the plain one changes with every part (appendix B.1). What an origin says about the first must not be told of the
//! second.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::time::Duration;

/// Fields that say how long.
const LIFETIMES: [HeaderName; 3] =
    [header::CACHE_CONTROL, header::EXPIRES, HeaderName::from_static("cdn-cache-control")];
/// A blocking answer is good for so many target durations.
const BLOCKING: u32 = 6;

/// True when the origin forbids reuse without asking: that holds under whatever URL.
fn is_bound(headers: &HeaderMap) -> bool {
    const WORDS: [&str; 4] = ["no-store", "private", "no-cache", "must-revalidate"];
    headers.get_all(header::CACHE_CONTROL).iter().any(|line| {
        let line = line.to_str().unwrap_or("no-store").to_ascii_lowercase();
        line.split(',').any(|word| WORDS.contains(&word.split('=').next().unwrap_or_default().trim()))
    })
}

fn set_age(headers: &mut HeaderMap, seconds: u64) {
    for name in &LIFETIMES {
        headers.remove(name);
    }
    if let Ok(value) = HeaderValue::try_from(format!("max-age={seconds}")) {
        headers.insert(header::CACHE_CONTROL, value);
    }
}

/// The fields of an answer to a blocking request, for the plain URL: how long that is fresh, its playlist alone decides,
/// and downstream caches are told the least.
pub(crate) fn as_plain(headers: &mut HeaderMap) {
    if !is_bound(headers) {
        set_age(headers, 1);
    }
}

/// The fields of a playlist, for the answer to a blocking request.
pub(super) fn as_blocking(headers: &mut HeaderMap, target: Duration) {
    if !is_bound(headers) {
        set_age(headers, (target * BLOCKING).as_secs());
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_holds_for_one_url_is_not_told_of_the_other() {
        let headers = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
            headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
            headers
        };
        let mut plain = headers("public, max-age=12");
        as_plain(&mut plain);
        assert_eq!(plain.get(header::CACHE_CONTROL).unwrap(), "max-age=1");
        assert!(!plain.contains_key(header::EXPIRES));
        as_blocking(&mut plain, Duration::from_secs(2));
        assert_eq!(plain.get(header::CACHE_CONTROL).unwrap(), "max-age=12");
        for bound in ["no-store", "max-age=3, No-Cache", "private=\"x\""] {
            let mut kept = headers(bound);
            as_plain(&mut kept);
            as_blocking(&mut kept, Duration::from_secs(2));
            assert_eq!(kept, headers(bound), "{bound}");
        }
    }
}
