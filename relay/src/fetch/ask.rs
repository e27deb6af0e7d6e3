//! Asking the sources of one fill, best first, with a second one beside a relay that is late. Invariants: a source that
//! waits for no relay (the adapter, an origin) is never asked beside another; no relay is asked twice for a head; an adapter
//! names others at most once for each fill.

use super::{Candidate, Hedge, running::Progress, shared::Core};
use crate::{
    mesh::LAST_STAGE,
    source::{FillRequest, Opened, RelaySource, SourceError},
};
use std::{collections::VecDeque, time::Instant};
use weir_protocol::ids::RelayId;

/// Sources asked for a head, at most: owners that are busy name no others, and each plan after one has more of them.
const MAX_ASKED: usize = 24;
/// Owners that may fail before the adapter is asked in their place. With fewer, all who ask for an object whose first
/// owners are malicious would ask the adapter themselves.
const MAX_FAILED: usize = 4;

/// The sources of one fill.
pub(super) struct Asking<'a> {
    core: &'a Core,
    progress: Progress,
    left: VecDeque<Candidate>,
    /// Relays asked for a head so far.
    asked: Vec<RelayId>,
    /// The adapter, or the origin, was.
    asked_root: bool,
    opened: usize,
    failed: usize,
}

fn relay(candidate: &Candidate) -> Option<RelayId> {
    candidate.source.as_relay().map(RelaySource::relay)
}

impl<'a> Asking<'a> {
    pub(super) fn new(core: &'a Core, progress: Progress, candidates: Vec<Candidate>) -> Self {
        Self { core, progress, left: candidates.into(), asked: Vec::new(), asked_root: false, opened: 0, failed: 0 }
    }

    /// The next source's answer, or a faster one's that was asked beside it; `None` when everybody was asked.
    pub(super) async fn next(&mut self, request: &mut FillRequest) -> Option<(Candidate, Result<Opened, SourceError>)> {
        let answered = loop {
            let first = self.left.pop_front().filter(|_| self.opened < MAX_ASKED)?;
            let answered = self.hedged(request, first).await;
            if !self.is_sent_on(request, &answered) {
                break answered;
            }
        };
        let failed = answered.1.is_err() && relay(&answered.0).is_some();
        self.failed += usize::from(failed);
        let owners_left = failed && self.progress.stage() < LAST_STAGE && self.failed < MAX_FAILED;
        if owners_left || failed && matches!(answered.1, Err(SourceError::Busy)) {
            self.plan_again(request);
        }
        Some(answered)
    }

    /// An owner is busy, and the object has more of them now; or it has failed, and others come after it. Those already
    /// asked are not asked again, and nobody is asked twice to do something.
    fn plan_again(&mut self, request: &FillRequest) {
        if request.asked.is_passed() {
            return;
        }
        let route = self.core.route(&request.key, &request.asked, self.progress.stage());
        self.progress.at_least(route.stage);
        self.left = route.candidates.into();
        let asked_before = |candidate: &Candidate| match relay(candidate) {
            Some(relay) => self.asked.contains(&relay),
            None => candidate.source.is_root() && self.asked_root,
        };
        self.left.retain(|candidate| !asked_before(candidate));
    }

    /// True when the answer is that others have it: those are asked for what they hold, and then whoever said so for the
    /// thing itself.
    fn is_sent_on(
        &mut self,
        request: &mut FillRequest,
        (root, answer): &(Candidate, Result<Opened, SourceError>),
    ) -> bool {
        let Err(SourceError::Elsewhere(found)) = answer else { return false };
        request.insists = true;
        self.left.push_front(root.clone());
        for holder in self.core.plan.holders(&request.key, found).into_iter().rev() {
            if relay(&holder).is_none_or(|relay| !self.asked.contains(&relay)) {
                self.left.push_front(holder);
            }
        }
        true
    }

    /// Plans anew, with everybody.
    pub(super) fn start_over(&mut self, request: &FillRequest) {
        self.asked.clear();
        self.asked_root = false;
        self.plan_again(request);
    }

    pub(super) fn pop(&mut self) -> Option<Candidate> {
        self.left.pop_front()
    }

    async fn hedged(
        &mut self,
        request: &mut FillRequest,
        first: Candidate,
    ) -> (Candidate, Result<Opened, SourceError>) {
        self.begin(request, &first);
        let Some(late_after) = first.source.as_relay().map(RelaySource::hedge_after) else {
            let opened = open(self.core, &self.progress, &first, request).await;
            return (first, opened);
        };
        let (core, progress, request) = (self.core, self.progress.clone(), &*request);
        let begun = Instant::now();
        let opening = open(core, &progress, &first, request);
        tokio::pin!(opening);
        tokio::select! {
            biased;
            opened = &mut opening => return (first.clone(), opened),
            () = tokio::time::sleep(late_after) => {}
        }
        let adapter_is_next = self.left.front().is_some_and(|next| next.source.is_root());
        if let Some(holder) = first.source.as_relay().filter(|relay| relay.only_holds() && adapter_is_next) {
            holder.outrun(begun.elapsed());
            return (first.clone(), Err(SourceError::Timeout("late, and the adapter has it".into())));
        }
        let at = self.left.iter().position(|candidate| relay(candidate).is_some());
        let second = at.filter(|_| first.source.as_relay().is_some_and(RelaySource::take_hedge));
        let Some(second) = second.and_then(|at| self.left.remove(at)) else {
            let opened = opening.await;
            return (first.clone(), opened);
        };
        self.asked.extend(relay(&second));
        self.opened += 1;
        let hedge = open(core, &progress, &second, request);
        tokio::pin!(hedge);
        tokio::select! {
            opened = &mut opening => match opened {
                Ok(opened) => {
                    core.observer.hedged(Hedge::Lost);
                    (first.clone(), Ok(opened))
                }
                Err(_) => {
                    let opened = hedge.await;
                    core.observer.hedged(if opened.is_ok() { Hedge::Won } else { Hedge::Failed });
                    (second.clone(), opened)
                }
            },
            opened = &mut hedge => match opened {
                Ok(opened) => {
                    core.observer.hedged(Hedge::Won);
                    if let Some(relay) = first.source.as_relay() {
                        relay.outrun(begun.elapsed());
                    }
                    (second.clone(), Ok(opened))
                }
                Err(_) => {
                    core.observer.hedged(Hedge::Failed);
                    let opened = opening.await;
                    (first.clone(), opened)
                }
            },
        }
    }

    fn begin(&mut self, request: &mut FillRequest, candidate: &Candidate) {
        self.opened += 1;
        self.asked.extend(relay(candidate));
        if candidate.source.is_root() {
            self.asked_root = true;
            self.progress.asks_the_source();
        }
        request.hops = self.progress.stage();
    }

    /// Asks one source without a second one beside it.
    pub(super) async fn alone(
        &mut self,
        request: &mut FillRequest,
        candidate: &Candidate,
    ) -> Result<Opened, SourceError> {
        self.begin(request, candidate);
        let answered = (candidate.clone(), open(self.core, &self.progress, candidate, request).await);
        self.is_sent_on(request, &answered);
        answered.1
    }
}

async fn open(
    core: &Core,
    progress: &Progress,
    candidate: &Candidate,
    request: &FillRequest,
) -> Result<Opened, SourceError> {
    let begun = Instant::now();
    let opened = candidate.source.open(request).await;
    if opened.is_ok() && candidate.source.is_root() {
        progress.is_fed();
    }
    core.observer.asked(candidate.label, opened.as_ref().map(|_| ()), begun.elapsed());
    opened
}
