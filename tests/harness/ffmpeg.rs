//! Real media: made by ffmpeg, and judged by it. Invariant: a player is content only when it says nothing at all.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

use super::{
    files,
    wait::{until, within},
};

/// Making all of it takes seconds once; several tests may wait for one another.
const MAKING: Duration = Duration::from_secs(180);
/// ffmpeg 5.1 says so of every live fMP4, right or wrong.
const HARMLESS: &str = "Found duplicated MOOV Atom. Skipped it";

/// A directory of the inputs that `tests/media/make.sh` makes.
pub(crate) async fn media(name: &str) -> PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("media");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media/make.sh");
    let mut command = tokio::process::Command::new(script);
    let made = command.arg(&out).stdin(Stdio::null()).kill_on_drop(true).status();
    assert!(within(MAKING, "make.sh to make the inputs", made).await.unwrap().success(), "make.sh failed");
    out.join(name)
}

/// Plays an input to its end: what ffmpeg complained about, with a line for a failure without a word.
pub(crate) async fn decode(input: &str, patience: Duration) -> Vec<String> {
    let arguments = ["-nostdin", "-v", "error", "-i", input, "-threads", "1", "-map", "0", "-f", "null", "-"];
    let (said, _) = run("ffmpeg", &arguments, patience).await;
    said
}

/// The length in seconds that ffprobe finds, and what it complained about.
pub(crate) async fn duration(input: &str, patience: Duration) -> (Option<f64>, Vec<String>) {
    let arguments = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", input];
    let (said, output) = run("ffprobe", &arguments, patience).await;
    (output.trim().parse().ok(), said)
}

async fn run(program: &str, arguments: &[&str], patience: Duration) -> (Vec<String>, String) {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let what = format!("{program} {}", arguments.join(" "));
    let output = within(patience, &what, command.output()).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let mut said: Vec<String> = errors.lines().filter(|line| !line.contains(HARMLESS)).map(str::to_owned).collect();
    if !output.status.success() && said.is_empty() {
        said.push(format!("{what}: {}", output.status));
    }
    (said, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A live channel in real time, written to a folder by `tests/media/live.sh`.
pub(crate) struct Channel {
    folder: TempDir,
    child: Child,
}

impl Channel {
    /// On air for so many seconds; waits until there is a playlist.
    pub(crate) async fn start(seconds: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("weir-live-").tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media/live.sh");
        let mut command = Command::new(script);
        command.arg(folder.path()).arg(seconds.to_string()).stdin(Stdio::null());
        let channel = Self { folder, child: command.spawn().unwrap() };
        until("the channel's first playlist", async || channel.playlist()).await;
        channel
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The playlist as the origin has it now.
    pub(crate) fn playlist(&self) -> Option<String> {
        files::text(&self.folder.path().join("live.m3u8"))
    }

    /// The encoder dies; what it wrote stays.
    pub(crate) fn kill9(&mut self) {
        // It may be off air already; both are fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.kill9();
    }
}
