//! A relay's side of a control stream, with the adapter or with another relay. Invariants: nobody but a network's
//! adapter changes its members; what publishers have signed (grants, takedowns) counts from whomever it comes, and
//! takedowns are passed on only to nodes that are let into that network, once each.

use super::{
    Peer, SessionError, Streams,
    budget::{BYTES, Budget, CHECK},
};
use crate::{
    fetch::Fetch,
    meter::{Heard, Line, Meter},
    peer::{Network, Networks, frames::write_control},
};
use bytes::Bytes;
use futures_util::{FutureExt, future::select_all};
use quinn::SendStream;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use weir_protocol::{
    grant::UnverifiedGrant,
    ids::{PublisherId, RelayId},
    statement::{InclusionPromise, PeerReceipt, Unverified},
    takedown::UnverifiedTakedown,
    time::UnixMillis,
    wire::{Answered, ControlFrame, MAX_TAKEDOWNS, Purged, Refusal, Resync},
};

/// How long what came before the end is read.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A receipt that covers so many more bytes costs nothing of the budget.
const PAID_BY: u64 = 256 * 1024;

/// What has passed between the two nodes about one network.
struct Shared {
    network: Arc<Network>,
    news: watch::Receiver<u64>,
    /// The other node has shown a grant.
    shown: bool,
    /// When the grant that it was shown was issued.
    showed: UnixMillis,
    /// Takedowns up to this sequence are known to it.
    told: u64,
    /// It said in its Hello that it is in this network.
    common: bool,
}

/// Everything that has passed; what was shown is taken back at the end, however it comes.
struct Acquaintance {
    peer: RelayId,
    shared: Vec<Shared>,
}

impl Drop for Acquaintance {
    fn drop(&mut self) {
        for shared in self.shared.iter().filter(|shared| shared.shown) {
            shared.network.admission().shown().gone(&self.peer);
        }
    }
}

pub(super) async fn run(
    networks: &Networks,
    fetch: &Fetch,
    peer: &Peer,
    mut streams: Streams,
    entered: &Notify,
) -> Result<(), SessionError> {
    let mut acquaintance = Acquaintance::new(networks, peer);
    let ended = talk(networks, fetch, &mut acquaintance, &mut streams, entered).await;
    if ended.is_err() && acquaintance.is_with_adapter() {
        // Who refuses says why and closes, perhaps before this side has said all that it had to say.
        let last_words = async {
            while let Ok(Some(frame)) = streams.reader.next().await {
                if let ControlFrame::Refusal(refusal) = frame {
                    acquaintance.refused(&refusal);
                }
            }
        };
        let _ = timeout(LAST_WORDS, last_words).await;
    }
    ended
}

async fn talk(
    networks: &Networks,
    fetch: &Fetch,
    acquaintance: &mut Acquaintance,
    Streams { send, reader }: &mut Streams,
    entered: &Notify,
) -> Result<(), SessionError> {
    let from_adapter = acquaintance.is_with_adapter();
    entered.notify_one();
    let mut reach = networks.reach().subscribe();
    // A new session tells its adapter at once what is known.
    reach.mark_changed();
    let mut doors = networks.doors().subscribe();
    doors.mark_changed();
    let mut line = networks.meter().map(|meter| meter.attach(acquaintance.peer, acquaintance.feeds()));
    let mut budget = Budget::new(Instant::now());
    let mut read_from = Instant::now();
    loop {
        let changed = async {
            if acquaintance.shared.is_empty() {
                return std::future::pending().await;
            }
            let (_, at, _) =
                select_all(acquaintance.shared.iter_mut().map(|shared| shared.news.changed().boxed())).await;
            at
        };
        let next = async {
            sleep_until(read_from).await;
            reader.next().await
        };
        tokio::select! {
            Ok(()) = reach.changed(), if from_adapter => {
                let now = reach.borrow_and_update().clone();
                write_control(send, &ControlFrame::Reach(now)).await?;
            }
            Ok(()) = doors.changed(), if from_adapter => {
                let reports = doors.borrow_and_update().clone();
                for report in reports.iter().filter(|report| acquaintance.is_fed(&report.publisher)) {
                    write_control(send, &ControlFrame::Door(report.clone())).await?;
                }
            }
            at = changed => acquaintance.tell(at, networks.clock().now(), send).await?,
            frame = next_of(&mut line) => write_control(send, &frame).await?,
            frame = next => {
                let Some(frame) = frame? else { return Ok(()) };
                let spent = acquaintance.hear(networks, fetch, frame, send).await?;
                let read = reader.take_read(BYTES);
                // Its bytes are paid for too.
                let spent = if spent == 0 { 0 } else { spent + read };
                // The adapter is trusted with our time; others are read as fast as their budget allows.
                if !from_adapter {
                    read_from = budget.spend(spent, Instant::now());
                }
            }
        }
    }
}

impl Acquaintance {
    fn new(networks: &Networks, peer: &Peer) -> Self {
        let now = networks.clock().now();
        let mut acquaintance = Self { peer: peer.id, shared: Vec::new() };
        for network in networks.all() {
            let introduced = peer.network(&network.publisher);
            if network.adapter == peer.id {
                network.adapter_is_back();
            }
            let told = {
                let book = network.withdrawn().book();
                let same = introduced.and_then(|there| there.takedowns) == Some(book.digest());
                if same { book.sequence() } else { 0 }
            };
            let mut news = network.news();
            // Takedowns that it lacks are told at once.
            news.mark_changed();
            let mut shared = Shared {
                showed: network.own_grant().map(|grant| grant.grant().issued).unwrap_or_default(),
                news,
                shown: false,
                told,
                common: introduced.is_some(),
                network,
            };
            if let Some(grant) = introduced.and_then(|there| there.grant.as_ref()) {
                shared.take_grant(&peer.id, &Bytes::copy_from_slice(grant), now);
            }
            acquaintance.shared.push(shared);
        }
        acquaintance
    }

    /// The publishers whose adapter the other node is.
    fn feeds(&self) -> Vec<PublisherId> {
        let fed = self.shared.iter().filter(|shared| shared.network.adapter == self.peer);
        fed.map(|shared| shared.network.publisher).collect()
    }

    /// A receipt for what was sent to the other node; what it cost. One that covers a good deal was paid for with data.
    fn receipt(&mut self, meter: &Meter, bytes: Bytes, now: UnixMillis) -> u32 {
        let peer = self.peer;
        let claimed = Unverified::<PeerReceipt>::new(bytes.clone()).claimed();
        let Some(shared) = claimed.ok().and_then(|receipt| self.of(&receipt.publisher)) else { return 1 };
        if !shared.network.may_ask(&peer, now) {
            return 1;
        }
        match meter.heard(&peer, bytes, shared.network.epoch_ms()) {
            Heard::More(covered) if covered >= PAID_BY => 0,
            Heard::More(_) | Heard::Nothing | Heard::Bad => 1 + CHECK,
        }
    }

    fn answered(&mut self, meter: &Meter, answer: Answered) {
        let Some(shared) = self.fed(&answer.publisher) else { return };
        let promised = answer.promise.as_ref().map(|promise| {
            let promise = Unverified::<InclusionPromise>::new(Bytes::copy_from_slice(promise));
            promise.verify_with(&shared.network.ring())
        });
        match promised {
            Some(Err(error)) => {
                tracing::error!(%error, "the publisher's promise does not verify: what it is for is submitted again");
            }
            Some(Ok(_)) | None => meter.answered(answer),
        }
    }

    fn of(&mut self, publisher: &PublisherId) -> Option<&mut Shared> {
        self.shared.iter_mut().find(|shared| shared.network.publisher == *publisher)
    }

    /// True when the other node is that network's adapter.
    fn is_fed(&self, publisher: &PublisherId) -> bool {
        self.shared.iter().any(|shared| shared.network.publisher == *publisher && shared.network.adapter == self.peer)
    }

    /// The network that the other node is the adapter of.
    fn fed(&mut self, publisher: &PublisherId) -> Option<&mut Shared> {
        let peer = self.peer;
        let fed = self.of(publisher).filter(|shared| shared.network.adapter == peer);
        if fed.is_none() {
            tracing::debug!(peer = %peer.short(), "a peer spoke for a network that is not its own");
        }
        fed
    }

    /// Tells what is new in a network: takedowns, and a renewed grant.
    async fn tell(&mut self, at: usize, now: UnixMillis, send: &mut SendStream) -> Result<(), SessionError> {
        let peer = self.peer;
        let shared = &mut self.shared[at];
        shared.news.mark_unchanged();
        if !shared.common || !shared.network.may_ask(&peer, now) {
            return Ok(());
        }
        let (news, sequence) = {
            let book = shared.network.withdrawn().book();
            (book.since(shared.told), book.sequence())
        };
        shared.told = sequence;
        for some in news.chunks(MAX_TAKEDOWNS) {
            write_control(send, &ControlFrame::Takedowns(some.to_vec())).await?;
        }
        let renewed = shared.network.own_grant().filter(|grant| grant.grant().issued > shared.showed);
        if let Some(grant) = renewed.filter(|_| shared.network.adapter != peer) {
            shared.showed = grant.grant().issued;
            write_control(send, &ControlFrame::Grant { bytes: grant.bytes().clone() }).await?;
        }
        Ok(())
    }

    /// Takes one frame in; what it cost.
    async fn hear(
        &mut self,
        networks: &Networks,
        fetch: &Fetch,
        frame: ControlFrame,
        send: &mut SendStream,
    ) -> Result<u32, SessionError> {
        let now = networks.clock().now();
        match frame {
            ControlFrame::Ping(number) => write_control(send, &ControlFrame::Pong(number)).await?,
            ControlFrame::Members(list) => {
                if let Some(shared) = self.fed(&list.publisher) {
                    shared.network.take_members(list, now);
                }
            }
            ControlFrame::Changes(changes) => {
                let publisher = changes.publisher;
                if let Some(shared) = self.fed(&publisher)
                    && let Err(epoch) = shared.network.change_members(changes, now)
                {
                    write_control(send, &ControlFrame::Resync(Resync { publisher, epoch })).await?;
                }
            }
            ControlFrame::Keys { bytes } => {
                for shared in self.shared.iter().filter(|shared| shared.network.adapter == self.peer) {
                    shared.network.offer_keys(&bytes, now);
                }
                return Ok(1 + CHECK);
            }
            ControlFrame::Grant { bytes } => {
                let peer = self.peer;
                let checked = self.shared.len() as u32;
                for shared in &mut self.shared {
                    shared.take_grant(&peer, &bytes, now);
                    // Whoever is let in only now has not been told what it lacks.
                    shared.news.mark_changed();
                }
                return Ok(1 + CHECK * checked);
            }
            ControlFrame::Takedowns(all) => return self.take_down(&all, now),
            ControlFrame::Purge(purge) => {
                if self.fed(&purge.publisher).is_some() {
                    let count = fetch.purge(&purge).await;
                    write_control(send, &ControlFrame::Purged(Purged { number: purge.number, count })).await?;
                }
            }
            ControlFrame::Refusal(refusal) => self.refused(&refusal),
            ControlFrame::Receipt { bytes } => {
                return Ok(networks.meter().map_or(1, |meter| self.receipt(meter, bytes, now)));
            }
            ControlFrame::Answered(answer) => {
                if let Some(meter) = networks.meter() {
                    self.answered(meter, answer);
                }
            }
            ControlFrame::Goodbye { reason } => {
                tracing::debug!(peer = %self.peer.short(), %reason, "a peer takes no new requests");
            }
            ControlFrame::Hello(_)
            | ControlFrame::Pong(_)
            | ControlFrame::Resync(_)
            | ControlFrame::Purged(_)
            | ControlFrame::Submit(_)
            | ControlFrame::Reach(_)
            | ControlFrame::Door(_)
            | ControlFrame::Unknown { .. } => {}
        }
        Ok(1)
    }

    fn take_down(&mut self, all: &[Bytes], now: UnixMillis) -> Result<u32, SessionError> {
        let mut spent = 1;
        // A takedown names its publisher; the signature of what is nobody's here is not looked at.
        let mut by_publisher: HashMap<PublisherId, Vec<Bytes>> = HashMap::new();
        for bytes in all {
            if let Ok(claimed) = UnverifiedTakedown(bytes.clone()).claimed() {
                by_publisher.entry(claimed.publisher).or_default().push(bytes.clone());
            }
        }
        for shared in &mut self.shared {
            let Some(own) = by_publisher.remove(&shared.network.publisher) else { continue };
            let offered = shared.network.offer_takedowns(&own, now);
            spent += CHECK * offered.judged as u32;
            if shared.told == offered.sequence.0 {
                // Nothing else was new: what came from there need not go back there.
                shared.told = offered.sequence.1;
            }
            if let Some(why) = offered.forged {
                return Err(SessionError::Forged(why));
            }
        }
        Ok(spent)
    }

    fn is_with_adapter(&self) -> bool {
        self.shared.iter().any(|shared| shared.network.adapter == self.peer)
    }

    fn refused(&self, refusal: &Refusal) {
        for shared in &self.shared {
            let meant = refusal.publisher.is_none_or(|publisher| publisher == shared.network.publisher);
            if meant && shared.network.adapter == self.peer {
                tracing::error!(publisher = %shared.network.publisher.short(), reason = %refusal.detail,
                    "the publisher refuses this relay");
                shared.network.admission().refused(refusal.detail.clone());
            }
        }
    }
}

/// The next frame of a line, if there is one.
async fn next_of(line: &mut Option<Line>) -> ControlFrame {
    match line {
        Some(line) => line.next().await,
        None => std::future::pending().await,
    }
}

impl Shared {
    /// A grant that came over this connection: this relay's own from the adapter, or the other relay's.
    fn take_grant(&mut self, peer: &RelayId, bytes: &Bytes, now: UnixMillis) {
        let network = &self.network;
        if network.adapter == *peer {
            match network.offer_grant(bytes, now) {
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the adapter's grant is not used"),
            }
            return;
        }
        let verified = UnverifiedGrant(bytes.clone()).verify(&network.ring(), peer, now);
        match verified {
            Ok(grant) if self.shown => network.admission().shown().renewed(grant),
            Ok(grant) => {
                self.shown = true;
                network.admission().shown().come(grant);
            }
            Err(error) => tracing::debug!(peer = %peer.short(), %error, "a grant was shown that does not count"),
        }
    }
}
