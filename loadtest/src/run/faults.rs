//! Faults on a schedule: what is done to whom when, and that everything is undone at the end of the round.
//!
//! Invariant: a fault that could not be done, or not undone, is told in the report and fails the run: figures of a fault that
//! never happened would be good ones.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::RunError;
use super::demo::{Act, Description};
use super::scenario::{Action, Fault, Line};
use crate::impair::{Config, Impairment, LinkConfig};

/// Flows and connections through one line.
const MAX_FLOWS: usize = 16_384;

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Done {
    /// While this target was measured.
    pub target: String,
    /// Which round.
    pub round: u32,
    /// When, in seconds of the round.
    pub at: f64,
    /// What, for people.
    pub what: String,
    /// It was undone; otherwise begun.
    pub ends: bool,
    /// Why it could not be done; absent: it was.
    pub failed: Option<String>,
}

/// Lines between viewers and servers.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: BTreeMap<String, (Line, Impairment)>,
}

impl Lines {
    /// Starts the proxies.
    pub(crate) async fn start(lines: &[Line], seed: u64) -> Result<Self, RunError> {
        let mut started = BTreeMap::new();
        for line in lines {
            let failed = |reason: String| RunError::Usage(format!("the line `{}`: {reason}", line.name));
            let here: SocketAddr = match line.to {
                SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
            };
            let mut config = Config::new(here, line.to);
            config.up = usual(line).map_err(failed)?;
            config.down = config.up;
            config.seed = seed;
            config.max_flows = MAX_FLOWS;
            let proxy = Impairment::bind(config).await.map_err(|error| failed(error.to_string()))?;
            started.insert(line.name.clone(), (line.clone(), proxy));
        }
        Ok(Self { lines: started })
    }

    /// Where connections to a server go instead.
    pub(crate) fn detours(&self) -> BTreeMap<SocketAddr, SocketAddr> {
        self.lines.values().map(|(line, proxy)| (line.to, proxy.local_addr())).collect()
    }

    pub(crate) async fn stop(self) {
        for (_, (_, proxy)) in self.lines {
            proxy.shutdown().await;
        }
    }
}

/// A line as the scenario has it.
fn usual(line: &Line) -> Result<LinkConfig, String> {
    link(line.delay_ms, line.jitter_ms, line.loss_percent, line.mbps)
}

fn link(delay_ms: f64, jitter_ms: f64, loss: f64, mbps: Option<f64>) -> Result<LinkConfig, String> {
    let ms = |value: f64| Duration::from_secs_f64(value / 1e3);
    let link = LinkConfig::new(ms(delay_ms), loss).map_err(|error| error.to_string())?.with_jitter(ms(jitter_ms));
    match mbps {
        Some(rate) => link.with_rate((rate * 1e6 / 8.0) as u64, None).map_err(|error| error.to_string()),
        None => Ok(link),
    }
}

/// A step of the schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step<'a> {
    at: Duration,
    fault: &'a Fault,
    /// The fault ends.
    ends: bool,
}

/// The steps in their order.
fn schedule(faults: &[Fault]) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = faults
        .iter()
        .flat_map(|fault| {
            let begins = Step { at: Duration::from_secs_f64(fault.at_seconds), fault, ends: false };
            let end = fault.for_seconds.map(|lasts| Duration::from_secs_f64(fault.at_seconds + lasts));
            [Some(begins), end.map(|at| Step { at, fault, ends: true })].into_iter().flatten()
        })
        .collect();
    steps.sort_by_key(|step| step.at);
    steps
}

/// Whatever can be made to fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach<'a> {
    pub(crate) lines: &'a Lines,
    pub(crate) demo: Option<&'a (Url, Description)>,
    pub(crate) target: &'a str,
    pub(crate) round: u32,
}

/// Does what is due until it is told to stop, and undoes everything that still lasts.
/// `tell` hears of each at once.
pub(crate) async fn run(
    faults: &[Fault],
    reach: Reach<'_>,
    started: Instant,
    cancel: CancellationToken,
    tell: impl Fn(&Done),
) -> Vec<Done> {
    let mut done = Vec::new();
    let mut note = |one: Done| {
        tell(&one);
        done.push(one);
    };
    let mut lasting: Vec<&Fault> = Vec::new();
    for Step { at, fault, ends } in schedule(faults) {
        if !reach.has(fault) {
            continue;
        }
        if cancel.run_until_cancelled(sleep_until(started + at)).await.is_none() {
            break;
        }
        let outcome = reach.apply(fault, ends).await;
        match ends {
            true => lasting.retain(|other| !std::ptr::eq(*other, fault)),
            false => lasting.push(fault),
        }
        note(reach.told(started, fault, ends, outcome));
    }
    cancel.cancelled().await;
    for fault in lasting {
        // A process of a stranger that was killed stays so.
        if fault.action == Action::Kill && fault.on.starts_with("pid:") {
            continue;
        }
        let outcome = reach.apply(fault, true).await;
        note(reach.told(started, fault, true, outcome));
    }
    done
}

impl Reach<'_> {
    /// Whether this target has what is to fail: the relay of a demo is none of another server's.
    fn has(&self, fault: &Fault) -> bool {
        self.demo.is_some() || self.lines.lines.contains_key(&fault.on) || fault.on.starts_with("pid:")
    }

    fn told(&self, started: Instant, fault: &Fault, ends: bool, outcome: Result<(), String>) -> Done {
        let verb = format!("{:?}", fault.action).to_lowercase();
        let what = format!("{verb} {}", fault.on);
        if let Err(reason) = &outcome {
            tracing::warn!(what, reason, "a fault was not done");
        }
        let target = self.target.to_owned();
        Done { target, round: self.round, at: started.elapsed().as_secs_f64(), what, ends, failed: outcome.err() }
    }

    async fn apply(&self, fault: &Fault, ends: bool) -> Result<(), String> {
        if let Some((line, proxy)) = self.lines.lines.get(&fault.on) {
            return to_line(line, proxy, fault, ends);
        }
        if let Some(pid) = fault.on.strip_prefix("pid:") {
            return to_process(pid, fault.action, ends);
        }
        let Some((page, demo)) = self.demo else { return Err("this target is no demo".to_owned()) };
        let once = |verb| Act { verb, bytes_per_second: None, seconds: None, on: None };
        let lasting = |verb| Act { on: Some(!ends), ..once(verb) };
        let act = match (fault.action, ends) {
            (Action::Kill, false) => once("kill"),
            (Action::Kill, true) => once("restart"),
            (Action::Pause, false) => once("pause"),
            (Action::Pause, true) => once("resume"),
            (Action::Slow, _) => {
                let rate = fault.mbps.filter(|_| !ends).map(|mbps| (mbps * 1e6 / 8.0).max(1.0) as u64);
                Act { bytes_per_second: rate, ..lasting("slow") }
            }
            (Action::Corrupt, _) => lasting("corrupt"),
            (Action::Partition, _) => lasting("partition"),
            (Action::Skew, _) => Act { seconds: fault.skew_seconds.filter(|_| !ends), ..lasting("skew") },
            (Action::Impair, _) => return Err("only lines can be impaired".to_owned()),
        };
        demo.control(page, &fault.on, &act).await
    }
}

fn to_line(line: &Line, proxy: &Impairment, fault: &Fault, ends: bool) -> Result<(), String> {
    if fault.action == Action::Partition {
        proxy.cut(!ends);
        return Ok(());
    }
    let link = if ends {
        usual(line)?
    } else {
        let delay = fault.delay_ms.unwrap_or(line.delay_ms);
        let jitter = fault.jitter_ms.unwrap_or(line.jitter_ms);
        link(delay, jitter, fault.loss_percent.unwrap_or(line.loss_percent), fault.mbps.or(line.mbps))?
    };
    proxy.set(link, link);
    Ok(())
}

fn to_process(pid: &str, action: Action, ends: bool) -> Result<(), String> {
    let signal = match (action, ends) {
        (Action::Kill, false) => Signal::KILL,
        (Action::Pause, false) => Signal::STOP,
        (Action::Pause, true) => Signal::CONT,
        _ => return Err(format!("{action:?} cannot be done to a process")),
    };
    let pid = pid.parse().ok().and_then(Pid::from_raw).ok_or_else(|| format!("{pid} is no process id"))?;
    kill_process(pid, signal)
        .map_err(|error| format!("cannot send a signal to process {}: {error}", pid.as_raw_nonzero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(at_seconds: f64, for_seconds: Option<f64>, on: &str) -> Fault {
        Fault {
            at_seconds,
            for_seconds,
            action: Action::Partition,
            on: on.to_owned(),
            mbps: None,
            delay_ms: None,
            jitter_ms: None,
            loss_percent: None,
            skew_seconds: None,
        }
    }

    #[test]
    fn begins_and_ends_are_in_order_of_time() {
        let faults = [fault(5.0, Some(2.0), "a"), fault(1.0, None, "b"), fault(6.0, Some(9.0), "c")];
        let steps: Vec<_> =
            schedule(&faults).iter().map(|step| (step.at.as_secs(), step.fault.on.as_str(), step.ends)).collect();
        assert_eq!(steps, [(1, "b", false), (5, "a", false), (6, "c", false), (7, "a", true), (15, "c", true)]);
    }

    #[tokio::test]
    async fn what_cannot_be_done_is_told_and_what_lasts_is_undone() {
        let cancel = CancellationToken::new();
        let lines = Lines::default();
        cancel.cancel();
        // No process has this id, and a partition is nothing that can be done to one.
        let faults = [fault(0.0, None, "pid:2147483647")];
        let reach = Reach { lines: &lines, demo: None, target: "t", round: 1 };
        assert_eq!(run(&faults, reach, Instant::now(), cancel, |_| {}).await, [], "nothing was begun");

        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let stopping = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stop.cancel();
        });
        let heard = std::cell::Cell::new(0);
        let done = run(&faults, reach, Instant::now(), cancel, |_| heard.set(heard.get() + 1)).await;
        assert_eq!(heard.get(), done.len());
        stopping.await.expect("it ends");
        let told: Vec<_> = done.iter().map(|one| (one.what.as_str(), one.ends, one.failed.is_some())).collect();
        assert_eq!(told, [("partition pid:2147483647", false, true), ("partition pid:2147483647", true, true)]);
    }
}
