//! Which store: one URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a ledger is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `redb:///path/to/file` or `redb:relative/file`: a file of this process.
    Redb(PathBuf),
    /// `postgres://user@host/database`: a database that several adapters share.
    Postgres(String),
}

/// Why a text names no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a ledger's store is `redb:///path/to/file` or `postgres://user@host/database`")]
pub struct StoreUrlError;

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        let path = text.strip_prefix("redb:").ok_or(StoreUrlError)?;
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.ends_with('/') { Err(StoreUrlError) } else { Ok(Self::Redb(path.into())) }
    }
}

impl fmt::Display for StoreUrl {
    /// For messages: a password is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redb(path) => write!(f, "redb://{}", path.display()),
            Self::Postgres(text) => match url::Url::parse(text) {
                Ok(mut url) => {
                    // Only a URL without a host refuses a password, and it has none.
                    let _ = url.set_password(None);
                    url.set_query(None);
                    write!(f, "{url}")
                }
                Err(_) => f.write_str("postgres://…"),
            },
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::StoreUrl;

    #[test]
    fn urls_name_stores_and_hide_passwords() {
        let parse = |text: &str| text.parse::<StoreUrl>();
        assert_eq!(parse("redb:///var/lib/ledger.redb").unwrap(), StoreUrl::Redb("/var/lib/ledger.redb".into()));
        assert_eq!(parse("redb:ledger.redb").unwrap(), StoreUrl::Redb("ledger.redb".into()));
        let postgres = parse("postgres://weir:secret@db/ledger?password=secret").unwrap();
        assert_eq!(format!("{postgres:?}"), "postgres://weir@db/ledger");
        for bad in ["", "redb:", "redb:///dir/", "mysql://x", "/path"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
