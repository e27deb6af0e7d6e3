//! From a command to evidence: plans are made and committed to before their epoch, played in it, and revealed afterwards.
//! A plan that an earlier process left is taken up where it stands.

use super::{
    args::{MAX_SESSIONS, ProbeArgs, Target},
    keep::Plans,
    plan::{Draw, Plan, State},
    play::{BROWSERS, Ways, play},
};
use crate::{
    evidence::{Evidence, Own, status},
    exit::{CHECK_FAILED, CONFIGURATION, Failure, RUNTIME},
    ledger::now,
    signals,
    token::issue,
};
use futures_util::future::try_join_all;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use weir_protocol::{CanonicalPath, RelayId, UnixMillis, token::SessionClaims};

/// Sessions that play at a time.
const MAX_AT_ONCE: usize = 64;
/// A session that cannot begin within so long of its time does not take place.
const LATE_MS: u64 = 5_000;
/// Wait after an epoch's end before its list is revealed, at least: clocks of one machine and its ledger.
const BEHIND: Duration = Duration::from_millis(200);

/// Probes.
pub(in crate::origin) async fn run(args: ProbeArgs) -> Result<(), Failure> {
    let data = args.directory();
    let stop = CancellationToken::new();
    signals::listen(stop.clone()).map_err(|error| Failure::new(RUNTIME, error))?;
    let ledger = Evidence::open(&data, args.admin).await?;
    let plans = Plans::open(&data)?;
    let mut pending = plans.read()?;
    if !pending.is_empty() {
        println!("✔ taken up   {} lists of probes that are not revealed yet", pending.len());
    }
    if args.sessions > 0 {
        let drawn = draw(&args, &ledger).await?;
        commit(&ledger, &plans, &drawn).await?;
        pending.extend(drawn);
    }
    let ways = Ways { page: args.page, protocol: args.protocol, ca: args.ca };
    let after = millis(args.reveal_after.max(BEHIND));
    let due = |plan: &Plan| plan.end().plus_ms(after);
    let (mut revealed, mut played) = (0, Vec::new());
    pending.sort_by_key(|plan| (plan.epoch, plan.list));
    let (over, ahead): (Vec<Plan>, Vec<Plan>) = pending.into_iter().partition(|plan| due(plan) <= now());
    for plan in over {
        revealed += u64::from(reveal(&ledger, &plans, &plan).await?);
    }
    // Lists of one epoch are played side by side, and all before the first waits to be revealed.
    for epoch in ahead.chunk_by(|one, other| one.epoch == other.epoch) {
        let lists = epoch.iter().map(|plan| carry_out(plan.clone(), &plans, &ways, &stop));
        played.extend(try_join_all(lists).await?);
    }
    let mut left = 0;
    for plan in played {
        if until(due(&plan), &stop).await {
            revealed += u64::from(reveal(&ledger, &plans, &plan).await?);
        } else {
            left += 1;
        }
    }
    if left > 0 {
        println!("  {left} lists wait to be revealed: run weir origin probe --sessions 0 later");
    }
    if revealed > 0 {
        println!("✔ revealed   {revealed} lists; weir settle run shows what they measured");
    }
    Ok(())
}

/// Plans for the next epoch.
async fn draw(args: &ProbeArgs, ledger: &Evidence) -> Result<Vec<Plan>, Failure> {
    let bad = |text: String| Failure::new(CONFIGURATION, text);
    let prefix =
        CanonicalPath::parse(&args.prefix).map_err(|error| bad(format!("--prefix {}: {error}", args.prefix)))?;
    let targets = if args.relays.is_empty() { doors(args).await? } else { args.relays.clone() };
    if args.sessions.saturating_mul(targets.len()) > MAX_SESSIONS {
        return Err(bad(format!(
            "{} sessions at {} relays are more than {MAX_SESSIONS}",
            args.sessions,
            targets.len()
        )));
    }
    let user_agents = match args.user_agent.as_slice() {
        [] => BROWSERS.map(str::to_owned).to_vec(),
        named => named.to_vec(),
    };
    let draw = Draw {
        publisher: ledger.keys.publisher(),
        epoch_ms: ledger.epoch_ms,
        targets: &targets,
        paths: &args.paths,
        user_agents: &user_agents,
        sessions: args.sessions,
        watch: args.watch,
        now: now(),
    };
    let plans = draw.plans(&mut rand::rng(), |relay: &RelayId, start: UnixMillis| {
        let issued = issue(&ledger.keys, start, args.life, |claims| SessionClaims {
            prefix: prefix.as_str().to_owned(),
            max_bytes: args.max_bytes,
            relays: if args.assign { vec![*relay] } else { Vec::new() },
            ..claims
        });
        issued.map_err(|failure| failure.to_string())
    });
    plans.map_err(bad)
}

/// Where the relays of a running adapter serve.
async fn doors(args: &ProbeArgs) -> Result<Vec<Target>, Failure> {
    let advice = "name relays (--relay ID=URL), or the adapter's private address (--admin)";
    let said = status(args.admin).await;
    let said =
        said.ok_or_else(|| Failure::new(CONFIGURATION, format!("no adapter answers at {}: {advice}", args.admin)))?;
    let target = |relay: &serde_json::Value| {
        format!("{}={}", relay["relay"].as_str()?, relay["door"].as_str()?).parse::<Target>().ok()
    };
    let found: Vec<Target> = said["relays"].as_array().into_iter().flatten().filter_map(target).collect();
    if found.is_empty() {
        return Err(Failure::new(CHECK_FAILED, format!("no relay reports a door to the adapter: {advice}")));
    }
    Ok(found)
}

async fn commit(ledger: &Evidence, plans: &Plans, drawn: &[Plan]) -> Result<(), Failure> {
    let mut own = Vec::new();
    for plan in drawn {
        plans.keep(plan)?;
        let commitment = plan.commitment(now()).ok_or_else(|| Failure::new(RUNTIME, "a plan's nonce is none"))?;
        let signed = Own::commitment(commitment, &ledger.keys.signing());
        own.push(signed.map_err(|error| Failure::new(RUNTIME, error))?);
    }
    ledger.add(&own, false).await?;
    let late = |plan: &&Plan| now() > plan.epoch.start(plan.epoch_ms);
    if let Some(plan) = drawn.iter().find(late) {
        // What is committed to when its epoch has begun proves nothing.
        drawn.iter().try_for_each(|plan| plans.forget(plan))?;
        let text = format!("the commitment came after epoch {} had begun; probe again", plan.epoch);
        return Err(Failure::new(RUNTIME, text));
    }
    let sessions: usize = drawn.iter().map(|plan| plan.sessions.len()).sum();
    let epoch = drawn.first().map_or(0, |plan| plan.epoch.0);
    println!("✔ committed  {sessions} sessions in epoch {epoch}, in {} lists", drawn.len());
    Ok(())
}

/// Plays what is still ahead of a plan.
async fn carry_out(plan: Plan, plans: &Plans, ways: &Ways, stop: &CancellationToken) -> Result<Plan, Failure> {
    let mut plan = plan;
    let places = Arc::new(Semaphore::new(MAX_AT_ONCE));
    let (mut ahead, mut playing) = (by_start(&plan), JoinSet::new());
    let mut played = 0_usize;
    loop {
        let next = ahead.last().map(|at| plan.sessions[*at].start);
        tokio::select! {
            Some(done) = playing.join_next(), if !playing.is_empty() => {
                let (at, received): (usize, Result<super::play::Received, Failure>) =
                    done.map_err(|error| Failure::new(RUNTIME, error))?;
                let received = received?;
                plan.sessions[at].state = State::Done { bytes: received.bytes, objects: received.objects };
                plans.keep(&plan)?;
                played += usize::from(received.played);
            }
            due = due(next, stop), if !ahead.is_empty() => {
                let Some(at) = ahead.pop().filter(|_| due) else {
                    // Told to stop: what has begun comes to its end, and nothing else begins.
                    ahead.clear();
                    continue;
                };
                let late = now() > plan.sessions[at].start.plus_ms(LATE_MS);
                let Some(place) = places.clone().try_acquire_owned().ok().filter(|_| !late) else {
                    tracing::warn!("a probe's session does not take place: it could not begin at its time");
                    continue;
                };
                // Durable before the first request: what a broken session received is never taken for known.
                plan.sessions[at].state = State::Begun;
                plans.keep(&plan)?;
                let (session, ways) = (plan.sessions[at].clone(), ways.clone());
                playing.spawn(async move {
                    let received = play(&session, &ways).await;
                    drop(place);
                    (at, received)
                });
            }
            else => break,
        }
    }
    if played > 0 {
        println!("✔ played     {played} sessions of list {} in epoch {}", plan.list, plan.epoch);
    }
    Ok(plan)
}

/// Sessions that can still begin, the latest first.
fn by_start(plan: &Plan) -> Vec<usize> {
    let now = now();
    let ahead = |at: &usize| {
        let session = &plan.sessions[*at];
        session.state == State::Planned && session.start.plus_ms(LATE_MS) >= now
    };
    let mut found: Vec<usize> = (0..plan.sessions.len()).filter(ahead).collect();
    found.sort_by_key(|at| std::cmp::Reverse(plan.sessions[*at].start));
    found
}

/// Waits for a session's time; false when told to stop before.
async fn due(at: Option<UnixMillis>, stop: &CancellationToken) -> bool {
    match at {
        Some(at) => until(at, stop).await,
        None => false,
    }
}

async fn until(at: UnixMillis, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = sleep(Duration::from_millis(at.since(now()))) => true,
    }
}

/// Reveals a list; false if it cannot be.
async fn reveal(ledger: &Evidence, plans: &Plans, plan: &Plan) -> Result<bool, Failure> {
    let Some(reveal) = plan.reveal(now()) else {
        println!("✘ list {} of epoch {} is not revealed: a session was broken off", plan.list, plan.epoch);
        return plans.forget(plan).map(|()| false);
    };
    let own = Own::reveal(reveal, &ledger.keys.signing()).map_err(|error| Failure::new(RUNTIME, error))?;
    ledger.add(&[own], false).await?;
    plans.forget(plan).map(|()| true)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
