//! The versions of HTTP that the client speaks, and their names.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Which version of HTTP a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112), one request at a time on a connection.
    H1,
    /// HTTP/2 (RFC 9113): by ALPN over TLS, by prior knowledge (section 3.3) over plain TCP.
    H2,
    /// HTTP/3 (RFC 9114), https only.
    H3,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::H3 => "h3",
        })
    }
}

/// The text names no version of HTTP that this client speaks.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not 1, 2 or 3")]
pub struct UnknownProtocol(String);

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    /// Reads `1`, `2`, `3` or `h1`, `h2`, `h3`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix('h').unwrap_or(text) {
            "1" => Ok(Self::H1),
            "2" => Ok(Self::H2),
            "3" => Ok(Self::H3),
            _ => Err(UnknownProtocol(text.to_owned())),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_read_with_and_without_h() {
        assert_eq!("1".parse::<Protocol>().unwrap(), Protocol::H1);
        assert_eq!("h3".parse::<Protocol>().unwrap(), Protocol::H3);
        assert!("4".parse::<Protocol>().is_err());
        assert_eq!(Protocol::H2.to_string(), "h2");
    }
}
