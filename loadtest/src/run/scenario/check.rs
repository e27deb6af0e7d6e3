//! Reads a scenario and refuses what makes no sense, naming the key.

use std::path::{Path, PathBuf};

use super::{Action, Fault, Scenario, Target};
use crate::client::Protocol;
use crate::run::report::figure;

/// Most viewers at a time.
const MAX_VIEWERS: u32 = 100_000;
/// Longest round, in seconds.
const MAX_SECONDS: f64 = 86_400.0;
/// Most rounds, targets, lines and faults.
const MAX_ROUNDS: u32 = 100;
const MAX_LIST: usize = 64;
/// Longest scenario file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why a scenario is refused.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is too long for a scenario.
    #[error("the scenario {} is longer than 1 MiB", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It is not TOML, or has an unknown key, or lacks one.
    #[error("in the scenario {}: {source}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("in the scenario, {key}: {reason}")]
    Value {
        /// Which key.
        key: String,
        /// Why not.
        reason: String,
    },
}

fn bad<T>(key: impl Into<String>, reason: impl Into<String>) -> Result<T, ScenarioError> {
    Err(ScenarioError::Value { key: key.into(), reason: reason.into() })
}

/// A number within bounds.
fn within(key: &str, value: f64, least: f64, most: f64) -> Result<(), ScenarioError> {
    if value >= least && value <= most {
        Ok(())
    } else {
        bad(key, format!("{value} is not between {least} and {most}"))
    }
}

impl Scenario {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ScenarioError`].
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let failed = |source| ScenarioError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
            return Err(ScenarioError::TooLong { path: path.to_owned() });
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let scenario: Self = toml::from_str(&text)
            .map_err(|source| ScenarioError::Form { path: path.to_owned(), source: Box::new(source) })?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Checks values, alone and against one another. To be called again after a value was changed.
    ///
    /// # Errors
    /// [`ScenarioError::Value`].
    pub fn check(&self) -> Result<(), ScenarioError> {
        within("viewers", f64::from(self.viewers), 1.0, f64::from(MAX_VIEWERS))?;
        within("seconds", self.seconds, 0.5, MAX_SECONDS)?;
        within("ramp_seconds", self.ramp_seconds, 0.0, self.seconds)?;
        within("rounds", f64::from(self.rounds), 1.0, f64::from(MAX_ROUNDS))?;
        within("rest_seconds", self.rest_seconds, 0.0, 3600.0)?;
        self.check_player()?;
        if self.targets.is_empty() || self.targets.len() > MAX_LIST {
            return bad("target", format!("{} targets; there must be 1 to {MAX_LIST}", self.targets.len()));
        }
        for (index, target) in self.targets.iter().enumerate() {
            check_target(target)?;
            if self.targets[..index].iter().any(|other| other.name == target.name) {
                return bad("target.name", format!("`{}` is there twice", target.name));
            }
        }
        if self.lines.len() > MAX_LIST || self.faults.len() > MAX_LIST {
            return bad("line and fault", format!("at most {MAX_LIST} of each"));
        }
        for line in &self.lines {
            within("line.delay_ms", line.delay_ms, 0.0, 60_000.0)?;
            within("line.jitter_ms", line.jitter_ms, 0.0, 60_000.0)?;
            within("line.loss_percent", line.loss_percent, 0.0, 100.0)?;
            within("line.mbps", line.mbps.unwrap_or(1.0), 0.001, 100_000.0)?;
        }
        self.faults.iter().try_for_each(|fault| self.check_fault(fault))?;
        self.check_expectations()
    }

    fn check_player(&self) -> Result<(), ScenarioError> {
        let player = &self.player;
        check_shares("player.protocols", &player.protocols.0)?;
        within("player.viewers_per_connection", player.viewers_per_connection.into(), 1.0, 10_000.0)?;
        within("player.buffer_seconds", player.buffer_seconds, 0.1, 3600.0)?;
        within("player.start_seconds", player.start_seconds, 0.0, player.buffer_seconds)?;
        within("player.mean_stay_seconds", player.mean_stay_seconds.unwrap_or(1.0), 0.1, MAX_SECONDS)?;
        within("player.penalty_seconds", player.penalty_seconds, 0.0, MAX_SECONDS)?;
        within("player.attempts", player.attempts.into(), 1.0, 100.0)?;
        within("player.backoff_seconds", player.backoff_seconds, 0.01, 600.0)?;
        within("player.connect_seconds", player.connect_seconds, 0.01, 600.0)?;
        within("player.first_byte_seconds", player.first_byte_seconds, 0.01, 600.0)?;
        within("player.body_seconds", player.body_seconds, 0.01, 600.0)?;
        within("player.inspect_percent", player.inspect_percent, 0.0, 100.0)?;
        if player.token.is_some() && player.token_file.is_some() {
            return bad("player.token", "there is a token_file as well");
        }
        match &player.cmcd {
            Some(cmcd) if !(1..=2).contains(&cmcd.version) => {
                bad("player.cmcd.version", format!("{} is neither 1 nor 2", cmcd.version))
            }
            _ => Ok(()),
        }
    }

    fn check_fault(&self, fault: &Fault) -> Result<(), ScenarioError> {
        within("fault.at_seconds", fault.at_seconds, 0.0, self.seconds)?;
        within("fault.for_seconds", fault.for_seconds.unwrap_or(1.0), 0.1, MAX_SECONDS)?;
        within("fault.mbps", fault.mbps.unwrap_or(1.0), 0.001, 100_000.0)?;
        within("fault.delay_ms", fault.delay_ms.unwrap_or(0.0), 0.0, 60_000.0)?;
        within("fault.jitter_ms", fault.jitter_ms.unwrap_or(0.0), 0.0, 60_000.0)?;
        within("fault.loss_percent", fault.loss_percent.unwrap_or(0.0), 0.0, 100.0)?;
        let is_line = self.lines.iter().any(|line| line.name == fault.on);
        let is_pid = fault.on.strip_prefix("pid:").is_some_and(|pid| pid.parse::<i32>().is_ok_and(|pid| pid > 1));
        let fits = match fault.action {
            Action::Impair => is_line,
            Action::Slow | Action::Partition => !is_pid,
            Action::Pause => !is_line,
            // A process that this program did not start cannot be started again by it.
            Action::Kill => !is_line && (!is_pid || fault.for_seconds.is_none()),
            Action::Corrupt | Action::Skew => !is_line && !is_pid,
        };
        if !fits {
            return bad("fault.on", format!("{:?} cannot be done to `{}`", fault.action, fault.on));
        }
        if fault.action == Action::Skew && fault.skew_seconds.is_none() {
            return bad("fault.skew_seconds", "a wrong clock needs to know by how much");
        }
        if fault.action == Action::Slow && fault.mbps.is_none() {
            return bad("fault.mbps", "a slow relay or line needs a rate");
        }
        let has_demo = self.targets.iter().any(|target| target.demo.is_some());
        if !is_line && !is_pid && !has_demo {
            return bad(
                "fault.on",
                format!("`{}` is no line, and no target is a demo that could have such a relay", fault.on),
            );
        }
        Ok(())
    }

    fn check_expectations(&self) -> Result<(), ScenarioError> {
        for expect in &self.expectations {
            if figure::find(&expect.figure).is_none() {
                return bad("expect.figure", format!("`{}` is none of: {}", expect.figure, figure::names().join(", ")));
            }
            if expect.at_most.is_none() && expect.at_least.is_none() {
                return bad("expect", format!("`{}` has neither at_most nor at_least", expect.figure));
            }
            if let Some(name) = &expect.target
                && !self.targets.iter().any(|target| target.name == *name)
            {
                return bad("expect.target", format!("there is no target `{name}`"));
            }
        }
        Ok(())
    }
}

fn check_target(target: &Target) -> Result<(), ScenarioError> {
    let key = format!("target `{}`", target.name);
    if target.urls.is_empty() == target.demo.is_none() {
        return bad(key, "name either urls or the page of a demo");
    }
    if let Some(url) = target.urls.iter().chain(&target.demo).find(|url| !matches!(url.scheme(), "http" | "https")) {
        return bad(key, format!("{url} is neither http nor https"));
    }
    if target.insecure && target.ca.is_some() {
        return bad(key, "insecure makes a ca meaningless");
    }
    match &target.protocols {
        Some(shares) => check_shares(&key, &shares.0),
        None => Ok(()),
    }
}

fn check_shares(key: &str, shares: &std::collections::BTreeMap<String, f64>) -> Result<(), ScenarioError> {
    for (name, share) in shares {
        if name.parse::<Protocol>().is_err() {
            return bad(key, format!("`{name}` is none of h1, h2 and h3"));
        }
        within(&format!("{key}.{name}"), *share, 0.0, 1e9)?;
    }
    if shares.values().sum::<f64>() > 0.0 { Ok(()) } else { bad(key, "no version of HTTP has a share") }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const LEAST: &str =
        "name = \"x\"\nviewers = 1\nseconds = 1\n[[target]]\nname = \"t\"\nurls = [\"http://h/m.m3u8\"]\n";

    fn checked(text: &str) -> Result<Scenario, String> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| error.to_string())?;
        scenario.check().map_err(|error| error.to_string())?;
        Ok(scenario)
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let scenario = checked(LEAST).unwrap();
        assert_eq!((scenario.rounds, scenario.player), (1, crate::run::scenario::Player::default()));
    }

    #[test]
    fn each_mistake_is_told_by_its_key() {
        for (more, told) in [
            ("[player]\nbufer_seconds = 1\n", "bufer_seconds"),
            ("[player]\nprotocols = { h4 = 1 }\n", "player.protocols"),
            ("[player]\nprotocols = { h1 = 0 }\n", "no version of HTTP"),
            ("[player]\ncmcd = { version = 3 }\n", "player.cmcd.version"),
            ("[[expect]]\nfigure = \"speed\"\nat_most = 1\n", "rebuffer_ratio"),
            ("[[expect]]\nfigure = \"rebuffer_ratio\"\n", "neither at_most nor at_least"),
            ("[[expect]]\nfigure = \"rebuffer_ratio\"\nat_most = 1\ntarget = \"u\"\n", "no target `u`"),
            ("[[fault]]\nat_seconds = 0\ndo = \"kill\"\non = \"a\"\n", "no target is a demo"),
            ("[[fault]]\nat_seconds = 0\ndo = \"impair\"\non = \"pid:7\"\n", "Impair cannot be done"),
            ("[[fault]]\nat_seconds = 5\ndo = \"pause\"\non = \"pid:7\"\n", "fault.at_seconds"),
            ("[[target]]\nname = \"t\"\nurls = [\"http://h/\"]\n", "twice"),
            ("[[target]]\nname = \"u\"\n", "either urls or"),
        ] {
            let error = checked(&format!("{LEAST}{more}")).unwrap_err();
            assert!(error.contains(told), "{more}: {error}");
        }
    }
}
