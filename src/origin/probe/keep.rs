//! Plans on the disk: `probes/EPOCH-LIST.json` in the adapter's data directory, readable by its owner alone, since a plan
//! holds tokens and tells which sessions are probes.
//!
//! Invariant: a plan is durable before it is committed to, and a session's state before and after the session; one process
//! at a time works on them.

use super::plan::Plan;
use crate::exit::{DATA_DIRECTORY, Failure};
use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Plans in the directory, at most: what was never revealed does not pile up unseen.
const MAX_PLANS: usize = 4096;

/// The plans of a data directory, held by this process.
pub(super) struct Plans {
    directory: PathBuf,
    /// Held as long as this lives.
    _lock: File,
}

impl Plans {
    /// Takes hold of the plans.
    pub(super) fn open(data: &Path) -> Result<Self, Failure> {
        let directory = data.join("probes");
        let failed = |error: io::Error| unusable(&directory, &error);
        private(&directory).map_err(failed)?;
        let lock = File::create(directory.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!("another weir origin probe works on {}", directory.display());
                return Err(Failure::new(DATA_DIRECTORY, text));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        Ok(Self { directory, _lock: lock })
    }

    /// The plans that were not revealed yet.
    pub(super) fn read(&self) -> Result<Vec<Plan>, Failure> {
        let mut plans = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(|error| unusable(&self.directory, &error))? {
            let path = entry.map_err(|error| unusable(&self.directory, &error))?.path();
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            if plans.len() == MAX_PLANS {
                let text = format!("{} holds more than {MAX_PLANS} plans", self.directory.display());
                return Err(Failure::new(DATA_DIRECTORY, text));
            }
            let text = fs::read(&path).map_err(|error| unusable(&path, &error))?;
            let plan: Plan = serde_json::from_slice(&text)
                .map_err(|error| Failure::new(DATA_DIRECTORY, format!("{}: {error}", path.display())))?;
            plans.push(plan);
        }
        plans.sort_by_key(|plan| (plan.epoch, plan.list));
        Ok(plans)
    }

    /// Makes a plan's state durable.
    pub(super) fn keep(&self, plan: &Plan) -> Result<(), Failure> {
        let path = self.path(plan);
        let text = serde_json::to_vec(plan).map_err(|error| Failure::new(DATA_DIRECTORY, error))?;
        let written = tempfile::Builder::new().prefix(".plan").tempfile_in(&self.directory).and_then(|mut file| {
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&self.directory)?.sync_all()
        });
        written.map_err(|error| unusable(&path, &error))
    }

    /// A plan is done with.
    pub(super) fn forget(&self, plan: &Plan) -> Result<(), Failure> {
        let path = self.path(plan);
        fs::remove_file(&path).map_err(|error| unusable(&path, &error))
    }

    fn path(&self, plan: &Plan) -> PathBuf {
        self.directory.join(format!("{}-{}.json", plan.epoch, plan.list))
    }
}

fn private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(DATA_DIRECTORY, format!("cannot use {}: {error}", path.display()))
}
