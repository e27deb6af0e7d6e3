//! The stream on which the adapter tells a relay its place in a tree and the relay tells how it fares. Invariant: it is
//! opened again, ever less often, as long as the rendition is wanted; without it the relay stays where it is.

use super::{feed::Feed, node::Push};
use crate::{
    mesh::tree::{Moved, Parent, Place, Why},
    peer::{FrameError, Network, ReplyReader},
};
use rand::RngExt;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{interval, sleep, timeout},
};
use weir_protocol::{
    ids::RelayId,
    wire::{LostReason, PlaceRequest, Placed, ReplyFrame, Report, Request},
};

/// How often a relay says that it lives.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A stream must be there this soon.
const OPEN: Duration = Duration::from_secs(2);
/// First and longest pause before the next attempt.
const RETRY: Duration = Duration::from_millis(500);
const RETRY_CAP: Duration = Duration::from_secs(8);

/// Keeps a place in the tree of one rendition.
pub(super) struct Keeper {
    pub(super) push: Push,
    pub(super) network: Arc<Network>,
    pub(super) feed: Arc<Feed>,
    pub(super) placed: mpsc::Sender<Option<Place<RelayId>>>,
    pub(super) reports: mpsc::Receiver<Report>,
}

/// A report about who feeds this relay and whom it has left.
pub(super) fn report(parent: Option<Parent<RelayId>>, moved: Option<Moved<RelayId>>) -> Report {
    let why = |why| match why {
        Why::Gone => LostReason::Gone,
        Why::Silent => LostReason::Silent,
        Why::Late => LostReason::Late,
        Why::Corrupt => LostReason::Corrupt,
    };
    Report {
        fed: parent.is_some(),
        parent: parent.and_then(|parent| parent.node()),
        lost: moved.map(|moved| moved.lost),
        why: moved.map(|moved| why(moved.why)),
    }
}

/// What a report says of a move.
pub(super) fn moved_of(report: &Report) -> Option<Moved<RelayId>> {
    let why = match report.why? {
        LostReason::Gone => Why::Gone,
        LostReason::Silent => Why::Silent,
        LostReason::Late => Why::Late,
        LostReason::Corrupt => Why::Corrupt,
    };
    let to = report.fed.then(|| report.parent.map_or(Parent::Root, Parent::Node));
    Some(Moved { lost: report.lost?, why, to })
}

/// A place as it is told.
pub(super) fn placed(place: Option<&Place<RelayId>>) -> Placed {
    match place {
        None => Placed { depth: 0, parent: None, backups: Vec::new() },
        Some(place) => Placed {
            depth: place.depth,
            parent: place.parent.node(),
            backups: place.backups.iter().filter_map(Parent::node).collect(),
        },
    }
}

fn place_of(placed: Placed) -> Option<Place<RelayId>> {
    let Placed { depth, parent, backups } = placed;
    let backups = backups.into_iter().map(Parent::Node).chain([Parent::Root]).collect();
    (depth > 0).then(|| Place { parent: parent.map_or(Parent::Root, Parent::Node), backups, depth })
}

impl Keeper {
    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let mut pause = RETRY;
        let mut last = Report::default();
        loop {
            let mut told = false;
            if let Err(error) = self.keep(&mut last, &mut told).await {
                tracing::debug!(%error, "the place in a tree was lost");
            }
            pause = if told { RETRY } else { (pause * 2).min(RETRY_CAP) };
            // A thousand relays that lost the adapter together do not come back together.
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            sleep(jittered).await;
        }
    }

    async fn keep(&mut self, last: &mut Report, told: &mut bool) -> Result<(), FrameError> {
        let adapter = self.network.adapter;
        let addresses = self.network.adapter_addresses();
        let Ok(connection) = self.push.links().get(adapter, &addresses).await else { return Ok(()) };
        let Ok(Ok((mut send, receive))) = timeout(OPEN, connection.open_bi()).await else { return Ok(()) };
        let renditions = self.push.totals().0;
        let children = self.push.config().offers(self.network.weight(), renditions);
        self.feed.offer(children);
        let request = Request::place(&self.feed.playlist, PlaceRequest { children });
        send.write_chunk(request.encode()?).await?;
        let mut reader = ReplyReader::new(receive);
        let mut every = interval(REPORT_EVERY);
        loop {
            while let Some(frame) = reader.buffered()? {
                match frame {
                    ReplyFrame::Placed(placed) => {
                        *told = true;
                        // Whoever listens is gone only when this is dropped too.
                        let _ = self.placed.send(place_of(placed)).await;
                    }
                    ReplyFrame::Refused { reason, detail } => {
                        tracing::debug!(?reason, detail, "no place in a tree");
                        return Ok(());
                    }
                    _ => {}
                }
            }
            let report = tokio::select! {
                more = reader.read() => {
                    if !more? { return Ok(()) }
                    continue;
                }
                Some(report) = self.reports.recv() => report,
                _ = every.tick() => last.clone(),
            };
            send.write_chunk(report.encode()?).await?;
            *last = Report { lost: None, why: None, ..report };
        }
    }
}
