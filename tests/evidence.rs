//! The publisher's own evidence over whole processes: what its adapter sees, blind probes, and imported logs, from the
//! operator's command to a line of the settlement.

#![expect(clippy::unwrap_used, reason = "tests")]

mod harness;

use harness::{
    fetch::get,
    process::Options,
    wait::{until, until_within},
    weir::{Adapter, Edge, Weir},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::spawn_blocking,
};
use url::Url;
use weir_ledger::{Log, LogKeys, NoteKey, Salt, Store, StoreUrl, Submission, note::KeyKind};
use weir_origin::keys::PublisherKeys;
use weir_protocol::{
    EdgeClaim, EvidenceKey, UnixMillis,
    statement::{Kind, Unverified, Verified, verify_batch},
};

const EPOCH_MS: u64 = 10_000;
/// Claims count so long after their epoch's end: longer than a busy machine takes from the probes to the last claim.
const WINDOW_MS: u64 = 40_000;
const SEGMENTS: usize = 30;
const SEGMENT: usize = 60_000;
/// A settlement's last epoch is closed after this: an epoch, its window, and a machine that is busy.
const CLOSED: Duration = Duration::from_secs(120);

fn policy() -> String {
    format!(
        "version = 1\ncurrency = \"EUR\"\nepoch_ms = {EPOCH_MS}\nclaim_window_ms = {WINDOW_MS}\n\
         [[price]]\nkind = \"viewer\"\nmicro_per_gb = 4000000\n\
         [[price]]\nkind = \"service\"\nmicro_per_gb = 1000000\n\
         [probes]\nleast = 5\nslack_bytes = 0\n"
    )
}

/// An adapter with a ledger in front of a film, and relays whose doors it knows.
struct Network {
    content: TempDir,
    adapter: Adapter,
}

fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Network {
    async fn start() -> Self {
        let content = tempfile::tempdir().unwrap();
        let film = content.path().join("film");
        fs::create_dir(&film).unwrap();
        let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=480000\nmedia.m3u8\n";
        fs::write(film.join("master.m3u8"), master).unwrap();
        let mut media = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-PLAYLIST-TYPE:VOD\n".to_owned();
        for at in 0..SEGMENTS {
            media += &format!("#EXTINF:1,\nseg{at}.ts\n");
            let body: Vec<u8> = (0..SEGMENT).map(|byte| (byte * 31 + at) as u8).collect();
            fs::write(film.join(format!("seg{at}.ts")), body).unwrap();
        }
        fs::write(film.join("media.m3u8"), media + "#EXT-X-ENDLIST\n").unwrap();
        let public = free();
        let options = Options::new()
            .arg("--ledger", "--steer")
            .arg("--epoch-ms", EPOCH_MS)
            .arg("--http", format!("127.0.0.1:{public}"))
            .arg("--public-url", format!("http://127.0.0.1:{public}"));
        let adapter = Adapter::start(content.path().display(), options).await;
        Self { content, adapter }
    }

    async fn relay(&self, label: &str) -> Edge {
        let port = free();
        let options = Options::new()
            .arg("--http", format!("127.0.0.1:{port}"))
            .arg("--door", format!("http://127.0.0.1:{port}/"))
            .arg("--claim-seconds", 1);
        Edge::named(label, &self.adapter, options).await
    }

    async fn proven(&self, doors: u64) {
        until("doors that are proven", async || {
            (self.adapter.status().await["relay_doors"]["proven"] == doors).then_some(())
        })
        .await;
    }

    fn data(&self) -> String {
        self.adapter.data().display().to_string()
    }

    async fn token(&self, more: &[&str]) -> String {
        let data = self.data();
        let output = tool(&[&["token", "--data", &data], more].concat()).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Settles when every epoch is closed.
    async fn settle(&self) -> Value {
        let (policy_file, out) = (self.content.path().join("policy.toml"), self.content.path().join("settlement"));
        fs::write(&policy_file, policy()).unwrap();
        let (data, policy, folder) = (self.data(), policy_file.display().to_string(), out.display().to_string());
        until_within(CLOSED, "closed epochs", async || {
            let output = tool(&["settle", "run", "--data", &data, "--policy", &policy, "--out", &folder]).await;
            assert!(output.status.success(), "{output:?}");
            let settled: Value = serde_json::from_slice(&fs::read(out.join("settlement.json")).unwrap()).unwrap();
            settled["open_epochs"].as_array().unwrap().is_empty().then_some(settled)
        })
        .await
    }
}

/// Runs `weir` to its end.
async fn tool(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(args);
    spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn key(edge: &Edge) -> EvidenceKey {
    let secret = fs::read(edge.data().join("identity.key")).unwrap();
    EvidenceKey::from_bytes(&secret.try_into().unwrap())
}

/// Plays a session as a steered player does: playlists and segments from the relay, polls at the publisher's server, which
/// the playlist names.
async fn watch(relay: &Edge, token: &str) {
    let carried = format!("?weir_token={token}");
    let master = get(&relay.url(&format!("/film/master.m3u8{carried}"))).await;
    assert_eq!(master.status, 200, "{}", master.text());
    let server = master.text().split("SERVER-URI=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(server.contains("weir_token="), "the publisher's server learns whose poll it is: {server}");
    let poll = async || {
        let url = Url::parse(&format!("{server}&_HLS_pathway=A&_HLS_throughput=20000000")).unwrap();
        let list = get(&url).await;
        assert_eq!(list.status, 200, "{}", list.text());
    };
    poll().await;
    assert_eq!(get(&relay.url(&format!("/film/media.m3u8{carried}"))).await.status, 200);
    for at in 0..SEGMENTS {
        let segment = get(&relay.url(&format!("/film/seg{at}.ts{carried}"))).await;
        assert_eq!(segment.body.len(), SEGMENT);
        if at % 10 == 9 {
            poll().await;
        }
    }
}

async fn post(url: &Url, body: &str, length: usize) -> (u16, String) {
    let mut stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).await.unwrap();
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    let head = format!(
        "POST {}{query} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/cmcd\r\norigin: https://page.example\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n",
        url.path(),
        url.host_str().unwrap()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
}

/// What a relay delivered to viewers and services.
fn lines<'a>(settled: &'a Value, relay: &EvidenceKey) -> Vec<&'a Value> {
    let relay = relay.relay_id().to_string();
    settled["lines"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["relay"] == relay.as_str() && line["kind"] != "peer")
        .collect()
}

fn sum(lines: &[&Value], field: &str) -> u64 {
    lines.iter().map(|line| line[field].as_u64().unwrap()).sum()
}

/// Claims of a relay that is not honest: for each of its sessions a fifth more than it delivered, signed with its key and
/// logged in time. Says how many bytes its claims come to.
async fn inflate(data: &Path, key: &EvidenceKey) -> u64 {
    let settings: toml::Table = fs::read_to_string(data.join("ledger.toml")).unwrap().parse().unwrap();
    let said = |name: &str| settings[name].as_str().unwrap().to_owned();
    let keys = PublisherKeys::load_or_create(data).unwrap();
    let secret = fs::read(data.join("ledger.key")).unwrap().try_into().unwrap();
    let note = NoteKey::new(&said("origin"), KeyKind::Log, &secret).unwrap();
    let store = Store::open(&said("store").parse::<StoreUrl>().unwrap(), &said("origin")).await.unwrap();
    let log = Log::new(store, LogKeys { publisher: keys.publisher(), note, promises: keys.signing() });
    let size = log.store().head().await.unwrap().size.get();
    let mut latest: BTreeMap<_, EdgeClaim> = BTreeMap::new();
    let mut counters: BTreeMap<_, u64> = BTreeMap::new();
    for opening in log.store().openings(0..size).await.unwrap().into_iter().flatten() {
        if opening.kind != Kind::EdgeClaim {
            continue;
        }
        let claim = Unverified::<EdgeClaim>::new(opening.message.into()).verify().unwrap().statement().clone();
        if claim.edge != key.relay_id() {
            continue;
        }
        let counter = counters.entry(claim.epoch).or_insert(0);
        *counter = (*counter).max(claim.counter);
        let series = (claim.epoch, claim.token, claim.path.clone());
        if latest.get(&series).is_none_or(|known| known.counter < claim.counter) {
            latest.insert(series, claim);
        }
    }
    let mut all = 0;
    for claim in latest.into_values() {
        let counter = counters.get_mut(&claim.epoch).unwrap();
        *counter += 1;
        let inflated = EdgeClaim { counter: *counter, bytes: claim.bytes * 6 / 5, ..claim };
        all += inflated.claimed();
        let signed = Verified::sign(inflated, key).unwrap();
        let evidence = verify_batch(&[(Kind::EdgeClaim, signed.bytes().clone())]).remove(0).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let now = UnixMillis(now.try_into().unwrap());
        log.record(vec![Submission::evidence(&evidence)], now, || Salt(rand::random())).await.unwrap();
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_measure_an_honest_relay_and_one_that_claims_a_fifth_more() {
    let mut network = Network::start().await;
    let (mut honest, mut crook) = (network.relay("honest").await, network.relay("crook").await);
    network.proven(2).await;
    let (honest_key, crook_key) = (key(&honest), key(&crook));

    // Ordinary sessions, which the adapter sees by itself.
    for relay in [&honest, &crook] {
        watch(relay, &network.token(&["--prefix", "/film/"]).await).await;
    }
    let status = network.adapter.status().await;
    assert_eq!((&status["observed"]["sessions"], &status["observed"]["sightings"]), (&2.into(), &8.into()), "{status}");

    // Probes at every relay that reports a door, by the command.
    let (data, admin) = (network.data(), network.adapter.address("admin"));
    let common = ["origin", "probe", "--data", &data, "--admin", &admin, "--reveal-after", "1s"];
    let output =
        tool(&[&common[..], &["--path", "/film/master.m3u8", "--sessions", "6", "--watch", "2s"]].concat()).await;
    assert!(output.status.success(), "{}", text(&output));
    for said in ["committed  12 sessions", "played     12 sessions", "revealed   1 lists"] {
        assert!(text(&output).contains(said), "{said} in {}", text(&output));
    }
    let again = tool(&[&common[..], &["--sessions", "0"]].concat()).await;
    assert!(again.status.success() && !text(&again).contains("revealed"), "{}", text(&again));

    // Of what is delivered from now on it is known how the relays count.
    for relay in [&honest, &crook] {
        watch(relay, &network.token(&["--prefix", "/film/"]).await).await;
    }
    for relay in [&mut honest, &mut crook] {
        assert_eq!(relay.terminate().await, Some(0));
    }
    assert_eq!(network.adapter.terminate().await, Some(0));
    let inflated = inflate(&network.adapter.data(), &crook_key).await;
    let settled = network.settle().await;

    let note = |key: &EvidenceKey| {
        let relay = key.relay_id().to_string();
        settled["probes"].as_array().unwrap().iter().find(|note| note["relay"] == relay.as_str()).unwrap().clone()
    };
    let (good, bad) = (note(&honest_key), note(&crook_key));
    assert_eq!(
        (&good["probes"], &good["inflated"], &good["estimate_ppm"]),
        (&6.into(), &0.into(), &0.into()),
        "{good}"
    );
    assert_eq!(good["claimed"], good["measured"], "inflation 1.0, to the byte");
    assert!(good["measured"].as_u64().unwrap() > 6 * SEGMENT as u64);
    assert_eq!((&bad["probes"], &bad["inflated"]), (&6.into(), &6.into()), "{bad}");
    // Of six claimed bytes one was not delivered.
    let of = |field: &str| bad[field].as_u64().unwrap();
    assert!((166_600..=166_666).contains(&of("estimate_ppm")), "{bad}");
    assert!(0 < of("low_ppm") && of("low_ppm") < of("estimate_ppm") && of("estimate_ppm") <= of("high_ppm"), "{bad}");

    let (good, bad) = (lines(&settled, &honest_key), lines(&settled, &crook_key));
    assert_eq!(sum(&good, "accepted"), sum(&good, "claimed"), "an honest relay is paid for every byte: {settled}");
    let grades =
        |lines: &[&Value]| lines.iter().map(|line| line["grade"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
    // The probes' own sessions are seen by nobody; the ordinary ones were, before relays were measured and after.
    assert_eq!(grades(&good), BTreeSet::from(["E0", "E1", "E3"].map(str::to_owned)), "{settled}");
    assert_eq!(sum(&bad, "claimed"), inflated);
    assert_eq!(grades(&bad), grades(&good), "{settled}");
    for line in bad {
        // A sixth of every line is taken, whatever its grade.
        let cut = line["rejected"]["inflation"].as_u64().unwrap();
        let late = line["rejected"]["late"].as_u64().unwrap_or(0);
        let claimed = line["claimed"].as_u64().unwrap() - late;
        assert!(cut * 6 <= claimed + 12 && cut * 7 > claimed, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pulling_cdns_log_bounds_what_is_claimed_for_it() {
    let mut network = Network::start().await;
    let mut relay = network.relay("relay").await;
    network.proven(1).await;
    let relay_key = key(&relay);
    let token = network.token(&["--use", "service"]).await;
    for at in 0..10 {
        let segment = get(&relay.url(&format!("/film/seg{at}.ts?weir_token={token}"))).await;
        assert_eq!(segment.body.len(), SEGMENT);
    }
    let pulled = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let pulled = u64::try_from(pulled).unwrap();

    // A player's reports go straight to the adapter, from any page; what is no report is refused with a reason.
    let viewer = network.token(&[]).await;
    let page = |path: &str| {
        Url::parse(&format!("http://{}{path}?weir_token={viewer}", network.adapter.address("http"))).unwrap()
    };
    let now = pulled;
    let url = relay.url("/film/seg0.ts");
    let body: String =
        (0..3).map(|n| format!("e=rr,ts={},mtp=8000,rc=200,url=\"{url}\",v=2\n", now + n * 5_000)).collect();
    for path in ["/cmcd", "/weir/cmcd"] {
        let (status, head) = post(&page(path), &body, body.len()).await;
        assert_eq!(status, 204, "{head}");
        assert!(head.to_ascii_lowercase().contains("access-control-allow-origin: *"), "{head}");
    }
    let (status, why) = post(&page("/cmcd"), "nothing", 7).await;
    assert!(status == 400 && why.contains("there is no report"), "{why}");
    let (status, _) = post(&page("/cmcd"), "", 1 << 20).await;
    assert_eq!(status, 413);
    let observed = network.adapter.status().await["observed"].clone();
    assert_eq!((&observed["sessions"], &observed["sightings"]), (&1.into(), &6.into()), "{observed}");

    // The CDN's log, when the epoch is over: it says less than the relay claims.
    let over = (pulled / EPOCH_MS + 1) * EPOCH_MS;
    until("the epoch to end", async || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        (now > u128::from(over)).then_some(())
    })
    .await;
    let host = relay.address("http");
    let line =
        |bytes: &str| format!("{{\"time\":{pulled},\"relay\":\"{host}\",\"token\":\"{token}\",\"bytes\":{bytes}}}\n");
    let file = network.content.path().join("pulled.jsonl");
    let (data, admin) = (network.data(), network.adapter.address("admin"));
    let (whose, path) = (format!("{host}={}", relay_key.relay_id()), file.display().to_string());
    let import = async |more: &[&str]| {
        let common = ["ledger", "import-log", "--data", &data, "--admin", &admin, "--relay", &whose, &path];
        tool(&[&common[..], more].concat()).await
    };
    fs::write(&file, line("100000") + &line("\"many\"")).unwrap();
    let refused = import(&[]).await;
    assert_eq!(refused.status.code(), Some(78), "{}", text(&refused));
    assert!(text(&refused).contains("pulled.jsonl line 2: bytes"), "{}", text(&refused));
    fs::write(&file, line("100000") + &line("200000")).unwrap();
    let done = import(&[]).await;
    assert!(done.status.success() && text(&done).contains("2 lines: 300 000 B in 1 sessions"), "{}", text(&done));
    let twice = import(&[]).await;
    assert_eq!(twice.status.code(), Some(3), "{}", text(&twice));
    assert!(text(&twice).contains("--replace"), "{}", text(&twice));
    fs::write(&file, line("100000") + &line("300000")).unwrap();
    assert!(import(&["--replace"]).await.status.success());

    assert_eq!(relay.terminate().await, Some(0));
    assert_eq!(network.adapter.terminate().await, Some(0));
    let settled = network.settle().await;
    let lines = lines(&settled, &relay_key);
    assert_eq!(lines.iter().map(|line| line["grade"].as_str().unwrap()).collect::<Vec<_>>(), ["E1"], "{settled}");
    assert_eq!((sum(&lines, "claimed"), sum(&lines, "accepted")), (10 * SEGMENT as u64, 400_000), "{settled}");
    assert_eq!(lines[0]["rejected"]["not_imported"], 10 * SEGMENT as u64 - 400_000, "{settled}");

    // The relay finds beside the log what it earned, and why it is less.
    network.adapter.restart().await;
    relay.restart().await;
    let found = until("the settlement at the relay", async || {
        let found = relay.status().await["logs"][0]["settlement"].clone();
        (!found.is_null()).then_some(found)
    })
    .await;
    assert_eq!(found["rejected"]["not_imported"]["bytes"], 10 * SEGMENT as u64 - 400_000, "{found}");
    assert_eq!((&found["earned_micro"], &found["held_micro"]), (&400.into(), &400.into()), "{found}");
}
