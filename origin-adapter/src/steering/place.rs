//! Where a door or a playlist is: two spellings of one place are one.

use url::Url;

/// Where a door or a playlist is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    scheme: String,
    pub(super) host: String,
    port: Option<u16>,
    prefix: String,
}

impl Place {
    pub(super) fn parse(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        Some(Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str()?.to_owned(),
            port: url.port_or_known_default(),
            prefix: url.path().trim_end_matches('/').to_owned(),
        })
    }

    pub(super) fn differs_in_host_only(&self, other: &Self) -> bool {
        (&self.scheme, self.port, &self.prefix) == (&other.scheme, other.port, &other.prefix)
    }

    pub(super) fn url(&self) -> String {
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        format!("{}://{}{port}{}", self.scheme, self.host, self.prefix)
    }
}

/// The one spelling of a door's URL.
pub(crate) fn canonical(url: &str) -> Option<String> {
    Place::parse(url).map(|place| place.url())
}
