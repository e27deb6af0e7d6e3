//! Conditional and range requests (RFC 9110 §13, §14), decided from the request's headers and the validators.
//!
//! Invariant: a header that cannot be understood is ignored, as the RFC asks; it never turns into an error.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};

/// What identifies the state of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validators {
    /// Strong entity tag with its quotation marks.
    pub(super) etag: String,
    /// When the resource last changed.
    pub(super) modified: SystemTime,
}

/// How a GET or HEAD for an existing resource is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 200 with everything.
    Whole,
    /// 206 with the bytes from the first to the second position, both included.
    Part(usize, usize),
    /// 304.
    NotModified,
    /// 416.
    Unsatisfiable,
}

/// Decides in the order of RFC 9110 §13.2.2. Several ranges are answered with the whole, as §14.2 allows.
pub(super) fn judge(headers: &HeaderMap, validators: &Validators, length: usize) -> Verdict {
    if is_unmodified(headers, validators) {
        return Verdict::NotModified;
    }
    let Some(range) = text(headers, RANGE).filter(|_| range_applies(headers, validators)) else {
        return Verdict::Whole;
    };
    read_range(range, length).unwrap_or(Verdict::Whole)
}

fn is_unmodified(headers: &HeaderMap, validators: &Validators) -> bool {
    if headers.contains_key(IF_NONE_MATCH) {
        let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        return tags
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == validators.etag);
    }
    let since = text(headers, IF_MODIFIED_SINCE).and_then(|date| httpdate::parse_http_date(date).ok());
    since.is_some_and(|since| whole_seconds(validators.modified) <= since)
}

fn range_applies(headers: &HeaderMap, validators: &Validators) -> bool {
    if !headers.contains_key(IF_RANGE) {
        return true;
    }
    text(headers, IF_RANGE).is_some_and(|value| {
        let date = || httpdate::parse_http_date(value).ok();
        value == validators.etag || date().is_some_and(|date| date == whole_seconds(validators.modified))
    })
}

/// One `bytes` range; `None` when the header is to be ignored.
fn read_range(value: &str, length: usize) -> Option<Verdict> {
    let (first, last) = value.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
    if first.is_empty() {
        let suffix = position(last)?;
        let start = length.saturating_sub(suffix);
        return Some(if suffix == 0 || length == 0 {
            Verdict::Unsatisfiable
        } else {
            Verdict::Part(start, length - 1)
        });
    }
    let first = position(first)?;
    let last = if last.is_empty() { usize::MAX } else { position(last)? };
    if last < first {
        return None;
    }
    Some(if first >= length { Verdict::Unsatisfiable } else { Verdict::Part(first, last.min(length - 1)) })
}

/// Digits only; a number too large for memory is as good as the largest one.
fn position(digits: &str) -> Option<usize> {
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(usize::MAX))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// HTTP dates have no fraction, so comparisons must not have one either.
fn whole_seconds(at: SystemTime) -> SystemTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn verdict(headers: &[(HeaderName, &str)]) -> Verdict {
        let map = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_250);
        judge(&map, &Validators { etag: "\"a\"".into(), modified }, 100)
    }

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    #[test]
    fn ranges() {
        for (range, expected) in [
            ("bytes=0-0", Verdict::Part(0, 0)),
            ("bytes=10-", Verdict::Part(10, 99)),
            ("bytes=10-1000", Verdict::Part(10, 99)),
            ("bytes=0-99999999999999999999999", Verdict::Part(0, 99)),
            ("bytes=-10", Verdict::Part(90, 99)),
            ("bytes=-1000", Verdict::Part(0, 99)),
            ("bytes=100-", Verdict::Unsatisfiable),
            ("bytes=-0", Verdict::Unsatisfiable),
            ("bytes=5-4", Verdict::Whole),
            ("bytes=0-1,5-6", Verdict::Whole),
            ("bytes=+1-2", Verdict::Whole),
            ("bytes=", Verdict::Whole),
            ("items=0-1", Verdict::Whole),
        ] {
            assert_eq!(verdict(&[(RANGE, range)]), expected, "{range}");
        }
    }

    #[test]
    fn if_range_guards_the_range() {
        for (guard, expected) in [
            ("\"a\"", Verdict::Part(0, 1)),
            (MODIFIED, Verdict::Part(0, 1)),
            ("\"b\"", Verdict::Whole),
            ("W/\"a\"", Verdict::Whole),
            (EARLIER, Verdict::Whole),
        ] {
            assert_eq!(verdict(&[(RANGE, "bytes=0-1"), (IF_RANGE, guard)]), expected, "{guard}");
        }
    }

    #[test]
    fn a_known_state_is_not_sent_again() {
        assert_eq!(verdict(&[(IF_NONE_MATCH, "\"x\", W/\"a\"")]), Verdict::NotModified);
        assert_eq!(verdict(&[(IF_NONE_MATCH, "*")]), Verdict::NotModified);
        assert_eq!(verdict(&[(IF_NONE_MATCH, "\"x\"")]), Verdict::Whole);
        assert_eq!(verdict(&[(IF_MODIFIED_SINCE, MODIFIED)]), Verdict::NotModified);
        assert_eq!(verdict(&[(IF_MODIFIED_SINCE, EARLIER)]), Verdict::Whole);
        // The entity tag decides alone where both are given.
        assert_eq!(verdict(&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, MODIFIED)]), Verdict::Whole);
    }
}
