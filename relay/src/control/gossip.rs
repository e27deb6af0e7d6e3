//! Gossip: how announcements spread, and what is done with those that should not.
//!
//! gossipsub checks the author's signature and passes nothing on before somebody has judged it. [`Guard`] judges first:
//! form, age, order and rate, without looking at what is said. Only what passes reaches a subscriber, whose verdict then
//! decides. Invariant: a message is forwarded only after an explicit accept; nothing longer than [`MAX_ANNOUNCEMENT`] is
//! looked at; what is remembered of authors and forwarders is bounded.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::gossipsub::{
    self, CallbackSubscriptionFilter, IdentityTransform, MaxCountSubscriptionFilter, MessageAuthenticity, MessageId,
    PeerScoreParams, PeerScoreThresholds, TopicHash, ValidationMode,
};
use libp2p::identity::Keypair;
use weir_protocol::gossip::{Announcement, MAX_ANNOUNCEMENT, Topic, TopicKind};
use weir_protocol::time::{CLOCK_SKEW_MS, UnixMillis};

/// Bytes of one gossip transmission: an announcement with topic, author, signature and framing, or control messages.
const MAX_TRANSMIT: usize = 4 * 1024;
/// Messages in one transmission that are looked at.
const MAX_MESSAGES_PER_RPC: usize = 64;
/// Topics that one peer may subscribe to: three for each of 64 networks.
const MAX_TOPICS: usize = 192;
/// How long a message id is remembered, so that a repetition is recognised.
const REMEMBERED: Duration = Duration::from_secs(300);
/// An announcement older than this is no news. Longer than [`REMEMBERED`] would let a replay through.
const MAX_AGE_MS: u64 = 120_000;
/// Authors and forwarders that are remembered.
const MAX_REMEMBERED: usize = 4096;
/// An author may say this many things of one kind at once, and this many a second for long. A publisher that takes much
/// down at once says it in one breath.
const fn allowance(kind: TopicKind) -> (f64, f64) {
    match kind {
        TopicKind::Takedown => (128.0, 4.0),
        TopicKind::Status | TopicKind::Announce => (16.0, 0.5),
    }
}

/// Penalty points that a forwarder gets for each message that nobody should have forwarded. gossipsub stops listening
/// to it at 80 points.
const POINTS: f64 = 4.0;
/// Points that it loses a second.
const FORGIVEN: f64 = 0.5;

type Filter = MaxCountSubscriptionFilter<CallbackSubscriptionFilter<fn(&TopicHash) -> bool>>;
pub(super) type Gossip = gossipsub::Behaviour<IdentityTransform, Filter>;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Good: it is passed on.
    Accept,
    /// Not passed on, and nobody is to blame: stale, or nothing that concerns us.
    Ignore,
    /// Invalid: not passed on, and whoever passed it here is marked.
    Reject,
}

/// A message that waits for its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gossiped {
    /// Topic it came on.
    pub topic: Topic,
    /// Who said it; gossipsub has checked the signature.
    pub author: PeerId,
    /// When, by the author's clock; not older than two minutes, and newer than what the same author said before.
    pub at: UnixMillis,
    /// What it says, at most 240 bytes.
    pub body: Vec<u8>,
    pub(super) id: MessageId,
    pub(super) via: PeerId,
}

pub(super) fn behaviour(identity: &Keypair) -> Gossip {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(MAX_TRANSMIT)
        .max_publish_messages(MAX_MESSAGES_PER_RPC)
        .duplicate_cache_time(REMEMBERED)
        // A subscriber may take a little to judge; what has left the cache is not forwarded any more.
        .history_length(8)
        // Whoever publishes reaches all its peers at once: takedowns must not wait for the mesh to form.
        .flood_publish(true)
        .build()
        .expect("a test builds it from the same constants");
    let ours: fn(&TopicHash) -> bool = |topic| Topic::parse(topic.as_str()).is_some();
    let filter = MaxCountSubscriptionFilter {
        filter: CallbackSubscriptionFilter(ours),
        max_subscribed_topics: MAX_TOPICS,
        max_subscriptions_per_request: MAX_TOPICS,
    };
    let author = MessageAuthenticity::Signed(identity.clone());
    let mut gossip = Gossip::new_with_subscription_filter(author, config, filter)
        .expect("signing and strict validation go together");
    gossip.with_peer_score(score(), PeerScoreThresholds::default()).expect("valid constants, set once");
    gossip
}

fn score() -> PeerScoreParams {
    PeerScoreParams {
        // Points of the guard count one to one.
        app_specific_weight: 1.0,
        // Many relays may share the address of a carrier's NAT; members are told apart by their keys.
        ip_colocation_factor_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

/// How one topic's behaviour counts: an invalid message weighs, silence does not, for most relays have little to say.
pub(super) fn topic_score() -> gossipsub::TopicScoreParams {
    gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 100.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: 0.9,
        first_message_deliveries_cap: 50.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.9,
        ..gossipsub::TopicScoreParams::default()
    }
}

/// What the guard says about a message.
#[derive(Debug, PartialEq)]
pub(super) enum Judgement {
    /// A subscriber is to decide.
    Pass(Announcement),
    /// Drop it; its forwarder has so many points now.
    Drop(Verdict, f64),
}

#[derive(Debug, Clone, Copy)]
struct Author {
    tokens: f64,
    refilled: UnixMillis,
}

#[derive(Debug, Clone, Copy)]
struct Forwarder {
    points: f64,
    counted: UnixMillis,
}

/// Form, age, order and rate of messages. No I/O; the time is an argument.
#[derive(Debug, Default)]
pub(super) struct Guard {
    authors: HashMap<(PeerId, TopicKind), Author>,
    last: HashMap<(PeerId, Topic), UnixMillis>,
    forwarders: HashMap<PeerId, Forwarder>,
}

impl Guard {
    /// Judges what `author` is said to have said, passed here by `via`.
    pub(super) fn judge(
        &mut self,
        now: UnixMillis,
        topic: Option<Topic>,
        (author, via): (PeerId, PeerId),
        bytes: &[u8],
    ) -> Judgement {
        let Some(topic) = topic else { return self.drop(Verdict::Reject, via, now) };
        if bytes.len() > MAX_ANNOUNCEMENT {
            return self.drop(Verdict::Reject, via, now);
        }
        let Ok(announcement) = Announcement::decode(bytes) else { return self.drop(Verdict::Reject, via, now) };
        let stale = now.since(announcement.at) > MAX_AGE_MS || announcement.at.since(now) > CLOCK_SKEW_MS;
        let repeated = self.last.get(&(author, topic)).is_some_and(|last| announcement.at <= *last);
        if stale || repeated || !self.may_speak(author, topic.kind, now) {
            return self.drop(Verdict::Ignore, via, now);
        }
        make_room(&mut self.last, |last| last.0);
        self.last.insert((author, topic), announcement.at);
        Judgement::Pass(announcement)
    }

    /// A subscriber rejected what `via` passed on; its points now.
    pub(super) fn rejected(&mut self, via: PeerId, now: UnixMillis) -> f64 {
        make_room(&mut self.forwarders, |forwarder| forwarder.counted.0);
        let forwarder = self.forwarders.entry(via).or_insert(Forwarder { points: 0.0, counted: now });
        let forgiven = seconds(now.since(forwarder.counted)) * FORGIVEN;
        *forwarder = Forwarder { points: (forwarder.points - forgiven).max(0.0) + POINTS, counted: now };
        forwarder.points
    }

    /// The points of everybody who has some, for a regular look: they are forgiven with time.
    pub(super) fn points(&mut self, now: UnixMillis) -> Vec<(PeerId, f64)> {
        let left = |forwarder: &Forwarder| forwarder.points - seconds(now.since(forwarder.counted)) * FORGIVEN;
        let all = self.forwarders.iter().map(|(peer, forwarder)| (*peer, left(forwarder).max(0.0))).collect();
        self.forwarders.retain(|_, forwarder| left(forwarder) > 0.0);
        all
    }

    fn drop(&mut self, verdict: Verdict, via: PeerId, now: UnixMillis) -> Judgement {
        Judgement::Drop(verdict, self.rejected(via, now))
    }

    fn may_speak(&mut self, author: PeerId, kind: TopicKind, now: UnixMillis) -> bool {
        let (burst, per_second) = allowance(kind);
        make_room(&mut self.authors, |author| author.refilled.0);
        let author = self.authors.entry((author, kind)).or_insert(Author { tokens: burst, refilled: now });
        author.tokens = (author.tokens + seconds(now.since(author.refilled)) * per_second).min(burst);
        author.refilled = author.refilled.max(now);
        if author.tokens < 1.0 {
            return false;
        }
        author.tokens -= 1.0;
        true
    }
}

#[expect(clippy::cast_precision_loss, reason = "a span of time, good to a millisecond for 285 000 years")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Forgets the longest silent when no more fits.
fn make_room<K: Copy + Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, heard: impl Fn(&V) -> u64) {
    if map.len() >= MAX_REMEMBERED
        && let Some(oldest) = map.iter().min_by_key(|(_, value)| heard(value)).map(|(key, _)| *key)
    {
        map.remove(&oldest);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use weir_protocol::ids::PublisherId;

    const NOW: UnixMillis = UnixMillis(1_000_000_000);

    fn topic() -> Topic {
        Topic { publisher: PublisherId([7; 32]), kind: TopicKind::Status }
    }

    fn said(at: UnixMillis) -> Vec<u8> {
        Announcement::new(at, vec![1]).encode().unwrap()
    }

    fn judge(guard: &mut Guard, author: PeerId, via: PeerId, at: UnixMillis, now: UnixMillis) -> Judgement {
        guard.judge(now, Some(topic()), (author, via), &said(at))
    }

    #[test]
    fn news_passes_and_a_repetition_does_not() {
        let (mut guard, author, via) = (Guard::default(), PeerId::random(), PeerId::random());
        assert!(matches!(judge(&mut guard, author, via, NOW, NOW), Judgement::Pass(_)));
        assert_eq!(judge(&mut guard, author, via, NOW, NOW), Judgement::Drop(Verdict::Ignore, POINTS));
        let earlier = judge(&mut guard, author, via, NOW.minus_ms(1), NOW);
        assert_eq!(earlier, Judgement::Drop(Verdict::Ignore, 2.0 * POINTS));
        assert!(matches!(judge(&mut guard, author, via, NOW.plus_ms(1), NOW), Judgement::Pass(_)));
    }

    #[test]
    fn what_is_old_or_from_the_future_is_dropped() {
        let (mut guard, via) = (Guard::default(), PeerId::random());
        let mut at = |at| judge(&mut guard, PeerId::random(), via, at, NOW);
        assert!(matches!(at(NOW.minus_ms(MAX_AGE_MS)), Judgement::Pass(_)));
        assert!(matches!(at(NOW.minus_ms(MAX_AGE_MS + 1)), Judgement::Drop(Verdict::Ignore, _)));
        assert!(matches!(at(NOW.plus_ms(CLOCK_SKEW_MS)), Judgement::Pass(_)));
        assert!(matches!(at(NOW.plus_ms(CLOCK_SKEW_MS + 1)), Judgement::Drop(Verdict::Ignore, _)));
    }

    #[test]
    fn what_is_no_announcement_is_rejected() {
        let (mut guard, author, via) = (Guard::default(), PeerId::random(), PeerId::random());
        let long = vec![0; MAX_ANNOUNCEMENT + 1];
        for (topic, bytes) in [(None, said(NOW)), (Some(topic()), long), (Some(topic()), b"no CBOR".to_vec())] {
            let judged = guard.judge(NOW, topic, (author, via), &bytes);
            assert!(matches!(judged, Judgement::Drop(Verdict::Reject, _)), "{judged:?}");
        }
    }

    #[test]
    fn a_flood_is_dropped_and_its_forwarder_reaches_the_limit_but_is_forgiven() {
        let (mut guard, author, via) = (Guard::default(), PeerId::random(), PeerId::random());
        let judged: Vec<_> = (0..100).map(|n| judge(&mut guard, author, via, NOW.plus_ms(n), NOW.plus_ms(n))).collect();
        let passed = judged.iter().filter(|judged| matches!(judged, Judgement::Pass(_))).count();
        assert_eq!(passed, 16);
        let threshold = -PeerScoreThresholds::default().graylist_threshold;
        assert!(matches!(judged.last(), Some(Judgement::Drop(Verdict::Ignore, points)) if *points > threshold));
        let later = NOW.plus_ms(3_600_000);
        assert_eq!(guard.points(later), [(via, 0.0)]);
        assert!(guard.points(later).is_empty());
        assert!(matches!(judge(&mut guard, author, via, later, later), Judgement::Pass(_)));
    }

    #[test]
    fn many_names_do_not_fill_the_memory() {
        let mut guard = Guard::default();
        for n in 0..3 * MAX_REMEMBERED as u64 {
            judge(&mut guard, PeerId::random(), PeerId::random(), NOW, NOW.plus_ms(n % 1000));
            guard.rejected(PeerId::random(), NOW);
        }
        assert!(guard.authors.len() <= MAX_REMEMBERED && guard.last.len() <= MAX_REMEMBERED);
        assert!(guard.forwarders.len() <= MAX_REMEMBERED);
    }

    #[test]
    fn the_behaviour_can_be_made_and_scores_are_valid() {
        behaviour(&Keypair::generate_ed25519());
        topic_score().validate().unwrap();
    }
}
