//! Who is probed, when, and by which token. No I/O, no clock.
//!
//! A list is a plan for one epoch. Every session of it lies within the epoch with room at both ends, so that what a relay
//! counts and what the probe received are of the same epoch; its token is dated when the session begins, as a viewer's is.

use super::args::Target;
use data_encoding::HEXLOWER;
use rand::{Rng, RngExt, seq::IndexedRandom};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use weir_protocol::{
    Epoch, ProbeCommitment, ProbeReveal, PublisherId, RelayId, TokenHash, UnixMillis, statement::ProbeResult,
};

/// Probes in one list: so many that it still fits an order to the adapter.
pub(super) const MAX_LIST: usize = 256;
/// Time that an epoch has before its first session and after the last one's last request.
pub(super) const ROOM: Duration = Duration::from_secs(1);
/// How long the request that is under way when a session's time is over may take.
pub(super) const GRACE: Duration = Duration::from_secs(15);
/// A commitment has to be in the ledger before its epoch begins; so long before, the next but one is taken.
const AHEAD_MS: u64 = 1_000;

/// What has become of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It has not begun.
    Planned,
    /// It began; what it received is not known until it ends.
    Begun,
    /// It received this.
    Done { bytes: u64, objects: u64 },
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) relay: RelayId,
    /// The playlist, without the token.
    pub(super) url: String,
    pub(super) token: String,
    pub(super) user_agent: String,
    pub(super) start: UnixMillis,
    pub(super) watch_ms: u64,
    pub(super) state: State,
}

/// A list of sessions in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// 1.
    pub(super) version: u32,
    pub(super) publisher: PublisherId,
    pub(super) epoch: Epoch,
    pub(super) epoch_ms: u64,
    pub(super) list: u64,
    /// 32 bytes, hexadecimal.
    pub(super) nonce: String,
    /// In the order of a revelation.
    pub(super) sessions: Vec<Session>,
}

/// What a plan is drawn from.
pub(super) struct Draw<'a> {
    pub(super) publisher: PublisherId,
    pub(super) epoch_ms: u64,
    pub(super) targets: &'a [Target],
    pub(super) paths: &'a [String],
    pub(super) user_agents: &'a [String],
    pub(super) sessions: usize,
    pub(super) watch: Duration,
    pub(super) now: UnixMillis,
}

impl Draw<'_> {
    /// The epoch that can still be committed to.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(Epoch::of(self.now.plus_ms(AHEAD_MS), self.epoch_ms).0 + 1)
    }

    /// Plans; `issue` makes the token of a session at a relay that begins then.
    ///
    /// # Errors
    /// An epoch has no room for such sessions, or a path is no path.
    pub(super) fn plans(
        &self,
        random: &mut impl Rng,
        issue: impl Fn(&RelayId, UnixMillis) -> Result<String, String>,
    ) -> Result<Vec<Plan>, String> {
        let epoch = self.epoch();
        let longest = self.watch + self.watch / 2;
        let room = Duration::from_millis(self.epoch_ms).saturating_sub(longest + ROOM * 2);
        let grace = GRACE.min(room / 2);
        let last = room.saturating_sub(grace);
        if last.is_zero() {
            return Err(format!(
                "sessions of up to {longest:?} do not fit into epochs of {} ms: --watch less",
                self.epoch_ms
            ));
        }
        let mut sessions = Vec::new();
        for target in self.targets {
            for _ in 0..self.sessions {
                let offset = ROOM + last.mul_f64(random.random_range(0.0..1.0));
                let start = epoch.start(self.epoch_ms).plus_ms(millis(offset));
                let path = self.paths.choose(random).ok_or_else(|| "name a path to play (--path)".to_owned())?;
                let base = target.url.as_str().trim_end_matches('/');
                sessions.push(Session {
                    relay: target.relay,
                    url: format!("{base}/{}", path.trim_start_matches('/')),
                    token: issue(&target.relay, start)?,
                    user_agent: self.user_agents.choose(random).cloned().unwrap_or_default(),
                    start,
                    watch_ms: millis(self.watch.mul_f64(random.random_range(0.5..1.5))),
                    state: State::Planned,
                });
            }
        }
        sessions.sort_by_key(|session| (session.hash(), session.relay.0.to_bytes()));
        let plan = |sessions: &[Session]| Plan {
            version: 1,
            publisher: self.publisher,
            epoch,
            epoch_ms: self.epoch_ms,
            list: u64::from(random.random::<u32>()),
            nonce: HEXLOWER.encode(&random.random::<[u8; 32]>()),
            sessions: sessions.to_vec(),
        };
        Ok(sessions.chunks(MAX_LIST).map(plan).collect())
    }
}

impl Session {
    fn hash(&self) -> TokenHash {
        TokenHash::of(&self.token)
    }
}

impl Plan {
    /// What is logged before the epoch.
    pub(super) fn commitment(&self, now: UnixMillis) -> Option<ProbeCommitment> {
        let commitment = self.with(now, |_| (0, 0))?.commitment();
        Some(ProbeCommitment { publisher: self.publisher, epoch: self.epoch, list: self.list, commitment, time: now })
    }

    /// What is logged afterwards; `None` when it is not known what a session received.
    pub(super) fn reveal(&self, now: UnixMillis) -> Option<ProbeReveal> {
        if self.sessions.iter().any(|session| session.state == State::Begun) {
            return None;
        }
        self.with(now, |session| match session.state {
            State::Done { bytes, objects } => (bytes, objects),
            State::Planned | State::Begun => (0, 0),
        })
    }

    fn with(&self, time: UnixMillis, received: impl Fn(&Session) -> (u64, u64)) -> Option<ProbeReveal> {
        let nonce = HEXLOWER.decode(self.nonce.as_bytes()).ok()?.try_into().ok()?;
        let result = |session: &Session| {
            let (bytes, objects) = received(session);
            ProbeResult { relay: session.relay, token: session.hash(), bytes, objects }
        };
        let probes = self.sessions.iter().map(result).collect();
        Some(ProbeReveal { publisher: self.publisher, epoch: self.epoch, list: self.list, nonce, probes, time })
    }

    /// The end of its epoch.
    pub(super) fn end(&self) -> UnixMillis {
        self.epoch.end(self.epoch_ms)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};
    use weir_protocol::{
        EvidenceKey, SigningKey,
        statement::{Statement as _, Verified},
    };

    fn draw<'a>(targets: &'a [Target], paths: &'a [String], sessions: usize) -> Draw<'a> {
        Draw {
            publisher: PublisherId([1; 32]),
            epoch_ms: 3_600_000,
            targets,
            paths,
            user_agents: &[],
            sessions,
            watch: Duration::from_secs(120),
            now: UnixMillis(1_800_000_000_000),
        }
    }

    fn target(seed: u8) -> Target {
        Target {
            relay: EvidenceKey::from_bytes(&[seed; 32]).relay_id(),
            url: "https://relay.example/name/".parse().unwrap(),
        }
    }

    #[test]
    fn sessions_lie_within_their_epoch_at_random_times_and_what_is_revealed_is_what_was_committed_to() {
        let (targets, paths) = ([target(1), target(2)], ["/a/m.m3u8".to_owned()]);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let issue = |relay: &RelayId, at: UnixMillis| Ok(format!("{relay}.{at}"));
        let mut plans = draw(&targets, &paths, 200).plans(&mut random, issue).unwrap();
        assert_eq!(plans.iter().map(|plan| plan.sessions.len()).collect::<Vec<_>>(), [256, 144]);
        let (start, end) = (plans[0].epoch.start(3_600_000), plans[0].end());
        assert!(start > UnixMillis(1_800_000_000_000) && plans[0].list != plans[1].list);
        // Nothing of it is under way any more.
        let over = |session: &Session| session.start.plus_ms(session.watch_ms + millis(GRACE));
        let sessions = || plans.iter().flat_map(|plan| &plan.sessions);
        assert!(sessions().all(|session| session.start > start && over(session) < end));
        assert!(sessions().all(|session| session.url == "https://relay.example/name/a/m.m3u8"));
        // Spread over the epoch: each tenth of it has some.
        for tenth in 0..9 {
            let (from, to) = (start.plus_ms(tenth * 360_000), start.plus_ms((tenth + 1) * 360_000));
            assert!(sessions().any(|session| (from..to).contains(&session.start)));
        }
        let plan = &mut plans[0];
        let now = end.plus_ms(1);
        let commitment = plan.commitment(now).unwrap();
        plan.sessions[3].state = State::Begun;
        assert_eq!(plan.reveal(now), None, "what a session received that was broken off is not known");
        plan.sessions[3].state = State::Done { bytes: 7, objects: 2 };
        let reveal = plan.reveal(now).unwrap();
        assert!(reveal.opens(&commitment) && reveal.check().is_ok());
        assert_eq!((reveal.probes[3].bytes, reveal.probes[4].bytes), (7, 0));
        let signed = Verified::sign_as_publisher(reveal, &SigningKey::from_bytes(&[5; 32])).unwrap();
        let sent = signed.bytes().len().div_ceil(3) * 4;
        assert!(sent < 60 * 1024, "{sent}: a full list fits an order to the adapter");
    }

    #[test]
    fn sessions_that_do_not_fit_are_refused() {
        let (targets, paths) = ([target(1)], ["/m.m3u8".to_owned()]);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let issue = |_: &RelayId, _: UnixMillis| Ok("t".to_owned());
        let long = Draw { watch: Duration::from_secs(2400), ..draw(&targets, &paths, 1) };
        assert!(long.plans(&mut random, issue).unwrap_err().contains("--watch"));
        assert!(draw(&targets, &[], 1).plans(&mut random, issue).is_err());
    }
}
