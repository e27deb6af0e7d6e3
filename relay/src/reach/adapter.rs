//! An adapter's part: it is openly reachable, so it tests addresses, carries circuits and keeps provider records for the
//! relays of its network, passes their statuses on, and announces what the publisher takes down.
//!
//! A takedown also goes down every connection of the peer protocol, where nothing gets lost; the announcement reaches
//! relays that are connected to other relays only.

use crate::{
    control::{ControlError, ControlEvent, ControlHandle, Gossiped, Verdict},
    peer::Directory,
};
use libp2p::Multiaddr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use weir_protocol::{
    gossip::{RelayStatus, Topic, TopicKind},
    ids::RelayId,
};

/// An adapter's reachability task.
pub struct AdapterReach {
    control: ControlHandle,
    events: mpsc::Receiver<ControlEvent>,
    directory: Arc<Directory>,
    statuses: mpsc::Receiver<Gossiped>,
    takedowns: watch::Receiver<u64>,
    /// What was taken down before has been announced.
    announced: u64,
}

/// Takedowns that are announced at once; relays hear more of them over their connections only.
const MAX_ANNOUNCED: usize = 64;

impl AdapterReach {
    /// Begins to serve relays at `addresses`; only those in the directory get anything.
    ///
    /// # Errors
    /// [`ControlError::ShutDown`], [`ControlError::Announce`].
    pub async fn start(
        control: ControlHandle,
        events: mpsc::Receiver<ControlEvent>,
        directory: Arc<Directory>,
        addresses: Vec<Multiaddr>,
    ) -> Result<Self, ControlError> {
        let known = directory.clone();
        control.admission().set(move |peer| known.contains(&RelayId::from(*peer)));
        for address in addresses {
            control.add_external_address(address).await?;
        }
        control.serve(true, true).await?;
        let publisher = directory.publisher();
        control.provide(publisher).await?;
        let statuses = control.subscribe(Topic { publisher, kind: TopicKind::Status }).await?;
        // What was in force before the start is nobody's news: each relay is told when it comes.
        let (takedowns, announced) = (directory.watch_takedowns(), directory.withdrawn().book().sequence());
        Ok(Self { control, events, directory, statuses, takedowns, announced })
    }

    /// Runs until `cancel`.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                event = self.events.recv() => match event {
                    Some(event) => tracing::trace!(?event, "control"),
                    None => return,
                },
                message = self.statuses.recv() => {
                    let Some(message) = message else { return };
                    let verdict = if RelayStatus::decode(&message.body).is_err() {
                        Verdict::Reject
                    } else if self.directory.contains(&RelayId::from(message.author)) {
                        Verdict::Accept
                    } else {
                        Verdict::Ignore
                    };
                    if self.control.judge(message, verdict).await.is_err() {
                        return;
                    }
                }
                changed = self.takedowns.changed() => {
                    if changed.is_err() { return }
                    self.announce().await;
                }
            }
        }
    }

    async fn announce(&mut self) {
        let news = {
            let book = self.directory.withdrawn().book();
            let news = book.since(self.announced);
            self.announced = book.sequence();
            news
        };
        let topic = Topic { publisher: self.directory.publisher(), kind: TopicKind::Takedown };
        for takedown in news.iter().take(MAX_ANNOUNCED) {
            if let Err(error) = self.control.publish(topic, takedown.to_vec()).await {
                // Without relays there is nobody to hear it; those that come are told.
                tracing::debug!(%error, "takedown not announced");
            }
        }
    }
}
