//! The adapter's side of a control stream: lets a relay in or refuses it, tells it who else is there, which keys sign,
//! what it is granted and what is taken down. Invariant: a relay is in the directory exactly as long as this runs.

use super::{
    Peer, SessionError, Streams,
    budget::{BYTES, Budget, CHECK},
};
use crate::{
    meter::Collected,
    peer::{
        Directory,
        directory::{Entered, Review},
        frames::{write_bytes, write_control},
    },
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use quinn::SendStream;
use std::{future::ready, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, interval, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use weir_protocol::{
    ids::RelayId,
    wire::{
        Answered, ControlFrame, FEATURE_CHANGES, MAX_REFUSAL, MAX_TAKEDOWNS, PURGE_FEATURE, Refusal, RefusalReason,
        Submit,
    },
};

/// A session is sent the list of members at most this often: relays that come and go quickly must not make the adapter
/// send it to everybody each time.
const LIST_EVERY: Duration = Duration::from_millis(250);
/// How often the adapter looks where a relay is now, and whether its grant is half over: a home line changes its
/// address, and the connection moves with it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Submissions of one relay that are looked at together: it is read no further meanwhile.
const COLLECTING: usize = 4;
/// A relay whose publisher keeps no ledger asks again after so long, in milliseconds.
const NO_LEDGER_MS: u64 = 300_000;
/// How long a relay that is refused may take to read why.
const FAREWELL: Duration = Duration::from_secs(2);

/// A relay's place in the directory, given up when its session ends in whatever way, unless the adapter itself is
/// stopping: relays that heard how the others leave one by one would refuse each other just when they need each other.
struct Place<'a> {
    directory: &'a Directory,
    stopping: &'a CancellationToken,
    relay: RelayId,
    session: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.stopping.is_cancelled() {
            self.directory.leave(&self.relay, self.session);
        }
    }
}

pub(super) async fn run(
    directory: &Directory,
    peer: &Peer,
    address: impl Fn() -> SocketAddr,
    Streams { mut send, mut reader }: Streams,
    entered: &Notify,
    stopping: &CancellationToken,
) -> Result<(), SessionError> {
    let introduced = peer.network(&directory.publisher());
    let former = introduced.and_then(|network| network.grant.as_deref().map(Vec::as_slice));
    let (mut members, mut policy) = (directory.watch_members(), directory.watch_policy());
    let (mut keys, mut takedowns) = (directory.watch_keys(), directory.watch_takedowns());
    let Entered { session, grant } = match directory.enter(peer.id, address(), former) {
        Ok(entered) => entered,
        Err((reason, why)) => return refuse(directory, &mut send, reason, why).await,
    };
    let _place = Place { directory, stopping, relay: peer.id, session };
    let mut region: Arc<str> = grant.grant().region.as_str().into();
    write_control(&mut send, &ControlFrame::Grant { bytes: grant.bytes().clone() }).await?;
    entered.notify_one();
    // A relay that comes, or comes back, hears everything at once: it may have missed a change of each.
    members.mark_changed();
    keys.mark_changed();
    takedowns.mark_changed();
    let mut told = {
        let book = directory.withdrawn().book();
        let same = introduced.and_then(|network| network.takedowns) == Some(book.digest());
        if same { book.sequence() } else { 0 }
    };
    let understands_changes = peer.hello.has(FEATURE_CHANGES);
    let mut orders = directory.purges().listen(session, peer.hello.has(PURGE_FEATURE));
    let mut held = None;
    let mut next_list = Instant::now();
    let mut look = interval(LOOK_EVERY);
    let mut collecting: FuturesUnordered<BoxFuture<'static, Answered>> = FuturesUnordered::new();
    let mut budget = Budget::new(Instant::now());
    let mut read_from = Instant::now();
    loop {
        let changed = async {
            sleep_until(next_list).await;
            members.changed().await
        };
        let next = async {
            sleep_until(read_from).await;
            reader.next().await
        };
        // Whoever sends frames without end must not keep the rest from being looked at, nor the other way round.
        let review = tokio::select! {
            changed = changed => {
                if changed.is_err() { return Ok(()) }
                next_list = Instant::now() + LIST_EVERY;
                if let Some((epoch, frame)) = directory.news(&region, held, understands_changes) {
                    write_bytes(&mut send, frame).await?;
                    held = Some(epoch);
                }
                continue;
            }
            changed = keys.changed() => {
                if changed.is_err() { return Ok(()) }
                let bytes = keys.borrow_and_update().clone();
                write_control(&mut send, &ControlFrame::Keys { bytes }).await?;
                continue;
            }
            changed = takedowns.changed() => {
                if changed.is_err() { return Ok(()) }
                told = tell_takedowns(directory, &mut send, told).await?;
                continue;
            }
            Some(purge) = orders.next() => {
                write_control(&mut send, &ControlFrame::Purge(purge)).await?;
                continue;
            }
            Some(answer) = collecting.next(), if !collecting.is_empty() => {
                write_control(&mut send, &ControlFrame::Answered(answer)).await?;
                continue;
            }
            frame = next, if collecting.len() < COLLECTING => {
                let Some(frame) = frame? else { return Ok(()) };
                let mut spent = 1;
                match frame {
                    ControlFrame::Ping(number) => write_control(&mut send, &ControlFrame::Pong(number)).await?,
                    ControlFrame::Reach(reach) => {
                        directory.moved(&peer.id, session, address());
                        directory.declare(&peer.id, session, &reach);
                    }
                    ControlFrame::Door(report) if report.publisher == directory.publisher() => {
                        directory.report_door(&peer.id, session, report);
                    }
                    ControlFrame::Resync(asked) if asked.publisher == directory.publisher() => {
                        held = None;
                        members.mark_changed();
                    }
                    ControlFrame::Submit(submit) if submit.publisher == directory.publisher() => {
                        collecting.push(collect(directory, peer.id, submit));
                        // The collector has a budget of its own for each relay.
                        let _ = reader.take_read(BYTES);
                    }
                    ControlFrame::Purged(purged) => directory.purges().done(session, purged),
                    // The adapter may have lost what it once took down; the signature is its own.
                    ControlFrame::Takedowns(all) => {
                        let offered = directory.offer_takedowns(&all);
                        spent += CHECK * offered.judged as u32;
                        if let Some(why) = offered.forged { return Err(SessionError::Forged(why)) }
                    }
                    _ => {}
                }
                spent += reader.take_read(BYTES);
                read_from = budget.spend(spent, Instant::now());
                continue;
            }
            changed = policy.changed() => {
                if changed.is_err() { return Ok(()) }
                directory.review(&peer.id, session, true)
            }
            _ = look.tick() => {
                directory.moved(&peer.id, session, address());
                directory.review(&peer.id, session, false)
            }
        };
        match review {
            Review::Same => {}
            Review::Renewed(grant) => {
                let assigned: Arc<str> = grant.grant().region.as_str().into();
                if assigned != region {
                    region = assigned;
                    held = None;
                    members.mark_changed();
                }
                write_control(&mut send, &ControlFrame::Grant { bytes: grant.bytes().clone() }).await?;
            }
            Review::Refused(why) => return refuse(directory, &mut send, RefusalReason::NotMember, why).await,
            Review::Replaced => return Ok(()),
        }
    }
}

/// What becomes of a submission, as the relay hears it.
fn collect(directory: &Directory, relay: RelayId, submit: Submit) -> BoxFuture<'static, Answered> {
    let (publisher, number) = (submit.publisher, submit.number);
    let later =
        move |retry_ms| Answered { publisher, number, outcomes: Vec::new(), promise: None, retry_ms: Some(retry_ms) };
    let Some(collector) = directory.collector() else { return ready(later(NO_LEDGER_MS)).boxed() };
    let collected = collector.collect(relay, submit);
    async move {
        match collected.await {
            Collected::Judged { outcomes, promise } => {
                Answered { publisher, number, outcomes, promise: promise.map(Into::into), retry_ms: None }
            }
            Collected::Later(retry_ms) => later(retry_ms),
        }
    }
    .boxed()
}

/// Sends what was taken down after the first `told`.
async fn tell_takedowns(directory: &Directory, send: &mut SendStream, told: u64) -> Result<u64, SessionError> {
    let (news, sequence) = {
        let book = directory.withdrawn().book();
        (book.since(told), book.sequence())
    };
    for some in news.chunks(MAX_TAKEDOWNS) {
        write_control(send, &ControlFrame::Takedowns(some.to_vec())).await?;
    }
    Ok(sequence)
}

/// Says why, and waits until that was read or it is clear that nobody reads.
async fn refuse(
    directory: &Directory,
    send: &mut SendStream,
    reason: RefusalReason,
    why: String,
) -> Result<(), SessionError> {
    let mut detail = why.clone();
    detail.truncate(why.floor_char_boundary(MAX_REFUSAL));
    let refusal = Refusal { publisher: Some(directory.publisher()), reason, detail };
    write_control(send, &ControlFrame::Refusal(refusal)).await?;
    // Nobody has reset the stream, or there is nobody to tell.
    let _ = send.finish();
    let _ = timeout(FAREWELL, send.stopped()).await;
    Err(SessionError::NotLetIn(why))
}
