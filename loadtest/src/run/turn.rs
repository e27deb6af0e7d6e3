//! One round of one target: the viewers come, faults happen, and it is counted until the time is over.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::faults::{self, Done, Lines, Reach};
use super::progress::{PAST, Progress};
use super::scenario::Scenario;
use super::tally::{Sheets, Tally};
use super::watch::aim::Aim;
use super::watch::pool::Pool;
use super::watch::stage::{Screen, Stage, seats};
use super::watch::viewer::Viewer;
use super::{RunError, report::figure::Facts};
use crate::client::Timeouts;
use crate::raw::ServerCpu;
use crate::raw::cpu::Ticks;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Orders<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) aim: &'a Aim,
    pub(crate) tokens: &'a [String],
    pub(crate) lines: &'a Lines,
    pub(crate) round: u32,
}

/// What it came to.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) tally: Tally,
    pub(crate) facts: Facts,
    pub(crate) server_cpu: Option<ServerCpu>,
    pub(crate) faults: Vec<Done>,
}

/// Plays one round of one target.
pub(crate) async fn play(
    orders: Orders<'_>,
    cancel: &CancellationToken,
    progress: &watch::Sender<Progress>,
) -> Result<Turn, RunError> {
    let Orders { scenario, aim, tokens, lines, round } = orders;
    let player = &scenario.player;
    let seconds = Duration::from_secs_f64;
    let timeouts = Timeouts {
        connect: seconds(player.connect_seconds),
        head: seconds(player.first_byte_seconds),
        body_idle: seconds(player.body_seconds),
        // A body that trickles is as useless to a player as one that stops.
        total: seconds(player.first_byte_seconds + 4.0 * player.body_seconds).max(seconds(30.0)),
    };
    let own = [std::process::id()];
    let (before, own_before) = (Ticks::read(&aim.pids)?, Ticks::read(&own)?);
    let stage = Arc::new(Stage {
        player: player.clone(),
        urls: aim.urls.clone(),
        keys: aim.keys.clone(),
        pool: Pool::new(aim.trust.clone(), timeouts, aim.connect, lines.detours()),
        sheets: Sheets::new(),
        shelf: std::sync::Mutex::default(),
        started: Instant::now(),
        present: AtomicU32::new(0),
        screens: (0..scenario.viewers).map(|_| Screen::default()).collect(),
    });
    let over = cancel.child_token();
    let ramp = seconds(scenario.ramp_seconds);
    let seed = scenario.seed.wrapping_add(u64::from(round) << 32);
    let mut viewers = JoinSet::new();
    for seat in seats(player, &aim.shares, aim.urls.len(), tokens, scenario.viewers, ramp, seed) {
        viewers.spawn(Viewer::new(Arc::clone(&stage), seat).run(over.clone()));
    }
    let whole = seconds(scenario.seconds);
    let reach = Reach { lines, demo: aim.demo.as_ref(), target: &aim.name, round };
    let struck: Mutex<Vec<Done>> = Mutex::default();
    let failing = faults::run(&scenario.faults, reach, stage.started, over.clone(), |done| {
        struck.lock().unwrap_or_else(PoisonError::into_inner).push(done.clone());
    });
    let watching = async {
        let watched = look(&stage, scenario, aim, round, whole, &struck, &mut viewers, progress, cancel).await;
        over.cancel();
        watched
    };
    let (faults, present) = tokio::join!(failing, watching);
    let present = present?;
    while let Some(ended) = viewers.join_next().await {
        ended?;
    }
    let wall = stage.now();
    let (after, own_after) = (Ticks::read(&aim.pids), Ticks::read(&own)?);
    let mut tally = stage.sheets.sum();
    for (index, viewers) in present.iter().enumerate() {
        tally.second(Duration::from_secs(index as u64)).viewers = *viewers;
    }
    let requests = tally.segments + tally.playlists;
    let server_cpu = match after {
        Ok(after) if !aim.pids.is_empty() => Some(ServerCpu::between(&aim.pids, before, after, tally.bytes, requests)),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(%error, "no CPU figures of the servers in this round");
            None
        }
    };
    let own_cpu = ServerCpu::between(&own, own_before, own_after, tally.bytes, requests);
    stage.pool.close().await;
    let facts = Facts {
        wall: wall.as_secs_f64().min(scenario.seconds.max(0.001)),
        viewers: scenario.viewers,
        server_cpu: server_cpu.as_ref().map(|cpu| cpu.seconds),
        own_cpu: own_cpu.seconds,
    };
    Ok(Turn { tally, facts, server_cpu, faults })
}

/// Tells once a second how it goes, until the time is over or nobody is left. Returns how many viewers there were, second by
/// second.
#[expect(clippy::too_many_arguments, reason = "one call, and each is another thing")]
async fn look(
    stage: &Stage,
    scenario: &Scenario,
    aim: &Aim,
    round: u32,
    whole: Duration,
    struck: &Mutex<Vec<Done>>,
    viewers: &mut JoinSet<()>,
    progress: &watch::Sender<Progress>,
    cancel: &CancellationToken,
) -> Result<Vec<u32>, RunError> {
    let mut present = Vec::new();
    let second = Duration::from_secs(1);
    let mut ticks = interval_at(stage.started + second, second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let end = tokio::time::sleep_until(stage.started + whole);
    tokio::pin!(end);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(present),
            () = &mut end => {
                present.push(stage.viewers());
                return Ok(present);
            }
            ended = viewers.join_next() => match ended {
                None => return Ok(present),
                Some(ended) => ended?,
            },
            _ = ticks.tick() => {
                let index = usize::try_from(stage.now().as_secs()).unwrap_or_default();
                present.resize(index, stage.viewers());
                let mut now = told(stage, scenario, aim, round, whole);
                let time = present.iter().map(|viewers| f64::from(*viewers)).sum::<f64>();
                now.rebuffer_ratio = if time > 0.0 { now.stalls.1 / time } else { 0.0 };
                now.faults.clone_from(&struck.lock().unwrap_or_else(PoisonError::into_inner));
                progress.send_replace(now);
            }
        }
    }
}

fn told(stage: &Stage, scenario: &Scenario, aim: &Aim, round: u32, whole: Duration) -> Progress {
    let tally = stage.sheets.sum();
    let now = stage.now();
    // The second that runs is not complete.
    let complete = usize::try_from(now.as_secs()).unwrap_or_default().min(tally.seconds.len());
    let past = &tally.seconds[complete.saturating_sub(PAST)..complete];
    let ms = |us: Option<u64>| us.map(|us| us as f64 / 1e3);
    let mut hosts = std::collections::BTreeMap::new();
    for (name, host) in &tally.hosts {
        *hosts.entry(aim.name_of(name).to_owned()).or_default() += host.bytes;
    }
    Progress {
        scenario: scenario.name.clone(),
        target: aim.name.clone(),
        round: (round, scenario.rounds),
        elapsed: (now, whole),
        viewers: (stage.viewers(), scenario.viewers),
        states: stage.states(),
        throughput: past.iter().map(|second| second.bytes.values().sum::<u64>() as f64 * 8.0).collect(),
        stalled: past.iter().map(|second| second.stalled).collect(),
        hosts,
        errors: tally.errors.clone(),
        segments: tally.segments,
        versions: tally.versions.clone(),
        bitrate: if tally.media_seconds > 0.0 { tally.media_bits / tally.media_seconds } else { 0.0 },
        stalls: {
            // Stalls are counted when they end.
            let stalled: f64 = tally.seconds.iter().map(|second| second.stalled).sum();
            (tally.ended_stalls, stalled)
        },
        start_up_ms: ms(tally.start_up.quantile(0.5)),
        segment_ms: ms(tally.segment.quantile(0.5)).zip(ms(tally.segment.quantile(0.99))),
        latency_seconds: tally.latency.quantile(0.5).map(|us| us as f64 / 1e6),
        integrity: (tally.integrity.failures(), tally.integrity.parsed),
        late_ms: ms(tally.lateness.quantile(0.99)),
        ..Progress::default()
    }
}
