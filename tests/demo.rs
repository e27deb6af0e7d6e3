//! `weir demo` as whoever runs it meets it: real processes on free ports of this machine.

#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for something that takes a moment.
const PATIENCE: Duration = Duration::from_secs(20);

fn weir(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("demo").args(arguments).stdin(Stdio::null());
    command
}

/// A demo that runs until it is told otherwise.
struct Running {
    process: Child,
    lines: BufReader<ChildStdout>,
    printed: String,
    description: Value,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut process = weir(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut printed = String::new();
        while !printed.contains("Ctrl-C ends it") {
            assert_ne!(lines.read_line(&mut printed).unwrap(), 0, "it ended early:\n{printed}");
        }
        let description = get(address_of(&printed, "Player"), "/api/demo");
        let description = serde_json::from_str(&description).unwrap();
        Self { process, lines, printed, description }
    }

    fn children(&self) -> Vec<i32> {
        let relays = self.description["relays"].as_array().unwrap().iter();
        let all = relays.chain([&self.description["adapter"]]);
        all.map(|child| i32::try_from(child["pid"].as_i64().unwrap()).unwrap()).collect()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.process.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Told rather than killed, so that it can remove its directory; it is bound to end within its own time limits.
        if matches!(self.process.try_wait(), Ok(None)) {
            self.signal(rustix::process::Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

/// The address in the line that has this title.
fn address_of(printed: &str, title: &str) -> SocketAddr {
    let line = printed.lines().find(|line| line.contains(title)).unwrap();
    let rest = &line[line.find("http://").unwrap() + 7..];
    rest.split(['/', ' ']).next().unwrap().parse().unwrap()
}

/// One request: status, and the body as bytes.
fn ask(address: SocketAddr, head: &str, body: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{head}\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, answer.split_off(end + 4))
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

/// The control desk of a running demo.
struct Desk {
    page: SocketAddr,
    token: String,
}

impl Desk {
    fn of(demo: &Running) -> Self {
        let token = demo.description["control"]["token"].as_str().unwrap().to_owned();
        Self { page: address_of(&demo.printed, "Player"), token }
    }

    fn post(&self, extra: &str, command: &str) -> (u16, Value) {
        let head = format!("POST /api/control HTTP/1.1\r\nContent-Type: application/json\r\n{extra}");
        let (status, body) = ask(self.page, &head, command);
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Has a command obeyed and returns how the relay is then.
    fn command(&self, command: &str) -> Value {
        let (status, said) = self.post(&format!("Weir-Control: {}", self.token), command);
        assert_eq!(status, 200, "{command}: {said}");
        said["condition"].clone()
    }
}

/// The path of the nth segment of the film in its first rendition, as a relay's playlists name it.
fn film_segment(relay: SocketAddr, nth: usize) -> String {
    let uri = |playlist: &str, nth| playlist.lines().filter(|line| !line.starts_with('#')).nth(nth).unwrap().to_owned();
    let media = format!("/film/{}", uri(&get(relay, "/film/master.m3u8"), 0));
    let segment = uri(&get(relay, &media), nth);
    format!("{}/{segment}", media.rsplit_once('/').unwrap().0)
}

/// Whether a process exists and is more than an entry that nobody has collected yet.
fn is_alive(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return !Path::new("/proc/self/stat").exists()
            && rustix::process::test_kill_process(rustix::process::Pid::from_raw(pid).unwrap()).is_ok();
    };
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X'))
}

/// Waits for processes of which this is no parent, so that there is no event to wait for.
fn all_gone(pids: &[i32]) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while pids.iter().any(|pid| is_alive(*pid)) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

#[test]
fn media_demo_ends_by_itself_and_everything_flowed() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("kept").display().to_string();
    let run = weir(&["--seconds", "12", "--json", "--free-ports", "--data", &directory]).output().unwrap();
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    let text = String::from_utf8(run.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "standard output holds the summary alone: {text}");
    let summary: Value = serde_json::from_str(&text).unwrap();
    let number = |field: &str| summary[field].as_f64().unwrap_or_else(|| panic!("{field}: {summary}\n{told}"));

    assert_eq!(summary["ok"], true, "{summary}\n{told}");
    assert!(run.status.success());
    let relays = summary["segments_by_relay"].as_object().unwrap();
    assert_eq!(relays.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(relays.values().all(|segments| segments.as_u64() > Some(0)), "{summary}");
    assert!(summary["segments_by_protocol"]["h3"].as_u64() > Some(0), "{summary}");
    assert!(summary["segments_by_protocol"]["h1"].as_u64() > Some(0), "{summary}");
    assert!(number("bytes_from_peers") > 0.0 && number("bytes_from_origin") > 0.0);
    assert_eq!(number("integrity_failures"), 0.0);
    assert!(number("origin_saved") > 0.0, "two watch the same film: {summary}");
    assert!((11.0..20.0).contains(&number("seconds")) && number("startup_seconds") < 5.0, "{summary}");
    assert_eq!(summary["errors"], serde_json::json!({}), "{told}");

    for line in ["✔ origin", "✔ adapter", "✔ relays a, b, c", "▶ Player", "▶ Metrics", " | origin saved "] {
        assert!(told.contains(line), "{line}:\n{told}");
    }
    assert!(Path::new(&directory).join("relay-a").is_dir(), "what --data names is kept");
    assert!(told.contains(" | receipts ") && number("receipts") > 0.0, "{told}");
    relays_are_paid_for_what_they_delivered(Path::new(&directory), &summary);
}

/// Runs another subcommand; its exit code and what it printed.
fn tool(arguments: &[&str]) -> (i32, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).output().unwrap();
    let printed = [run.stdout, run.stderr].concat();
    (run.status.code().unwrap(), String::from_utf8(printed).unwrap())
}

/// The ledger of a demo, settled: bytes of completed responses are to the byte what its viewers counted, and those of
/// broken ones within a response's length each.
fn relays_are_paid_for_what_they_delivered(home: &Path, summary: &Value) {
    /// Longer than any segment of the clip: a door hands a response over before it knows that nobody takes it.
    const LONGEST: u64 = 4 << 20;
    let place = |name: &str| home.join(name).display().to_string();
    let (adapter, policy, out) = (place("adapter"), place("policy.toml"), place("settlement"));
    let deadline = Instant::now() + PATIENCE;
    let (settled, printed) = loop {
        let (code, printed) = tool(&["settle", "run", "--data", &adapter, "--policy", &policy, "--out", &out]);
        assert_eq!(code, 0, "{printed}");
        let text = fs::read_to_string(Path::new(&out).join("settlement.json")).unwrap();
        let settled: Value = serde_json::from_str(&text).unwrap();
        if settled["open_epochs"].as_array().unwrap().is_empty() {
            break (settled, printed);
        }
        assert!(Instant::now() < deadline, "epochs stay open: {settled}");
        // Time must pass until the last epoch closes; nothing tells of it.
        std::thread::sleep(Duration::from_millis(250));
    };
    for name in ["a", "b", "c"] {
        let secret = fs::read(home.join(format!("relay-{name}/identity.key"))).unwrap();
        let relay = weir_protocol::EvidenceKey::from_bytes(&secret.try_into().unwrap()).relay_id().to_string();
        let lines = settled["lines"].as_array().unwrap().iter();
        let lines = lines.filter(|line| line["relay"] == relay && line["kind"] == "viewer");
        let (mut claimed, mut accepted) = (0, 0);
        for line in lines {
            claimed += line["claimed"].as_u64().unwrap();
            accepted += line["accepted"].as_u64().unwrap();
        }
        let of = |field: &str| summary["delivered"][name][field].as_u64().unwrap();
        let (bytes, cut) = (of("bytes"), of("cut"));
        assert!(bytes > 0 && accepted == claimed, "{name}: {settled}");
        assert!(claimed >= bytes && claimed <= bytes + cut * LONGEST, "{name}: {claimed} for {bytes}, {cut} cut");
        let filled = settled["lines"].as_array().unwrap().iter().filter(|line| line["kind"] == "peer").count();
        assert!(filled > 0, "relays that filled relays: {settled}");
    }
    let arguments = printed.lines().find(|line| line.contains("weir settle verify DIR")).unwrap();
    let publisher = arguments.split("--publisher ").nth(1).unwrap().split(' ').next().unwrap();
    let key = arguments.split("--log-key '").nth(1).unwrap().split('\'').next().unwrap();
    let copy = place("copy");
    copy_folder(Path::new(&out), Path::new(&copy));
    let verify = || tool(&["settle", "verify", &copy, "--publisher", publisher, "--log-key", key]);
    let (code, said) = verify();
    assert_eq!(code, 0, "{said}");
    // The settlement, and the bundle of entries in its first state and in its last one.
    let (full, partial) = ("tile/entries/000", Path::new(&copy).join("tile/entries/000.p"));
    let states = if partial.is_dir() { inside(&partial) } else { vec![Path::new(&copy).join(full)] };
    let (first, last) = (states.first().unwrap().clone(), states.last().unwrap().clone());
    for target in [Path::new(&copy).join("settlement.json"), first, last] {
        let kept = fs::read(&target).unwrap();
        let mut changed = kept.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(&target, changed).unwrap();
        let (code, said) = verify();
        assert_eq!(code, 3, "{}: {said}", target.display());
        let name = if target.ends_with("settlement.json") { "settlement.json" } else { full };
        assert!(said.contains(name), "the place is named: {said}");
        fs::write(&target, kept).unwrap();
    }
    assert_eq!(verify().0, 0);
}

/// The states of a tile that is not full, narrowest first: each is named by its width.
fn inside(path: &Path) -> Vec<std::path::PathBuf> {
    let mut inside: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    inside.sort_by_key(|path| path.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap());
    inside
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn media_children_of_a_killed_demo_end() {
    let demo = Running::start(&["--free-ports"]);
    let children = demo.children();
    assert_eq!(children.len(), 4);
    assert!(children.iter().all(|pid| is_alive(*pid)));
    demo.signal(rustix::process::Signal::KILL);
    assert!(all_gone(&children), "children outlive the demo");
    // What it could not remove any more.
    fs::remove_dir_all(home_of(&demo.printed)).unwrap();
}

#[test]
fn media_demo_relays_do_wrong_on_order_and_only_on_order() {
    let demo = Running::start(&["--free-ports"]);
    let desk = Desk::of(&demo);
    let relay =
        |n: usize| -> SocketAddr { demo.description["relays"][n]["http"].as_str().unwrap()[7..].parse().unwrap() };
    let fetch = |n: usize, path: &str| ask(relay(n), &format!("GET {path} HTTP/1.1"), "");
    let path = film_segment(relay(0), 0);
    let (status, right) = fetch(0, &path);
    assert!(status == 200 && right.len() > 10_000, "{status} {}", right.len());

    // Another site's page, and whoever does not know the token.
    let token = format!("Weir-Control: {}", desk.token);
    let corrupt = r#"{"relay":"a","do":"corrupt"}"#;
    for extra in [
        "X: y".to_owned(),
        format!("{token}\r\nOrigin: http://evil.example"),
        format!("{token}\r\nSec-Fetch-Site: cross-site"),
    ] {
        assert_eq!(desk.post(&extra, corrupt).0, 403, "{extra}");
    }
    let (status, _) = ask(desk.page, "GET /api/demo HTTP/1.1\r\nSec-Fetch-Site: cross-site", "");
    assert_eq!(status, 403, "the token is for the demo's own pages");
    assert_eq!(fetch(0, &path).1, right, "no command was obeyed");
    assert_eq!(desk.post(&token, r#"{"relay":"d","do":"kill"}"#).0, 404);

    assert_eq!(desk.command(corrupt)["corrupt"], true);
    let (status, forged) = fetch(0, &path);
    let wrong = forged.iter().zip(&right).filter(|(one, other)| one != other).count();
    assert!(status == 200 && forged.len() == right.len() && wrong >= 1, "{status} {wrong}");
    assert_eq!(fetch(1, &path).1, right, "what is at other relays, also those that have it from this one");

    desk.command(r#"{"relay":"a","do":"heal"}"#);
    desk.command(r#"{"relay":"a","do":"slow","bytes_per_second":20000}"#);
    let begun = Instant::now();
    assert_eq!(fetch(0, &path).1, right);
    let least = (right.len() as f64 / 20_000.0 - 0.2).min(30.0);
    assert!(begun.elapsed().as_secs_f64() >= least, "{} bytes took {:?}", right.len(), begun.elapsed());
    assert_eq!(desk.command(r#"{"relay":"a","do":"heal"}"#)["slow"], Value::Null);

    // One that stands still takes no order but to go on.
    assert_eq!(desk.command(r#"{"relay":"b","do":"pause"}"#)["state"], "paused");
    assert_eq!(desk.post(&token, r#"{"relay":"b","do":"slow"}"#).0, 409);
    assert_eq!(desk.command(r#"{"relay":"b","do":"resume"}"#)["state"], "running");
    assert_eq!(fetch(1, &path).1, right);

    // Cut off from the others, a relay serves what it holds and nothing else.
    fetch(2, &path);
    desk.command(r#"{"relay":"c","do":"partition"}"#);
    let new = film_segment(relay(1), 3);
    assert_eq!((fetch(2, &path).1, fetch(2, &new).0), (right.clone(), 404));
    desk.command(r#"{"relay":"c","do":"heal"}"#);
    let begun = Instant::now();
    while fetch(2, &new).0 != 200 {
        assert!(begun.elapsed() < 2 * PATIENCE, "not back in its network");
    }

    let before = demo.children();
    let killed = desk.command(r#"{"relay":"b","do":"kill"}"#);
    assert!(killed["state"] == "killed" && killed["pid"].is_null(), "{killed}");
    assert!(TcpStream::connect(relay(1)).is_err());
    assert_eq!(desk.post(&token, r#"{"relay":"b","do":"kill"}"#).0, 409);
    let back = desk.command(r#"{"relay":"b","do":"restart"}"#);
    assert_eq!(back["state"], "running");
    assert_eq!(fetch(1, &path).1, right);
    let told: Value = serde_json::from_str(&get(desk.page, "/api/demo")).unwrap();
    assert_eq!(told["relays"][1]["pid"], back["pid"]);
    assert!(!before.contains(&i32::try_from(back["pid"].as_i64().unwrap()).unwrap()));
}

#[test]
fn media_demo_drains_at_a_signal_and_leaves_nothing() {
    let mut demo = Running::start(&["--free-ports", "--h3"]);
    let children = demo.children();
    let home = home_of(&demo.printed);
    assert!(Path::new(&home).is_dir());
    let spki = demo.description["spki_sha256"].as_str().unwrap();
    assert!(demo.printed.contains(&format!("--ignore-certificate-errors-spki-list={spki}")), "{}", demo.printed);
    assert_eq!(demo.description["h3"], true);
    let mut status = String::new();
    while !status.contains("viewers 0 | hit –") {
        status.clear();
        assert!(demo.lines.read_line(&mut status).unwrap() > 0, "no status line");
    }
    demo.signal(rustix::process::Signal::TERM);
    let mut rest = String::new();
    demo.lines.read_to_string(&mut rest).unwrap();
    assert!(demo.process.wait().unwrap().success(), "{rest}");
    assert!(rest.contains("Draining."), "{rest}");
    assert!(all_gone(&children) && !Path::new(&home).exists());
}

#[test]
fn media_demo_takes_other_ports_when_the_usual_ones_are_busy() {
    // Either these are taken here, or another program has them: busy they are.
    let holders: Vec<_> = [7000, 7080, 7082].map(|port| TcpListener::bind(("127.0.0.1", port))).into();
    let on_c = TcpListener::bind("127.0.0.3:7480").or_else(|_| TcpListener::bind("127.0.0.1:7480"));
    let demo = Running::start(&[]);
    for (title, port) in [("✔ origin", 7000), ("✔ adapter", 7082), ("✔ relays", 7480), ("▶ Player", 7080)] {
        let line = demo.printed.lines().find(|line| line.contains(title)).unwrap();
        assert!(line.contains(&port.to_string()) && line.contains("busy"), "{line}");
        assert_ne!(address_of(&demo.printed, title).port(), port);
    }
    let relays = demo.description["relays"].as_array().unwrap();
    let port = |relay: &Value| relay["http"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let is_shared = relays.iter().all(|relay| port(relay) == port(&relays[0]));
    let one_address = relays.iter().all(|relay| relay["http"].as_str().unwrap().contains("127.0.0.1"));
    assert_ne!(is_shared, one_address, "the same number where there are three addresses: {relays:?}");
    let film = get(relays[2]["http"].as_str().unwrap()[7..].parse().unwrap(), "/film/master.m3u8");
    assert!(film.contains("720p"), "{film}");
    drop((holders, on_c));
}

#[test]
fn a_child_that_cannot_start_is_told_with_its_reason() {
    let data = tempfile::tempdir().unwrap();
    let adapter = data.path().join("adapter");
    fs::create_dir_all(&adapter).unwrap();
    // A key file that is none: the adapter refuses rather than becoming another publisher.
    for name in ["publisher-root.key", "publisher-signing.key"] {
        fs::write(adapter.join(name), "no key").unwrap();
    }
    let directory = data.path().display().to_string();
    let run = weir(&["--free-ports", "--data", &directory]).output().unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{told}");
    assert!(
        told.contains("the adapter ended before it was ready (exit code 73)") && told.contains("  | weir: "),
        "{told}"
    );
}

/// The directory of a demo that was given none.
fn home_of(printed: &str) -> String {
    let line = printed.lines().find(|line| line.contains("logs in ")).unwrap();
    line.split("logs in ").nth(1).unwrap().split("/logs;").next().unwrap().to_owned()
}
