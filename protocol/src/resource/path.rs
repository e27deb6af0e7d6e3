//! Canonical paths.
//!
//! Invariant: a [`CanonicalPath`] starts with `/`, has no dot segment (not even behind an encoded slash that a folder
//! origin might decode), and normalising it again changes nothing.

use minicbor::{Decode, Decoder, Encode};

use crate::resource::{MAX_PATH_AND_QUERY, ResourceError, normalise};

/// Characters of RFC 3986 `pchar` beside the unreserved ones, and the slash.
const PLAIN_IN_PATH: &[u8] = b"!$&'()*+,;=:@/";

/// An absolute, normalised path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
#[cbor(transparent)]
pub struct CanonicalPath(#[n(0)] String);

impl CanonicalPath {
    /// Normalises a path.
    ///
    /// # Errors
    /// [`ResourceError`].
    pub fn parse(path: &str) -> Result<Self, ResourceError> {
        if !path.starts_with('/') {
            return Err(ResourceError::NotOriginForm);
        }
        if path.len() > MAX_PATH_AND_QUERY {
            return Err(ResourceError::TooLong);
        }
        if path.contains(['?', '#']) {
            return Err(ResourceError::ForbiddenCharacter);
        }
        let encoded = normalise(path, PLAIN_IN_PATH, |octet| octet < 0x20 || octet == 0x7f || octet == b'\\')?;
        let path = remove_dot_segments(&encoded)?;
        // An origin that decodes %2F before it looks for dots must not be led upwards either.
        if path.split('/').any(|segment| segment.contains("%2F") && segment.split("%2F").any(|part| part == "..")) {
            return Err(ResourceError::EscapesRoot);
        }
        Ok(Self(path))
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `path` is this path or lies below it: `/film` covers `/film` and `/film/a`, not `/films`; `/film/`
    /// covers what lies below it; `/` covers everything.
    #[must_use]
    pub fn covers(&self, path: &Self) -> bool {
        let below = path.0.strip_prefix(self.0.as_str());
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.0.ends_with('/'))
    }
}

impl<'b, C> Decode<'b, C> for CanonicalPath {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let text = d.str()?;
        match Self::parse(text) {
            Ok(path) if path.0 == text => Ok(path),
            _ => Err(minicbor::decode::Error::message("not a canonical path")),
        }
    }
}

/// RFC 3986 section 5.2.4, except that leaving the root is an error instead of being ignored.
fn remove_dot_segments(path: &str) -> Result<String, ResourceError> {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_dots = false;
    for segment in path[1..].split('/') {
        ends_in_dots = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop().ok_or(ResourceError::EscapesRoot)?;
            }
            other => kept.push(other),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if ends_in_dots || out.is_empty() {
        out.push('/');
    }
    Ok(out)
}
