//! One child process: a `weir edge` or `weir origin` that says in one line of JSON when it is ready.
//!
//! Invariant: the child ends when this process does, however that ends: it holds the reading end of a pipe whose writing
//! end nobody else has, and drains when that closes.

use crate::exit::{Failure, PORT_BUSY, RUNTIME};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Longest wait for the line that says it is ready.
const READY: Duration = Duration::from_secs(15);
/// Longest wait for the answer to a line.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest line that is read.
const MAX_LINE: u64 = 64 * 1024;
/// How much of a log's end is shown.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 12;
/// Longest wait for a child that was let go, before it is killed.
const DRAIN: Duration = Duration::from_secs(10);

/// Why a child did not become ready.
#[derive(Debug)]
pub(super) enum NotReady {
    /// One of its ports was in use after all.
    PortBusy(Failure),
    /// Anything else.
    Failed(Failure),
}

/// A running child.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    process: tokio::process::Child,
    // Closing this lets the child go.
    input: Option<ChildStdin>,
    // Held open, so that whatever the child still writes meets no closed pipe.
    output: BufReader<ChildStdout>,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Starts this same program with these arguments. Its standard error goes to `log`.
    pub(super) fn start(name: impl Into<String>, arguments: Vec<OsString>, log: PathBuf) -> Result<Self, Failure> {
        let name = name.into();
        let failed = |error: std::io::Error| Failure::new(RUNTIME, format!("cannot start {name}: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).map_err(failed)?)
            // A Ctrl-C reaches the whole group of a terminal; this process decides what it means for its children.
            .process_group(0)
            .kill_on_drop(true);
        for (variable, _) in std::env::vars_os() {
            // What is set for the operator's own edge or origin is not meant for the demo's.
            if is_setting(&variable.to_string_lossy()) {
                command.env_remove(variable);
            }
        }
        let mut process = command.spawn().map_err(failed)?;
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("standard output was piped"));
        Ok(Self { name, process, input, output, log, ended: None })
    }

    /// Waits for the line that says what it runs on.
    pub(super) async fn ready(&mut self) -> Result<Value, NotReady> {
        let mut line = String::new();
        match timeout(READY, (&mut self.output).take(MAX_LINE).read_line(&mut line)).await {
            Ok(Ok(length)) if length > 0 => serde_json::from_str(&line).map_err(|error| {
                NotReady::Failed(Failure::new(RUNTIME, format!("{} is not as expected: {error}", self.name)))
            }),
            Ok(_) => {
                let status = self.process.wait().await;
                let code = status.as_ref().ok().and_then(ExitStatus::code);
                let how = status.map_or_else(|error| error.to_string(), how);
                let text = format!("{} ended before it was ready ({how}){}", self.name, tail(&self.log));
                let failure = Failure::new(RUNTIME, text);
                Err(if code == Some(PORT_BUSY.into()) {
                    NotReady::PortBusy(failure)
                } else {
                    NotReady::Failed(failure)
                })
            }
            Err(_) => {
                let text = format!("{} was not ready within {} s{}", self.name, READY.as_secs(), tail(&self.log));
                Err(NotReady::Failed(Failure::new(RUNTIME, text)))
            }
        }
    }

    /// Its process id; absent once it ended.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Whether it runs.
    pub(super) fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    /// Says how it ended, once.
    pub(super) fn has_ended(&mut self) -> Option<String> {
        if self.ended.is_some() {
            return None;
        }
        let status = self.process.try_wait().ok().flatten()?;
        self.ended = Some(status);
        Some(format!(
            "{} ended: {}{}",
            self.name,
            how(status),
            if status.code().is_some() { tail(&self.log) } else { String::new() }
        ))
    }

    /// Sends it a line on its standard input and returns the line that it answers with.
    pub(super) async fn tell(&mut self, line: &str) -> Result<Value, Failure> {
        let name = &self.name;
        let broken = |error: std::io::Error| Failure::new(RUNTIME, format!("{name} cannot be told: {error}"));
        let input = self.input.as_mut().ok_or_else(|| Failure::new(RUNTIME, format!("{name} was let go")))?;
        let mut answer = String::new();
        let exchange = async {
            input.write_all(line.as_bytes()).await?;
            input.write_all(b"\n").await?;
            input.flush().await?;
            (&mut self.output).take(MAX_LINE).read_line(&mut answer).await
        };
        match timeout(ANSWER, exchange).await {
            Ok(read) => read.map_err(broken)?,
            Err(_) => {
                return Err(Failure::new(RUNTIME, format!("{name} did not answer within {} s", ANSWER.as_secs())));
            }
        };
        serde_json::from_str(&answer)
            .map_err(|error| Failure::new(RUNTIME, format!("{name} answered what cannot be read: {error}")))
    }

    /// Sends it a signal; an error when it has ended.
    pub(super) fn signal(&self, signal: rustix::process::Signal) -> Result<(), Failure> {
        let gone = || Failure::new(RUNTIME, format!("{} has ended", self.name));
        // While its id is known it has not been waited for, so nobody else can have the id.
        let pid = self.process.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())).ok_or_else(gone)?;
        rustix::process::kill_process(pid, signal)
            .map_err(|error| Failure::new(RUNTIME, format!("{} cannot be signalled: {error}", self.name)))
    }

    /// Kills it at once and waits until it is gone.
    pub(super) async fn kill(&mut self) -> Result<(), Failure> {
        let cannot = |error| Failure::new(RUNTIME, format!("{} cannot be killed: {error}", self.name));
        self.process.start_kill().map_err(cannot)?;
        self.ended = Some(self.process.wait().await.map_err(cannot)?);
        Ok(())
    }

    /// Lets it drain and waits for its end; kills it when that takes too long.
    pub(super) async fn end(&mut self) {
        drop(self.input.take());
        // One that stands still cannot drain.
        let _ = self.signal(rustix::process::Signal::CONT);
        if timeout(DRAIN, self.process.wait()).await.is_err() {
            tracing::warn!(child = %self.name, "did not drain in time");
            if let Err(error) = self.process.kill().await {
                tracing::warn!(child = %self.name, %error, "cannot be killed");
            }
        }
    }
}

fn is_setting(variable: &str) -> bool {
    variable == "WEIR_CONFIG"
        || variable.starts_with("WEIR_EDGE__")
        || variable.starts_with("WEIR_ORIGIN__")
        || variable.starts_with("WEIR_LEDGER__")
}

fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The end of a log, indented, to follow a message.
fn tail(log: &Path) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut end = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut end)?;
        Ok::<_, std::io::Error>(end)
    };
    let end = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().fold(String::new(), |all, line| all + "\n  | " + line)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn settings_of_other_commands_are_not_inherited() {
        assert!(is_setting("WEIR_CONFIG") && is_setting("WEIR_EDGE__JOIN") && is_setting("WEIR_ORIGIN__HTTP"));
        assert!(!is_setting("WEIR_LOG") && !is_setting("PATH"));
    }

    #[test]
    fn a_tail_is_the_last_lines() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        assert_eq!(tail(&log), "");
        let lines: Vec<String> = (0..2000).map(|n| format!("line {n}")).collect();
        std::fs::write(&log, lines.join("\n")).unwrap();
        let shown = tail(&log);
        assert_eq!(shown.lines().count(), 1 + TAIL_LINES);
        assert!(shown.starts_with("\n  | line 1988") && shown.ends_with("line 1999"), "{shown}");
    }
}
