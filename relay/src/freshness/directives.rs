//! `Cache-Control` as read from a response (RFC 9111 section 5.2.2): unknown directives ignored, the smallest of
//! repeated values taken, values that do not parse treated as zero so that doubt means stale.

use http::{HeaderMap, HeaderName, header};

/// The directives this cache acts on. Durations are seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// `no-store`.
    pub no_store: bool,
    /// `no-cache`, with or without field names.
    pub no_cache: bool,
    /// `private`, with or without field names.
    pub private: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate` or `proxy-revalidate`.
    pub must_revalidate: bool,
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
const MAX_SECONDS: u64 = 1 << 31;

impl Directives {
    /// Reads all `Cache-Control` fields of a response.
    pub fn of(headers: &HeaderMap) -> Self {
        Self::read(headers, &header::CACHE_CONTROL)
    }

    fn read(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut found = Self::default();
        for value in headers.get_all(name) {
            // One odd octet must not hide the `no-store` beside it.
            for part in split_unquoted(&String::from_utf8_lossy(value.as_bytes())) {
                found.take(part);
            }
        }
        found
    }

    fn take(&mut self, part: &str) {
        let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value.trim())));
        let seconds = || value.map_or(0, seconds);
        let least = |slot: &mut Option<u64>, value: u64| *slot = Some(slot.map_or(value, |old| old.min(value)));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" | "proxy-revalidate" => self.must_revalidate = true,
            "immutable" => self.immutable = true,
            "max-age" => least(&mut self.max_age, seconds()),
            "s-maxage" => least(&mut self.s_maxage, seconds()),
            "stale-while-revalidate" => least(&mut self.stale_while_revalidate, seconds()),
            "stale-if-error" => least(&mut self.stale_if_error, seconds()),
            _ => {}
        }
    }
}

fn seconds(value: &str) -> u64 {
    let digits = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    digits.parse::<u64>().map_or(MAX_SECONDS, |seconds| seconds.min(MAX_SECONDS))
}

fn split_unquoted(text: &str) -> impl Iterator<Item = &str> {
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
        let read = of(r#"Max-Age=10, PRIVATE="a, max-age=1", s-maxage="7",stale-if-error=3"#);
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
        assert_eq!(of("max-age=10, max-age=3").max_age, Some(3));
        assert_eq!(of("max-age=99999999999999999999999").max_age, Some(MAX_SECONDS));
    }
}
