//! Lists in files that may change while a program runs. Invariant: a list that cannot be read or understood changes
//! nothing: the last good one stays in force, and the log says what is wrong.

use crate::exit::{CONFIGURATION, Failure};
use std::{
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest list, in bytes.
const MAX_FILE: u64 = 32 << 20;

/// A list in a file.
pub(crate) struct ListFile {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
}

impl ListFile {
    /// Reads the list for the first time; what is wrong with it ends the program.
    pub(crate) fn open<T, E: Display>(path: &Path, parse: impl Fn(&str) -> Result<T, E>) -> Result<(Self, T), Failure> {
        let mut file = Self { path: path.to_owned(), seen: None };
        file.seen = file.stamp();
        let list =
            file.read(&parse).map_err(|why| Failure::new(CONFIGURATION, format!("{}: {why}", path.display())))?;
        Ok((file, list))
    }

    /// Hands each newer list to `changed` until `stop`: at SIGHUP, and when the file has changed.
    pub(crate) async fn watch<T, E: Display>(
        mut self,
        parse: impl Fn(&str) -> Result<T, E>,
        mut changed: impl FnMut(T),
        stop: CancellationToken,
    ) {
        let mut hangups =
            signal(SignalKind::hangup()).inspect_err(|error| tracing::warn!(%error, "SIGHUP is not heard")).ok();
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let told = async {
                match &mut hangups {
                    Some(hangups) => hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = told => self.seen = None,
                _ = ticks.tick() => {}
            }
            let stamp = self.stamp();
            if stamp.is_none() || stamp == self.seen {
                continue;
            }
            self.seen = stamp;
            match self.read(&parse) {
                Ok(list) => {
                    tracing::info!(file = %self.path.display(), "list read anew");
                    changed(list);
                }
                Err(why) => {
                    tracing::error!(file = %self.path.display(), %why, "the list is not used; the former one stays in force");
                }
            }
        }
    }

    fn read<T, E: Display>(&self, parse: &impl Fn(&str) -> Result<T, E>) -> Result<T, String> {
        let length = fs::metadata(&self.path).map_err(|error| error.to_string())?.len();
        if length > MAX_FILE {
            return Err(format!("longer than {MAX_FILE} bytes"));
        }
        let text = fs::read_to_string(&self.path).map_err(|error: io::Error| error.to_string())?;
        parse(&text).map_err(|error| error.to_string())
    }

    fn stamp(&self) -> Option<(SystemTime, u64)> {
        let found = fs::metadata(&self.path).ok()?;
        Some((found.modified().ok()?, found.len()))
    }
}
