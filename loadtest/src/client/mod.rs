//! A small HTTP client that opens exactly the connections it is asked for, over HTTP/1.1, HTTP/2 or HTTP/3.
//!
//! Invariants: no pool, no redirect, no retry; a body streams to the caller chunk by chunk and is never buffered here;
//! every wait ends by one of the [`Timeouts`]; a body that differs from its `Content-Length` is an error.
//!
//! It is not the pooled client of hyper-util, because `-c 16` must mean sixteen connections.

mod config;
mod connection;
mod error;
mod exchange;
mod http2;
mod http3;
mod patience;
mod protocol;
mod quic;
mod tcp;
mod tls;

pub use config::{Config, Timeouts};
pub use connection::{Attended, Connection, Requester};
pub use error::{Error, Stage};
pub use exchange::{Exchange, Get, Prepared};
pub use protocol::{Protocol, UnknownProtocol};
pub use tls::Trust;

use std::net::SocketAddr;

use tokio::time::timeout;
use url::{Host, Url};

use connection::Opened;

/// Opens connections; holds the TLS configuration that they share.
#[derive(Debug, Clone)]
pub struct Client {
    config: Config,
    tls: tls::Tls,
}

impl Client {
    /// Reads the trust roots.
    ///
    /// # Errors
    /// [`Error::Trust`] when no usable root can be read.
    pub fn new(config: Config) -> Result<Self, Error> {
        let tls = tls::Tls::new(&config.trust, config.protocol)?;
        Ok(Self { config, tls })
    }

    /// Opens one new connection to the URL's host, handshake included.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Resolve`], [`Error::Connect`], [`Error::Handshake`] or a time-out of
    /// [`Stage::Connect`].
    pub async fn connect(&self, url: &Url) -> Result<Connection, Error> {
        Ok(Connection::new(self.open_in_time(url).await?, self.config.timeouts))
    }

    /// The same for one request at a time, without a task of its own.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn attend(&self, url: &Url) -> Result<Attended, Error> {
        Ok(Attended::new(self.open_in_time(url).await?, self.config.timeouts))
    }

    /// A GET to send on this client's connections again and again.
    ///
    /// # Errors
    /// [`Error::Url`] when the URL cannot be requested.
    pub fn prepare(&self, get: &Get<'_>) -> Result<Prepared, Error> {
        get.prepare(self.config.protocol)
    }

    async fn open_in_time(&self, url: &Url) -> Result<Opened, Error> {
        timeout(self.config.timeouts.connect, self.open(url)).await.map_err(|_| Error::Timeout(Stage::Connect))?
    }

    async fn open(&self, url: &Url) -> Result<Opened, Error> {
        let secure = match url.scheme() {
            "https" => true,
            "http" if self.config.protocol != Protocol::H3 => false,
            "http" => return Err(Error::Url(format!("{url}: HTTP/3 needs https"))),
            _ => return Err(Error::Url(url.to_string())),
        };
        let name = server_name(url)?;
        let addresses = self.addresses(url).await?;
        match self.config.protocol {
            Protocol::H1 | Protocol::H2 => {
                let stream = tcp::dial(&addresses).await?;
                let tls = if secure { Some((&self.tls, name.as_str())) } else { None };
                tcp::open(stream, tls, self.config.protocol).await
            }
            Protocol::H3 => quic::open(&addresses, &self.tls, &name, self.config.timeouts).await,
        }
    }

    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, Error> {
        if let Some(address) = self.config.connect {
            return Ok(vec![address]);
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(Error::Url(url.to_string()));
        };
        let found = match host {
            Host::Ipv4(ip) => vec![(ip, port).into()],
            Host::Ipv6(ip) => vec![(ip, port).into()],
            Host::Domain(domain) => tokio::net::lookup_host((domain, port))
                .await
                .map_err(|source| Error::Resolve { host: domain.to_owned(), source })?
                .collect(),
        };
        if found.is_empty() { Err(Error::Url(format!("{url}: no address"))) } else { Ok(found) }
    }
}

fn server_name(url: &Url) -> Result<String, Error> {
    match url.host() {
        Some(Host::Domain(domain)) => Ok(domain.to_owned()),
        Some(Host::Ipv4(ip)) => Ok(ip.to_string()),
        Some(Host::Ipv6(ip)) => Ok(ip.to_string()),
        None => Err(Error::Url(url.to_string())),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn http3_refuses_plain_http_and_unknown_schemes_are_refused() {
        let config =
            Config { protocol: Protocol::H3, trust: Trust::Insecure, connect: None, timeouts: Timeouts::default() };
        let client = Client::new(config).unwrap();
        for url in ["http://127.0.0.1:1/", "ftp://127.0.0.1/"] {
            let error = client.connect(&Url::parse(url).unwrap()).await.err().unwrap();
            assert_eq!(error.class(), "url", "{url}");
        }
    }
}
