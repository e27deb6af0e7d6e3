//! One subscription at one parent, and the few that a relay has at a time: the parent that feeds it, one that is being
//! tried, and former ones that finish what is under way. Invariant: a subscription's number is known to the node
//! exactly as long as the subscription lives, so nothing can be pushed without one.

use super::{
    arrival::Arrival,
    node::{Inbox, Push},
};
use crate::{
    mesh::tree::{Parent, Position, Why},
    peer::{CONTROL_PRIORITY, FrameError, Network, ReplyReader},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{interval, timeout},
};
use tokio_util::sync::CancellationToken;
use weir_protocol::{
    ids::RelayId,
    resource::ResourceKey,
    wire::{Accepted, ReplyFrame, Report, Request, SubscribeRequest, Tick},
};

/// A stream must be there this soon.
const OPEN: Duration = Duration::from_secs(1);
/// How often a child says that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// Former parents that may finish what is under way.
const MAX_DRAINING: usize = 2;

/// What a parent says.
#[derive(Debug)]
pub(super) enum Said {
    Accepted(Accepted),
    Tick(Tick),
    Redirect(Vec<RelayId>),
    Ended(Why),
}

/// Which subscription says what.
#[derive(Debug)]
pub(super) struct News {
    pub(super) link: u64,
    pub(super) said: Said,
}

struct Link {
    id: u64,
    parent: Parent<RelayId>,
    relay: RelayId,
    finish: CancellationToken,
    task: AbortHandle,
    push: Push,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        self.push.inboxes().remove(&self.id);
    }
}

/// A relay's subscriptions for one rendition.
pub(super) struct Parents {
    push: Push,
    network: Arc<Network>,
    playlist: ResourceKey,
    patience: Duration,
    news: mpsc::Sender<News>,
    arrivals: mpsc::Sender<Arrival>,
    current: Option<Link>,
    trying: Option<Link>,
    draining: VecDeque<Link>,
    tasks: JoinSet<()>,
}

impl Parents {
    pub(super) fn new(
        push: Push,
        network: Arc<Network>,
        playlist: ResourceKey,
        patience: Duration,
        news: mpsc::Sender<News>,
        arrivals: mpsc::Sender<Arrival>,
    ) -> Self {
        let (draining, tasks) = (VecDeque::new(), JoinSet::new());
        Self { push, network, playlist, patience, news, arrivals, current: None, trying: None, draining, tasks }
    }

    /// Asks a parent for everything from `position` on.
    pub(super) fn subscribe(&mut self, parent: Parent<RelayId>, position: &Position) {
        let relay = parent.node().unwrap_or(self.network.adapter);
        let id = self.push.next_id();
        let inbox = Inbox { from: relay, arrivals: self.arrivals.clone(), patience: self.patience };
        self.push.inboxes().insert(id, inbox);
        let Position { epoch, next, running } = position.clone();
        let subscribe = SubscribeRequest { id, epoch, next, running };
        let finish = CancellationToken::new();
        let subscribing = Subscribing {
            id,
            request: Request::subscribe(&self.playlist, subscribe),
            relay,
            network: self.network.clone(),
            push: self.push.clone(),
            news: self.news.clone(),
            finish: finish.clone(),
        };
        // Tasks that are over are taken away here, so that no more are kept than there are links.
        while self.tasks.try_join_next().is_some() {}
        let task = self.tasks.spawn(subscribing.run());
        self.trying = Some(Link { id, parent, relay, finish, task, push: self.push.clone() });
    }

    /// The parent of the subscription that is tried.
    pub(super) fn tried(&self, link: u64) -> Option<Parent<RelayId>> {
        self.trying.as_ref().filter(|one| one.id == link).map(|one| one.parent)
    }

    /// The parent of the subscription that feeds this relay.
    pub(super) fn feeds(&self, link: u64) -> Option<Parent<RelayId>> {
        self.current.as_ref().filter(|one| one.id == link).map(|one| one.parent)
    }

    /// True for a subscription that feeds this relay or is tried.
    pub(super) fn has(&self, link: u64) -> bool {
        self.tried(link).or_else(|| self.feeds(link)).is_some()
    }

    /// The parent, when this node feeds us.
    pub(super) fn current(&self, relay: RelayId) -> Option<Parent<RelayId>> {
        self.current.as_ref().filter(|one| one.relay == relay).map(|one| one.parent)
    }

    /// The parent that was tried has accepted: the former one may finish what is under way.
    pub(super) fn accepted(&mut self) {
        let Some(accepted) = self.trying.take() else { return };
        if let Some(former) = self.current.replace(accepted) {
            former.finish.cancel();
            self.draining.push_back(former);
            if self.draining.len() > MAX_DRAINING {
                self.draining.pop_front();
            }
        }
    }

    /// This subscription is over.
    pub(super) fn drop_link(&mut self, link: u64) {
        self.draining.retain(|one| one.id != link);
        for slot in [&mut self.current, &mut self.trying] {
            slot.take_if(|one| one.id == link);
        }
    }

    /// Whatever there is with this parent is over.
    pub(super) fn drop_parent(&mut self, parent: Parent<RelayId>) {
        for slot in [&mut self.current, &mut self.trying] {
            slot.take_if(|one| one.parent == parent);
        }
    }

    /// Ends all subscriptions.
    pub(super) async fn close(mut self) {
        (self.current, self.trying) = (None, None);
        self.draining.clear();
        self.tasks.shutdown().await;
    }
}

struct Subscribing {
    id: u64,
    request: Request,
    relay: RelayId,
    network: Arc<Network>,
    push: Push,
    news: mpsc::Sender<News>,
    finish: CancellationToken,
}

impl Subscribing {
    async fn run(self) {
        let why = match self.follow().await {
            Ok(why) => why,
            Err(FrameError::Wire(error)) => {
                tracing::debug!(peer = %self.relay.short(), %error, "a parent does not speak frames");
                Why::Corrupt
            }
            Err(error) => {
                tracing::debug!(peer = %self.relay.short(), %error, "subscription ended");
                Why::Gone
            }
        };
        self.tell(Said::Ended(why)).await;
    }

    async fn tell(&self, said: Said) {
        // Whoever listens is gone only when the rendition is not followed any more.
        let _ = self.news.send(News { link: self.id, said }).await;
    }

    async fn follow(&self) -> Result<Why, FrameError> {
        let addresses = self.network.addresses_of(&self.relay);
        let connection = match self.push.links().get(self.relay, &addresses).await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!(peer = %self.relay.short(), %error, "no way to a parent");
                return Ok(Why::Gone);
            }
        };
        let Ok(Ok((mut send, receive))) = timeout(OPEN, connection.open_bi()).await else { return Ok(Why::Gone) };
        // Fails only on a stream that is gone, which the write tells.
        let _ = send.set_priority(CONTROL_PRIORITY);
        send.write_chunk(self.request.encode()?).await?;
        let mut reader = ReplyReader::new(receive);
        let mut alive = interval(ALIVE_EVERY);
        loop {
            while let Some(frame) = reader.buffered()? {
                match frame {
                    ReplyFrame::Accepted(accepted) => self.tell(Said::Accepted(accepted)).await,
                    ReplyFrame::Tick(tick) => self.tell(Said::Tick(tick)).await,
                    ReplyFrame::Redirect(relays) => {
                        self.tell(Said::Redirect(relays)).await;
                        return Ok(Why::Gone);
                    }
                    ReplyFrame::Refused { reason, detail } => {
                        tracing::debug!(peer = %self.relay.short(), ?reason, detail, "a parent lets us go");
                        return Ok(Why::Gone);
                    }
                    ReplyFrame::Wait => {}
                    _ => return Ok(Why::Corrupt),
                }
            }
            tokio::select! {
                more = reader.read() => if !more? { return Ok(Why::Gone) },
                () = self.finish.cancelled(), if !self.finish.is_cancelled() => {}
                // Otherwise the parent would keep a seat for a child that has died without a word.
                _ = alive.tick(), if !self.finish.is_cancelled() => {
                    send.write_chunk(Report { fed: true, ..Report::default() }.encode()?).await?;
                }
            }
            if self.finish.is_cancelled() {
                // A second time changes nothing.
                let _ = send.finish();
            }
        }
    }
}
