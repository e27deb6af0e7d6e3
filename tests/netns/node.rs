//! `weir` processes inside namespaces, asked over `curl` from inside. Invariants: a process ends with its handle, which
//! kills it by its id; every wait has an end and a reason.

use serde_json::Value;
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

use super::lab::Lab;

/// Longest wait for anything here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(50);
const ADMIN: &str = "127.0.0.1:7090";
const HTTP: &str = "127.0.0.1:7480";
/// Bytes of standard error that a failing test shows.
const SHOWN: usize = 24 * 1024;

/// Polls until `probe` has something; how long it took.
pub(crate) fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> (T, Duration) {
    let began = Instant::now();
    loop {
        if let Some(found) = probe() {
            return (found, began.elapsed());
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for: {what}");
        thread::sleep(POLL);
    }
}

/// A running `weir`.
pub(crate) struct Node {
    pub(crate) label: String,
    namespace: String,
    args: Vec<String>,
    directory: TempDir,
    running: Option<(Child, ChildStdin)>,
    /// What it said when it was ready.
    pub(crate) report: Value,
}

impl Node {
    /// `weir origin` in front of a folder. Relays join at `join`, an address of the namespace with a port.
    pub(crate) fn adapter(lab: &Lab, short: &str, folder: &Path, join: &str) -> Self {
        let folder = folder.to_str().unwrap();
        let http = format!("{HTTP},{join}");
        let args = ["origin", "--upstream", folder, "--http", &http, "--admin", ADMIN, "--name", "film"];
        Self::start(lab, short, &args)
    }

    /// `weir edge` that joins at an adapter's address.
    pub(crate) fn edge(lab: &Lab, short: &str, join: &str) -> Self {
        Self::edge_with(lab, short, join, &[])
    }

    /// The same with further arguments.
    pub(crate) fn edge_with(lab: &Lab, short: &str, join: &str, further: &[&str]) -> Self {
        let join = format!("http://{join}");
        let args = ["edge", "--join", &join, "--listen", "127.0.0.1:7443", "--http", HTTP, "--admin", ADMIN];
        Self::start(lab, short, &[&args, further].concat())
    }

    fn start(lab: &Lab, short: &str, args: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("weirnat-").tempdir().unwrap();
        let mut node = Self {
            label: short.to_owned(),
            namespace: lab.name(short),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            directory,
            running: None,
            report: Value::Null,
        };
        node.spawn();
        node
    }

    /// Starts it, or starts it again with the same data.
    pub(crate) fn spawn(&mut self) {
        assert!(self.running.is_none(), "{} runs already", self.label);
        let stderr = File::options().create(true).append(true).open(self.stderr()).unwrap();
        // `ip netns exec` becomes the program, so that the id is the program's.
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.namespace, env!("CARGO_BIN_EXE_weir")])
            .args(&self.args)
            .arg("--data")
            .arg(self.data())
            .args(["--json", "--exit-with-stdin", "--disk", "0", "--memory", "64MiB"])
            .env("WEIR_LOG", std::env::var("WEIR_NETNS_LOG").unwrap_or_else(|_| "weir_relay=debug,info".to_owned()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = child.stdout.take().unwrap();
        self.running = Some((child, stdin));
        let (sender, line) = mpsc::channel();
        let reading = thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).unwrap();
            // The test may have given up.
            let _ = sender.send(line);
        });
        let line = line.recv_timeout(PATIENCE).unwrap_or_default();
        assert!(!line.is_empty(), "{} did not start", self.label);
        reading.join().unwrap();
        self.report = serde_json::from_str(&line).unwrap();
        until(&format!("{} to be ready", self.label), || self.curl(&format!("http://{ADMIN}/readyz")).map(|_| ()));
    }

    /// Everything it keeps.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn stderr(&self) -> PathBuf {
        self.directory.path().join("stderr")
    }

    /// The body at a URL, fetched from inside; `None` unless it answers 200.
    pub(crate) fn curl(&self, url: &str) -> Option<Vec<u8>> {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "curl", "-s", "--fail", "--max-time", "20", url])
            .output()
            .unwrap();
        output.status.success().then_some(output.stdout)
    }

    /// The whole body at the plain door.
    pub(crate) fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.curl(&format!("http://{HTTP}/film{path}"))
    }

    /// Waits until it answers from what it holds: a body is handed out before its last signature has come.
    pub(crate) fn holds(&self, path: &str) {
        let url = format!("http://{HTTP}/film{path}");
        let curl = ["curl", "-s", "--fail", "--max-time", "20", "-o", "/dev/null", "-w", "%header{cache-status}", &url];
        until(&format!("{} to hold {path}", self.label), || {
            let said = Command::new("ip").args(["netns", "exec", &self.namespace]).args(curl).output().unwrap().stdout;
            String::from_utf8_lossy(&said).contains("; hit").then_some(())
        });
    }

    pub(crate) fn status(&self) -> Value {
        let json = self.curl(&format!("http://{ADMIN}/api/v1/status")).unwrap_or_default();
        serde_json::from_slice(&json).unwrap_or_default()
    }

    pub(crate) fn metrics(&self) -> String {
        String::from_utf8(self.curl(&format!("http://{ADMIN}/metrics")).unwrap_or_default()).unwrap()
    }

    pub(crate) fn id(&self) -> String {
        self.report["relay"].as_str().or(self.report["adapter"].as_str()).unwrap().to_owned()
    }

    /// Bytes that came from other relays, from the adapter, and went to relays.
    pub(crate) fn bytes(&self) -> Bytes {
        let totals = &self.status()["totals"];
        let read = |name: &str| totals[name].as_u64().unwrap_or_default();
        Bytes {
            from_peers: read("bytes_from_peers"),
            from_origin: read("bytes_from_origin"),
            to_peers: read("bytes_to_peers"),
        }
    }

    /// Waits until it knows how it can be reached, and that is `class`; milliseconds from its start.
    pub(crate) fn is(&self, class: &str) -> u64 {
        let mut last = Value::Null;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            last = self.status()["reachability"].clone();
            if last["class"] == class {
                let gauge = format!("weir_reachability{{method=\"{class}\"}} 1");
                until("the metric to say so", || self.metrics().contains(&gauge).then_some(()));
                return last["known_after_ms"].as_u64().unwrap();
            }
            thread::sleep(POLL);
        }
        panic!("{} is not {class}: {last}", self.label);
    }

    /// Waits until it knows so many members, itself included.
    pub(crate) fn knows(&self, members: usize) {
        until(&format!("{} to know {members} members", self.label), || {
            (self.status()["peers"]["known"] == members).then_some(())
        });
    }

    /// Waits until it can be called over some node.
    pub(crate) fn can_be_called(&self) {
        until(&format!("{} to have a reservation", self.label), || {
            self.status()["reachability"]["carriers"].as_array().is_some_and(|all| !all.is_empty()).then_some(())
        });
    }

    /// The open connection to another node.
    pub(crate) fn link_to(&self, other: &Self) -> Option<Value> {
        let id = other.id();
        self.status()["links"].as_array()?.iter().find(|link| link["relay"] == id.as_str()).cloned()
    }

    /// Loses the kept lists of members.
    pub(crate) fn forget_members(&self) {
        for file in fs::read_dir(self.data().join("networks")).unwrap().flatten() {
            if file.file_name().to_string_lossy().ends_with(".members.json") {
                fs::remove_file(file.path()).unwrap();
            }
        }
    }

    /// Lets it end by itself.
    pub(crate) fn stop(&mut self) {
        let (mut child, stdin) = self.running.take().unwrap();
        drop(stdin);
        until(&format!("{} to end", self.label), || child.try_wait().unwrap());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }
}

/// What has been transferred.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes {
    pub(crate) from_peers: u64,
    pub(crate) from_origin: u64,
    pub(crate) to_peers: u64,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let text = fs::read(self.stderr()).unwrap_or_default();
            let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN)..]).into_owned();
            eprintln!("--- {}: end of its standard error:\n{tail}--- end of {}", self.label, self.label);
        }
    }
}
