//! A connection that carries one request at a time.

use std::sync::atomic::AtomicU64;

use http::HeaderMap;
use tokio::time::Instant;
use url::Url;

use super::report::Tally;
use super::run::take;
use crate::client::{Attended, Client, Error, Exchange, Get, Prepared};

/// The connection, and its successors when it breaks.
pub(super) struct Single {
    client: Client,
    url: Url,
    open: Option<Attended>,
}

impl Single {
    pub(super) fn new(client: Client, url: Url) -> Self {
        Self { client, url, open: None }
    }

    /// Makes requests until none is left.
    pub(super) async fn work(&mut self, tickets: &AtomicU64, tally: &mut Tally) {
        let headers = HeaderMap::new();
        let get = self.client.prepare(&Get { url: &self.url, headers: &headers, max_body: u64::MAX });
        while take(tickets) {
            let mut received = 0;
            let outcome = match &get {
                Ok(get) => self.request(get, tally, &mut received).await,
                Err(_) => Err(Error::Url(self.url.to_string())),
            };
            if outcome.is_err()
                && let Some(broken) = self.open.take()
            {
                broken.close().await;
            }
            tally.count(outcome, received);
        }
    }

    async fn request(&mut self, get: &Prepared, tally: &mut Tally, received: &mut u64) -> Result<Exchange, Error> {
        let Self { client, url, open } = self;
        let mut sink = |chunk: bytes::Bytes| *received += chunk.len() as u64;
        if let Some(connection) = open {
            match connection.send(get, &mut sink).await {
                // Servers may close a connection between two requests; nothing was sent, so nothing failed.
                Err(Error::Closed) => {}
                outcome => return outcome,
            }
        }
        let started = Instant::now();
        let connection = open.insert(client.attend(url).await?);
        tally.handshakes.record(started.elapsed());
        connection.send(get, &mut sink).await
    }

    pub(super) async fn close(&mut self) {
        if let Some(connection) = self.open.take() {
            connection.close().await;
        }
    }
}
