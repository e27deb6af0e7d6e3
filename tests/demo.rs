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

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
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
fn media_demo_drains_at_a_signal_and_leaves_nothing() {
    let mut demo = Running::start(&["--free-ports", "--h3"]);
    let children = demo.children();
    let home = home_of(&demo.printed);
    assert!(Path::new(&home).is_dir());
    let spki = demo.description["spki_sha256"].as_str().unwrap();
    assert!(demo.printed.contains(&format!("--ignore-certificate-errors-spki-list={spki}")), "{}", demo.printed);
    assert_eq!(demo.description["h3"], true);
    demo.signal(rustix::process::Signal::TERM);
    let mut rest = String::new();
    demo.lines.read_to_string(&mut rest).unwrap();
    assert!(demo.process.wait().unwrap().success(), "{rest}");
    assert!(rest.contains("viewers 0 | hit –") && rest.contains("Draining."), "{rest}");
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
