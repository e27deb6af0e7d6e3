//! Low-Latency HLS from an origin through the adapter and relays to viewers, held to the draft at each of them, and how
//! long a part takes.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use url::Url;

use super::{
    harness::{
        fetch::get,
        process::Options,
        wait::until_within,
        weir::{Adapter, Edge, Weir},
    },
    strict::{Arrival, Strict},
};

/// The rendition that is played, and how many others there are; and one that an origin serves as chunked CMAF.
const PLAYLIST: &str = "/ll/540p/index.m3u8";
const CHUNKED: &str = "/chunked/540p/index.m3u8";
const OTHERS: usize = 2;
/// Parts whose way is timed.
const TIMED: usize = 12;
/// What a part may take to a viewer two relays away, beside the way itself.
const BOUND: Duration = Duration::from_millis(150);
/// Until everybody has a place in the tree.
const SETTLING: Duration = Duration::from_secs(20);
/// When the demo's channel went on the air, and what its segments and parts last.
const ON_AIR: Duration = Duration::from_secs(1_767_225_600);
const SEGMENT: Duration = Duration::from_secs(2);
const PART: Duration = Duration::from_millis(500);

/// The demo's origin as a process of its own; it ends with this.
struct Origin {
    child: Child,
    base: Url,
}

impl Origin {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["demo", "--origin-only", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, base: line.trim().parse().unwrap() }
    }

    fn url(&self, path: &str) -> Url {
        self.base.join(path).unwrap()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Clients that ask no relay of the network.
const WITHOUT_RELAYS: usize = 3;

/// An origin, its adapter and three relays of which one feeds the others, and a relay that pulls from the origin.
struct Chain {
    origin: Origin,
    adapter: Adapter,
    edges: [Edge; 3],
    pulling: Edge,
}

impl Chain {
    async fn start() -> Self {
        let origin = Origin::start();
        let adapter = Adapter::start(&origin.base, Options::new()).await;
        let edges = Edge::three(&adapter, &Options::new().arg("--memory", "64MiB").arg("--disk", "64MiB")).await;
        let pulling = Edge::upstream(&origin.base, Options::new().arg("--disk", "0")).await;
        Self { origin, adapter, edges, pulling }
    }

    /// At the origin, the adapter and the relay that pulls, then at the three relays.
    fn clients(&self) -> Vec<Strict> {
        let mut clients = vec![
            Strict::new("origin", self.origin.url(PLAYLIST), false),
            Strict::new("adapter", self.adapter.url(PLAYLIST), true),
            Strict::new("pull-through relay", self.pulling.url(PLAYLIST), true),
        ];
        let edges = self.edges.iter().zip(["relay a", "relay b", "relay c"]);
        clients.extend(edges.map(|(edge, name)| Strict::new(name, edge.url(PLAYLIST), true)));
        clients
    }
}

/// How long after it was made a part was at the viewer.
fn delay(arrival: &Arrival) -> Duration {
    let made =
        ON_AIR + SEGMENT * u32::try_from(arrival.sequence).unwrap() + PART * u32::try_from(arrival.part + 1).unwrap();
    arrival.at.duration_since(UNIX_EPOCH + made).unwrap_or_default()
}

async fn everything(mut client: Strict, others: usize) {
    let media = client.look().await;
    let first = media.segments.last().unwrap().parts[0].uri.clone();
    client.part(&first).await;
    client.bad_requests(&media).await;
    let media = client.look().await;
    client.at_once(&media).await;
    client.delta(&media).await;
    client.reports(&media, others).await;
    let media = client.look().await;
    client.past_the_end(&media).await;
    let mut media = client.look().await;
    for _ in 0..3 {
        client.hinted(&media).await;
        media = client.look().await;
        media = client.next(&media).await;
    }
    client.kept(&first).await;
}

async fn all_keep_the_rules(clients: impl IntoIterator<Item = Strict>) {
    let mut all = tokio::task::JoinSet::new();
    for client in clients {
        all.spawn(everything(client, OTHERS));
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origin_adapter_and_a_pull_through_relay_keep_the_rules_of_low_latency() {
    let chain = Chain::start().await;
    all_keep_the_rules(chain.clients().into_iter().take(WITHOUT_RELAYS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_keep_the_rules_of_low_latency_too() {
    let chain = Chain::start().await;
    all_keep_the_rules(chain.clients()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunked_cmaf_is_made_low_latency_by_the_same_rules() {
    let origin = Origin::start();
    let adapter = Adapter::start(&origin.base, Options::new().env("WEIR_ORIGIN__LL", "true")).await;
    let edge = Edge::join(&adapter, Options::new().arg("--disk", "0")).await;
    let mut all = tokio::task::JoinSet::new();
    all.spawn(everything(Strict::new("adapter", adapter.url(CHUNKED), true), 0));
    all.spawn(everything(Strict::new("relay", edge.url(CHUNKED), true), 0));
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    // What is in the parts is what the origin has, and it is there before the segment is listed.
    let mut client = Strict::new("relay", edge.url(CHUNKED), true);
    let mut media = client.look().await;
    media = client.next(&media).await;
    let whole = media.segments.last().unwrap();
    let mut parts = Vec::new();
    for part in &whole.parts {
        parts.extend_from_slice(&client.part(&part.uri).await.body);
    }
    let path = format!("/chunked/540p/{}", whole.uri);
    assert_eq!(parts, get(&origin.url(&path)).await.body);
    assert_eq!(parts, edge.get(&path).await.body);
    let arrival = client.hinted(&media).await;
    assert!(delay(&arrival) < Duration::from_secs(1), "{:?}", delay(&arrival));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_version_that_is_made_ends_where_the_origin_does() {
    let origin = Origin::start();
    let adapter = Adapter::start(&origin.base, Options::new().env("WEIR_ORIGIN__LL", "true")).await;
    let on_air = || SystemTime::now().duration_since(UNIX_EPOCH + ON_AIR).unwrap();
    // Of the segment in the making there are two parts by then.
    let into = Duration::from_nanos((on_air().as_nanos() % SEGMENT.as_nanos()).try_into().unwrap());
    tokio::time::sleep((SEGMENT + PART * 5 / 2).saturating_sub(into)).await;
    let asked = on_air();
    let position = Strict::new("adapter", adapter.url(CHUNKED), true).look().await.position();
    let end =
        SEGMENT * u32::try_from(position.next_sequence).unwrap() + PART * u32::try_from(position.next_part).unwrap();
    let behind = asked.saturating_sub(end);
    assert!(behind < PART * 2, "a player would begin {behind:?} further behind than it must: {position:?}");
}

/// Everybody watches, and the tree has been built.
async fn settled(chain: &Chain) {
    let pushed = async |edge: &Edge| {
        let metrics = edge.metrics().await;
        metrics.sum("weir_push_delay_seconds_count", &["stage=\"whole\""])
    };
    until_within(SETTLING, "pushed parts at every relay", async || {
        for edge in &chain.edges {
            let mut client = Strict::new("relay", edge.url(PLAYLIST), true);
            let media = client.look().await;
            client.next(&media).await;
            if pushed(edge).await < 12.0 {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// The delays of parts at a viewer, in order.
async fn timed(mut client: Strict) -> (String, Vec<Duration>) {
    let mut media = client.look().await;
    media = client.next(&media).await;
    let mut delays = Vec::new();
    while delays.len() < TIMED {
        let arrival = client.hinted(&media).await;
        assert!(arrival.bytes > 1_000 && arrival.at <= SystemTime::now());
        delays.push(delay(&arrival));
        media = client.look().await;
        media = client.next(&media).await;
    }
    delays.sort_unstable();
    (client.name, delays)
}

async fn measure() -> Vec<(String, Vec<Duration>)> {
    let chain = Chain::start().await;
    settled(&chain).await;
    let mut all = tokio::task::JoinSet::new();
    for client in chain.clients() {
        all.spawn(timed(client));
    }
    let mut found = all.join_all().await;
    found.sort();
    for (name, delays) in &found {
        let middle = delays[delays.len() / 2];
        println!(
            "{name}: a part is at the viewer {middle:?} after it was made, at most {:?}",
            delays[delays.len() - 1]
        );
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: timing"]
async fn a_part_is_two_relays_away_within_150_ms() {
    for (name, delays) in measure().await {
        let middle = delays[delays.len() / 2];
        assert!(middle < BOUND, "{name}: {delays:?}");
    }
}
