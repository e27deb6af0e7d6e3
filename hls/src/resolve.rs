//! Resolves a playlist's references against the playlist's own path (RFC 3986, section 5.2), as players do.
//!
//! Invariant: a result's path starts with `/` and has no `.` or `..` segment, in no spelling that a browser would
//! take for one (`%2e`, a backslash as separator). It is encoded as a browser sends it, so that it can be compared
//! with the path of a later request.

use std::fmt;

/// What a reference points at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A resource on the playlist's own origin.
    SameOrigin {
        /// Absolute path.
        path: String,
        /// Without the question mark; `Some("")` is an empty query.
        query: Option<String>,
    },
    /// An absolute URL or a network-path reference. It may still name the playlist's origin: who knows that origin's
    /// name compares `authority`.
    Absolute {
        /// `http` or `https`; `None` means the scheme of the playlist.
        scheme: Option<&'static str>,
        /// Host and port as written, in lower case.
        authority: String,
        /// Absolute path.
        path: String,
        /// Without the question mark.
        query: Option<String>,
    },
}

impl Reference {
    /// The absolute path.
    pub fn path(&self) -> &str {
        match self {
            Self::SameOrigin { path, .. } | Self::Absolute { path, .. } => path,
        }
    }

    /// The query without the question mark.
    pub fn query(&self) -> Option<&str> {
        match self {
            Self::SameOrigin { query, .. } | Self::Absolute { query, .. } => query.as_deref(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Absolute { scheme, authority, .. } = self {
            if let Some(scheme) = scheme {
                write!(f, "{scheme}:")?;
            }
            write!(f, "//{authority}")?;
        }
        f.write_str(self.path())?;
        self.query().map_or(Ok(()), |query| write!(f, "?{query}"))
    }
}

/// Resolves `reference` against `base_path`, the absolute path (with or without query) of the playlist that holds it.
/// The fragment is dropped.
///
/// `None` where there is nothing to fetch or nothing to know: an empty or fragment-only reference, a scheme other than
/// `http` and `https`, user information or no host in an absolute URL, control characters, an `EXT-X-DEFINE` variable
/// that is not resolved, or a base path that does not start with `/`.
pub fn resolve(base_path: &str, reference: &str) -> Option<Reference> {
    if !base_path.starts_with('/') || base_path.chars().chain(reference.chars()).any(char::is_control) {
        return None;
    }
    let reference = reference.trim_matches(' ').split('#').next()?;
    if reference.is_empty() || reference.contains("{$") {
        return None;
    }
    let (scheme, rest) = match scheme_of(reference) {
        Some((name, rest)) => {
            (Some(["http", "https"].into_iter().find(|known| known.eq_ignore_ascii_case(name))?), rest)
        }
        None => (None, reference),
    };
    let (written, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(encode(query, is_kept_in_query))),
        None => (rest, None),
    };
    let written = written.replace('\\', "/");
    if let Some(from_authority) = written.strip_prefix("//") {
        let (authority, path) = from_authority.split_at(from_authority.find('/').unwrap_or(from_authority.len()));
        if authority.is_empty() || authority.contains(['@', ' ']) {
            return None;
        }
        let (authority, path) = (authority.to_ascii_lowercase(), normalise(path));
        return Some(Reference::Absolute { scheme, authority, path, query });
    }
    if scheme.is_some() {
        return None;
    }
    let base = base_path.split(['?', '#']).next()?.replace('\\', "/");
    let path = if written.is_empty() {
        normalise(&base)
    } else if written.starts_with('/') {
        normalise(&written)
    } else {
        let directory = &base[..base.rfind('/').map_or(0, |slash| slash + 1)];
        normalise(&format!("{directory}{written}"))
    };
    Some(Reference::SameOrigin { path, query })
}

/// Splits a scheme off (RFC 3986, section 3.1).
fn scheme_of(reference: &str) -> Option<(&str, &str)> {
    let (name, rest) = reference.split_once(':')?;
    let is_scheme = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    is_scheme.then_some((name, rest))
}

/// Removes dot segments (RFC 3986, section 5.2.4) and encodes the rest. `path` is empty or starts with `/`.
fn normalise(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match dots(segment) {
            0 => kept.push(segment),
            count => {
                if count == 2 {
                    kept.pop();
                }
                // `a/.` and `a/b/..` name directories: the slash stays.
                if is_last {
                    kept.push("");
                }
            }
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for segment in kept {
        out.push('/');
        out.push_str(&encode(segment, is_kept_in_path));
    }
    out
}

/// 1 for `.`, 2 for `..`, also percent-encoded, 0 for anything else.
fn dots(segment: &str) -> usize {
    let mut rest = segment;
    let mut count = 0;
    while !rest.is_empty() {
        let Some(after) =
            rest.strip_prefix('.').or_else(|| rest.strip_prefix("%2e")).or_else(|| rest.strip_prefix("%2E"))
        else {
            return 0;
        };
        rest = after;
        count += 1;
    }
    if count <= 2 { count } else { 0 }
}

/// Percent-encodes what browsers encode (WHATWG URL, path and special-query percent-encode sets); what is already
/// encoded stays as it is.
fn encode(text: &str, is_kept: fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_kept(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn is_kept_in_path(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'?' | b'^' | b'`' | b'{' | b'}')
}

fn is_kept_in_query(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(base: &str, reference: &str) -> Option<String> {
        resolve(base, reference).map(|reference| reference.to_string())
    }

    #[test]
    fn the_examples_of_rfc_3986() {
        for (reference, expected) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("g#s", "/b/c/g"),
            ("g?y#s", "/b/c/g?y"),
            (";x", "/b/c/;x"),
            ("g;x?y#s", "/b/c/g;x?y"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("...", "/b/c/..."),
            ("./../g", "/b/g"),
            ("./g/.", "/b/c/g/"),
            ("g/../h", "/b/c/h"),
            ("g;x=1/../y", "/b/c/y"),
            ("g?y/../x", "/b/c/g?y/../x"),
            ("//g", "//g"),
            ("https://G:8443/a/../b?c#d", "https://g:8443/b?c"),
        ] {
            let expected = if expected == "//g" { "//g/" } else { expected };
            assert_eq!(resolved("/b/c/d;p?q", reference).as_deref(), Some(expected), "{reference}");
        }
    }

    #[test]
    fn spellings_that_browsers_take_for_dots() {
        assert_eq!(resolved("/a/b/p.m3u8", "%2e%2E/x.ts").as_deref(), Some("/a/x.ts"));
        assert_eq!(resolved("/a/b/p.m3u8", "..\\x.ts").as_deref(), Some("/a/x.ts"));
        assert_eq!(resolved("/a/b/p.m3u8", ".%2e/.%2e/.%2e/x.ts").as_deref(), Some("/x.ts"));
        assert_eq!(resolved("/a/../b/p.m3u8", "x.ts").as_deref(), Some("/b/x.ts"));
    }

    #[test]
    fn encodes_as_a_browser_does() {
        assert_eq!(resolved("/a/p.m3u8", "ä b%20c.ts?x=\"1\"").as_deref(), Some("/a/%C3%A4%20b%20c.ts?x=%221%22"));
    }

    #[test]
    fn nothing_to_fetch() {
        for reference in
            ["", "  ", "#f", "data:,x", "skd://key", "urn:a", "{$base}/x.ts", "http:x", "http:///x", "a\tb"]
        {
            assert_eq!(resolved("/a/p.m3u8", reference), None, "{reference}");
        }
        assert_eq!(resolved("a/p.m3u8", "x.ts"), None);
        assert_eq!(resolved("/a/p.m3u8", "https://user@host/x"), None);
    }

    #[test]
    fn a_colon_in_a_later_segment_is_no_scheme() {
        assert_eq!(resolved("/a/p.m3u8", "x/12:30.ts").as_deref(), Some("/a/x/12:30.ts"));
        assert_eq!(resolved("/a/p.m3u8", "12:30.ts").as_deref(), Some("/a/12:30.ts"));
    }
}
