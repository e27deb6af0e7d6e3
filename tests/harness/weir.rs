//! Adapters and edges as processes. Invariant: every address in here was reported by the process itself.

use serde_json::Value;
use std::ops::{Deref, DerefMut};
use url::Url;

use super::{
    fetch::{Reply, get},
    process::{Options, Process},
    wait::until,
};

/// A running `weir origin`.
pub(crate) struct Adapter(Process);

/// A running `weir edge`.
pub(crate) struct Edge(Process);

impl Adapter {
    /// In front of a folder or an http URL.
    pub(crate) async fn start(upstream: impl ToString, options: Options) -> Self {
        let base = vec!["origin".to_owned(), "--upstream".to_owned(), upstream.to_string()];
        let process = Process::start("adapter", base, &["--http", "--peer", "--admin"], options).await;
        let started = Self(process);
        started.ready().await;
        started
    }

    /// Waits until exactly so many relays are at its control streams.
    pub(crate) async fn has_relays(&self, count: usize) {
        let what = format!("{count} relays at the adapter");
        until(&what, async || {
            let status = self.status().await;
            (status["relays"].as_array().unwrap().len() == count).then_some(())
        })
        .await;
    }
}

impl Edge {
    /// A member of the adapter's network.
    pub(crate) async fn join(adapter: &Adapter, options: Options) -> Self {
        Self::named("edge", adapter, options).await
    }

    /// The same with a name that failing tests show.
    pub(crate) async fn named(label: &str, adapter: &Adapter, options: Options) -> Self {
        Self::joining(label, &adapter.url("/"), options).await
    }

    /// A member of the network whose join document this URL shows, be it the adapter's or not.
    pub(crate) async fn joining(label: &str, url: &Url, options: Options) -> Self {
        let base = vec!["edge".to_owned(), "--join".to_owned(), url.to_string()];
        Self::start(label, base, &["--listen", "--http", "--peer", "--admin"], options).await
    }

    /// Three members that know one another.
    pub(crate) async fn three(adapter: &Adapter, options: &Options) -> [Self; 3] {
        let edges = [
            Self::named("edge a", adapter, options.clone()).await,
            Self::named("edge b", adapter, options.clone()).await,
            Self::named("edge c", adapter, options.clone()).await,
        ];
        for edge in &edges {
            edge.knows(edges.len()).await;
        }
        edges
    }

    /// A plain pull-through cache.
    pub(crate) async fn upstream(url: impl ToString, options: Options) -> Self {
        let base = vec!["edge".to_owned(), "--upstream".to_owned(), url.to_string()];
        Self::start("pull-through edge", base, &["--listen", "--http", "--admin"], options).await
    }

    async fn start(label: &str, base: Vec<String>, listen: &[&str], options: Options) -> Self {
        let started = Self(Process::start(label, base, listen, options).await);
        started.ready().await;
        started
    }

    /// Waits until its network has exactly so many members, itself included.
    pub(crate) async fn knows(&self, members: usize) {
        let what = format!("{members} known members");
        until(&what, async || (self.status().await["peers"]["known"] == members).then_some(())).await;
    }

    /// A URL at the encrypted doors, for HTTP/1.1, HTTP/2 and HTTP/3.
    pub(crate) fn tls(&self, path: &str) -> Url {
        Url::parse(&format!("https://{}{path}", self.address("tls"))).unwrap()
    }
}

/// What both kinds of process have.
pub(crate) trait Weir: Deref<Target = Process> {
    /// A URL at the plain door.
    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address("http"))).unwrap()
    }

    /// GET at the plain door.
    async fn get(&self, path: &str) -> Reply {
        get(&self.url(path)).await
    }

    /// GET at the private address.
    async fn admin(&self, path: &str) -> Reply {
        get(&Url::parse(&format!("http://{}{path}", self.address("admin"))).unwrap()).await
    }

    async fn status(&self) -> Value {
        serde_json::from_slice(&self.admin("/api/v1/status").await.body).unwrap()
    }

    /// Waits until `/readyz` says so.
    async fn ready(&self) {
        until("/readyz to answer 200", async || (self.admin("/readyz").await.status == 200).then_some(())).await;
    }

    async fn metrics(&self) -> Metrics {
        Metrics(self.admin("/metrics").await.text())
    }
}

impl Weir for Adapter {}
impl Weir for Edge {}

/// A process's metrics at one moment.
pub(crate) struct Metrics(String);

impl Metrics {
    /// The sum of all samples of `name` whose labels contain each of `labels`, such as `direction="received"`. Zero when
    /// there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let samples = self.0.lines().filter_map(|line| line.strip_prefix(name));
        let samples = samples.filter(|rest| rest.starts_with(['{', ' ']));
        let samples = samples.filter(|rest| labels.iter().all(|label| rest.contains(label)));
        samples.filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

macro_rules! process {
    ($of:ty) => {
        impl Deref for $of {
            type Target = Process;
            fn deref(&self) -> &Process {
                &self.0
            }
        }
        impl DerefMut for $of {
            fn deref_mut(&mut self) -> &mut Process {
                &mut self.0
            }
        }
    };
}

process!(Adapter);
process!(Edge);
