//! Where a resource is: on any of the viewer's hosts, which have the same paths, or on one host elsewhere.

use url::{Position, Url};
use weir_hls::{Reference, resolve};

/// Where a resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Path and query on every host of the viewer.
    Shared(String),
    /// A host that is none of the viewer's.
    Elsewhere(Url),
}

impl Place {
    /// The URL of the resource on a host of the viewer.
    pub(super) fn on(&self, host: &Url) -> Url {
        match self {
            Self::Shared(path) => at(host, path),
            Self::Elsewhere(url) => url.clone(),
        }
    }

    /// What a reference in the playlist at this place points at; `None` where there is nothing to fetch.
    pub(super) fn reference(&self, reference: &str, hosts: &[Url]) -> Option<Self> {
        let base = match self {
            Self::Shared(path) => path.as_str(),
            Self::Elsewhere(url) => url.path(),
        };
        let target = resolve(base, reference)?;
        let path = match target.query() {
            Some(query) => format!("{}?{query}", target.path()),
            None => target.path().to_owned(),
        };
        match (&target, self) {
            (Reference::SameOrigin { .. }, Self::Shared(_)) => Some(Self::Shared(path)),
            (Reference::SameOrigin { .. }, Self::Elsewhere(url)) => Some(Self::Elsewhere(at(url, &path))),
            (Reference::Absolute { .. }, from) => {
                let url = from.on(hosts.first()?).join(&target.to_string()).ok()?;
                let is_ours = hosts.iter().any(|host| authority(host) == authority(&url));
                Some(if is_ours { Self::Shared(path) } else { Self::Elsewhere(url) })
            }
        }
    }
}

/// Sets path and query. Joining would take a path that begins with two slashes for a host.
fn at(host: &Url, path: &str) -> Url {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let mut url = host.clone();
    url.set_path(path);
    url.set_query(query);
    url.set_fragment(None);
    url
}

/// Host and port, the port also where it is the scheme's own.
pub(super) fn authority(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", &url[Position::BeforeHost..Position::AfterHost])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn references_stay_on_the_hosts_or_leave_them() {
        let hosts = [Url::parse("http://a:80/").unwrap(), Url::parse("https://b:8443/").unwrap()];
        let playlist = Place::Shared("/x/master.m3u8?token=1".to_owned());
        let of = |reference| playlist.reference(reference, &hosts).unwrap();
        assert_eq!(of("lo/p.m3u8?q"), Place::Shared("/x/lo/p.m3u8?q".to_owned()));
        assert_eq!(of("https://b:8443/y.ts"), Place::Shared("/y.ts".to_owned()));
        assert_eq!(of("http://a/y.ts"), Place::Shared("/y.ts".to_owned()));
        let away = of("//c/v/p.m3u8");
        assert_eq!(away, Place::Elsewhere(Url::parse("http://c/v/p.m3u8").unwrap()));
        let next = away.reference("s.ts", &hosts).unwrap();
        assert_eq!(next, Place::Elsewhere(Url::parse("http://c/v/s.ts").unwrap()));
        assert_eq!(of("y.ts").on(&hosts[1]).as_str(), "https://b:8443/x/y.ts");
        assert_eq!(playlist.reference("data:,x", &hosts), None);
        assert_eq!(of("/.//c/y.ts?a?b").on(&hosts[0]).as_str(), "http://a//c/y.ts?a?b");
    }
}
