//! A real PostgreSQL server for tests, in a folder of its own, reachable over a Unix socket alone.
//!
//! Invariant: every wait has an end, and the server's whole process group ends with the value.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use weir_ledger::StoreUrl;

const START_WAIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// A server that runs.
pub(crate) struct PostgresServer {
    folder: tempfile::TempDir,
    child: Option<Child>,
    owner: Option<(u32, u32)>,
}

impl PostgresServer {
    /// Creates a cluster and starts its server.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("weir-postgres-").tempdir().unwrap();
        // PostgreSQL refuses to run as root.
        let owner = rustix::process::geteuid().is_root().then(unprivileged);
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let mut server = Self { folder, child: None, owner };
        let data = server.data();
        let initdb = server
            .command("initdb")
            .args([
                "--no-sync",
                "--no-instructions",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--username=weir",
                "-D",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(initdb.status.success(), "initdb: {}", String::from_utf8_lossy(&initdb.stderr));
        server.run();
        server
    }

    /// Starts the server again, after [`kill`](Self::kill).
    pub(crate) fn run(&mut self) {
        let started = Instant::now();
        self.spawn();
        while !self.psql("postgres", "SELECT 1").status.success() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < START_WAIT, "PostgreSQL does not start:\n{}", log());
            // It refuses as long as a process of the killed one holds its shared memory.
            if self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some()) {
                self.spawn();
            }
            std::thread::sleep(POLL);
        }
    }

    fn spawn(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let data = self.data();
        let socket = self.folder.path().to_owned();
        let child = self
            .command("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&socket)
            .args(["-c", "listen_addresses=", "-c", "max_connections=40", "-c", "shared_buffers=64MB"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Kills the server at once; its sessions, which have process groups of their own, end when they notice.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Creates a database and returns its URL.
    pub(crate) fn database(&self, name: &str) -> StoreUrl {
        let created = self.psql("postgres", &format!("CREATE DATABASE {name}"));
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        self.url(name).parse().unwrap()
    }

    /// The URL of a database.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("postgres://weir@localhost/{name}?host={}", self.folder.path().display())
    }

    /// Runs SQL.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        let mut psql = Command::new(binary("psql"));
        psql.args(["-X", "-A", "-t", "-U", "weir", "-d", database, "-h"]).arg(self.folder.path()).args(["-c", sql]);
        psql.output().unwrap()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, name: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(binary(name));
        command.current_dir("/").env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin").process_group(0);
        if let Some((user, group)) = self.owner {
            command.gid(group).uid(user);
        }
        command
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut child) = self.child.take() else { return };
        let group = Pid::from_raw(child.id().cast_signed()).unwrap();
        // The group may be gone already; what counts is that the server has ended.
        let _ = kill_process_group(group, signal);
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > START_WAIT {
                let _ = kill_process_group(group, Signal::KILL);
                child.wait().unwrap();
                return;
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Immediate shutdown: what is lost is lost with the folder anyway.
        self.end(Signal::QUIT);
    }
}

/// The newest installed server's program; Debian keeps them out of the search path.
fn binary(name: impl AsRef<OsStr>) -> PathBuf {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("postgres").exists())
        .collect();
    versions.sort();
    versions.pop().map_or_else(|| Path::new(name.as_ref()).to_owned(), |bin| bin.join(name.as_ref()))
}

fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&name))
            .map(|fields| (fields[2].parse().unwrap(), fields[3].parse().unwrap()))
    };
    find("postgres").or_else(|| find("nobody")).expect("a system has the user nobody")
}
