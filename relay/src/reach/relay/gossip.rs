//! What a relay announces, and what it makes of others' announcements. Invariant: nothing is passed on that has not been
//! found right.

use super::RelayReach;
use crate::{
    control::{ControlError, Gossiped, Verdict},
    peer::Network,
};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use std::sync::Arc;
use tokio::time::Instant;
use weir_protocol::{
    gossip::{RelayStatus, Topic, TopicKind},
    ids::{PublisherId, RelayId},
    reach::{Reach, ReachClass},
    time::UnixMillis,
};

/// Addresses in a status.
const STATUS_ADDRESSES: usize = 3;

impl RelayReach {
    pub(super) async fn subscribe(
        &self,
    ) -> Result<SelectAll<BoxStream<'static, (PublisherId, Gossiped)>>, ControlError> {
        let mut all = SelectAll::new();
        for network in self.parts.networks.all() {
            let publisher = network.publisher;
            for kind in [TopicKind::Status, TopicKind::Takedown] {
                let mut messages = self.parts.control.subscribe(Topic { publisher, kind }).await?;
                let stream = stream::poll_fn(move |cx| messages.poll_recv(cx)).map(move |message| (publisher, message));
                all.push(stream.boxed());
            }
            // Provider records say it to those who come without the adapter.
            if let Err(error) = self.parts.control.provide(publisher).await {
                tracing::warn!(%error, "others cannot search for this relay");
            }
        }
        Ok(all)
    }

    /// What was announced goes on to others when it is right.
    pub(super) async fn gossiped(&mut self, publisher: PublisherId, message: Gossiped) {
        let verdict = match (self.parts.networks.get(&publisher), message.topic.kind) {
            (Some(network), TopicKind::Status) => status(&network, &message),
            (Some(network), TopicKind::Takedown) => takedown(&network, &message, self.parts.networks.clock().now()),
            (None, _) | (_, TopicKind::Announce) => Verdict::Ignore,
        };
        if let Err(error) = self.parts.control.judge(message, verdict).await {
            tracing::debug!(%error, "announcement not judged");
        }
    }

    /// Our status on every network's topic.
    pub(super) async fn say(&mut self, networks: &[Arc<Network>], now: Instant) {
        self.rate.sent((self.parts.sent)(), now);
        if self.conclusion.class == ReachClass::Unknown {
            return;
        }
        let (capacity, load) = self.rate.capacity_and_load();
        let addresses = self.conclusion.confirmed.iter().copied().take(STATUS_ADDRESSES);
        let reach = Reach::new(self.conclusion.class, addresses);
        let status = RelayStatus { reach, capacity, load, epoch: self.epoch };
        for network in networks {
            let schedule = self.schedules.entry(network.publisher).or_default();
            if !schedule.due(network.members().len(), now) {
                continue;
            }
            let topic = Topic { publisher: network.publisher, kind: TopicKind::Status };
            let said = match status.encode() {
                Ok(body) => self.parts.control.publish(topic, body).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = said {
                tracing::debug!(error, "status not announced");
                schedule.unsaid();
            }
        }
    }
}

/// What a relay says about itself.
fn status(network: &Network, message: &Gossiped) -> Verdict {
    let Ok(status) = RelayStatus::decode(&message.body) else { return Verdict::Reject };
    match network.note_status(RelayId::from(message.author), status) {
        true => Verdict::Accept,
        // The adapter's list may be older here than elsewhere: nobody is to blame.
        false => Verdict::Ignore,
    }
}

/// What the publisher has taken down counts by its signature, whoever announces it.
fn takedown(network: &Network, message: &Gossiped, now: UnixMillis) -> Verdict {
    let offered = network.offer_takedowns(&[Bytes::copy_from_slice(&message.body)], now);
    match (offered.forged, offered.judged, offered.new.is_empty()) {
        (Some(_), ..) => Verdict::Reject,
        // Its key is not known here yet: those who know it pass it on.
        (None, 1.., true) => Verdict::Ignore,
        // Known already, over another way: others may hear it from here first.
        (None, 0, _) | (None, _, false) => Verdict::Accept,
    }
}
