//! One `weir` child. Invariants: it ends with its handle, which kills this child and no other; a failing test shows what
//! it wrote to standard error; its directory and ports outlive a restart.

use serde_json::Value;
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::wait::{PATIENCE, until, within};

/// Exit status of a port that is in use (sysexits.h EX_UNAVAILABLE).
const PORT_BUSY: i32 = 69;
/// A port that was free a moment ago may be taken by a test beside this one, for a moment.
const RESTARTS: u32 = 20;
const RESTART_PAUSE: Duration = Duration::from_millis(250);
/// The last so many bytes of standard error are shown when a test fails.
const SHOWN: usize = 12 * 1024;

/// Further arguments and environment of a child.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Options {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A flag with its value.
    pub(crate) fn arg(mut self, flag: &str, value: impl ToString) -> Self {
        self.args.extend([flag.to_owned(), value.to_string()]);
        self
    }

    /// A flag without value, or with one behind an equals sign.
    pub(crate) fn flag(mut self, flag: impl Into<String>) -> Self {
        self.args.push(flag.into());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whether the flag was given, so that no default is added.
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.args.iter().any(|arg| arg == flag)
    }
}

struct Running {
    child: Child,
    /// The child drains when this closes.
    stdin: Option<ChildStdin>,
}

/// A child process and what it said when it was ready.
pub(crate) struct Process {
    label: String,
    base: Vec<String>,
    options: Options,
    directory: TempDir,
    report: Value,
    running: Option<Running>,
    starts: u32,
}

impl Process {
    /// Starts `weir` with the fixed arguments `base` and waits for its JSON line. `listen` are address flags that are
    /// given port 0 unless the options name them.
    pub(crate) async fn start(label: &str, base: Vec<String>, listen: &[&str], mut options: Options) -> Self {
        for flag in listen {
            if !options.has(flag) {
                options = options.arg(flag, "127.0.0.1:0");
            }
        }
        let directory = tempfile::Builder::new().prefix("weir-test-").tempdir().unwrap();
        let label = label.to_owned();
        let mut process = Self { label, base, options, directory, report: Value::Null, running: None, starts: 0 };
        if let Err(status) = process.spawn().await {
            panic!("{} did not start: {status}\n{}", process.label, process.stderr());
        }
        process
    }

    /// Starts `weir` that is expected to refuse: its exit code and standard error.
    pub(crate) async fn refused(args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        let mut text = String::new();
        let mut stderr = child.stderr.take().unwrap();
        let ended = async {
            tokio::io::AsyncReadExt::read_to_string(&mut stderr, &mut text).await.unwrap();
            child.wait().await.unwrap()
        };
        let status = within(PATIENCE, "weir to refuse and exit", ended).await;
        (status.code(), text)
    }

    async fn spawn(&mut self) -> Result<(), ExitStatus> {
        assert!(self.running.is_none(), "{} runs already", self.label);
        self.starts += 1;
        let stderr = File::create(self.stderr_path(self.starts)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command
            .args(&self.base)
            .args(&self.options.args)
            .arg("--data")
            .arg(self.data())
            .args(["--json", "--exit-with-stdin"])
            .envs(self.options.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        self.running = Some(Running { child, stdin });
        let reading = spawn_blocking(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).map(|_| line)
        });
        let Ok(line) = tokio::time::timeout(PATIENCE, reading).await else {
            panic!("{} said nothing within {PATIENCE:?}\n{}", self.label, self.stderr());
        };
        let line = line.unwrap().unwrap();
        if line.is_empty() {
            return Err(self.ended().await);
        }
        self.report = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        Ok(())
    }

    /// Starts the child again: same directory, same ports.
    pub(crate) async fn restart(&mut self) {
        self.kill9();
        self.keep_ports();
        for _ in 0..RESTARTS {
            match self.spawn().await {
                Ok(()) => return,
                Err(status) if status.code() == Some(PORT_BUSY) => tokio::time::sleep(RESTART_PAUSE).await,
                Err(status) => panic!("{} did not start again: {status}\n{}", self.label, self.stderr()),
            }
        }
        panic!("a port of {} stayed busy\n{}", self.label, self.stderr());
    }

    fn keep_ports(&mut self) {
        let found = [("--http", "http"), ("--listen", "tls"), ("--peer", "peer"), ("--admin", "admin")];
        for (flag, field) in found {
            let at = self.options.args.iter().position(|arg| arg == flag);
            if let (Some(at), Some(address)) = (at, first_text(&self.report[field])) {
                self.options.args[at + 1] = address;
            }
        }
    }

    /// SIGKILL, and waits until the child is gone. A child that is gone already stays so.
    pub(crate) fn kill9(&mut self) {
        if let Some(mut running) = self.running.take() {
            // It may have ended by itself, which is as good.
            let _ = running.child.kill();
            running.child.wait().unwrap();
        }
    }

    /// SIGTERM, and waits until the child has drained; its exit code.
    pub(crate) async fn terminate(&mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.ended().await.code()
    }

    /// Closes the pipe that the child lives by, and waits until it has drained; its exit code.
    pub(crate) async fn close_stdin(&mut self) -> Option<i32> {
        self.running.as_mut().unwrap().stdin = None;
        self.ended().await.code()
    }

    /// Sends a signal, for example STOP and CONT for a process that hangs.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until the child ends by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let label = format!("{} to end", self.label);
        let status = until(&label, async || self.running.as_mut().unwrap().child.try_wait().unwrap()).await;
        self.running = None;
        status
    }

    /// Whether the child still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| running.child.try_wait().unwrap().is_none())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().unwrap_or_else(|| panic!("{} does not run", self.label)).child.id()
    }

    /// What the child said when it was ready.
    pub(crate) fn report(&self) -> &Value {
        &self.report
    }

    /// The first address of a field of the report.
    pub(crate) fn address(&self, field: &str) -> String {
        first_text(&self.report[field])
            .unwrap_or_else(|| panic!("{} has no address {field}: {}", self.label, self.report))
    }

    /// Everything the child keeps.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What the child wrote to standard error since its last start.
    pub(crate) fn stderr(&self) -> String {
        fs::read(self.stderr_path(self.starts))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    }

    fn stderr_path(&self, start: u32) -> PathBuf {
        self.directory.path().join(format!("stderr-{start}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let state = match self.running.as_mut().map(|running| running.child.try_wait()) {
            Some(Ok(Some(status))) => format!("ended by itself, signal {:?}: {status}", status.signal()),
            Some(_) => "was running".to_owned(),
            None => "was ended by the test".to_owned(),
        };
        self.kill9();
        if std::thread::panicking() {
            for start in 1..=self.starts {
                show(&self.label, &state, start, &self.stderr_path(start));
            }
        }
    }
}

fn show(label: &str, state: &str, start: u32, path: &Path) {
    let text = fs::read(path).unwrap_or_default();
    let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN)..]).into_owned();
    eprintln!("--- {label} {state}; standard error of start {start}:\n{tail}--- end of {label}");
}

fn first_text(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value.get(0)?.as_str()).map(str::to_owned)
}
