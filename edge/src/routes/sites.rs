//! Whose content is it? By `Host`, then by the constant first path component, then because there is only one
//! publisher; anything else is misdirected (421, RFC 9110 section 15.5.20), so that two publishers with the same paths
//! never collide.

use std::collections::HashMap;
use weir_protocol::ids::PublisherId;

/// One publisher this edge serves.
#[derive(Debug, Clone)]
pub struct Site {
    /// The publisher; for a plain pull-through cache its upstream's stand-in.
    pub publisher: PublisherId,
    /// The constant first path component, if it has one.
    pub name: Option<String>,
    /// Host names that are its own on this edge.
    pub hosts: Vec<String>,
}

/// Why sites cannot be told apart.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SiteError {
    /// Two publishers claim one host name.
    #[error("host {0} is claimed by two publishers")]
    Host(String),
    /// Two publishers claim one first path component.
    #[error("the name {0} is claimed by two publishers")]
    Name(String),
}

/// No publisher, or more than one, is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misdirected;

/// All publishers of this edge.
#[derive(Debug, Clone, Default)]
pub struct Sites {
    hosts: HashMap<String, PublisherId>,
    names: HashMap<String, PublisherId>,
    only: Option<PublisherId>,
}

impl Sites {
    /// Sites that can be told apart.
    pub fn new(sites: Vec<Site>) -> Result<Self, SiteError> {
        let mut found = Self { only: (sites.len() == 1).then(|| sites[0].publisher), ..Self::default() };
        for site in sites {
            for host in site.hosts {
                let host = host.to_ascii_lowercase();
                if found.hosts.insert(host.clone(), site.publisher).is_some_and(|other| other != site.publisher) {
                    return Err(SiteError::Host(host));
                }
            }
            if let Some(name) = site.name
                && found.names.insert(name.clone(), site.publisher).is_some_and(|other| other != site.publisher)
            {
                return Err(SiteError::Name(name));
            }
        }
        Ok(found)
    }

    /// The publisher a request is for, and the path within its content.
    pub fn resolve<'a>(
        &self,
        authority: Option<&str>,
        path_and_query: &'a str,
    ) -> Result<(PublisherId, &'a str), Misdirected> {
        let host = authority.map(|authority| without_port(authority).to_ascii_lowercase());
        if let Some(publisher) = host.and_then(|host| self.hosts.get(&host)) {
            return Ok((*publisher, path_and_query));
        }
        let (name, rest) = first_component(path_and_query);
        if let Some(publisher) = self.names.get(name) {
            return Ok((*publisher, rest));
        }
        self.only.map(|publisher| (publisher, path_and_query)).ok_or(Misdirected)
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    }
}

/// The first path component and the path behind it. A component without a slash behind it names nobody's content.
fn first_component(path_and_query: &str) -> (&str, &str) {
    let inner = path_and_query.strip_prefix('/').unwrap_or_default();
    match inner.find(['/', '?']) {
        Some(at) if inner.as_bytes()[at] == b'/' => (&inner[..at], &path_and_query[at + 1..]),
        _ => ("", path_and_query),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const A: PublisherId = PublisherId([1; 32]);
    const B: PublisherId = PublisherId([2; 32]);

    fn site(publisher: PublisherId, name: &str, host: &str) -> Site {
        Site { publisher, name: Some(name.into()), hosts: vec![host.into()] }
    }

    #[test]
    fn host_comes_first_then_the_first_component() {
        let sites = Sites::new(vec![site(A, "alpha", "a.example"), site(B, "beta", "b.example")]).unwrap();
        assert_eq!(sites.resolve(Some("A.example:7443"), "/beta/x.ts"), Ok((A, "/beta/x.ts")));
        assert_eq!(sites.resolve(Some("other.example"), "/beta/x.ts?q"), Ok((B, "/x.ts?q")));
        assert_eq!(sites.resolve(None, "/alpha/d/x.ts"), Ok((A, "/d/x.ts")));
        assert_eq!(sites.resolve(Some("other.example"), "/x.ts"), Err(Misdirected));
        assert_eq!(sites.resolve(None, "/alpha"), Err(Misdirected));
        assert_eq!(sites.resolve(None, "/alpha?x=/y"), Err(Misdirected));
    }

    #[test]
    fn a_single_publisher_is_meant_by_any_host() {
        let sites = Sites::new(vec![site(A, "alpha", "a.example")]).unwrap();
        assert_eq!(sites.resolve(Some("[::1]:7443"), "/x.ts"), Ok((A, "/x.ts")));
        assert_eq!(sites.resolve(Some("127.0.0.1"), "/alpha/x.ts"), Ok((A, "/x.ts")));
    }

    #[test]
    fn two_publishers_cannot_claim_the_same() {
        let same_host = Sites::new(vec![site(A, "alpha", "x"), site(B, "beta", "X")]).unwrap_err();
        assert_eq!(same_host, SiteError::Host("x".into()));
        let same_name = Sites::new(vec![site(A, "n", "x"), site(B, "n", "y")]).unwrap_err();
        assert_eq!(same_name, SiteError::Name("n".into()));
    }
}
