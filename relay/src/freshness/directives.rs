//! `Cache-Control` as read from a response (RFC 9111 section 5.2.2): unknown directives ignored, the smallest of
//! repeated values taken, values that do not parse treated as zero so that doubt means stale.

use super::targeted;
use http::{HeaderMap, HeaderName, header};

/// The directives this cache acts on. Durations are seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// They came in a field for caches like this one (RFC 9213): then `Expires` says nothing.
    pub targeted: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache` without field names.
    pub no_cache: bool,
    /// `private` without field names.
    pub private: bool,
    /// Fields that `no-cache` and `private` name: the response may be shared without them.
    pub withheld: Vec<HeaderName>,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `immutable` (RFC 8246).
    pub immutable: bool,
    /// `max-age`.
    pub max_age: Option<u64>,
    /// `s-maxage`.
    pub s_maxage: Option<u64>,
    /// `stale-while-revalidate` (RFC 5861).
    pub stale_while_revalidate: Option<u64>,
    /// `stale-if-error` (RFC 5861).
    pub stale_if_error: Option<u64>,
}

/// No duration is longer than this many seconds (RFC 9111 section 1.2.2).
pub(super) const MAX_SECONDS: u64 = 1 << 31;

impl Directives {
    /// What a response says to a shared cache: its `CDN-Cache-Control` if that is there and valid (RFC 9213 section
    /// 2.2), else all its `Cache-Control` fields.
    pub fn of(headers: &HeaderMap) -> Self {
        if let Some(targeted) = targeted::of(headers) {
            return targeted;
        }
        let mut found = Self::default();
        for value in headers.get_all(header::CACHE_CONTROL) {
            // One odd octet must not hide the `no-store` beside it.
            for part in split_unquoted(&String::from_utf8_lossy(value.as_bytes())) {
                let (name, value) = split_value(part);
                found.take(&name, value);
            }
        }
        found
    }

    /// Seconds of explicit freshness for a shared cache, apart from `Expires`.
    pub fn lifetime(&self) -> Option<u64> {
        self.s_maxage.or(self.max_age)
    }

    /// True when nothing stale may be served, not even while no source answers.
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache || self.s_maxage.is_some()
    }

    /// True when a response to a request with `Authorization` may be shared all the same (RFC 9111 section 3.5).
    pub fn opens_authorized(&self) -> bool {
        self.public || self.must_revalidate || self.s_maxage.is_some()
    }

    fn take(&mut self, name: &str, value: Option<&str>) {
        let seconds = || value.map_or(0, seconds);
        match name {
            "no-store" => self.no_store = true,
            "no-cache" => match field_names(value) {
                Some(names) => self.withheld.extend(names),
                None => self.no_cache = true,
            },
            "private" => match field_names(value) {
                Some(names) => self.withheld.extend(names),
                None => self.private = true,
            },
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "immutable" => self.immutable = true,
            "max-age" => least(&mut self.max_age, seconds()),
            "s-maxage" => least(&mut self.s_maxage, seconds()),
            "stale-while-revalidate" => least(&mut self.stale_while_revalidate, seconds()),
            "stale-if-error" => least(&mut self.stale_if_error, seconds()),
            _ => {}
        }
    }
}

pub(super) fn least(slot: &mut Option<u64>, value: u64) {
    *slot = Some(slot.map_or(value, |old| old.min(value)));
}

/// A directive's name in lower case and its value.
pub(super) fn split_value(part: &str) -> (String, Option<&str>) {
    let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value.trim())));
    (name.trim().to_ascii_lowercase(), value)
}

/// The field names in a quoted value; `None` where the directive stands for the whole response: without a value, and
/// whenever the value is not a list of names, the safe side.
fn field_names(value: Option<&str>) -> Option<Vec<HeaderName>> {
    let inner = value?.strip_prefix('"')?.strip_suffix('"')?;
    let names: Result<Vec<HeaderName>, _> =
        inner.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::parse).collect();
    names.ok().filter(|names| !names.is_empty())
}

pub(super) fn seconds(value: &str) -> u64 {
    let digits = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    digits.parse::<u64>().map_or(MAX_SECONDS, |seconds| seconds.min(MAX_SECONDS))
}

pub(super) fn split_unquoted(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |character| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' => return !quoted,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(text: &'static str) -> Directives {
        Directives::of(&HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static(text))]))
    }

    #[test]
    fn directives_are_case_insensitive_and_commas_in_quotes_do_not_split() {
        let read = of(r#"Max-Age=10, x="a, max-age=1", s-maxage="7",stale-if-error=3, PRIVATE"#);
        assert_eq!((read.max_age, read.s_maxage, read.stale_if_error), (Some(10), Some(7), Some(3)));
        assert!(read.private && !read.no_store);
    }

    #[test]
    fn octets_outside_ascii_hide_nothing() {
        let value = HeaderValue::from_bytes(b"x=\"caf\xe9\", no-store").expect("obs-text is allowed");
        assert!(Directives::of(&HeaderMap::from_iter([(header::CACHE_CONTROL, value)])).no_store);
    }

    #[test]
    fn doubt_means_stale() {
        assert_eq!(of("max-age=abc").max_age, Some(0));
        assert_eq!(of("max-age=-1").max_age, Some(0));
        assert_eq!(of("max-age='10'").max_age, Some(0));
        assert_eq!(of("max-age=3600.5").max_age, Some(0));
        assert_eq!(of("max-age=10, max-age=3").max_age, Some(3));
        assert_eq!(of("max-age=0010").max_age, Some(10));
        assert_eq!(of("max-age=99999999999999999999999").max_age, Some(MAX_SECONDS));
    }

    #[test]
    fn named_fields_are_withheld_and_anything_else_is_about_the_whole() {
        let read = of(r#"no-cache="a, B", private="set-cookie", max-age=9"#);
        assert_eq!(read.withheld, ["a", "b", "set-cookie"]);
        assert!(!read.no_cache && !read.private);
        for whole in ["no-cache", "no-cache=a", r#"no-cache="""#, r#"no-cache="a b""#, r#"no-cache="a"#] {
            let read = of(whole);
            assert!(read.no_cache && read.withheld.is_empty(), "{whole}");
        }
    }
}
