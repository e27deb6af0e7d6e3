//! A relay's side of one tree: it goes where it is placed, and when its parent fails it turns to the next backup at
//! once, without asking anybody; the adapter hears of it afterwards. So repair takes one round trip once the failure
//! is noticed.
//!
//! Invariants: a relay is fed by at most one parent and tries at most one other; it keeps the one until the other has
//! accepted; whoever failed it is avoided for a while; with nobody to turn to it tries again, ever less often.

use super::{Moved, Parent, Place, Why};
use std::collections::{BTreeMap, VecDeque};

/// A parent says something several times a second; after so long it is silent.
const SILENT_MS: u64 = 1_000;
/// A subscription must be accepted or refused in this time.
const ANSWER_MS: u64 = 1_000;
/// A parent that lives but has heard nothing from the adapter for so long is cut off. Longer than it needs to find
/// another parent itself, so that not all below it leave.
const CUT_OFF_MS: u64 = 4_000;
/// A parent that failed is not turned to for so long, unless its bytes did not verify: then for ten minutes.
const AVOID_MS: u64 = 20_000;
const AVOID_CORRUPT_MS: u64 = 600_000;
/// Parents that are remembered as avoided.
const MAX_AVOIDED: usize = 64;
/// First and longest pause when nobody is left to turn to.
const RETRY_MS: u64 = 500;
const RETRY_CAP_MS: u64 = 4_000;
/// While a relay is not where it was placed, it tries to get there this often.
const RETURN_MS: u64 = 3_000;
/// Redirections followed for one subscription, and parents turned away because they came too late themselves.
const MAX_REDIRECTS: u32 = 4;
/// Candidates that one redirection may add.
const MAX_REDIRECTED: usize = 8;

/// What a parent says while it has nothing else to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Since the adapter was last heard of, as the parent knows, milliseconds.
    pub root_age_ms: u64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<N> {
    /// Nothing.
    Stay,
    /// Subscribe there; answer with [`Branch::accepted`], [`Branch::refused`] or [`Branch::lost`].
    Subscribe(Parent<N>),
}

#[derive(Debug, Clone, Copy)]
struct Fed<N> {
    parent: Parent<N>,
    heard_ms: u64,
    /// When the adapter was last heard of.
    root_ms: u64,
}

/// One relay in one tree.
#[derive(Debug)]
pub struct Branch<N> {
    me: N,
    place: Option<Place<N>>,
    fed: Option<Fed<N>>,
    trying: Option<(Parent<N>, u64)>,
    queue: VecDeque<Parent<N>>,
    avoided: BTreeMap<N, u64>,
    moved: Option<(N, Why)>,
    redirects: u32,
    again_ms: Option<u64>,
    pause_ms: u64,
    return_ms: u64,
}

impl<N: Copy + Ord> Branch<N> {
    /// A relay without a place.
    pub fn new(me: N) -> Self {
        Self {
            me,
            place: None,
            fed: None,
            trying: None,
            queue: VecDeque::new(),
            avoided: BTreeMap::new(),
            moved: None,
            redirects: 0,
            again_ms: None,
            pause_ms: RETRY_MS,
            return_ms: 0,
        }
    }

    /// Who feeds it now.
    pub fn parent(&self) -> Option<Parent<N>> {
        self.fed.map(|fed| fed.parent)
    }

    /// Whom it is trying to subscribe at.
    pub fn trying(&self) -> Option<Parent<N>> {
        self.trying.map(|(parent, _)| parent)
    }

    /// Steps from the adapter by the place it was given.
    pub fn depth(&self) -> u32 {
        self.place.as_ref().map_or(0, |place| place.depth)
    }

    /// Since the adapter was last heard of; `None` when nobody feeds this relay.
    pub fn root_age_ms(&self, now_ms: u64) -> Option<u64> {
        self.fed.map(|fed| now_ms.saturating_sub(fed.root_ms))
    }

    /// The adapter assigns a place, or says that there is none.
    pub fn placed(&mut self, place: Option<Place<N>>, now_ms: u64) -> Step<N> {
        self.place = place;
        let Some(place) = &self.place else { return Step::Stay };
        let parent = place.parent;
        if self.parent() == Some(parent) || self.trying() == Some(parent) {
            return Step::Stay;
        }
        if self.fed.is_some() {
            // Whoever is fed moves for a better place only, and not back to where it has just come from.
            if self.avoids(&parent, now_ms) {
                return Step::Stay;
            }
            self.queue.clear();
        } else {
            self.queue = place.backups.iter().copied().collect();
        }
        self.queue.push_front(parent);
        self.redirects = 0;
        self.next(now_ms)
    }

    /// The parent that was tried accepts.
    pub fn accepted(&mut self, parent: Parent<N>, now_ms: u64) {
        if self.trying() == Some(parent) {
            self.trying = None;
            self.queue.clear();
            self.again_ms = None;
            self.pause_ms = RETRY_MS;
            self.return_ms = now_ms + RETURN_MS;
            // Nothing is known of the adapter yet, but not for long.
            self.fed = Some(Fed { parent, heard_ms: now_ms, root_ms: now_ms });
        }
    }

    /// The parent that was tried has no room, and names others that it feeds.
    pub fn refused(&mut self, parent: Parent<N>, redirect: &[N], now_ms: u64) -> Step<N> {
        if self.trying() != Some(parent) {
            return Step::Stay;
        }
        self.trying = None;
        if self.redirects < MAX_REDIRECTS {
            self.redirects += 1;
            for node in redirect.iter().take(MAX_REDIRECTED).rev() {
                self.queue.push_front(Parent::Node(*node));
            }
        }
        self.next(now_ms)
    }

    /// True while a parent that accepts but cannot fill the gap may be turned away, with [`Branch::refused`], because
    /// there are others to turn to.
    pub fn is_choosy(&self) -> bool {
        self.redirects < MAX_REDIRECTS && !self.queue.is_empty()
    }

    /// The parent has said something.
    pub fn heard(&mut self, parent: Parent<N>, heard: Heard, now_ms: u64) {
        if let Some(fed) = self.fed.as_mut().filter(|fed| fed.parent == parent) {
            fed.heard_ms = now_ms;
            fed.root_ms = fed.root_ms.max(now_ms.saturating_sub(heard.root_age_ms));
        }
    }

    /// A parent has failed: the one that feeds this relay or the one that was tried.
    pub fn lost(&mut self, parent: Parent<N>, why: Why, now_ms: u64) -> Step<N> {
        let (fed, tried) = (self.parent() == Some(parent), self.trying() == Some(parent));
        if !fed && !tried {
            return Step::Stay;
        }
        if let Parent::Node(node) = parent {
            self.avoid(node, why, now_ms);
        }
        if tried {
            self.trying = None;
        }
        if fed {
            self.fed = None;
            if let Parent::Node(node) = parent {
                self.moved = Some((node, why));
            }
            if self.trying.is_none() {
                self.redirects = 0;
                self.queue = self.place.iter().flat_map(|place| place.backups.iter().copied()).collect();
            }
        }
        if self.trying.is_some() { Step::Stay } else { self.next(now_ms) }
    }

    /// Time passes.
    pub fn poll(&mut self, now_ms: u64) -> Step<N> {
        if let Some((parent, since)) = self.trying
            && now_ms.saturating_sub(since) > ANSWER_MS
        {
            return self.lost(parent, Why::Silent, now_ms);
        }
        if let Some(fed) = self.fed
            && (now_ms.saturating_sub(fed.heard_ms) > SILENT_MS || now_ms.saturating_sub(fed.root_ms) > CUT_OFF_MS)
        {
            return self.lost(fed.parent, Why::Silent, now_ms);
        }
        if self.fed.is_none() && self.trying.is_none() && self.again_ms.is_some_and(|again| now_ms >= again) {
            self.redirects = 0;
            let place = self.place.iter();
            self.queue = place.flat_map(|place| [place.parent].into_iter().chain(place.backups.clone())).collect();
            return self.next(now_ms);
        }
        if let (Some(fed), Some(place), None) = (self.fed, &self.place, self.trying)
            && fed.parent != place.parent
            && now_ms >= self.return_ms
        {
            let parent = place.parent;
            self.return_ms = now_ms + RETURN_MS;
            self.redirects = MAX_REDIRECTS;
            if !self.avoids(&parent, now_ms) {
                self.queue = VecDeque::from([parent]);
                return self.next(now_ms);
            }
        }
        Step::Stay
    }

    /// When [`Branch::poll`] has something to do at the latest.
    pub fn wakes_ms(&self) -> Option<u64> {
        let trying = self.trying.map(|(_, since)| since + ANSWER_MS + 1);
        let fed = self.fed.map(|fed| (fed.heard_ms + SILENT_MS).min(fed.root_ms + CUT_OFF_MS) + 1);
        let again = self.again_ms.filter(|_| self.fed.is_none() && self.trying.is_none());
        let elsewhere = self.fed.zip(self.place.as_ref()).filter(|(fed, place)| fed.parent != place.parent);
        let home = elsewhere.filter(|_| self.trying.is_none()).map(|_| self.return_ms);
        [trying, fed, again, home].into_iter().flatten().min()
    }

    /// What the adapter must hear, once.
    pub fn take_moved(&mut self) -> Option<Moved<N>> {
        let (lost, why) = self.moved.take()?;
        Some(Moved { lost, why, to: self.parent() })
    }

    fn next(&mut self, now_ms: u64) -> Step<N> {
        while let Some(parent) = self.queue.pop_front() {
            let useless = parent == Parent::Node(self.me) || self.parent() == Some(parent);
            if !useless && !self.avoids(&parent, now_ms) {
                self.trying = Some((parent, now_ms));
                return Step::Subscribe(parent);
            }
        }
        if self.fed.is_none() && self.place.is_some() {
            self.again_ms = Some(now_ms + self.pause_ms);
            self.pause_ms = (self.pause_ms * 2).min(RETRY_CAP_MS);
        }
        Step::Stay
    }

    fn avoids(&self, parent: &Parent<N>, now_ms: u64) -> bool {
        parent.node().and_then(|node| self.avoided.get(&node)).is_some_and(|until| now_ms < *until)
    }

    fn avoid(&mut self, node: N, why: Why, now_ms: u64) {
        let until = now_ms + if why == Why::Corrupt { AVOID_CORRUPT_MS } else { AVOID_MS };
        if self.avoided.len() >= MAX_AVOIDED {
            self.avoided.retain(|_, until| now_ms < *until);
        }
        if self.avoided.len() >= MAX_AVOIDED
            && let Some(soonest) = self.avoided.iter().min_by_key(|(_, until)| **until).map(|(node, _)| *node)
        {
            self.avoided.remove(&soonest);
        }
        let known = self.avoided.entry(node).or_default();
        *known = until.max(*known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Parent<u16> = Parent::Root;

    fn at(node: u16) -> Parent<u16> {
        Parent::Node(node)
    }

    fn fed() -> Branch<u16> {
        let mut branch = Branch::new(9);
        let place = Place { parent: at(1), backups: vec![at(2), at(3), ROOT], depth: 3 };
        assert_eq!(branch.placed(Some(place), 0), Step::Subscribe(at(1)));
        branch.accepted(at(1), 10);
        branch
    }

    #[test]
    fn a_silent_parent_is_left_for_the_first_backup_and_reported() {
        let mut branch = fed();
        branch.heard(at(1), Heard { root_age_ms: 5 }, 500);
        assert_eq!(branch.poll(1_500), Step::Stay);
        assert_eq!(branch.wakes_ms(), Some(1_501));
        assert_eq!(branch.poll(1_501), Step::Subscribe(at(2)));
        branch.accepted(at(2), 1_520);
        assert_eq!(branch.take_moved(), Some(Moved { lost: 1, why: Why::Silent, to: Some(at(2)) }));
        assert_eq!(branch.take_moved(), None);
    }

    #[test]
    fn a_closed_connection_is_left_at_once_and_backups_are_tried_in_order() {
        let mut branch = fed();
        assert_eq!(branch.lost(at(1), Why::Gone, 20), Step::Subscribe(at(2)));
        assert_eq!(branch.lost(at(2), Why::Gone, 21), Step::Subscribe(at(3)));
        assert_eq!(branch.refused(at(3), &[7, 9], 22), Step::Subscribe(at(7)));
        // Itself it skips.
        assert_eq!(branch.refused(at(7), &[], 23), Step::Subscribe(ROOT));
        assert_eq!(branch.lost(ROOT, Why::Gone, 24), Step::Stay);
        assert_eq!(branch.poll(24 + RETRY_MS - 1), Step::Stay);
        // Relays that failed are avoided for longer; the adapter never is.
        assert_eq!(branch.poll(24 + RETRY_MS), Step::Subscribe(at(3)));
    }

    #[test]
    fn a_better_place_is_taken_without_letting_go_first() {
        let mut branch = fed();
        let place = Place { parent: at(5), backups: vec![ROOT], depth: 2 };
        assert_eq!(branch.placed(Some(place.clone()), 100), Step::Subscribe(at(5)));
        assert_eq!(branch.parent(), Some(at(1)));
        // The better place has no room: everything stays as it was.
        assert_eq!(branch.refused(at(5), &[], 120), Step::Stay);
        assert_eq!(branch.parent(), Some(at(1)));
        assert_eq!(branch.placed(Some(place), 200), Step::Subscribe(at(5)));
        branch.accepted(at(5), 210);
        assert_eq!(branch.parent(), Some(at(5)));
        assert_eq!(branch.take_moved(), None);
    }

    #[test]
    fn it_does_not_go_back_to_who_failed_it() {
        let mut branch = fed();
        assert_eq!(branch.lost(at(1), Why::Late, 20), Step::Subscribe(at(2)));
        branch.accepted(at(2), 30);
        let back = Place { parent: at(1), backups: vec![ROOT], depth: 3 };
        assert_eq!(branch.placed(Some(back.clone()), 40), Step::Stay);
        assert_eq!(branch.placed(Some(back), 20 + AVOID_MS), Step::Subscribe(at(1)));
    }

    #[test]
    fn a_parent_that_is_cut_off_is_left_too() {
        let mut branch = fed();
        for now in (100..=CUT_OFF_MS).step_by(100) {
            branch.heard(at(1), Heard { root_age_ms: now }, now);
            assert_eq!(branch.poll(now), Step::Stay, "at {now}");
        }
        branch.heard(at(1), Heard { root_age_ms: 60_000 }, CUT_OFF_MS + 50);
        assert_eq!(branch.poll(CUT_OFF_MS + 50), Step::Subscribe(at(2)));
    }
}
