//! Conditional requests (RFC 9110 section 13), evaluated in the order of section 13.2.2.

use http::{
    HeaderMap, HeaderName,
    header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An entity tag (section 8.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ETag<'a> {
    weak: bool,
    /// Without quotes.
    opaque: &'a str,
}

impl<'a> ETag<'a> {
    /// Reads one tag, `"x"` or `W/"x"`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (tag, rest) = Self::first(text.trim())?;
        rest.is_empty().then_some(tag)
    }

    /// Reads the tag that `text` begins with, and what follows it.
    fn first(text: &'a str) -> Option<(Self, &'a str)> {
        let (weak, quoted) = match text.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
        Some((Self { weak, opaque }, rest))
    }

    /// Same bytes (section 8.8.3.2): neither weak, and equal.
    pub fn strongly_equals(self, other: Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Same meaning.
    pub fn weakly_equals(self, other: Self) -> bool {
        self.opaque == other.opaque
    }
}

/// What is known of the current representation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// Its `ETag` field as it stands in the response.
    pub etag: Option<&'a str>,
    /// Its `Last-Modified` field as it stands in the response.
    pub last_modified: Option<&'a str>,
}

impl<'a> Validators<'a> {
    fn tag(self) -> Option<ETag<'a>> {
        self.etag.and_then(ETag::parse)
    }

    fn modified(self) -> Option<SystemTime> {
        self.last_modified.and_then(date)
    }
}

/// What the conditions of a GET or HEAD lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Answer as if there were no condition.
    Proceed,
    /// Answer 304.
    NotModified,
    /// Answer 412.
    Failed,
}

/// Evaluates the conditions of a GET or HEAD for a representation that exists (section 13.2.2, steps 1 to 4; for
/// step 5 see [`range_applies`]).
pub fn evaluate(headers: &HeaderMap, current: Validators<'_>) -> Condition {
    if headers.contains_key(IF_MATCH) {
        if !any_tag(headers, IF_MATCH, current.tag(), true) {
            return Condition::Failed;
        }
    } else if let (Some(limit), Some(modified)) = (single_date(headers, IF_UNMODIFIED_SINCE), current.modified())
        && modified > limit
    {
        return Condition::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        if any_tag(headers, IF_NONE_MATCH, current.tag(), false) {
            return Condition::NotModified;
        }
    } else if let (Some(limit), Some(modified)) = (single_date(headers, IF_MODIFIED_SINCE), current.modified())
        && modified <= limit
    {
        return Condition::NotModified;
    }
    Condition::Proceed
}

/// True when a `Range` field counts: there is no `If-Range`, or it names the current representation strongly (section
/// 13.1.5). `date_field` is the response's `Date`: a modification date is a strong validator only when it lies a
/// second or more before it (section 8.8.2.2).
pub fn range_applies(headers: &HeaderMap, current: Validators<'_>, date_field: Option<SystemTime>) -> bool {
    let mut fields = headers.get_all(IF_RANGE).iter();
    let Some(field) = fields.next() else { return true };
    let (Ok(field), None) = (field.to_str(), fields.next()) else {
        return false;
    };
    if let Some(asked) = ETag::parse(field) {
        return current.tag().is_some_and(|tag| tag.strongly_equals(asked));
    }
    match (date(field), current.modified(), date_field) {
        (Some(asked), Some(modified), Some(sent)) => asked == modified && modified + Duration::from_secs(1) <= sent,
        _ => false,
    }
}

/// True when the field is `*`, or one of its tags compares equal to the current one.
fn any_tag(headers: &HeaderMap, name: HeaderName, current: Option<ETag<'_>>, strong: bool) -> bool {
    headers.get_all(name).iter().filter_map(|field| field.to_str().ok()).any(|field| {
        let mut rest = field.trim();
        if rest == "*" {
            return true;
        }
        let Some(current) = current else { return false };
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let Some((tag, after)) = ETag::first(rest) else {
                return false;
            };
            if if strong { current.strongly_equals(tag) } else { current.weakly_equals(tag) } {
                return true;
            }
            rest = after;
        }
    })
}

/// A field with one date; a damaged one is ignored.
fn single_date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let mut fields = headers.get_all(name).iter();
    let field = fields.next()?;
    if fields.next().is_some() {
        return None;
    }
    date(field.to_str().ok()?)
}

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim()).ok().filter(|date| *date >= UNIX_EPOCH)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn strong() -> Validators<'static> {
        Validators { etag: Some("\"a\""), last_modified: Some(OLD) }
    }

    #[test]
    fn conditions_are_evaluated_in_order() {
        use Condition::{Failed, NotModified, Proceed};
        for (fields, expected) in [
            (&[][..], Proceed),
            (&[(IF_NONE_MATCH, "\"a\"")], NotModified),
            (&[(IF_NONE_MATCH, "W/\"a\"")], NotModified),
            (&[(IF_NONE_MATCH, "\"x\", \"with, comma\",, W/\"a\"")], NotModified),
            (&[(IF_NONE_MATCH, "*")], NotModified),
            (&[(IF_NONE_MATCH, "\"b\"")], Proceed),
            (&[(IF_NONE_MATCH, "a")], Proceed),
            (&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, NEW)], Proceed),
            (&[(IF_MODIFIED_SINCE, OLD)], NotModified),
            (&[(IF_MODIFIED_SINCE, NEW)], NotModified),
            (&[(IF_MODIFIED_SINCE, "yesterday")], Proceed),
            (&[(IF_MATCH, "\"a\"")], Proceed),
            (&[(IF_MATCH, "*")], Proceed),
            (&[(IF_MATCH, "W/\"a\"")], Failed),
            (&[(IF_MATCH, "\"b\"")], Failed),
            (&[(IF_MATCH, "\"a\""), (IF_UNMODIFIED_SINCE, "Sat, 05 Nov 1994 08:49:37 GMT")], Proceed),
            (&[(IF_MATCH, "\"a\""), (IF_NONE_MATCH, "\"a\"")], NotModified),
            (&[(IF_UNMODIFIED_SINCE, "Sat, 05 Nov 1994 08:49:37 GMT")], Failed),
            (&[(IF_UNMODIFIED_SINCE, OLD)], Proceed),
        ] {
            assert_eq!(evaluate(&headers(fields), strong()), expected, "{fields:?}");
        }
        let bare = Validators::default();
        assert_eq!(evaluate(&headers(&[(IF_NONE_MATCH, "*")]), bare), NotModified);
        assert_eq!(evaluate(&headers(&[(IF_NONE_MATCH, "\"a\"")]), bare), Proceed);
        assert_eq!(evaluate(&headers(&[(IF_MODIFIED_SINCE, OLD)]), bare), Proceed);
    }

    #[test]
    fn a_range_counts_only_for_the_same_bytes() {
        let sent = date(NEW);
        for (field, expected) in
            [("\"a\"", true), ("W/\"a\"", false), ("\"b\"", false), (OLD, true), (NEW, false), ("nonsense", false)]
        {
            assert_eq!(range_applies(&headers(&[(IF_RANGE, field)]), strong(), sent), expected, "{field}");
        }
        assert!(range_applies(&HeaderMap::new(), strong(), None));
        assert!(
            !range_applies(&headers(&[(IF_RANGE, OLD)]), strong(), date(OLD)),
            "modified in the second it was sent"
        );
        let weak = Validators { etag: Some("W/\"a\""), last_modified: None };
        assert!(!range_applies(&headers(&[(IF_RANGE, "W/\"a\"")]), weak, sent));
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "[ -~]{0,60}") {
            let fields = headers(&[(IF_NONE_MATCH, &text), (IF_MATCH, &text), (IF_RANGE, &text)]);
            let _ = evaluate(&fields, strong());
            let _ = range_applies(&fields, strong(), None);
        }
    }
}
