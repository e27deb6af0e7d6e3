//! The part of a query that belongs to the resource.
//!
//! Invariant: what a viewer or its player adds for itself (session token, CMCD, steering reports) is not in it; the
//! rest is what the origin asked its clients to send and keeps its order.

use minicbor::{Decode, Decoder, Encode};

use crate::resource::{MAX_PATH_AND_QUERY, ResourceError, normalise};

/// The query parameter that carries a session token.
pub const TOKEN_PARAMETER: &str = "weir_token";
/// The query parameter that asks for a multivariant playlist with a steering server in it.
pub const STEER_PARAMETER: &str = "weir_steer";

/// The query parameter that asks for CMSD (CTA-5006) in the response.
pub const CMSD_PARAMETER: &str = "weir_cmsd";

/// Parameters that address us or a steering server, never the origin: session token, the wishes for steering and CMSD, CMCD
/// (CTA-5004), HLS content steering.
const STRIPPED: [&str; 6] =
    [TOKEN_PARAMETER, STEER_PARAMETER, CMSD_PARAMETER, "CMCD", "_HLS_pathway", "_HLS_throughput"];
/// HLS delivery directives; players put them in any order, so they are sorted to the end.
const DIRECTIVE_PREFIX: &str = "_HLS_";
/// Characters of RFC 3986 `query` beside the unreserved ones.
const PLAIN_IN_QUERY: &[u8] = b"!$&'()*+,;=:@/?";

/// A normalised, non-empty query without its question mark.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
#[cbor(transparent)]
pub struct RetainedQuery(#[n(0)] String);

impl RetainedQuery {
    /// Normalises a query; `None` if nothing of it belongs to the resource. Empty parameters (`a&&b`) disappear.
    ///
    /// # Errors
    /// [`ResourceError`].
    pub fn parse(query: &str) -> Result<Option<Self>, ResourceError> {
        if query.len() > MAX_PATH_AND_QUERY {
            return Err(ResourceError::TooLong);
        }
        if query.contains('#') {
            return Err(ResourceError::Fragment);
        }
        let query = normalise(query, PLAIN_IN_QUERY, |octet| octet == 0)?;
        let kept = query.split('&').filter(|p| !p.is_empty() && !STRIPPED.contains(&name(p)));
        let (mut directives, mut parameters): (Vec<&str>, Vec<&str>) =
            kept.partition(|p| name(p).starts_with(DIRECTIVE_PREFIX));
        directives.sort_unstable();
        parameters.append(&mut directives);
        Ok((!parameters.is_empty()).then(|| Self(parameters.join("&"))))
    }

    /// The query without its question mark.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The query without HLS delivery directives, `None` if nothing else is in it, and the directives.
    #[must_use]
    pub fn without_directives(&self) -> (Option<Self>, &str) {
        let mut at = 0;
        for parameter in self.0.split('&') {
            if name(parameter).starts_with(DIRECTIVE_PREFIX) {
                let rest = self.0[..at].trim_end_matches('&');
                return ((!rest.is_empty()).then(|| Self(rest.to_owned())), &self.0[at..]);
            }
            at += parameter.len() + 1;
        }
        (Some(self.clone()), "")
    }
}

impl<'b, C> Decode<'b, C> for RetainedQuery {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let text = d.str()?;
        match Self::parse(text) {
            Ok(Some(query)) if query.0 == text => Ok(query),
            _ => Err(minicbor::decode::Error::message("not a canonical query")),
        }
    }
}

/// The session token in a request target, as it stands there; a token needs no percent-encoding.
#[must_use]
pub fn token_in_query(path_and_query: &str) -> Option<&str> {
    let (_, query) = path_and_query.split_once('?')?;
    query
        .split('&')
        .filter_map(|p| p.split_once('='))
        .find(|(name, _)| *name == TOKEN_PARAMETER)
        .map(|(_, value)| value)
}

fn name(parameter: &str) -> &str {
    parameter.split_once('=').map_or(parameter, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::token_in_query;

    #[test]
    fn the_first_token_counts() {
        assert_eq!(token_in_query("/a?x=1&weir_token=t.u.v&weir_token=w"), Some("t.u.v"));
        assert_eq!(token_in_query("/a?xweir_token=t"), None);
        assert_eq!(token_in_query("/weir_token=t"), None);
    }
}
