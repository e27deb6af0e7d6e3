//! Gossip in the driver: the guard first, then the topic's subscriber, then the verdict.

use libp2p::PeerId;
use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use weir_protocol::gossip::{Announcement, Topic};

use super::super::error::ControlError;
use super::super::gossip::{Gossiped, Judgement, Verdict, topic_score};
use super::Driver;
use crate::clock::Clock;

/// Messages that wait for one subscriber.
const QUEUE: usize = 64;
/// Topics that are heard: three for each of 64 networks.
const MAX_TOPICS: usize = 192;

impl Driver {
    pub(super) fn subscribe(&mut self, topic: Topic) -> Result<mpsc::Receiver<Gossiped>, ControlError> {
        if self.subscribers.len() >= MAX_TOPICS && !self.subscribers.contains_key(&topic) {
            return Err(ControlError::TooMany("topics"));
        }
        let name = IdentTopic::new(topic.to_string());
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip
            .set_topic_params(name.clone(), topic_score())
            .map_err(|error| ControlError::Announce(error.to_owned()))?;
        gossip.subscribe(&name).map_err(|error| ControlError::Announce(error.to_string()))?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.subscribers.insert(topic, sender);
        Ok(receiver)
    }

    pub(super) fn publish(&mut self, topic: Topic, body: Vec<u8>) -> Result<(), ControlError> {
        let failed = |error: &dyn std::fmt::Display| ControlError::Announce(error.to_string());
        self.spoke = Clock::System.now().max(self.spoke.plus_ms(1));
        let bytes = Announcement::new(self.spoke, body).encode().map_err(|error| failed(&error))?;
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.publish(IdentTopic::new(topic.to_string()), bytes).map_err(|error| failed(&error))?;
        Ok(())
    }

    pub(super) fn judge(&mut self, message: &Gossiped, verdict: Verdict) -> bool {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => {
                let points = self.guard.rejected(message.via, Clock::System.now());
                self.score(&message.via, points);
                MessageAcceptance::Reject
            }
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&message.id, &message.via, acceptance)
    }

    pub(super) fn gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source: via, message_id: id, message } = event else { return };
        // Strict validation lets nothing through without an author.
        let Some(author) = message.source else { return };
        let topic = Topic::parse(message.topic.as_str());
        let gossiped =
            |topic, said: Announcement| Gossiped { topic, author, at: said.at, body: said.body, id: id.clone(), via };
        let verdict = match self.guard.judge(Clock::System.now(), topic, (author, via), &message.data) {
            Judgement::Drop(verdict, points) => {
                tracing::debug!(%via, %author, ?verdict, points, "gossip dropped");
                self.score(&via, points);
                verdict
            }
            Judgement::Pass(said) => {
                let Some((topic, subscriber)) = topic.and_then(|topic| Some((topic, self.subscribers.get(&topic)?)))
                else {
                    return;
                };
                match subscriber.try_send(gossiped(topic, said)) {
                    // The subscriber's verdict follows.
                    Ok(()) => return,
                    Err(TrySendError::Full(_)) => Verdict::Ignore,
                    Err(TrySendError::Closed(_)) => {
                        self.subscribers.remove(&topic);
                        self.swarm.behaviour_mut().gossip.unsubscribe(&IdentTopic::new(topic.to_string()));
                        Verdict::Ignore
                    }
                }
            }
        };
        let acceptance = match verdict {
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Accept | Verdict::Ignore => MessageAcceptance::Ignore,
        };
        self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &via, acceptance);
    }

    /// Points are forgiven with time.
    pub(super) fn forgive(&mut self) {
        for (peer, points) in self.guard.points(Clock::System.now()) {
            self.score(&peer, points);
        }
    }

    fn score(&mut self, peer: &PeerId, points: f64) {
        self.swarm.behaviour_mut().gossip.set_application_score(peer, -points);
    }
}
